/**
 * One subscription: messages to an iterator or to a handler, across reconnects.
 * Runs on: Node and browsers. Owns: a bounded queue, and for each topic where it is.
 *
 * When the queue is full, or the user says so, the subscription is taken off at the broker and put on
 * again later from where it was: the broker's log is the buffer. What the log has dropped by then is
 * told as a gap. So a slow handler never fills this process, on any platform.
 */
import { EventEmitter } from 'eventemitter3'
import type { HandlerError } from './errors.js'
import {
  type BreakerState,
  type HandlerOptions,
  type MessageHandler,
  makeHandler,
} from './handler.js'
import { Message, type RawMessage } from './message.js'
import type { AckResult, WireInfo } from './wire.js'

/** Topics whose place is remembered for a pattern; the broker takes no more when resuming. */
const CURSORS_MAX = 1000

export interface SubscribeOptions extends HandlerOptions {
  /** Begin with the newest N messages that the broker holds. */
  readonly lastN?: number
  /** Begin with messages since a time: ISO 8601, or a duration such as "30s". */
  readonly since?: string
  /** Begin with this seq (a topic only); with `epoch` the broker checks that it is the same log. */
  readonly fromSeq?: number
  readonly epoch?: string
  /** What the broker does when this subscriber cannot keep up. */
  readonly policy?: 'drop_oldest' | 'disconnect'
  /** Label in the broker's stats. */
  readonly clientId?: string
  /** Handlers running at once. With 1, the default, messages of a topic are handled in order. */
  readonly concurrency?: number
  /** Messages received and not yet handled; beyond it the broker keeps the rest. Default 10 000. */
  readonly maxInFlight?: number
}

/** Messages that the subscriber will never see. */
export interface Gap {
  readonly topic: string
  readonly fromSeq: number
  readonly toSeq: number
  readonly dropped: number
}

export interface SubscriptionEvents {
  /** Messages were lost. */
  gap: (gap: Gap) => void
  /** After a reconnect: whether everything missed meanwhile came. */
  resumed: (recovered: boolean) => void
  /** The topic was deleted at the broker; a plain subscription has ended. */
  deleted: (topic: string) => void
  /** A handler failed for good; the message is not handled again. */
  failure: (error: HandlerError, message: Message) => void
  breaker: (state: BreakerState) => void
  ended: (error: Error | undefined) => void
}

/** A subscription as its client sees it, whatever its payloads are. */
export interface Subscriber {
  readonly text: string
  readonly running: number
  pause(): void
  onConnected(): void
  onAck(result: AckResult): void
  onRefused(error: Error): void
  onMessage(message: RawMessage): void
  onInfo(info: WireInfo): void
  end(error: Error | undefined): void
}

/** What a subscription asks of its client. */
export interface SubscriptionHost {
  /** (Re)subscribes at the broker. */
  subscribe(subscriber: Subscriber, options: Readonly<Record<string, unknown>>): void
  unsubscribe(subscriber: Subscriber): void
  onConsume(message: Message): void
  onError(error: Error): void
}

interface Place {
  epoch: string | undefined
  nextSeq: number
}

/**
 * Iterate over it, or give subscribe() a handler.
 * @example
 * const orders = client.subscribe('orders.*', (message) => save(message.payload), { concurrency: 4 })
 * orders.on('gap', ({ topic, dropped }) => log(`lost ${dropped} of ${topic}`))
 */
export class Subscription<Payload = unknown>
  extends EventEmitter<SubscriptionEvents>
  implements AsyncIterable<Message<Payload>>, Subscriber
{
  /** The topic or pattern. */
  readonly text: string
  readonly #host: SubscriptionHost
  readonly #options: SubscribeOptions
  readonly #isPattern: boolean
  readonly #maxInFlight: number
  readonly #concurrency: number
  readonly #run: ((message: Message) => void | Promise<void>) | undefined
  readonly #places = new Map<string, Place>()
  #queue: Message[] = []
  #queueHead = 0
  #running = 0
  #isPausedByUser = false
  #isPausedByQueue = false
  /** On at the broker, or about to be. */
  #isOn = false
  #wasOn = false
  #isEnded = false
  #endError: Error | undefined
  #pulls: ((result: IteratorResult<Message<Payload>>) => void)[] = []
  #pullErrors: ((error: Error) => void)[] = []
  readonly #ready: Promise<void>
  #settleReady: { resolve: () => void; reject: (error: Error) => void } | undefined

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
    this.#maxInFlight = options.maxInFlight ?? 10_000
    this.#concurrency = options.concurrency ?? 1
    this.#ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject }
    })
    this.#ready.catch(() => {}) // Whoever asks for it hears of it; nobody has to.
    if (handler !== undefined) {
      this.#run = makeHandler(handler, options, {
        onFailure: (message, error) => {
          this.#host.onError(error)
          this.emit('failure', error, message)
        },
        onBreaker: (state) => this.emit('breaker', state),
      })
    }
  }

  /** Resolves when the broker has acked the subscribe for the first time; rejects if it refused. */
  get ready(): Promise<void> {
    return this.#ready
  }

  /** Messages received and not yet handled or iterated over. */
  get queued(): number {
    return this.#queue.length - this.#queueHead + this.#running
  }

  /** Handlers that run now. */
  get running(): number {
    return this.#running
  }

  get isPaused(): boolean {
    return this.#isPausedByUser
  }

  /** Takes no more messages until resume(); the broker keeps what its log can hold. */
  pause(): void {
    if (this.#isPausedByUser || this.#isEnded) return
    this.#isPausedByUser = true
    this.#turnOff()
  }

  resume(): void {
    if (!this.#isPausedByUser) return
    this.#isPausedByUser = false
    this.#drain()
    this.#turnOn()
  }

  /** Ends it. Messages that were received already are still iterated over, but not handled. */
  unsubscribe(): void {
    if (this.#isEnded) return
    this.#turnOff()
    this.end(undefined)
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Message<Payload>> {
    try {
      for (;;) {
        const message = this.#shift()
        if (message !== undefined) {
          yield message as Message<Payload>
          continue
        }
        if (this.#endError !== undefined) throw this.#endError
        if (this.#isEnded) return
        const { done, value } = await new Promise<IteratorResult<Message<Payload>>>(
          (resolve, reject) => {
            this.#pulls.push(resolve)
            this.#pullErrors.push(reject)
          },
        )
        if (done) return
        yield value
      }
    } finally {
      this.unsubscribe()
    }
  }

  /** The client is connected (again). */
  onConnected(): void {
    this.#isOn = false
    if (!this.#isEnded) this.#turnOn()
  }

  onAck(result: AckResult): void {
    const { epoch, seq, recovered } = result
    if (!this.#isPattern && epoch !== undefined) this.#learnEpoch(this.text, epoch, seq)
    this.#settleReady?.resolve()
    this.#settleReady = undefined
    if (this.#wasOn && recovered !== undefined) this.emit('resumed', recovered)
    this.#wasOn = true
  }

  /** The broker refused the subscribe. */
  onRefused(error: Error): void {
    this.#settleReady?.reject(error)
    this.#settleReady = undefined
    this.end(error)
  }

  onMessage(raw: RawMessage): void {
    if (this.#isEnded) return
    const place = this.#placeOf(raw.topic)
    if (raw.seq < place.nextSeq) return // Seen before the connection was lost.
    if (raw.seq > place.nextSeq && place.nextSeq > 0 && this.#wasOn) {
      this.#tellGap(raw.topic, place.nextSeq, raw.seq - 1)
    }
    place.nextSeq = raw.seq + 1
    const message = new Message(raw)
    this.#host.onConsume(message)
    this.#take(message)
  }

  onInfo({ code, topic = this.text, details }: WireInfo): void {
    if (code === 'GAP') {
      const [from, to] = [details['from_seq'] as number, details['to_seq'] as number]
      const place = this.#placeOf(topic)
      if (to < place.nextSeq) return
      this.#tellGap(topic, Math.max(from, place.nextSeq), to)
      place.nextSeq = to + 1
    } else if (code === 'EPOCH') {
      this.#learnEpoch(topic, details['epoch'] as string, undefined)
    } else if (code === 'TOPIC_DELETED') {
      this.#places.delete(topic)
      this.emit('deleted', topic)
      if (!this.#isPattern) this.end(undefined)
    }
  }

  /** No more messages will come. Called by the client too, when it closes. */
  end(error: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#endError = error
    this.#settleReady?.reject(error ?? new Error('unsubscribed before it was acked'))
    this.#settleReady = undefined
    const [pulls, errors] = [this.#pulls, this.#pullErrors]
    this.#pulls = []
    this.#pullErrors = []
    if (error !== undefined) for (const reject of errors) reject(error)
    for (const resolve of pulls) resolve({ done: true, value: undefined })
    this.emit('ended', error)
  }

  get isEnded(): boolean {
    return this.#isEnded
  }

  #turnOn(): void {
    if (this.#isOn || this.#isPausedByUser || this.#isPausedByQueue || this.#isEnded) return
    this.#isOn = true
    this.#host.subscribe(this, this.#startOptions())
  }

  #turnOff(): void {
    if (!this.#isOn) return
    this.#isOn = false
    this.#host.unsubscribe(this)
  }

  /** Where to begin: as the user said the first time, from where we are after that. */
  #startOptions(): Record<string, unknown> {
    const { policy, clientId, lastN, since, fromSeq, epoch } = this.#options
    const options: Record<string, unknown> = {}
    if (policy !== undefined) options['policy'] = policy
    if (clientId !== undefined) options['client_id'] = clientId
    if (this.#isPattern) options['epochs'] = true
    const known = [...this.#places].filter(([, place]) => place.epoch !== undefined)
    if (this.#wasOn && this.#isPattern) {
      const cursors = known
        .slice(-CURSORS_MAX)
        .map(([topic, { epoch, nextSeq }]) => [topic, { epoch, seq: nextSeq }])
      return { ...options, cursors: Object.fromEntries(cursors) }
    }
    if (this.#wasOn) {
      const place = this.#placeOf(this.text)
      return { ...options, from_seq: Math.max(1, place.nextSeq), epoch: place.epoch }
    }
    if (lastN !== undefined) options['last_n'] = lastN
    if (since !== undefined) options['since'] = since
    if (fromSeq !== undefined) options['from_seq'] = fromSeq
    if (epoch !== undefined) options['epoch'] = epoch
    return options
  }

  /** Another epoch is another log: its seqs begin again. */
  #learnEpoch(topic: string, epoch: string, lastSeq: number | undefined): void {
    const place = this.#placeOf(topic)
    if (place.epoch !== undefined && place.epoch !== epoch) place.nextSeq = 0
    place.epoch = epoch
    const isLive =
      this.#options.lastN === undefined &&
      this.#options.since === undefined &&
      this.#options.fromSeq === undefined
    if (!this.#wasOn && isLive && lastSeq !== undefined) place.nextSeq = lastSeq + 1
  }

  #placeOf(topic: string): Place {
    let place = this.#places.get(topic)
    if (place === undefined) {
      place = { epoch: undefined, nextSeq: 0 }
      this.#places.set(topic, place)
    }
    return place
  }

  #tellGap(topic: string, fromSeq: number, toSeq: number): void {
    if (toSeq >= fromSeq) this.emit('gap', { topic, fromSeq, toSeq, dropped: toSeq - fromSeq + 1 })
  }

  #take(message: Message): void {
    const pull = this.#pulls.shift()
    if (pull !== undefined) {
      this.#pullErrors.shift()
      pull({ done: false, value: message as Message<Payload> })
      return
    }
    this.#queue.push(message)
    if (this.#run !== undefined) this.#drain()
    if (!this.#isPausedByQueue && this.queued >= this.#maxInFlight) {
      this.#isPausedByQueue = true
      this.#turnOff()
    }
  }

  #shift(): Message | undefined {
    if (this.#queueHead === this.#queue.length) {
      if (this.#queueHead > 0) {
        this.#queue = []
        this.#queueHead = 0
      }
      return undefined
    }
    const message = this.#queue[this.#queueHead]
    this.#queueHead++
    if (this.#queueHead > 1024 && this.#queueHead * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#queueHead)
      this.#queueHead = 0
    }
    this.#afterShift()
    return message
  }

  #afterShift(): void {
    if (this.#isPausedByQueue && this.queued <= this.#maxInFlight / 2) {
      this.#isPausedByQueue = false
      this.#turnOn()
    }
  }

  /** Runs handlers while there are messages and hands free. */
  #drain(): void {
    const run = this.#run
    if (run === undefined) return
    while (this.#running < this.#concurrency && !this.#isPausedByUser && !this.#isEnded) {
      const message = this.#shift()
      if (message === undefined) return
      const running = run(message)
      if (running === undefined) continue
      this.#running++
      void running.then(() => {
        this.#running--
        this.#afterShift()
        this.#drain()
      })
    }
  }
}
