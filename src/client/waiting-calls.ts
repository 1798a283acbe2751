/**
 * Requests that wait for a connection and its inbox, in the order in which they were made.
 * Runs on: Node and browsers. Owns: their payloads, at most maxHeldBytes of them.
 */
import type { Call } from './call.js'
import { OverloadedError } from './errors.js'
import type { OutgoingMessage } from './wire.js'

export class WaitingCalls {
  readonly #maxHeldBytes: number
  readonly #calls = new Set<Call>()
  #bytes = 0

  constructor(maxHeldBytes: number) {
    this.#maxHeldBytes = maxHeldBytes
  }

  get size(): number {
    return this.#calls.size
  }

  has(call: Call): boolean {
    return this.#calls.has(call)
  }

  /** Throws OverloadedError when too much waits. */
  add(call: Call, message: OutgoingMessage): void {
    if (this.#bytes + message.payload.length > this.#maxHeldBytes) {
      throw new OverloadedError(`maxHeldBytes=${this.#maxHeldBytes} wait for a connection already`)
    }
    call.message = message
    this.#calls.add(call)
    this.#bytes += message.payload.length
  }

  /** It is sent now, or over. */
  remove(call: Call): void {
    if (!this.#calls.delete(call)) return
    this.#bytes -= call.message?.payload.length ?? 0
    call.message = undefined
  }

  all(): Call[] {
    return [...this.#calls]
  }
}
