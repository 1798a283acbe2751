/**
 * How long to wait before connecting again: exponential, with full jitter, so that the clients of a
 * broker that died do not come back in step.
 * Source: «Exponential Backoff And Jitter», AWS Architecture Blog, 2015.
 * Runs on: Node and browsers. Owns: the number of attempts.
 */
export interface BackoffOptions {
  readonly baseMs: number
  readonly maxMs: number
}

/** A connection that lasted this long was a success; a shorter one was not, however it ended. */
export const STABLE_MS = 5000

export class Backoff {
  readonly #options: BackoffOptions
  readonly #random: () => number
  #attempts = 0

  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options
    this.#random = random
  }

  get attempts(): number {
    return this.#attempts
  }

  /** The next delay in ms. */
  next(): number {
    const { baseMs, maxMs } = this.#options
    const most = Math.min(maxMs, baseMs * 2 ** Math.min(this.#attempts, 30))
    this.#attempts++
    return this.#random() * most
  }

  /** A connection ended after it had been open for this long. */
  wasOpenFor(ms: number): void {
    if (ms >= STABLE_MS) this.reset()
  }

  reset(): void {
    this.#attempts = 0
  }
}
