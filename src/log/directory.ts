/**
 * The table of a shard's topics in shared memory: which slots are in use, by what name and epoch.
 * Runs on: the shard. Owns: `slots` × SLOT_BYTES of shared memory (slot.ts has the fields).
 *
 * A successor walks it once to find every topic again. Which slots are free is private state.
 */

import * as slot from './slot.js'
import type { LogMemory } from './topic-log.js'

export class TopicDirectory {
  readonly #memory: LogMemory
  readonly #base: number
  readonly #slots: number
  readonly #free: number[] = []
  /** Slots from here on were never used. */
  #fresh = 0

  constructor(memory: LogMemory, base: number, slots: number) {
    this.#memory = memory
    this.#base = base
    this.#slots = slots
  }

  /** Offsets of the slots in use, found by a walk over shared memory; once, when a shard starts. */
  scan(): number[] {
    const used: number[] = []
    this.#free.length = 0
    this.#fresh = 0
    for (let number = 0; number < this.#slots; number++) {
      const offset = this.#base + number * slot.SLOT_BYTES
      // topicId stays behind in a freed slot, so the first slot without one was never used.
      if (this.#memory.ints[(offset + slot.TOPIC_ID) >> 2] === 0) break
      this.#fresh = number + 1
      if (this.#memory.ints[(offset + slot.STATE) >> 2] === slot.SLOT_USED) used.push(offset)
      else this.#free.push(offset)
    }
    return used
  }

  /** Writes a topic's identity to a free slot and returns its offset, or -1 when all are taken. */
  tryTake(topicId: number, name: Uint8Array, epoch: string): number {
    let offset = this.#free.pop()
    if (offset === undefined) {
      if (this.#fresh === this.#slots) return -1
      offset = this.#base + this.#fresh * slot.SLOT_BYTES
      this.#fresh++
    }
    const { ints, bytes, buffer } = this.#memory
    ints[(offset + slot.TOPIC_ID) >> 2] = topicId
    ints[(offset + slot.NAME_BYTES) >> 2] = name.length
    ints[(offset + slot.PLAIN_FORMATS) >> 2] = 0
    ints[(offset + slot.FEATURES) >> 2] = 0
    ints.fill(0, (offset + slot.OPTIONS) >> 2, (offset + slot.SLOT_BYTES) >> 2)
    this.#memory.floats[(offset + slot.EXPIRED_DUE_MS) >> 3] = 0
    this.#memory.floats[(offset + slot.EXPIRED_SEQ) >> 3] = 0
    bytes.set(name, offset + slot.NAME)
    buffer.latin1Write(epoch, offset + slot.EPOCH, slot.EPOCH_BYTES)
    return offset
  }

  /** The topic exists from here on. */
  activate(offset: number): void {
    Atomics.store(this.#memory.ints, (offset + slot.STATE) >> 2, slot.SLOT_USED)
  }

  /** Gives a slot back, activated or not. */
  release(offset: number): void {
    Atomics.store(this.#memory.ints, (offset + slot.STATE) >> 2, slot.SLOT_FREE)
    this.#free.push(offset)
  }

  topicId(offset: number): number {
    return this.#memory.ints[(offset + slot.TOPIC_ID) >> 2] as number
  }

  epoch(offset: number): string {
    const start = offset + slot.EPOCH
    return this.#memory.buffer.latin1Slice(start, start + slot.EPOCH_BYTES)
  }

  /** A private copy of the name's bytes. */
  name(offset: number): Buffer {
    const length = this.#memory.ints[(offset + slot.NAME_BYTES) >> 2] as number
    const start = offset + slot.NAME
    return Buffer.from(this.#memory.bytes.slice(start, start + length).buffer)
  }

  plainFormats(offset: number): number {
    return this.#memory.ints[(offset + slot.PLAIN_FORMATS) >> 2] as number
  }

  setPlainFormats(offset: number, formats: number): void {
    this.#memory.ints[(offset + slot.PLAIN_FORMATS) >> 2] = formats
  }

  /** FEATURE_* bits of slot.ts. */
  features(offset: number): number {
    return this.#memory.ints[(offset + slot.FEATURES) >> 2] as number
  }

  setFeatures(offset: number, features: number): void {
    this.#memory.ints[(offset + slot.FEATURES) >> 2] = features
  }

  routedSeq(offset: number): number {
    return this.#memory.floats[(offset + slot.ROUTED_SEQ) >> 3] as number
  }

  setRoutedSeq(offset: number, seq: number): void {
    this.#memory.floats[(offset + slot.ROUTED_SEQ) >> 3] = seq
  }

  /** Option number `index` as a request gave it; undefined: none did. */
  option(offset: number, index: number): number | undefined {
    const value = this.#memory.ints[((offset + slot.OPTIONS) >> 2) + index] as number
    return value === 0 ? undefined : value - 1
  }

  setOption(offset: number, index: number, value: number): void {
    this.#memory.ints[((offset + slot.OPTIONS) >> 2) + index] = value + 1
  }

  /** Blocks that the slot's log holds, for the allocator of a successor. */
  blocks(offset: number): { address: number; bytes: number }[] {
    const { ints } = this.#memory
    const which = ints[(offset + slot.DESCRIPTOR) >> 2] as number
    const descriptor = (offset + slot.DESCRIPTORS + which * slot.DESCRIPTOR_BYTES) >> 2
    const field = (step: number) => ints[descriptor + step] as number
    return [
      { address: field(slot.DATA_OFFSET), bytes: field(slot.DATA_BYTES) },
      { address: field(slot.INDEX_OFFSET), bytes: field(slot.INDEX_SLOTS) * 4 },
    ]
  }
}
