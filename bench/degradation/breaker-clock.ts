/**
 * How long a circuit breaker was open.
 * Runs on: the benchmark's main process. Owns: nothing but its counts; the clock is passed in.
 */
import type { BreakerState } from '../../src/client/ringcast.js'

export class BreakerClock {
  #state: BreakerState = 'closed'
  #sinceMs: number
  #beganMs: number
  #openMs = 0

  constructor(nowMs: number) {
    this.#sinceMs = nowMs
    this.#beganMs = nowMs
  }

  get state(): BreakerState {
    return this.#state
  }

  turn(state: BreakerState, nowMs: number): void {
    this.#count(nowMs)
    this.#state = state
  }

  /** Begins to count anew. */
  restart(nowMs: number): void {
    this.#sinceMs = nowMs
    this.#beganMs = nowMs
    this.#openMs = 0
  }

  /** Of the time since it was restarted. Half-open counts as open: all but one message waits. */
  openShare(nowMs: number): number {
    this.#count(nowMs)
    return this.#openMs / (nowMs - this.#beganMs)
  }

  #count(nowMs: number): void {
    if (this.#state !== 'closed') this.#openMs += nowMs - this.#sinceMs
    this.#sinceMs = nowMs
  }
}
