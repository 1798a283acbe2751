/**
 * When messages arrived and how long they took: the histogram of the run, and its seconds one by one.
 * Runs on: subscriber processes. Owns: both histograms.
 *
 * Seconds go by arrival and include the warm-up; the histogram of the run has the messages that were
 * due in the measured time, whenever they came.
 */
import type { Histogram } from 'hdr-histogram-js'
import { CoarseHistogram } from './coarse-histogram.js'
import { LATENCY_MAX_US, newLatencies } from './latencies.js'
import type { Schedule } from './plan.js'

const SECOND_MS = 1000

export interface SecondOfArrivals {
  readonly second: number
  readonly delivered: number
  readonly maxUs: number
  readonly buckets: number[]
}

export class Arrivals {
  readonly #whole = newLatencies()
  readonly #second = new CoarseHistogram()
  #schedule: Schedule = {
    startMs: 0,
    fromMs: Number.POSITIVE_INFINITY,
    untilMs: Number.POSITIVE_INFINITY,
  }
  #secondEndMs = Number.POSITIVE_INFINITY
  #maxUs = 0
  #delivered = 0
  #early = 0
  // A run of equal latencies is counted as one: the messages of a batch share their times, and a call
  // of the histogram costs 120 ns.
  #value = 0
  #count = 0
  #isMeasured = false

  begin(schedule: Schedule): void {
    this.#schedule = schedule
    const { startMs, fromMs } = schedule
    this.#secondEndMs = fromMs - Math.floor((fromMs - startMs) / SECOND_MS) * SECOND_MS
    if (this.#secondEndMs <= startMs) this.#secondEndMs += SECOND_MS
  }

  note(arrivedMs: number, dueMs: number): void {
    const { fromMs, untilMs } = this.#schedule
    const latencyMs = arrivedMs - dueMs
    if (latencyMs < 0) this.#early++
    if (arrivedMs >= fromMs && arrivedMs < untilMs) this.#delivered++
    const isMeasured = dueMs >= fromMs && dueMs < untilMs
    const value = Math.min(LATENCY_MAX_US, Math.max(0, Math.round(latencyMs * 1e3)))
    if (value === this.#value && isMeasured === this.#isMeasured) {
      this.#count++
      return
    }
    this.#flush()
    this.#value = value
    this.#isMeasured = isMeasured
    this.#count = 1
  }

  /** To be called before what arrived at `timeMs` is noted. The second that ended by then, if one did. */
  tryRoll(timeMs: number): SecondOfArrivals | undefined {
    if (timeMs < this.#secondEndMs || this.#secondEndMs > this.#schedule.untilMs) return undefined
    this.#flush()
    const second = {
      second: Math.round((this.#secondEndMs - this.#schedule.fromMs) / SECOND_MS) - 1,
      delivered: this.#second.total,
      maxUs: this.#maxUs,
      buckets: this.#second.take(),
    }
    this.#maxUs = 0
    this.#secondEndMs += SECOND_MS
    return second
  }

  /** In the measured time. */
  get delivered(): number {
    return this.#delivered
  }

  /** Messages that arrived before they were meant to be sent: a broken clock. */
  get early(): number {
    return this.#early
  }

  finished(): Histogram {
    this.#flush()
    return this.#whole
  }

  #flush(): void {
    const [value, count] = [this.#value, this.#count]
    if (count === 0) return
    if (this.#isMeasured) this.#whole.recordValueWithCount(value, count)
    this.#second.record(value, count)
    this.#maxUs = Math.max(this.#maxUs, value)
    this.#count = 0
  }
}
