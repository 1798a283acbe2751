/**
 * The patterns that somebody subscribes to, as one shard knows them.
 * Runs on: the shard. Owns: the pattern slots in shared memory, so that a successor knows them too.
 *
 *   offset  field      type   meaning
 *   0       patternId  i32    0: free; stored last when a pattern is added
 *   4       format     i32
 *   8       bytes      i32    length of the text
 *   12      text       255 B  UTF-8
 *   272     filterId   i32    the filter that its subscribers read through; 0: none
 */

import type { SharedViews } from '../ring/layout.js'
import { FORMATS, type Format } from '../ring/record.js'
import { PatternSet } from '../routing/pattern-set.js'
import { PATTERN_SLOT_BYTES, type ShardLayout } from '../shared-memory.js'

const PATTERN_ID = 0
const FORMAT = 4
const TEXT_BYTES = 8
const TEXT = 12
const FILTER_ID = 272

/** A pattern in one format and through one filter: what a gateway numbers and topics are matched with. */
export interface Pattern {
  readonly id: number
  readonly text: string
  readonly format: Format
  /** 0: none. */
  readonly filterId: number
}

export class PatternTable {
  readonly #views: SharedViews
  readonly #base: number
  readonly #patterns = new Map<number, Pattern>()
  readonly #slots = new Map<number, number>()
  readonly #freeSlots: number[] = []
  readonly #set = new PatternSet()

  /** Finds every pattern that a predecessor knew. */
  constructor(views: SharedViews, layout: ShardLayout) {
    this.#views = views
    this.#base = layout.patterns
    for (let slot = layout.patternSlots - 1; slot >= 0; slot--) this.#load(slot)
  }

  get(id: number): Pattern | undefined {
    return this.#patterns.get(id)
  }

  /** Adds a pattern; undefined when every slot is taken. Adding it again changes nothing. */
  add(id: number, text: string, format: Format, filterId: number): Pattern | undefined {
    const known = this.#patterns.get(id)
    if (known !== undefined) return known
    const slot = this.#freeSlots.pop()
    if (slot === undefined) return undefined
    const offset = this.#base + slot * PATTERN_SLOT_BYTES
    const bytes = Buffer.from(text)
    this.#views.ints[(offset + FORMAT) >> 2] = format
    this.#views.ints[(offset + FILTER_ID) >> 2] = filterId
    this.#views.ints[(offset + TEXT_BYTES) >> 2] = bytes.length
    this.#views.bytes.set(bytes, offset + TEXT)
    Atomics.store(this.#views.ints, (offset + PATTERN_ID) >> 2, id)
    return this.#remember({ id, text, format, filterId }, slot)
  }

  /** Removes a pattern, if it is known. */
  remove(id: number): void {
    const pattern = this.#patterns.get(id)
    const slot = this.#slots.get(id)
    if (pattern === undefined || slot === undefined) return
    const offset = this.#base + slot * PATTERN_SLOT_BYTES
    Atomics.store(this.#views.ints, (offset + PATTERN_ID) >> 2, 0)
    this.#patterns.delete(id)
    this.#slots.delete(id)
    this.#freeSlots.push(slot)
    this.#set.remove(pattern.text, id)
  }

  /** All patterns that match the topic. */
  match(topic: string): Pattern[] {
    return this.#set.match(topic).map((id) => this.#patterns.get(id) as Pattern)
  }

  #load(slot: number): void {
    const offset = this.#base + slot * PATTERN_SLOT_BYTES
    const id = this.#views.ints[(offset + PATTERN_ID) >> 2] as number
    if (id === 0) {
      this.#freeSlots.push(slot)
      return
    }
    const length = this.#views.ints[(offset + TEXT_BYTES) >> 2] as number
    const text = this.#views.buffer.utf8Slice(offset + TEXT, offset + TEXT + length)
    const format = FORMATS[this.#views.ints[(offset + FORMAT) >> 2] as number] as Format
    const filterId = this.#views.ints[(offset + FILTER_ID) >> 2] as number
    this.#remember({ id, text, format, filterId }, slot)
  }

  #remember(pattern: Pattern, slot: number): Pattern {
    this.#patterns.set(pattern.id, pattern)
    this.#slots.set(pattern.id, slot)
    this.#set.add(pattern.text, pattern.id)
    return pattern
  }
}
