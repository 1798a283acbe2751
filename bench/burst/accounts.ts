/**
 * What became of every message of a burst: acked, refused, stored, received, announced.
 * Runs on: the client process of a burst. Owns: one slot per message and one per seq.
 */
import type { BurstCounts } from './plan.js'

const NOBODY = -1
const ANNOUNCED = -2

export class Accounts {
  /** By number: the seq of its ack. */
  readonly #ackedAs: Int32Array
  /** By seq: the number of the message received there, NOBODY, or ANNOUNCED. */
  readonly #heldBy: Int32Array
  #acked = 0
  #overloaded = 0
  #refusedOtherwise = 0
  #received = 0
  #announced = 0
  #repeated = 0
  #lastSeq = 0

  constructor(messages: number) {
    this.#ackedAs = new Int32Array(messages)
    this.#heldBy = new Int32Array(messages + 1).fill(NOBODY)
  }

  ack(number: number, seq: number): void {
    this.#acked++
    this.#ackedAs[number] = seq
  }

  refused(code: string): void {
    if (code === 'OVERLOADED') this.#overloaded++
    else this.#refusedOtherwise++
  }

  event(seq: number, number: number): void {
    if (seq <= this.#lastSeq) this.#repeated++
    this.#lastSeq = Math.max(this.#lastSeq, seq)
    this.#received++
    this.#heldBy[seq] = number
  }

  gap(fromSeq: number, toSeq: number): void {
    this.#announced += toSeq - fromSeq + 1
    this.#heldBy.fill(ANNOUNCED, fromSeq, toSeq + 1)
    this.#lastSeq = Math.max(this.#lastSeq, toSeq)
  }

  /** Requests that were answered. */
  get answered(): number {
    return this.#acked + this.refusals
  }

  get refusals(): number {
    return this.#overloaded + this.#refusedOtherwise
  }

  /** Up to where the subscriber has got, by events and gaps. */
  get lastSeq(): number {
    return this.#lastSeq
  }

  counts(stored: number, tookMs: number): BurstCounts {
    let unaccounted = 0
    for (let seq = 1; seq <= stored; seq++) if (this.#heldBy[seq] === NOBODY) unaccounted++
    let misplaced = 0
    this.#ackedAs.forEach((seq, number) => {
      const holder = this.#heldBy[seq]
      if (seq > 0 && holder !== number && holder !== ANNOUNCED) misplaced++
    })
    return {
      stored,
      acked: this.#acked,
      overloaded: this.#overloaded,
      refusedOtherwise: this.#refusedOtherwise,
      received: this.#received,
      announced: this.#announced,
      unaccounted,
      misplaced,
      repeated: this.#repeated,
      tookMs,
    }
  }
}
