/**
 * What the log dropped before a group was done with it, until its members have been told.
 * Runs on: the shard. Owns: two copies of a record in the group's slot, and what this thread has yet
 * to tell.
 *
 *   copy  offset  field      type  meaning
 *         0       first      f64   what was lost and perhaps not told stands between these two
 *         8       last       f64
 *         16      count      f64   how many of them
 *         24      notedFrom  f64   what was noted last: a successor that comes by it again knows it
 *         32      notedTo    f64
 *         40      isTold     i32   1: told in the batch `toldBatch`, if that one was committed
 *         44      toldBatch  i32
 *
 * A loss is noted before the group goes on without it, and forgotten when the batch that told of it was
 * committed. So a thread that dies in between tells again, or lets its successor tell: at least once.
 */
import type { LogMemory } from '../log/topic-log.js'
import * as layout from './layout.js'

const FIRST = 0
const LAST = 1
const COUNT = 2
const NOTED_FROM = 3
const NOTED_TO = 4
const IS_TOLD = 10
const TOLD_BATCH = 11

export interface LostRange {
  readonly first: number
  readonly last: number
  readonly count: number
}

export class Loss {
  readonly #memory: LogMemory
  readonly #group: number
  #untold: LostRange | undefined

  /** `committedBatch`: what was told in a later one was not told. */
  constructor(memory: LogMemory, groupOffset: number, committedBatch: number) {
    this.#memory = memory
    this.#group = groupOffset
    if (this.#isPending(committedBatch)) this.#untold = this.#read()
  }

  /** A slot begins with no loss. */
  static clear(memory: LogMemory, groupOffset: number): void {
    const from = groupOffset + layout.LOSSES
    memory.bytes.fill(0, from, from + 2 * layout.LOSS_BYTES)
    memory.ints[(groupOffset + layout.LOSS) >> 2] = 0
  }

  /** What members have yet to be told of. */
  get untold(): LostRange | undefined {
    return this.#untold
  }

  /** Notes that [from, to] is lost; returns how many of them were not noted before. */
  note(from: number, to: number, committedBatch: number): number {
    const { ints, floats } = this.#memory
    const held = this.#at() >> 3
    const notedTo = floats[held + NOTED_TO] as number
    const isKnown = floats[held + NOTED_FROM] === from && notedTo >= from
    const count = isKnown ? Math.max(0, to - notedTo) : to - from + 1
    if (count === 0) return 0
    const before = this.#isPending(committedBatch) ? this.#read() : undefined
    const { first, last, count: all } = joined(before, from, to, count)
    const which = 1 - (ints[(this.#group + layout.LOSS) >> 2] as number)
    const at = (this.#group + layout.LOSSES + which * layout.LOSS_BYTES) >> 3
    floats.set([first, last, all, from, to], at)
    ints[at * 2 + IS_TOLD] = 0
    ints[(this.#group + layout.LOSS) >> 2] = which // Now it counts.
    this.#untold = joined(this.#untold, from, to, count)
    return count
  }

  /** Members are told with this batch. */
  told(batch: number): void {
    const { ints } = this.#memory
    const at = this.#at() >> 2
    ints[at + TOLD_BATCH] = batch
    ints[at + IS_TOLD] = 1
    this.#untold = undefined
  }

  /** The group begins elsewhere: what it comes by from now on was not lost before. */
  forgetNoted(): void {
    const at = this.#at() >> 3
    this.#memory.floats[at + NOTED_FROM] = 0
    this.#memory.floats[at + NOTED_TO] = 0
  }

  #isPending(committedBatch: number): boolean {
    const { ints, floats } = this.#memory
    const at = this.#at()
    if ((floats[(at >> 3) + COUNT] as number) === 0) return false
    const toldBatch = ints[(at >> 2) + TOLD_BATCH] as number
    return ints[(at >> 2) + IS_TOLD] === 0 || ((toldBatch - committedBatch) | 0) > 0
  }

  #read(): LostRange {
    const { floats } = this.#memory
    const at = this.#at() >> 3
    return {
      first: floats[at + FIRST] as number,
      last: floats[at + LAST] as number,
      count: floats[at + COUNT] as number,
    }
  }

  #at(): number {
    const which = this.#memory.ints[(this.#group + layout.LOSS) >> 2] as number
    return this.#group + layout.LOSSES + which * layout.LOSS_BYTES
  }
}

function joined(known: LostRange | undefined, from: number, to: number, count: number): LostRange {
  if (known === undefined) return { first: from, last: to, count }
  return {
    first: Math.min(known.first, from),
    last: Math.max(known.last, to),
    count: known.count + count,
  }
}
