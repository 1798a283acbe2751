/**
 * Publishes that wait for room, first come, first served.
 * Runs on: Node and browsers. Owns: those who wait, at most maxWaiting calls and maxHeldBytes.
 */
import { OverloadedError, TimeoutError } from './errors.js'
import { Fifo } from './fifo.js'

export interface WaitingRoomOptions {
  readonly maxWaiting: number
  readonly maxHeldBytes: number
  readonly publishTimeoutMs: number
}

interface Waiter {
  readonly bytes: number
  readonly dueMs: number
  go(): void
  reject(error: Error): void
}

export class WaitingRoom {
  readonly #options: WaitingRoomOptions
  readonly #waiters = new Fifo<Waiter>()
  #bytes = 0

  constructor(options: WaitingRoomOptions) {
    this.#options = options
  }

  get length(): number {
    return this.#waiters.length
  }

  /** Calls `go` when there is room, or `reject` when there is none in time. Throws OverloadedError. */
  enter(bytes: number, go: () => void, reject: (error: Error) => void): void {
    const { maxWaiting, maxHeldBytes, publishTimeoutMs } = this.#options
    if (this.length >= maxWaiting || this.#bytes + bytes > maxHeldBytes) {
      const waiting = `${this.length} publishes with ${this.#bytes} bytes`
      throw new OverloadedError(`${waiting} wait for room already`)
    }
    this.#bytes += bytes
    this.#waiters.push({ bytes, dueMs: Date.now() + publishTimeoutMs, go, reject })
  }

  /** Lets them go, one after the other, for as long as there is room. */
  wake(isRoom: () => boolean): void {
    while (this.length > 0 && isRoom()) {
      const waiter = this.#leave()
      try {
        waiter.go()
      } catch (error) {
        waiter.reject(error as Error)
      }
    }
  }

  rejectOverdue(nowMs: number): void {
    const text = `no room within ${this.#options.publishTimeoutMs} ms; nothing was sent`
    while ((this.#waiters.peek()?.dueMs ?? Number.POSITIVE_INFINITY) <= nowMs) {
      this.#leave().reject(new TimeoutError(text))
    }
  }

  rejectAll(error: Error): void {
    this.#bytes = 0
    for (const waiter of this.#waiters.takeAll()) waiter.reject(error)
  }

  #leave(): Waiter {
    const waiter = this.#waiters.shift() as Waiter
    this.#bytes -= waiter.bytes
    return waiter
  }
}
