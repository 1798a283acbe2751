/**
 * One subscription: messages to an iterator or to a handler, across reconnects.
 * Runs on: Node and browsers. Owns: a bounded queue, and its places in the topics.
 *
 * When the queue is full, or the user says so, the subscription is taken off at the broker and put on
 * again later from where it was: the broker's log is the buffer. What the log has dropped by then is
 * told as a gap. So a slow handler never fills this process, on any platform.
 */
import type { PayloadCodec } from './codecs.js'
import { ConnectionClosedError, type HandlerError } from './errors.js'
import { Fifo } from './fifo.js'
import {
  type BreakerState,
  type HandlerOptions,
  type MessageHandler,
  makeHandler,
  type RunHandler,
} from './handler.js'
import { Iterations } from './iterations.js'
import { Message, type MessageSource } from './message.js'
import { type EpochChange, type Gap, Places } from './places.js'
import { SafeEmitter } from './safe-emitter.js'
import type { AckResult, WireInfo } from './wire.js'

const MAX_IN_FLIGHT = 10_000
/** What is on its way when the queue is full is still taken, up to as much again and this. */
const OVERSHOOT = 1000

/** Where a subscription begins, what it may hold, and what becomes of a handler that fails. */
export interface SubscribeOptions extends HandlerOptions {
  /** Begin with the newest N messages that the broker holds. Default 0: with what comes from now on. */
  readonly lastN?: number
  /** Begin with messages since a time: ISO 8601, or a duration such as "30s", "5m". */
  readonly since?: string
  /** Begin with this seq (a topic only). */
  readonly fromSeq?: number
  /** With `fromSeq`: the epoch in which it counts. If the log is another one, all of that is sent. */
  readonly epoch?: string
  /**
   * Only messages for which this CEL expression over `topic`, `key`, `headers` and `payload` is true,
   * for example `payload.amount > 100 && headers.region == "eu"`.
   */
  readonly filter?: string
  /** What the broker does when this subscriber cannot keep up. Default: the broker's. */
  readonly policy?: 'drop_oldest' | 'disconnect'
  /** Label in the broker's stats, at most 128 bytes. */
  readonly clientId?: string
  /** Handlers running at once. With 1, the default, messages of a topic are handled in order. */
  readonly concurrency?: number
  /**
   * Messages received and not yet handled or iterated over; beyond it the broker keeps the rest.
   * What was on its way by then is still taken, up to twice this and 1000 more. Default 10 000.
   */
  readonly maxInFlight?: number
}

/** Events of a subscription: `subscription.on('gap', …)`. */
export interface SubscriptionEvents {
  /** Messages were lost: retention, or a subscriber that was too slow. */
  gap: (gap: Gap) => void
  /** A topic's log began anew; told before its first message. */
  epoch: (change: EpochChange) => void
  /** After a reconnect: whether everything missed meanwhile comes. */
  resumed: (recovered: boolean) => void
  /** The topic is gone at the broker. A subscription to a topic has ended, one to a pattern goes on. */
  deleted: (topic: string) => void
  /** A handler failed for good; the message is not handled again. */
  failure: (error: HandlerError, message: Message) => void
  /** The circuit breaker changed its state. */
  breaker: (state: BreakerState) => void
  /** No more messages come: unsubscribed, refused (then with the error), deleted, or closed. */
  ended: (error: Error | undefined) => void
}

/** What a subscription asks of its client. */
export interface SubscriptionHost {
  readonly codec: PayloadCodec
  /** Whether it wants messages may have changed. */
  update(): void
  onConsume(message: Message): void
  onError(error: Error): void
  /** It will want no more messages. */
  onEnded(): void
}

/**
 * What Client.subscribe() returns: iterate over it, or give subscribe() a handler.
 * @example
 * for await (const message of client.subscribe('orders.*', { lastN: 10 })) {
 *   console.log(message.payload)
 *   if (message.seq === 100) break // Unsubscribes.
 * }
 * @example
 * const orders = client.subscribe('orders.*', (message) => save(message.payload), { concurrency: 4 })
 * orders.on('gap', ({ topic, dropped }) => log(`lost ${dropped} of ${topic}`))
 */
export class Subscription<Payload = unknown>
  extends SafeEmitter<SubscriptionEvents>
  implements AsyncIterable<Message<Payload>>
{
  /** The topic or pattern. */
  readonly text: string
  /**
   * Resolves when the broker has acked the subscribe for the first time; rejects with SubscribeError
   * if it refused, and with ConnectionClosedError if it ended before. Nobody has to wait for it.
   */
  readonly ready: Promise<void>
  readonly #host: SubscriptionHost
  readonly #options: SubscribeOptions
  readonly #isPattern: boolean
  readonly #maxInFlight: number
  readonly #concurrency: number
  readonly #handler: RunHandler | undefined
  readonly #places: Places
  readonly #queue = new Fifo<Message>()
  #running = 0
  #isPausedByUser = false
  #isPausedByQueue = false
  /** Takes no more, but handles what it has. */
  #isFinishing = false
  /** What comes is not taken until we have subscribed again: the queue is as full as it may be. */
  #isSkipping = false
  #isReconnect = false
  #isEnded = false
  #endError: Error | undefined
  readonly #iterations = new Iterations<Payload>({
    shift: () => this.#shift() as Message<Payload> | undefined,
    isEnded: () => this.#isEnded,
    endError: () => this.#endError,
    onLeft: () => this.end(undefined),
  })
  #settleReady: { resolve: () => void; reject: (error: Error) => void } | undefined

  /** @internal Use Client.subscribe(). */
  constructor(
    host: SubscriptionHost,
    text: string,
    handler: MessageHandler<Payload> | undefined,
    options: SubscribeOptions,
  ) {
    super()
    this.#host = host
    this.text = text
    this.#options = options
    this.#isPattern = /[*#]/.test(text)
    this.#maxInFlight = atLeastOne('maxInFlight', options.maxInFlight ?? MAX_IN_FLIGHT)
    this.#concurrency = atLeastOne('concurrency', options.concurrency ?? 1)
    this.#places = new Places(text, this.#isPattern, {
      onGap: (gap) => this.emit('gap', gap),
      onEpoch: (change) => this.emit('epoch', change),
      onDeleted: (topic) => this.emit('deleted', topic),
    })
    if (options.fromSeq !== undefined) this.#places.startAt(options.fromSeq, options.epoch)
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject }
    })
    this.ready.catch(() => {}) // Whoever asks for it hears of it; nobody has to.
    if (handler === undefined) return
    this.#handler = makeHandler(handler, options, {
      onFailure: (message, error) => {
        this.#host.onError(error)
        this.emit('failure', error, message)
      },
      onBreaker: (state) => this.emit('breaker', state),
    })
  }

  /** Messages received and not yet handled or iterated over. */
  get queued(): number {
    return this.#queue.length + this.#running
  }

  /** Handlers that run now, or wait for their next try. */
  get running(): number {
    return this.#running
  }

  /** True between pause() and resume(). */
  get isPaused(): boolean {
    return this.#isPausedByUser
  }

  /** True when no more messages will come. */
  get isEnded(): boolean {
    return this.#isEnded
  }

  /**
   * Begins no more handlers until resume(); the broker keeps what its log can hold. Messages that
   * were received already can still be iterated over.
   */
  pause(): void {
    if (this.#isPausedByUser || this.#isEnded) return
    this.#isPausedByUser = true
    this.#host.update()
  }

  /** Goes on where pause() stopped. What the broker's log has lost meanwhile is told as a gap. */
  resume(): void {
    if (!this.#isPausedByUser) return
    this.#isPausedByUser = false
    this.#startHandlers()
    this.#host.update()
  }

  /**
   * Ends it. Messages that were received already can still be iterated over, but are not handled;
   * handlers that run go on.
   */
  unsubscribe(): void {
    this.end(undefined)
  }

  /** Messages as they come. `break` unsubscribes. An error that ended the subscription is thrown. */
  [Symbol.asyncIterator](): AsyncIterator<Message<Payload>, undefined> {
    if (this.#handler !== undefined) throw new TypeError(`${this.text} has a handler already`)
    return this.#iterations.begin()
  }

  /** @internal */
  get wantsMessages(): boolean {
    const isPaused = this.#isPausedByUser || this.#isPausedByQueue
    return !isPaused && !this.#isEnded && !this.#isFinishing
  }

  /** @internal True when nothing that was received waits for somebody. */
  get isIdle(): boolean {
    const isAbandoned = this.#handler === undefined && this.#iterations.running === 0
    return this.#running === 0 && (this.#queue.length === 0 || isAbandoned)
  }

  /** @internal */
  startOptions(): Readonly<Record<string, unknown>> {
    this.#isSkipping = false
    const { policy, clientId, filter, lastN, since, fromSeq, epoch } = this.#options
    const common = defined({ policy, client_id: clientId, filter, epochs: true })
    const resume = this.#places.resumeOptions()
    if (resume !== undefined) return { ...common, ...resume }
    return { ...common, ...defined({ last_n: lastN, since, from_seq: fromSeq, epoch }) }
  }

  /** @internal */
  onDisconnected(): void {
    this.#isReconnect = true
  }

  /** @internal */
  onAck(result: AckResult): void {
    const recovered = this.#places.onAck(result)
    this.#settleReady?.resolve()
    this.#settleReady = undefined
    if (recovered === undefined) return
    if (this.#isReconnect || !recovered) this.emit('resumed', recovered)
    this.#isReconnect = false
  }

  /** @internal */
  onRefused(error: Error): void {
    this.end(error)
  }

  /** @internal */
  onMessage(source: MessageSource, at: number, seq: number): void {
    if (this.#isEnded) return
    this.#isSkipping ||= !this.wantsMessages && this.queued >= this.#maxInFlight * 2 + OVERSHOOT
    if (this.#isSkipping) {
      this.#places.skip(source.topic, seq)
      return
    }
    const epoch = this.#places.take(source.topic, seq)
    if (epoch === undefined) return // Seen before the connection was lost.
    const message = new Message(source, at, seq, epoch, this.#host.codec)
    this.#host.onConsume(message)
    const handler = this.#handler
    if (handler !== undefined && this.#queue.length === 0 && this.#hasFreeHand) {
      this.#run(handler, message) // Past the queue, as nearly all go whose handler returns no promise.
    } else {
      this.#queue.push(message)
      this.#iterations.serve()
      this.#startHandlers()
    }
    if (!this.#isPausedByQueue && this.queued >= this.#maxInFlight) {
      this.#isPausedByQueue = true
      this.#host.update()
    }
  }

  /** @internal */
  onInfo({ code, topic = this.text, details }: WireInfo): void {
    if (this.#isEnded) return
    if (code === 'TOPIC_DELETED') {
      this.#places.onDeleted(topic)
      if (!this.#isPattern) this.finish()
    } else if (this.#isSkipping) {
      // Before what was skipped is asked for again, nothing is known of what comes after it.
    } else if (code === 'GAP') {
      this.#places.onGap(topic, details['from_seq'] as number, details['to_seq'] as number)
    } else if (code === 'EPOCH') {
      this.#places.onEpoch(topic, details['epoch'] as string, details['seq'] as number | undefined)
    }
  }

  /** @internal Takes no more, handles what it has, then ends. */
  finish(): void {
    if (this.#isEnded || this.#isFinishing) return
    this.#isFinishing = true
    this.#host.update()
    // Without a handler what was received can still be iterated over after the end.
    if (this.#handler === undefined) this.end(undefined)
    else this.#endIfFinished()
  }

  /** @internal No more messages will come. Called by the client too, when it closes. */
  end(error: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#endError = error
    this.#handler?.stop()
    this.#settleReady?.reject(
      error ?? new ConnectionClosedError('unsubscribed before it was acked', false),
    )
    this.#settleReady = undefined
    this.#iterations.end(error)
    if (this.#handler !== undefined) this.#queue.takeAll()
    this.#host.onEnded()
    this.emit('ended', error)
  }

  /** @internal */
  protected override onListenerError(error: unknown): void {
    this.#host.onError(error instanceof Error ? error : new Error(String(error)))
  }

  /** Runs handlers while there are messages and hands free. */
  #startHandlers(): void {
    const handler = this.#handler
    if (handler === undefined) return
    while (this.#hasFreeHand) {
      const message = this.#shift()
      if (message === undefined) break
      this.#run(handler, message)
    }
    this.#endIfFinished()
  }

  get #hasFreeHand(): boolean {
    return this.#running < this.#concurrency && !this.#isPausedByUser && !this.#isEnded
  }

  #run(handler: RunHandler, message: Message): void {
    this.#running++ // Before it runs: a handler may call resume(), which starts others.
    const running = handler.run(message)
    if (running !== undefined) {
      void running.then(() => this.#onHandled())
      return
    }
    this.#running--
    this.#afterShift()
  }

  #onHandled(): void {
    this.#running--
    this.#afterShift()
    this.#startHandlers()
    this.#endIfFinished()
  }

  #shift(): Message | undefined {
    const message = this.#queue.shift()
    if (message !== undefined) this.#afterShift()
    return message
  }

  /** Goes on at half of where it stopped, or every message would stop it again. */
  #afterShift(): void {
    if (!this.#isPausedByQueue || this.queued > this.#maxInFlight / 2) return
    this.#isPausedByQueue = false
    this.#host.update()
  }

  #endIfFinished(): void {
    if (this.#isFinishing && this.queued === 0) this.end(undefined)
  }
}

function atLeastOne(name: string, value: number): number {
  if (value >= 1) return value
  throw new RangeError(`${name}=${value} must be a number of at least 1`)
}

/** The fields that have a value. */
function defined(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
