/**
 * One topic, pattern or membership of a group at the broker: on, off, or on its way from one to the other.
 * Runs on: Node and browsers. Owns: the request under way, and the timer of its answer.
 *
 *          SUBSCRIBE            ack
 *    off ─────────────► joining ───► on
 *     ▲                   │          │
 *     │ refused; ack of   │ no answer│ nobody wants it any more
 *     │ UNSUBSCRIBE       ▼          ▼
 *     └────────────────── leaving ◄──┘
 *
 * There is one request under way at a time, so pause() and resume() in any order and at any speed
 * cannot cross: what is wanted is looked at again when the answer has come. All that a subscription
 * is still sent has come by then, so the place from which it goes on is exact.
 */
import { Backoff } from './backoff.js'
import type { Line } from './connection.js'
import { SubscribeError, TimeoutError } from './errors.js'
import type { MessageSource } from './message.js'
import type { AckResult, WireError, WireInfo } from './wire.js'

/** A subscription as its client sees it, whatever its payloads are. */
export interface Subscriber {
  readonly text: string
  readonly wantsMessages: boolean
  /** Where to begin: asked for each time that it subscribes at the broker. */
  startOptions(): Readonly<Record<string, unknown>>
  onAck(result: AckResult): void
  onRefused(error: Error): void
  onMessage(source: MessageSource, at: number, seq: number): void
  onInfo(info: WireInfo): void
}

export interface AttachmentHost {
  readonly line: Pick<Line, 'isOpen'>
  sendSubscribe(attachment: Attachment, options: Readonly<Record<string, unknown>>): void
  sendUnsubscribe(attachment: Attachment): void
  /** Nothing is attached and nobody wants anything. */
  forget(attachment: Attachment): void
  /** The answer to this request is not waited for any more. */
  giveUpRequest(attachment: Attachment): void
  /** The connection is of no use. */
  abandon(reason: string): void
  onError(error: Error): void
}

type State = 'off' | 'joining' | 'on' | 'leaving'

const RETRY_BASE_MS = 100
const RETRY_MAX_MS = 5000

export class Attachment {
  readonly text: string
  readonly #host: AttachmentHost
  readonly #timeoutMs: number
  readonly #backoff = new Backoff({ baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS })
  #state: State = 'off'
  /** Who wants it now. */
  #subscriber: Subscriber | undefined
  /** Who it was attached for; what comes is theirs. */
  #receiver: Subscriber | undefined
  /** Of an answer, or of the next try. */
  #timer: ReturnType<typeof setTimeout> | undefined
  #isWaitingToRetry = false

  constructor(host: AttachmentHost, text: string, timeoutMs: number) {
    this.#host = host
    this.text = text
    this.#timeoutMs = timeoutMs
  }

  get subscriber(): Subscriber | undefined {
    return this.#subscriber
  }

  /** Somebody wants it, or (undefined) nobody does any more. */
  setSubscriber(subscriber: Subscriber | undefined): void {
    this.#subscriber = subscriber
    this.update()
  }

  /** Looks whether what is wanted is what is. */
  update(): void {
    const wanted = this.#subscriber
    if (this.#state === 'off') {
      if (wanted === undefined) {
        this.stop()
        this.#host.forget(this)
      } else if (wanted.wantsMessages && this.#host.line.isOpen && !this.#isWaitingToRetry) {
        this.#join(wanted)
      }
    } else if (this.#state === 'on') {
      if (wanted !== this.#receiver || !wanted?.wantsMessages) this.#leave()
    }
  }

  onConnected(): void {
    this.update()
  }

  onDisconnected(): void {
    this.stop()
    this.#state = 'off'
    this.#receiver = undefined
    this.update()
  }

  onAck(result: AckResult): void {
    clearTimeout(this.#timer)
    if (this.#state === 'joining') {
      this.#state = 'on'
      this.#backoff.reset()
      this.#receiver?.onAck(result)
    } else {
      this.#isOff()
    }
    this.update()
  }

  onError({ code, message, retryable }: WireError): void {
    clearTimeout(this.#timer)
    const wasJoining = this.#state === 'joining'
    const subscriber = this.#receiver
    this.#isOff()
    // Whatever an UNSUBSCRIBE is refused for: nothing is attached then.
    if (wasJoining && retryable) this.#retryLater()
    else if (wasJoining) subscriber?.onRefused(new SubscribeError(code, retryable, message))
    this.update()
  }

  onMessage(source: MessageSource, at: number, seq: number): void {
    this.#receiver?.onMessage(source, at, seq)
  }

  onInfo(info: WireInfo): void {
    const receiver = this.#receiver
    const isTopicGone = info.code === 'TOPIC_DELETED' && info.details['subscription'] === undefined
    const isGone = isTopicGone || info.code === 'GROUP_DELETED'
    if (isGone && this.#state === 'on') this.#isOff() // The broker has detached us already.
    receiver?.onInfo(info)
    this.update()
  }

  /** Leaves no timer behind. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#isWaitingToRetry = false
  }

  #join(subscriber: Subscriber): void {
    this.#state = 'joining'
    this.#receiver = subscriber
    this.#timer = setTimeout(() => {
      const text = `no answer to the subscribe to ${this.text} within ${this.#timeoutMs} ms`
      this.#host.onError(new TimeoutError(text))
      this.#host.giveUpRequest(this)
      this.#leave() // Then we know that it is off, and begin again.
    }, this.#timeoutMs)
    this.#host.sendSubscribe(this, subscriber.startOptions())
  }

  #leave(): void {
    this.#state = 'leaving'
    this.#timer = setTimeout(() => {
      this.#host.abandon(`no answer to the unsubscribe from ${this.text}`)
    }, this.#timeoutMs)
    this.#host.sendUnsubscribe(this)
  }

  #isOff(): void {
    this.#state = 'off'
    this.#receiver = undefined
  }

  #retryLater(): void {
    this.#isWaitingToRetry = true
    this.#timer = setTimeout(() => {
      this.#isWaitingToRetry = false
      this.update()
    }, this.#backoff.next())
  }
}
