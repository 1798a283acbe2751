/**
 * Messages that are kept for later: each in a block of log memory, with a slot in a table.
 * Runs on: the shard. Owns: the table (shared memory), their blocks, and in private memory a timer for
 * each and an index by id; a successor makes those again from the table.
 *
 *   offset  field     type  meaning
 *   0       state     i32   0 free, 1 prepared, 2 waiting
 *   4       topicId   i32
 *   8       block     i32   offset of the block, which holds an entry whose seq and time are 0
 *   12      bytes     i32   of the block
 *   16      length    i32   of the entry
 *   20      record    i32   while prepared: the record's number in the journal
 *   24      dueMs     f64
 *   32      order     f64   1, 2, 3 … in the order of scheduling; stays when the slot is free
 *
 * All messages of a record are prepared, then the journal marks the record as applied (one store),
 * then they wait. A successor takes prepared ones for waiting if their record was applied, else for
 * free. When one is due it moves to its topic's log by an intent of the journal (moves.ts).
 */

import { BLOCK_BYTES_MIN } from '../log/block-allocator.js'
import { writeEntryHeader } from '../log/entry.js'
import { newEntryProperties, readProperties } from '../log/entry-properties.js'
import { type LogMemory, NO_LOG_MEMORY, OVER_RETENTION } from '../log/topic-log.js'
import { DELAYED_SLOT_BYTES } from '../shared-memory.js'
import type { Appender } from './appender.js'
import { EntryView } from './json-text.js'
import { NOT_NOW } from './moves.js'
import type { Shard } from './shard.js'
import { TimerWheel } from './timer-wheel.js'
import type { Topic } from './topics.js'

const STATE = 0
const TOPIC_ID = 1
const BLOCK = 2
const BYTES = 3
const LENGTH = 4
const RECORD = 5
const DUE_MS = 3
const ORDER = 4

const FREE = 0
const PREPARED = 1
const WAITING = 2

/** Kind of move (moves.ts): source is the slot. */
const MOVE_DELAYED = 2
const MOVED_PER_BATCH_MAX = 1024
/** How soon a message that found no log memory is tried again. */
const RETRY_MS = 100
const HEADER_BYTES = 15
const ID_BYTES = 16

/** schedule() found too few free slots. */
export const TOO_MANY = -5

/** A message that waits, for a list. */
export interface Waiting {
  readonly slot: number
  readonly dueMs: number
  readonly id: Buffer
}

export class Delayed {
  readonly #shard: Shard
  readonly #memory: LogMemory
  readonly #appender: Appender
  readonly #base: number
  readonly #slots: number
  readonly #wheel: TimerWheel
  /** Slots that are free, and the first that was never used. */
  readonly #free: number[] = []
  #fresh = 0
  #nextOrder = 1
  /** When the first message of the record scheduled last is due. */
  lastEarliestMs = 0
  /** Per slot: its timer, −1 when it has fired. */
  readonly #timers: Int32Array
  /** Slots by topic and id. */
  readonly #byId = new Map<number, Map<string, number[]>>()
  /** Due, in order, and not moved yet. */
  #due: number[] = []
  readonly #properties = newEntryProperties()
  readonly #entry = new EntryView()

  constructor(shard: Shard, memory: LogMemory, appender: Appender, base: number, slots: number) {
    this.#shard = shard
    this.#memory = memory
    this.#appender = appender
    this.#base = base
    this.#slots = slots
    this.#wheel = new TimerWheel(shard.nowMs, slots)
    this.#timers = new Int32Array(slots).fill(-1)
    shard.moves.register(MOVE_DELAYED, ({ source }) => this.#setState(source, FREE))
  }

  /** The order that the next message will have: what a record keeps as its result. */
  get nextOrder(): number {
    return this.#nextOrder
  }

  get nextDueMs(): number {
    return this.#due.length > 0 ? 0 : this.#wheel.nextDueMs
  }

  /** Finds what a predecessor left. `applied`: records of its batch that had their effect. */
  takeOver(applied: number): void {
    for (let number = 0; number < this.#slots; number++) {
      const slot = this.#base + number * DELAYED_SLOT_BYTES
      const order = this.#float(slot, ORDER)
      if (order === 0) break // Never used, and so are all after it.
      this.#fresh = number + 1
      this.#nextOrder = Math.max(this.#nextOrder, order + 1)
      const state = this.#int(slot, STATE)
      const isOurs = state === WAITING || (state === PREPARED && this.#int(slot, RECORD) <= applied)
      if (!isOurs || this.#shard.topics.get(this.#int(slot, TOPIC_ID)) === undefined) {
        this.#setState(slot, FREE)
        this.#free.push(slot)
        continue
      }
      this.#memory.blocks.reserve(this.#int(slot, BLOCK), this.#int(slot, BYTES))
      this.#setState(slot, WAITING)
      this.#remember(slot)
    }
  }

  /**
   * Keeps messages of [start, end) for later, but those at the positions in `leftOut`; all or none.
   * `commit` is called with the record's result once they are prepared. Returns how many, or
   * TOO_MANY, OVER_RETENTION or NO_LOG_MEMORY.
   */
  schedule(
    topic: Topic,
    record: number,
    start: number,
    end: number,
    count: number,
    leftOut: ReadonlySet<number>,
    commit: (order: number) => void,
  ): number {
    if (count - leftOut.size > this.#slots - this.#fresh + this.#free.length) return TOO_MANY
    const firstOrder = this.#nextOrder
    const taken: number[] = []
    const giveBack = (outcome: number) => {
      for (const slot of taken) this.#release(slot)
      this.#nextOrder = firstOrder
      return outcome
    }
    let from = start
    for (let index = 0; index < count; index++) {
      const next = this.#appender.endOf(from, end)
      if (!leftOut.has(index)) {
        const bytes = blockBytesFor(next - from)
        if (bytes > topic.log.retention.bytes) return giveBack(OVER_RETENTION)
        const block = this.#allocate(bytes)
        if (block < 0) return giveBack(NO_LOG_MEMORY)
        taken.push(this.#prepare(topic, record, from, end, block, bytes))
      }
      from = next
    }
    commit(firstOrder)
    this.lastEarliestMs = Number.POSITIVE_INFINITY
    for (const slot of taken) {
      this.lastEarliestMs = Math.min(this.lastEarliestMs, this.dueOf(slot))
      this.#setState(slot, WAITING)
      this.#remember(slot)
    }
    return taken.length
  }

  /**
   * Keeps one message that is no publish: `entry` as a log would hold it, `from` and `kind` the move that
   * it is. False when there is no room.
   */
  keep(topic: Topic, entry: Uint8Array, dueMs: number, kind: number, source: number): boolean {
    if (this.#slots === this.#fresh && this.#free.length === 0) return false
    const bytes = blockBytesFor(entry.length)
    const block = bytes > topic.log.retention.bytes ? -1 : this.#allocate(bytes)
    if (block < 0) return false
    const slot = this.#free.pop() ?? this.#base + this.#fresh++ * DELAYED_SLOT_BYTES
    this.#memory.bytes.set(entry, block)
    const order = this.#describe(slot, topic, block, bytes, entry.length, 0, dueMs)
    this.#shard.moves.keep(kind, { source, a: slot, b: order }, () => this.#setState(slot, WAITING))
    this.#remember(slot)
    return true
  }

  /** Whether the message with this order waits in the slot. */
  isKept(slot: number, order: number): boolean {
    return this.#int(slot, STATE) === WAITING && this.orderOf(slot) === order
  }

  /** Messages of the topic with the id at `at` that wait: their slots. */
  find(topic: Topic, at: number): readonly number[] {
    const id = this.#memory.buffer.latin1Slice(at, at + ID_BYTES)
    return this.#byId.get(topic.id)?.get(id) ?? []
  }

  orderOf(slot: number): number {
    return this.#float(slot, ORDER)
  }

  dueOf(slot: number): number {
    return this.#float(slot, DUE_MS)
  }

  /** Those of the topic that wait under this id, or all of them. */
  slotsOf(topic: Topic, id?: Uint8Array): readonly number[] {
    const ofTopic = this.#byId.get(topic.id)
    if (id === undefined) return [...(ofTopic?.values() ?? [])].flat()
    return ofTopic?.get(Buffer.from(id).latin1Slice()) ?? []
  }

  /** What waits for the topic, the next first. */
  list(topic: Topic, most: number): Waiting[] {
    const slots = [...this.slotsOf(topic)].sort((one, other) => this.#compare(one, other))
    return slots.slice(0, most).map((slot) => {
      const at = this.#idOf(slot)
      const id = Buffer.from(this.#memory.bytes.slice(at, at + ID_BYTES))
      return { slot, dueMs: this.dueOf(slot), id }
    })
  }

  /** They will not be delivered. */
  cancel(slots: readonly number[]): void {
    for (const slot of [...slots]) this.#forget(slot)
  }

  /** Moves what is due. False when it wants outbound room first. */
  run(): boolean {
    const before = this.#due.length
    this.#wheel.advance(this.#shard.nowMs, (slot) => {
      this.#timers[this.#numberOf(slot)] = -1
      this.#due.push(slot)
    })
    if (this.#due.length > before) this.#due.sort((one, other) => this.#compare(one, other))
    let done = 0
    let hasRoom = true
    while (done < this.#due.length && done < MOVED_PER_BATCH_MAX) {
      hasRoom = this.#shard.hasRoom && this.#move(this.#due[done] as number)
      if (!hasRoom) break
      done++
    }
    this.#due.splice(0, done)
    return hasRoom
  }

  /** False: not now. */
  #move(slot: number): boolean {
    const topic = this.#shard.topics.get(this.#int(slot, TOPIC_ID))
    // Cancelled since its timer fired; the slot may even be another message's by now.
    if (this.#int(slot, STATE) !== WAITING || topic === undefined) return true
    if (this.dueOf(slot) > this.#shard.nowMs) return true
    const { bytes } = this.#memory
    const body = this.#int(slot, BLOCK) + HEADER_BYTES
    const length = this.#int(slot, LENGTH) - HEADER_BYTES
    const from = { source: slot, a: 0, b: 0 }
    const seq = this.#shard.moves.append(MOVE_DELAYED, from, topic, length, (entry, at) => {
      bytes[entry] = bytes[body - HEADER_BYTES] as number
      bytes.copyWithin(at, body, body + length)
      return at + length
    })
    if (seq === NOT_NOW) return false
    if (seq === NO_LOG_MEMORY) {
      const number = this.#numberOf(slot)
      this.#timers[number] = this.#wheel.add(this.#shard.nowMs + RETRY_MS, slot)
      return true
    }
    if (seq === OVER_RETENTION) {
      const { name } = topic
      this.#shard.context.logger.warn({ topic: name }, 'a delayed message no longer fits its topic')
    }
    this.#forget(slot)
    return true
  }

  #prepare(
    topic: Topic,
    record: number,
    from: number,
    end: number,
    block: number,
    bytes: number,
  ): number {
    const { buffer } = this.#memory
    const { view } = this.#shard.views
    const slot = this.#free.pop() ?? this.#base + this.#fresh++ * DELAYED_SLOT_BYTES
    const body = writeEntryHeader(view, block, 0, 0)
    const length = this.#appender.writeBody(from, end, block, body)
    readProperties(buffer, block, this.#properties)
    const { delayMs, deliverAt } = this.#properties
    const dueMs = deliverAt >= 0 ? deliverAt : this.#shard.nowMs + delayMs
    this.#describe(slot, topic, block, bytes, HEADER_BYTES + length, record, dueMs)
    this.#setState(slot, PREPARED)
    return slot
  }

  /** Fills the slot, which is still free; returns the message's order. */
  #describe(
    slot: number,
    topic: Topic,
    block: number,
    bytes: number,
    length: number,
    record: number,
    dueMs: number,
  ): number {
    const i = slot >> 2
    const { ints, floats } = this.#memory
    ints[i + TOPIC_ID] = topic.id
    ints[i + BLOCK] = block
    ints[i + BYTES] = bytes
    ints[i + LENGTH] = length
    ints[i + RECORD] = record
    floats[(slot >> 3) + DUE_MS] = dueMs
    const order = this.#nextOrder++
    floats[(slot >> 3) + ORDER] = order
    return order
  }

  #remember(slot: number): void {
    const topicId = this.#int(slot, TOPIC_ID)
    const at = this.#idOf(slot)
    const id = this.#memory.buffer.latin1Slice(at, at + ID_BYTES)
    let ofTopic = this.#byId.get(topicId)
    if (ofTopic === undefined) {
      ofTopic = new Map()
      this.#byId.set(topicId, ofTopic)
    }
    const slots = ofTopic.get(id)
    if (slots === undefined) ofTopic.set(id, [slot])
    else slots.push(slot)
    this.#timers[this.#numberOf(slot)] = this.#wheel.add(this.dueOf(slot), slot)
  }

  /** When the first of the messages with these orders is due; undefined when none waits any more. */
  earliestDue(firstOrder: number, count: number): number | undefined {
    let earliest: number | undefined
    for (let number = 0; number < this.#fresh; number++) {
      const slot = this.#base + number * DELAYED_SLOT_BYTES
      const order = this.orderOf(slot)
      if (this.#int(slot, STATE) !== WAITING) continue
      if (order < firstOrder || order >= firstOrder + count) continue
      earliest = Math.min(earliest ?? Number.POSITIVE_INFINITY, this.dueOf(slot))
    }
    return earliest
  }

  /** Neither timer, index nor block know it any more. */
  #forget(slot: number): void {
    const number = this.#numberOf(slot)
    const timer = this.#timers[number] as number
    if (timer >= 0) this.#wheel.cancel(timer)
    this.#timers[number] = -1
    const topicId = this.#int(slot, TOPIC_ID)
    const at = this.#idOf(slot)
    const id = this.#memory.buffer.latin1Slice(at, at + ID_BYTES)
    const ofTopic = this.#byId.get(topicId)
    const others = ofTopic?.get(id)?.filter((other) => other !== slot) ?? []
    if (others.length > 0) ofTopic?.set(id, others)
    else ofTopic?.delete(id)
    if (ofTopic?.size === 0) this.#byId.delete(topicId)
    this.#release(slot)
  }

  #release(slot: number): void {
    this.#setState(slot, FREE)
    this.#memory.blocks.free(this.#int(slot, BLOCK), this.#int(slot, BYTES))
    this.#free.push(slot)
  }

  /** A block that leaves to logs what topics yet to come need. */
  #allocate(bytes: number): number {
    const { blocks } = this.#memory
    if (blocks.freeBytes - bytes < this.#memory.growthReserve()) return -1
    return blocks.tryAllocate(bytes)
  }

  #idOf(slot: number): number {
    this.#entry.read(this.#memory.buffer, this.#int(slot, BLOCK))
    return this.#entry.idStart
  }

  #compare(one: number, other: number): number {
    return this.dueOf(one) - this.dueOf(other) || this.orderOf(one) - this.orderOf(other)
  }

  #numberOf(slot: number): number {
    return (slot - this.#base) / DELAYED_SLOT_BYTES
  }

  #int(slot: number, field: number): number {
    return this.#memory.ints[(slot >> 2) + field] as number
  }

  #float(slot: number, field: number): number {
    return this.#memory.floats[(slot >> 3) + field] as number
  }

  #setState(slot: number, state: number): void {
    Atomics.store(this.#memory.ints, (slot >> 2) + STATE, state)
  }
}

/** The block for an entry made of a message of so many bytes. */
function blockBytesFor(messageBytes: number): number {
  const needed = HEADER_BYTES + messageBytes + ID_BYTES + 4
  return Math.max(BLOCK_BYTES_MIN, 2 ** Math.ceil(Math.log2(needed)))
}
