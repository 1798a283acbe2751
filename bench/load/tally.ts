/**
 * Which messages of each stream one subscriber has seen: lost, repeated, out of order.
 * Runs on: subscriber processes. Owns: one row per stream (topics.ts): its order is that of
 * one publisher in one topic.
 *
 * `next` is one more than the highest number seen. A jump notes what it passed as missing; a number
 * from below `next` is late if it was missing and a repeat otherwise. Lost is what is missing at
 * the end, and what was published from `next` on. `missing` is bounded: beyond MISSING_MAX single
 * numbers only their count is kept, and a late one of those counts as lost and as repeated. Numbers
 * that nobody published are unexpected: they make the run fail.
 */

const MISSING_MAX = 100_000

export interface Losses {
  readonly lost: number
  readonly repeated: number
  readonly outOfOrder: number
  readonly unexpected: number
}

export class Tally {
  readonly #next: Float64Array
  readonly #missing = new Map<number, Set<number>>()
  #missingCount = 0
  #missingUncounted = 0
  #repeated = 0
  #outOfOrder = 0
  #received = 0

  constructor(streams: number) {
    this.#next = new Float64Array(streams)
  }

  note(stream: number, number: number): void {
    const next = this.#next[stream]
    if (next === undefined) throw new Error(`message of an unknown stream: ${stream}`)
    this.#received++
    if (number === next) this.#next[stream] = next + 1
    else this.#noteIrregular(stream, number, next)
  }

  get received(): number {
    return this.#received
  }

  /** One more than the highest number seen of this stream. */
  next(stream: number): number {
    return this.#next[stream] ?? 0
  }

  /** True when nothing more is to come. `published` says how many messages each stream has. */
  isComplete(published: readonly number[]): boolean {
    if (this.#missingCount > 0) return false
    return published.every((count, stream) => this.next(stream) >= count)
  }

  losses(published: readonly number[]): Losses {
    let lost = this.#missingCount + this.#missingUncounted
    let unexpected = 0
    published.forEach((count, stream) => {
      lost += Math.max(0, count - this.next(stream))
      unexpected += Math.max(0, this.next(stream) - count)
    })
    return { lost, repeated: this.#repeated, outOfOrder: this.#outOfOrder, unexpected }
  }

  #noteIrregular(stream: number, number: number, next: number): void {
    if (number > next) {
      this.#next[stream] = number + 1
      const room = Math.max(0, MISSING_MAX - this.#missingCount)
      const kept = Math.min(room, number - next)
      const missing = this.#missingOf(stream)
      for (let i = 0; i < kept; i++) missing.add(next + i)
      this.#missingCount += kept
      this.#missingUncounted += number - next - kept
    } else if (this.#missing.get(stream)?.delete(number)) {
      this.#missingCount--
      this.#outOfOrder++
    } else {
      this.#repeated++
    }
  }
  #missingOf(stream: number): Set<number> {
    let missing = this.#missing.get(stream)
    if (missing === undefined) {
      missing = new Set()
      this.#missing.set(stream, missing)
    }
    return missing
  }
}
