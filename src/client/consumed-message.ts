/**
 * A message as a member of a consumer group sees it: one that it has to settle.
 * Runs on: Node and browsers. Owns: whether it was settled here; the broker knows who has it.
 */
import type { PayloadCodec } from './codecs.js'
import { type Delivery, Message, type MessageSource } from './message.js'
import type { SettleOp } from './wire.js'

/** Who has the message and passes on what is said of it. */
export interface Holder {
  /** False when it is too late to say that: the message was settled, or given to others. */
  settle(message: ConsumedMessage, op: SettleOp, delayMs?: number, reason?: string): boolean
}

/**
 * A message of a consumer group. It is settled once: by ack(), nack(), term() or release(), or by what the handler
 * does. Each of them returns false when the message was settled already, or is somebody else's by now.
 * @example
 * client.consume('orders', 'billing', async (message) => {
 *   if (message.attempt > 3) message.term('tried often enough')
 *   else if (await isBusy()) message.nack(5000, 'busy')
 *   else await bill(message.payload)
 * })
 */
export class ConsumedMessage<Payload = unknown> extends Message<Payload> {
  readonly #delivery: Delivery
  readonly #holder: Holder
  /** Which stay in the group it was given to us in; it ends with the connection. */
  readonly #stay: number
  /** Since which look at the clock nothing was heard of it; see Consumer.#extend(). */
  #since: number
  #isSettled = false

  /** @internal */
  constructor(
    source: MessageSource,
    at: number,
    seq: number,
    epoch: string,
    codec: PayloadCodec | undefined,
    delivery: Delivery,
    holder: Holder,
    stay: number,
    since: number,
  ) {
    super(source, at, seq, epoch, codec)
    this.#delivery = delivery
    this.#holder = holder
    this.#stay = stay
    this.#since = since
  }

  /** The group that it was delivered to. */
  get group(): string {
    return this.#delivery.group
  }

  /** 1 for its first delivery to anybody of the group, 2 for the next … */
  get attempt(): number {
    return this.#delivery.attempt
  }

  /** When it goes to another member unless it is settled; ms since 1970 by the broker's clock. */
  get deadlineMs(): number {
    return this.#delivery.deadlineMs
  }

  /** True once it was settled here. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  /** It is done, and will not come again. */
  ack(): boolean {
    return this.#settle('ack')
  }

  /**
   * It failed, and is to come again: after `delayMs`, or when the group's backoff says.
   * @param reason stands in the dead letter if this was its last attempt
   */
  nack(delayMs?: number, reason?: string): boolean {
    return this.#settle('nack', delayMs, reason)
  }

  /** It can never succeed: it goes to the dead letters now. */
  term(reason?: string): boolean {
    return this.#settle('term', undefined, reason)
  }

  /**
   * Nobody has looked at it: it goes to another member at once, or to this one again unless it is
   * paused, and this delivery does not count as an attempt.
   */
  release(): boolean {
    return this.#settle('release')
  }

  /** It takes longer: the deadline begins anew. */
  working(): boolean {
    return !this.#isSettled && this.#holder.settle(this as ConsumedMessage, 'working')
  }

  /** @internal */
  get stay(): number {
    return this.#stay
  }

  /** @internal True when nothing was heard of it since before `look`; then that is said now. */
  isQuietSince(look: number): boolean {
    if (this.#since >= look) return false
    this.#since = look
    return true
  }

  #settle(op: SettleOp, delayMs?: number, reason?: string): boolean {
    if (this.#isSettled) return false
    this.#isSettled = true
    return this.#holder.settle(this as ConsumedMessage, op, delayMs, reason)
  }
}
