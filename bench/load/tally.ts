/**
 * Which messages of each publisher one subscriber has seen: lost, repeated, out of order.
 * Runs on: subscriber processes. Owns: one row per publisher.
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
  readonly #missing: Set<number>[] = []
  #missingCount = 0
  #missingUncounted = 0
  #repeated = 0
  #outOfOrder = 0
  #received = 0

  constructor(publishers: number) {
    this.#next = new Float64Array(publishers)
    for (let i = 0; i < publishers; i++) this.#missing.push(new Set())
  }

  note(publisher: number, number: number): void {
    const next = this.#next[publisher]
    if (next === undefined) throw new Error(`message of an unknown publisher: ${publisher}`)
    this.#received++
    if (number === next) this.#next[publisher] = next + 1
    else this.#noteIrregular(publisher, number, next)
  }

  get received(): number {
    return this.#received
  }

  /** One more than the highest number seen of this publisher. */
  next(publisher: number): number {
    return this.#next[publisher] ?? 0
  }

  /** True when nothing more is to come. `published` says how many messages each publisher sent. */
  isComplete(published: readonly number[]): boolean {
    if (this.#missingCount > 0) return false
    return published.every((count, publisher) => this.next(publisher) >= count)
  }

  losses(published: readonly number[]): Losses {
    let lost = this.#missingCount + this.#missingUncounted
    let unexpected = 0
    published.forEach((count, publisher) => {
      lost += Math.max(0, count - this.next(publisher))
      unexpected += Math.max(0, this.next(publisher) - count)
    })
    return { lost, repeated: this.#repeated, outOfOrder: this.#outOfOrder, unexpected }
  }

  #noteIrregular(publisher: number, number: number, next: number): void {
    if (number > next) {
      this.#next[publisher] = number + 1
      const room = Math.max(0, MISSING_MAX - this.#missingCount)
      const kept = Math.min(room, number - next)
      for (let i = 0; i < kept; i++) this.#missing[publisher]?.add(next + i)
      this.#missingCount += kept
      this.#missingUncounted += number - next - kept
    } else if (this.#missing[publisher]?.delete(number)) {
      this.#missingCount--
      this.#outOfOrder++
    } else {
      this.#repeated++
    }
  }
}
