/**
 * One member of a consumer group: messages to a handler, what came of them to the broker.
 * Runs on: Node and browsers. Owns: the messages that it was given and has not settled; the broker
 * bounds them (maxInFlight).
 *
 *   broker ──► queue ──► handler ──► returned ──► ack
 *                           │
 *                           └──► threw ──► nack, or term
 *
 * The broker remembers who has what. So when the connection is lost nothing is kept here but acks: the
 * work is done, and to say so late is better than to have it done again.
 */
import type { PayloadCodec } from './codecs.js'
import { messageOf } from './codecs.js'
import { ConsumeHandlers } from './consume-handlers.js'
import {
  type ConsumeHandler,
  type ConsumeOptions,
  groupFields,
  memberFields,
  startFields,
} from './consume-options.js'
import { ConsumedMessage } from './consumed-message.js'
import {
  ConnectionClosedError,
  HandlerError,
  NonRetryableError,
  RetryLaterError,
  SubscribeError,
} from './errors.js'
import type { Delivery, Message, MessageSource } from './message.js'
import type { Gap } from './places.js'
import { SafeEmitter } from './safe-emitter.js'
import { Settlements, type SettleRequest } from './settlements.js'
import type { AckResult, SettleOp, WireInfo } from './wire.js'

const REASON_BYTES_MAX = 256
/** How often messages held here are looked at, per ack_wait_ms; the second look at one says `working`. */
const LOOKS = 4
const STOP_POLL_MS = 2

/** What the broker said when this member joined. */
export interface Joined {
  /** The lifetime of the topic's log in which seqs count. */
  readonly epoch: string
  /** All messages up to this seq are settled. */
  readonly ackFloor: number
  /** There was no such group: it begins now. After a reconnect: the group, or all of the topic, was gone. */
  readonly created: boolean
  /** What the group does, by the names of the wire. */
  readonly options: Readonly<Record<string, unknown>>
}

/** Events of a consumer: `consumer.on('failure', …)`. */
export interface ConsumerEvents {
  /** It is a member, for the first time or after a reconnect. */
  joined: (joined: Joined) => void
  /** The log dropped messages before the group was done with them. */
  gap: (gap: Gap) => void
  /** A handler failed; the message comes again, or goes to the dead letters. */
  failure: (error: HandlerError, message: ConsumedMessage) => void
  /** It is no member any more: stopped, closed, or (then with the error) refused, or the group is gone. */
  ended: (error: Error | undefined) => void
}

/** What a consumer asks of its client. */
export interface ConsumerHost {
  readonly codec: PayloadCodec
  sendSettle(request: SettleRequest): void
  sendFlow(op: 'pause' | 'resume'): void
  onConsume(message: Message): void
  onError(error: Error): void
  /** It wants to be no member any more. */
  onEnded(): void
}

/**
 * What Client.consume() returns.
 * @example
 * const consumer = client.consume('orders', 'billing', ({ payload }) => bill(payload))
 * consumer.on('failure', (error, { seq, attempt }) => log(`${seq} failed (${attempt}): ${error.message}`))
 * process.once('SIGTERM', () => consumer.stop())
 */
export class Consumer<Payload = unknown> extends SafeEmitter<ConsumerEvents> {
  /** Where the messages are published. */
  readonly topic: string
  /** The group. */
  readonly group: string
  /**
   * Resolves when the broker has taken this member for the first time; rejects with SubscribeError if
   * it refused, and with ConnectionClosedError if it ended before. Nobody has to wait for it.
   */
  readonly ready: Promise<void>
  /** @internal */
  readonly text: string
  /** @internal */
  readonly wantsMessages = true
  readonly #host: ConsumerHost
  readonly #options: ConsumeOptions
  readonly #isManual: boolean
  readonly #settlements: Settlements
  readonly #handlers: ConsumeHandlers<Payload>
  /** Messages that a handler has or had, and that are not settled yet. */
  readonly #held = new Set<ConsumedMessage>()
  #isOn = false
  #isPaused = false
  #isStopping = false
  #isEnded = false
  #stopped: Promise<void> | undefined
  /** Counts connections: what was given to us over an earlier one is somebody else's. */
  #stay = 0
  #epoch: string | undefined
  #nextSeq = 1
  /** The group was changed since we first joined: it is taken as it is. */
  #takesGroupAsItIs = false
  #look = 0
  #looking: ReturnType<typeof setInterval> | undefined
  #settleReady: { resolve: () => void; reject: (error: Error) => void } | undefined

  /** @internal Use Client.consume(). */
  constructor(
    host: ConsumerHost,
    topic: string,
    group: string,
    handler: ConsumeHandler<Payload>,
    options: ConsumeOptions,
  ) {
    super()
    const { concurrency = 1, timeoutMs } = options
    for (const [name, value] of Object.entries({ concurrency, timeoutMs })) {
      if (value === undefined || value >= 1) continue
      throw new RangeError(`${name}=${value} must be a number of at least 1`)
    }
    this.#host = host
    this.topic = topic
    this.group = group
    this.text = `group ${group} of ${topic}`
    this.#options = options
    this.#handlers = new ConsumeHandlers(handler, concurrency, timeoutMs, {
      onWorking: (message) => this.#held.add(message),
      onReturned: (message) => this.#onReturned(message),
      onFailed: (message, cause) => this.#onFailed(message, cause),
    })
    this.#isManual = options.ack === 'manual'
    this.#settlements = new Settlements({
      isOn: () => this.#isOn,
      send: (request) => this.#host.sendSettle(request),
      onError: ({ code, message, retryable }) =>
        this.#host.onError(new SubscribeError(code, retryable, message)),
    })
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject }
    })
    this.ready.catch(() => {}) // Whoever asks for it hears of it; nobody has to.
  }

  /** Messages received whose handler has not begun. */
  get queued(): number {
    return this.#handlers.queued
  }

  /** Handlers that run now. */
  get running(): number {
    return this.#handlers.running
  }

  /** True between pause() and resume(). */
  get isPaused(): boolean {
    return this.#isPaused
  }

  /** True when no more messages will come. */
  get isEnded(): boolean {
    return this.#isEnded
  }

  /** The broker gives this member nothing more until resume(). What it has is still handled. */
  pause(): void {
    if (this.#isPaused || this.#isEnded) return
    this.#isPaused = true
    if (this.#isOn) this.#host.sendFlow('pause')
  }

  /** Goes on after pause(). */
  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    if (this.#isOn && !this.#isStopping) this.#host.sendFlow('resume')
  }

  /** Resolves when everything that was settled so far is confirmed by the broker. */
  flush(): Promise<void> {
    return this.#settlements.flush()
  }

  /**
   * Leaves the group gracefully: takes nothing more, gives back what no handler has begun (which is no
   * attempt then), waits for
   * handlers that run and for the confirmation of what they did. Resolves not much later than
   * `timeoutMs`; what is not settled by then goes to other members.
   */
  stop(timeoutMs = 10_000): Promise<void> {
    this.#stopped ??= this.#stop(timeoutMs)
    return this.#stopped
  }

  /** @internal */
  startOptions(): Readonly<Record<string, unknown>> {
    const { group } = this
    const options = this.#options
    const own = { group, ...memberFields(options) }
    const groups = this.#takesGroupAsItIs ? {} : groupFields(options)
    const epoch = this.#epoch
    if (epoch === undefined) return { ...own, ...groups, ...startFields(options) }
    // Where a group begins again that is gone: the broker may have been restarted.
    return { ...own, ...groups, from_seq: this.#nextSeq, epoch }
  }

  /** @internal */
  onAck({ epoch = '', ack_floor: ackFloor = 0, created = false, options = {} }: AckResult): void {
    if (this.#epoch !== undefined && this.#epoch !== epoch) this.#settlements.forget()
    const isFirst = this.#epoch === undefined
    if (this.#epoch !== epoch) this.#nextSeq = ackFloor + 1
    this.#epoch = epoch
    this.#isOn = true
    this.#takesGroupAsItIs = false
    if (this.#isPaused || this.#isStopping) this.#host.sendFlow('pause')
    this.#settlements.send()
    if (this.#options.extend ?? true) {
      const ackWaitMs = Number(options['ack_wait_ms'])
      this.#looking = setInterval(() => this.#extend(), Math.max(1, ackWaitMs / LOOKS))
    }
    if (isFirst) this.#settleReady?.resolve()
    this.emit('joined', { epoch, ackFloor, created, options })
  }

  /** @internal */
  onRefused(error: Error): void {
    const isKnown = this.#epoch !== undefined
    if (isKnown && !this.#takesGroupAsItIs) {
      // Somebody has changed the group's options while we were away. We were a member of it before.
      this.#takesGroupAsItIs = true
      return
    }
    this.end(error)
    this.#host.onError(error)
  }

  /** @internal */
  onMessage(source: MessageSource, at: number, seq: number): void {
    if (this.#isEnded) return
    if (seq >= this.#nextSeq) this.#nextSeq = seq + 1
    const message = new ConsumedMessage(
      source,
      at,
      seq,
      this.#epoch ?? '',
      this.#host.codec,
      source.delivery as Delivery,
      this,
      this.#stay,
      this.#look,
    )
    this.#host.onConsume(message)
    if (this.#isStopping) {
      message.release()
      return
    }
    this.#handlers.push(message)
  }

  /** @internal */
  onInfo({ code, details }: WireInfo): void {
    if (code === 'GAP') {
      this.emit('gap', {
        topic: this.topic,
        fromSeq: details['from_seq'] as number,
        toSeq: details['to_seq'] as number,
        dropped: details['dropped'] as number,
      })
    } else if (code === 'GROUP_DELETED' || code === 'TOPIC_DELETED') {
      const what = code === 'GROUP_DELETED' ? 'the group' : 'the topic'
      const error = new SubscribeError(code, false, `${this.text}: ${what} was deleted`)
      this.end(error)
      this.#host.onError(error)
    }
  }

  /** @internal The connection is gone, and with it our membership. */
  onDisconnected(): void {
    clearInterval(this.#looking)
    this.#isOn = false
    this.#stay++
    this.#handlers.takeAll() // The broker gives them to others, or to us again.
    this.#held.clear()
    this.#settlements.onDisconnected()
  }

  /** @internal What was settled in this turn leaves now; the client closes. */
  sendNow(): void {
    this.#settlements.send()
  }

  /** @internal No more messages will come. Called by the client too, when it closes. */
  end(error: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#isOn = false
    clearInterval(this.#looking)
    this.#settleReady?.reject(
      error ?? new ConnectionClosedError('ended before it was acked', false),
    )
    this.#handlers.takeAll()
    this.#held.clear()
    this.#settlements.forget()
    this.#host.onEnded()
    this.emit('ended', error)
  }

  /** @internal */
  settle(message: ConsumedMessage, op: SettleOp, delayMs?: number, reason = ''): boolean {
    if (op !== 'working') this.#held.delete(message)
    if (this.#isEnded || message.epoch !== this.#epoch) return false
    const isOurs = message.stay === this.#stay
    if (op === 'ack') {
      this.#settlements.ack(message.seq) // Even late: whoever has it now need not do it again.
      return true
    }
    if (isOurs) this.#settlements.add(op, message.seq, delayMs, cutReason(reason))
    return isOurs
  }

  /** @internal */
  protected override onListenerError(error: unknown): void {
    this.#host.onError(error instanceof Error ? error : new Error(String(error)))
  }

  async #stop(timeoutMs: number): Promise<void> {
    if (this.#isEnded) return
    const deadline = performance.now() + timeoutMs
    this.#isStopping = true
    if (this.#isOn) this.#host.sendFlow('pause')
    for (const message of this.#handlers.takeAll()) message.release()
    const isBusy = () => this.running > 0 || this.#held.size > 0 || !this.#settlements.isIdle
    while (isBusy() && !this.#isEnded && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, STOP_POLL_MS))
    }
    this.end(undefined)
  }

  /** Says of everything that has been here for two looks that it is being worked on. */
  #extend(): void {
    const look = this.#look++
    for (const message of this.#held) if (message.isQuietSince(look)) message.working()
    this.#handlers.forEachQueued((message) => {
      if (message.isQuietSince(look)) message.working()
    })
  }

  #onReturned(message: ConsumedMessage): void {
    if (!this.#isManual) message.ack()
    else if (!message.isSettled && message.stay === this.#stay) {
      this.#held.add(message)
    }
  }

  #onFailed(message: ConsumedMessage, cause: unknown): void {
    const reason = messageOf(cause)
    if (cause instanceof NonRetryableError) message.term(reason)
    else if (cause instanceof RetryLaterError) message.nack(cause.delayMs, reason)
    else message.nack(undefined, reason)
    const text = `handler failed on ${message.topic} seq ${message.seq}: ${reason}`
    const error = new HandlerError(text, { cause })
    this.#host.onError(error)
    this.emit('failure', error, message)
  }
}

const reasonBytes = new Uint8Array(REASON_BYTES_MAX)
const encoder = new TextEncoder()

/** As much of it as the broker takes. */
function cutReason(reason: string): string {
  if (reason.length * 3 <= REASON_BYTES_MAX) return reason
  return reason.slice(0, encoder.encodeInto(reason, reasonBytes).read)
}
