/**
 * The entries that a group has taken and not settled: which seq, who has it, how often, until when.
 * Runs on: the shard. Owns: one block of shared memory, a table of slots in any order, and a private
 * index from seq to slot.
 *
 *   slot  offset  field    type  meaning
 *         0       seq      f64   0: free; stored last when an entry is taken, first when it is settled
 *         8       dueMs    f64   in flight: the deadline of its ack; waiting, doomed: when it may go again
 *         16      member   i32   who has it, or had it last
 *         20      progress i32   how often it was delivered × 16 + the number of the reason × 4 (doomed only)
 *                                + IN_FLIGHT, WAITING, QUEUED or DOOMED: one store
 *         24      bytes    i32   of the entry; counts against its member while in flight
 *         28      batch    i32   the batch in which it was delivered last
 *         32      key      i32   hash of its key, 0: none; so its line is known though the log has dropped it
 *
 * So a group costs memory by what is under way, not by the distance between its oldest and newest
 * entry: one message that fails for hours holds one slot and stalls nobody. Everything below the
 * group's cursor that is not in the table is settled.
 */
import type { LogMemory } from '../log/topic-log.js'
import type { SharedViews } from '../ring/layout.js'
import * as layout from './layout.js'

const SLOT_BYTES = 40
const TABLE_BYTES_MIN = 1024

const SEQ = 0
const DUE = 1
const MEMBER = 4
const PROGRESS = 5
const BYTES = 6
const BATCH = 7
const KEY = 8
/** One attempt more, in PROGRESS; what is below is the reason, and below that the state. */
const ATTEMPT_STEP = 16
const REASON_STEP = 4

/** It is given up, and waits for room with the dead letters. */
export const DOOMED = 0
/** A member has it. */
export const IN_FLIGHT = 1
/** It was given back, or its deadline passed; it goes again at dueMs. */
export const WAITING = 2
/** Taken from the log and not delivered yet, or released: it goes now. */
export const QUEUED = 3

/** Settles a slot of the table that the group's slot describes, unless it holds another seq by now. */
export function settleInTable(
  { ints, floats }: SharedViews,
  groupOffset: number,
  slot: number,
  seq: number,
): void {
  const which = ints[(groupOffset + layout.TABLE) >> 2] as number
  const descriptor = (groupOffset + layout.TABLES + which * layout.TABLE_DESCRIPTOR_BYTES) >> 2
  const field = ((ints[descriptor] as number) + slot * SLOT_BYTES) >> 3
  if (floats[field + SEQ] === seq) floats[field + SEQ] = 0
}

export class Outstanding {
  readonly #memory: LogMemory
  readonly #group: number
  readonly #slots = new Map<number, number>()
  #free: number[] = []
  #address = 0
  #capacity = 0
  /** Slots from here on were never used. */
  #fresh = 0

  /** Takes over what the group's slot describes; see tryCreate() for a new one. */
  constructor(memory: LogMemory, groupOffset: number) {
    this.#memory = memory
    this.#group = groupOffset
    this.#readDescriptor()
    for (let slot = this.#capacity - 1; slot >= 0; slot--) {
      const seq = this.seqAt(slot)
      if (seq === 0) this.#free.push(slot)
      else this.#slots.set(seq, slot)
    }
    this.#fresh = this.#capacity
  }

  /** Gives a group's slot its first table. False when the memory is used up. */
  static tryCreate(memory: LogMemory, groupOffset: number): boolean {
    const address = memory.blocks.tryAllocate(TABLE_BYTES_MIN)
    if (address < 0) return false
    memory.bytes.fill(0, address, address + TABLE_BYTES_MIN)
    memory.ints[(groupOffset + layout.TABLE) >> 2] = 0
    memory.ints.set([address, TABLE_BYTES_MIN], (groupOffset + layout.TABLES) >> 2)
    return true
  }

  get size(): number {
    return this.#slots.size
  }

  get blockBytes(): number {
    return this.#memory.ints[this.#descriptor() + 1] as number
  }

  /** The slot of this seq, or undefined when it is not outstanding. */
  find(seq: number): number | undefined {
    return this.#slots.get(seq)
  }

  /** All [seq, slot], in any order; settling the one at hand is fine. */
  entries(): IterableIterator<[number, number]> {
    return this.#slots.entries()
  }

  /** The lowest seq that is outstanding, or undefined. */
  lowest(): number | undefined {
    let lowest: number | undefined
    for (const seq of this.#slots.keys()) if (lowest === undefined || seq < lowest) lowest = seq
    return lowest
  }

  /** Takes an entry. Returns its slot, or -1 when there is no memory for it. */
  tryAdd(seq: number, state: number, bytes: number, key: number): number {
    let slot = this.#free.pop()
    if (slot === undefined) {
      if (this.#fresh === this.#capacity && !this.#tryGrow()) return -1
      slot = this.#fresh++
    }
    const { ints, floats } = this.#memory
    const field = this.#field(slot)
    ints[field + MEMBER] = 0
    ints[field + PROGRESS] = state
    ints[field + BYTES] = bytes
    ints[field + BATCH] = 0
    ints[field + KEY] = key
    floats[(field >> 1) + DUE] = 0
    floats[(field >> 1) + SEQ] = seq
    this.#slots.set(seq, slot)
    return slot
  }

  settle(seq: number, slot: number): void {
    this.#memory.floats[(this.#field(slot) >> 1) + SEQ] = 0
    this.#slots.delete(seq)
    this.#free.push(slot)
  }

  /** Marks it as delivered once more: member, deadline and batch. */
  deliver(slot: number, member: number, dueMs: number, batch: number): void {
    const { ints, floats } = this.#memory
    const field = this.#field(slot)
    ints[field + BATCH] = batch // First: what is not committed with that batch, a successor undoes.
    ints[field + MEMBER] = member
    floats[(field >> 1) + DUE] = dueMs
    const attempt = this.attempt(slot) + 1
    ints[field + PROGRESS] = attempt * ATTEMPT_STEP + IN_FLIGHT
  }

  /** Takes back a delivery, begun or done, that was never sent. */
  undeliver(slot: number): void {
    const { ints, floats } = this.#memory
    const field = this.#field(slot)
    const wasBegun = this.state(slot) === IN_FLIGHT
    const attempt = this.attempt(slot) - (wasBegun ? 1 : 0)
    floats[(field >> 1) + DUE] = 0
    ints[field + PROGRESS] = attempt * ATTEMPT_STEP + (attempt > 0 ? WAITING : QUEUED)
    ints[field + BATCH] = 0
  }

  /** Takes back a delivery that its member never looked at: the attempt does not count. */
  release(slot: number): void {
    // One store, and QUEUED whatever its attempts: then nobody asks for dueMs, which is still its deadline.
    const attempt = this.attempt(slot) - 1
    this.#memory.ints[this.#field(slot) + PROGRESS] = attempt * ATTEMPT_STEP + QUEUED
  }

  /** It goes again from `dueMs` on. */
  wait(slot: number, dueMs: number): void {
    const field = this.#field(slot)
    this.#memory.floats[(field >> 1) + DUE] = dueMs
    this.#memory.ints[field + PROGRESS] = this.attempt(slot) * ATTEMPT_STEP + WAITING
  }

  /** It is given up for the reason of that number, and its copy is tried again at `dueMs`. */
  doom(slot: number, dueMs: number, reason: number): void {
    const { ints, floats } = this.#memory
    const field = this.#field(slot)
    floats[(field >> 1) + DUE] = dueMs
    // From here on it is never sent.
    ints[field + PROGRESS] = this.attempt(slot) * ATTEMPT_STEP + reason * REASON_STEP + DOOMED
  }

  /** The number of the reason; of a doomed one only. */
  doomedFor(slot: number): number {
    return (
      ((this.#memory.ints[this.#field(slot) + PROGRESS] as number) % ATTEMPT_STEP) / REASON_STEP
    )
  }

  extend(slot: number, dueMs: number): void {
    this.#memory.floats[(this.#field(slot) >> 1) + DUE] = dueMs
  }

  seqAt(slot: number): number {
    return this.#memory.floats[(this.#field(slot) >> 1) + SEQ] as number
  }

  dueMs(slot: number): number {
    return this.#memory.floats[(this.#field(slot) >> 1) + DUE] as number
  }

  member(slot: number): number {
    return this.#memory.ints[this.#field(slot) + MEMBER] as number
  }

  attempt(slot: number): number {
    return Math.floor((this.#memory.ints[this.#field(slot) + PROGRESS] as number) / ATTEMPT_STEP)
  }

  state(slot: number): number {
    return (this.#memory.ints[this.#field(slot) + PROGRESS] as number) & (REASON_STEP - 1)
  }

  bytes(slot: number): number {
    return this.#memory.ints[this.#field(slot) + BYTES] as number
  }

  /** Hash of its key, or 0. */
  key(slot: number): number {
    return this.#memory.ints[this.#field(slot) + KEY] as number
  }

  batch(slot: number): number {
    return this.#memory.ints[this.#field(slot) + BATCH] as number
  }

  /** Gives the block back. The table is not used after this. */
  free(): void {
    this.#memory.blocks.free(this.#address, this.blockBytes)
  }

  /** A table of twice the size; one store makes it the one that holds. */
  #tryGrow(): boolean {
    const { blocks, bytes, ints } = this.#memory
    const old = this.blockBytes
    if (blocks.freeBytes - old * 2 < this.#memory.growthReserve()) return false
    const address = blocks.tryAllocate(old * 2)
    if (address < 0) return false
    bytes.copyWithin(address, this.#address, this.#address + old)
    bytes.fill(0, address + this.#capacity * SLOT_BYTES, address + old * 2)
    const other = 1 - (ints[(this.#group + layout.TABLE) >> 2] as number)
    const at = (this.#group + layout.TABLES + other * layout.TABLE_DESCRIPTOR_BYTES) >> 2
    ints.set([address, old * 2], at)
    ints[(this.#group + layout.TABLE) >> 2] = other
    blocks.free(this.#address, old)
    this.#readDescriptor()
    return true
  }

  #field(slot: number): number {
    return (this.#address + slot * SLOT_BYTES) >> 2
  }

  #descriptor(): number {
    const which = this.#memory.ints[(this.#group + layout.TABLE) >> 2] as number
    return (this.#group + layout.TABLES + which * layout.TABLE_DESCRIPTOR_BYTES) >> 2
  }

  #readDescriptor(): void {
    this.#address = this.#memory.ints[this.#descriptor()] as number
    this.#capacity = Math.floor(this.blockBytes / SLOT_BYTES)
  }
}
