/**
 * A delayed message that is taken back, until the broker has answered.
 * Runs on: Node and browsers. Owns: the timer of the answer.
 */
import { CancelError, OverloadedError, type RingcastError, TimeoutError } from './errors.js'
import type { AckResult, WireError } from './wire.js'

export class Cancellation {
  /** True when a message waited and will not be delivered. */
  readonly done: Promise<boolean>
  #settle: { resolve: (isCancelled: boolean) => void; reject: (error: Error) => void } | undefined
  readonly #timer: ReturnType<typeof setTimeout>

  /** `onTimeout`: the answer is not waited for any more. */
  constructor(topic: string, timeoutMs: number, onTimeout: () => void) {
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    this.#timer = setTimeout(() => {
      onTimeout()
      this.onLost(new TimeoutError(`no answer to the cancel in ${topic} within ${timeoutMs} ms`))
    }, timeoutMs)
  }

  onAck({ count = 0 }: AckResult): void {
    clearTimeout(this.#timer)
    this.#settle?.resolve(count > 0)
  }

  onError({ code, message, retryable }: WireError): void {
    clearTimeout(this.#timer)
    const isOverloaded = code === 'OVERLOADED'
    this.#settle?.reject(
      isOverloaded ? new OverloadedError(message) : new CancelError(code, retryable, message),
    )
  }

  /** No answer comes any more: cancelled or not. */
  onLost(error: RingcastError): void {
    clearTimeout(this.#timer)
    this.#settle?.reject(error)
  }
}
