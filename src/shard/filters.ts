/**
 * The filters that somebody uses, as one shard knows them.
 * Runs on: the shard. Owns: the filter slots in shared memory, so that a successor knows them too.
 *
 *   offset  field     type    meaning
 *   0       filterId  i32     0: free; stored last when a filter is added
 *   4       bytes     i32     length of the text
 *   8       text      1024 B  UTF-8
 */
import { compileFilter, type Predicate } from '../filter/compile.js'
import { FILTER_STEPS_MAX, Steps } from '../filter/values.js'
import type { SharedViews } from '../ring/layout.js'
import type { FilterRef } from '../ring/record.js'
import { FILTER_SLOT_BYTES, type ShardLayout } from '../shared-memory.js'
import { EntryMessage } from './entry-message.js'
import type { Topic } from './topics.js'

const FILTER_ID = 0
const TEXT_BYTES = 4
const TEXT = 8

/** Verdicts that a filter remembers: both formats, and everybody who pulls lately stored entries. */
const MEMO_ENTRIES = 1024

/** What all filters of a shard share. */
class Evaluation {
  readonly message: EntryMessage
  readonly steps = new Steps()
  work = 0

  constructor(views: SharedViews) {
    this.message = new EntryMessage(views)
  }
}

/** Work of an evaluation beside its steps: nodes of the expression, of which there are 128 at most. */
const EVALUATION_WORK = 20

export class Filter {
  readonly id: number
  readonly text: string
  readonly #evaluation: Evaluation
  /** Compiled when it is first asked: a successor has others to serve first. */
  #predicate: Predicate | undefined
  /** By seq modulo MEMO_ENTRIES: of which entry a verdict is, and what it was. */
  readonly #topics = new Int32Array(MEMO_ENTRIES)
  readonly #seqs = new Float64Array(MEMO_ENTRIES)
  readonly #verdicts = new Uint8Array(MEMO_ENTRIES)

  constructor(id: number, text: string, evaluation: Evaluation) {
    this.id = id
    this.text = text
    this.#evaluation = evaluation
  }

  /** See FilterTable.work. */
  get work(): number {
    return this.#evaluation.work
  }

  /** Whether the entry that stands at `offset` is wanted. */
  matches(topic: Topic, offset: number): boolean {
    const { message, steps } = this.#evaluation
    this.#predicate ??= compileFilter(this.text, steps)
    message.look(topic, offset)
    const decodedBefore = message.decodedBytes
    const isWanted = this.#predicate(message)
    this.#evaluation.work +=
      EVALUATION_WORK +
      (FILTER_STEPS_MAX - steps.left) +
      (message.decodedBytes - decodedBefore) / BYTES_PER_STEP
    return isWanted
  }

  /** The same for an entry that the topic holds; asked again it remembers. */
  wants(topic: Topic, seq: number): boolean {
    const index = seq % MEMO_ENTRIES
    if (this.#seqs[index] !== seq || this.#topics[index] !== topic.id) {
      this.#verdicts[index] = this.matches(topic, topic.log.offsetOf(seq)) ? 1 : 0
      this.#topics[index] = topic.id
      this.#seqs[index] = seq
    }
    return this.#verdicts[index] === 1
  }
}

/** Bytes that are decoded in the time of a step. */
const BYTES_PER_STEP = 10

export class FilterTable {
  readonly #views: SharedViews
  readonly #base: number
  readonly #evaluation: Evaluation
  readonly #filters = new Map<number, Filter>()
  readonly #slots = new Map<number, number>()
  readonly #freeSlots: number[] = []

  /** Finds every filter that a predecessor knew. */
  constructor(views: SharedViews, layout: ShardLayout) {
    this.#views = views
    this.#base = layout.filters
    this.#evaluation = new Evaluation(views)
    for (let slot = layout.filterSlots - 1; slot >= 0; slot--) this.#load(slot)
  }

  /**
   * What all filters have done so far, in steps of about 50 ns: whoever asks them much looks here
   * and stops in time.
   */
  get work(): number {
    return this.#evaluation.work
  }

  get(id: number): Filter | undefined {
    return this.#filters.get(id)
  }

  /** Adds a filter; undefined when every slot is taken. Adding it again changes nothing. */
  add({ id, text }: FilterRef): Filter | undefined {
    const known = this.#filters.get(id)
    if (known !== undefined) return known
    const slot = this.#freeSlots.pop()
    if (slot === undefined) return undefined
    const offset = this.#base + slot * FILTER_SLOT_BYTES
    const bytes = Buffer.from(text)
    this.#views.ints[(offset + TEXT_BYTES) >> 2] = bytes.length
    this.#views.bytes.set(bytes, offset + TEXT)
    Atomics.store(this.#views.ints, (offset + FILTER_ID) >> 2, id)
    return this.#remember(id, text, slot)
  }

  /** A filter that somebody else keeps, as groups keep theirs. */
  unnumbered(text: string): Filter {
    return new Filter(0, text, this.#evaluation)
  }

  /** Removes a filter, if it is known. */
  remove(id: number): void {
    const slot = this.#slots.get(id)
    if (slot === undefined) return
    const offset = this.#base + slot * FILTER_SLOT_BYTES
    Atomics.store(this.#views.ints, (offset + FILTER_ID) >> 2, 0)
    this.#filters.delete(id)
    this.#slots.delete(id)
    this.#freeSlots.push(slot)
  }

  #load(slot: number): void {
    const offset = this.#base + slot * FILTER_SLOT_BYTES
    const id = this.#views.ints[(offset + FILTER_ID) >> 2] as number
    if (id === 0) {
      this.#freeSlots.push(slot)
      return
    }
    const length = this.#views.ints[(offset + TEXT_BYTES) >> 2] as number
    const text = this.#views.buffer.utf8Slice(offset + TEXT, offset + TEXT + length)
    this.#remember(id, text, slot)
  }

  #remember(id: number, text: string, slot: number): Filter {
    const filter = new Filter(id, text, this.#evaluation)
    this.#filters.set(id, filter)
    this.#slots.set(id, slot)
    return filter
  }
}
