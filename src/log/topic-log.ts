/**
 * One topic's entries: a ring of bytes with an index from seq to position, in shared memory.
 * Runs on: the shard that owns the topic. Owns: one directory slot, one data block, one index block.
 *
 *   index   slot = seq & (indexSlots - 1)  →  position of the entry, int32, wraps
 *   data    │ … │ entry │ entry │ pad │      entries back to back, so a run of them is one slice
 *           0                   └ padStart: an entry never crosses the end, it starts again at 0
 *
 * Appending has two phases. prepare() makes room and reserves, the caller writes entries past the
 * tail where no reader looks, and commit() moves tail and lastSeq. What dies between the two was
 * never there. The log is bounded by count, by bytes and by age; what is over a bound goes from the
 * old end. It starts at DATA_BYTES_MIN and doubles while entries would otherwise be lost too early:
 * in place if the memory behind it is free, since copying 8 MiB to fresh memory takes 4 ms, in which
 * no topic of the shard moves. Blocks of ROOMY_BYTES_MIN and above are placed where there is room for that.
 */
import assert from 'node:assert'
import type { SharedViews } from '../ring/layout.js'
import type { BlockAllocator } from './block-allocator.js'
import { entryTimeMs } from './entry.js'
import * as slot from './slot.js'

export const DATA_BYTES_MIN = 4096
export const INDEX_SLOTS_MIN = 256

/** Copying less takes so little (0.3 ms) that small logs need not be spread over the memory. */
export const ROOMY_BYTES_MIN = 1024 * 1024

/** prepare() was asked for more than the retention can ever hold. */
export const OVER_RETENTION = -1
/** prepare() found no log memory for it now. */
export const NO_LOG_MEMORY = -2

/** The three bounds of a log. */
export interface Retention {
  /** Entries held at most. */
  readonly count: number
  /** Bytes of entries held at most; a power of two. */
  readonly bytes: number
  /** Entries older than this many ms are dropped; 0: no bound. */
  readonly ageMs: number
}

/** What a log stands on: the shared bytes, and where blocks come from. */
export interface LogMemory extends SharedViews {
  readonly blocks: BlockAllocator
  /** Free bytes that growth must leave, so that topics yet to come find their first block. */
  growthReserve(): number
}

export class TopicLog {
  readonly #memory: LogMemory
  readonly #slot: number
  #retention: Retention
  #data = 0
  #dataBytes = 0
  #index = 0
  #indexMask = 0
  /** Position of the oldest entry, behind the newest, and where padding begins at the last wrap. */
  #head = 0
  #tail = 0
  #padStart = 0
  #firstSeq = 1
  #lastSeq = 0
  #lastTimeMs = 0
  /** What prepare() promised and commit() will make true. */
  #nextTail = 0
  #nextPadStart = 0

  /** Takes over the log that the slot describes; see create() for a new one. */
  constructor(memory: LogMemory, slotOffset: number, retention: Retention) {
    this.#memory = memory
    this.#slot = slotOffset
    this.#retention = retention
    this.#readDescriptor()
    this.#lastSeq = memory.floats[(slotOffset + slot.LAST_SEQ) >> 3] as number
    this.#firstSeq = memory.floats[(slotOffset + slot.FIRST_SEQ) >> 3] as number
    this.#lastTimeMs = memory.floats[(slotOffset + slot.LAST_TIME_MS) >> 3] as number
    this.#head = this.#firstSeq > this.#lastSeq ? this.#tail : this.#positionOf(this.#firstSeq)
  }

  get retention(): Retention {
    return this.#retention
  }

  /** Other bounds from here on. Blocks stay as they are; what is over a bound goes with the next append. */
  setRetention(retention: Retention): void {
    this.#retention = retention
  }

  /** Gives a slot its first blocks and an empty log. False when the log memory is used up. */
  static tryCreate(memory: LogMemory, slotOffset: number): boolean {
    const data = memory.blocks.tryAllocate(DATA_BYTES_MIN)
    if (data < 0) return false
    const index = memory.blocks.tryAllocate(INDEX_SLOTS_MIN * 4)
    if (index < 0) {
      memory.blocks.free(data, DATA_BYTES_MIN)
      return false
    }
    const descriptor = (slotOffset + slot.DESCRIPTORS) >> 2
    memory.ints[(slotOffset + slot.DESCRIPTOR) >> 2] = 0
    memory.ints.set([data, DATA_BYTES_MIN, index, INDEX_SLOTS_MIN, 0, 0], descriptor)
    memory.floats[(slotOffset + slot.LAST_SEQ) >> 3] = 0
    memory.floats[(slotOffset + slot.FIRST_SEQ) >> 3] = 1
    memory.floats[(slotOffset + slot.LAST_TIME_MS) >> 3] = 0
    return true
  }

  /** Oldest seq held; lastSeq + 1 when the log is empty. */
  get firstSeq(): number {
    return this.#firstSeq
  }

  /** Newest seq ever appended, 0 before the first. */
  get lastSeq(): number {
    return this.#lastSeq
  }

  get lastTimeMs(): number {
    return this.#lastTimeMs
  }

  get count(): number {
    return this.#lastSeq - this.#firstSeq + 1
  }

  /** Bytes between the oldest and the newest entry. */
  get bytes(): number {
    return (this.#tail - this.#head) | 0
  }

  /** Bytes of shared memory that the log holds at present. */
  get blockBytes(): number {
    return this.#dataBytes + (this.#indexMask + 1) * 4
  }

  /**
   * First phase: makes room for `count` entries of `bytes` in all, dropping the oldest if it must.
   * Returns the byte offset in shared memory where they go, or OVER_RETENTION or NO_LOG_MEMORY;
   * those change nothing.
   */
  prepare(count: number, bytes: number): number {
    if (bytes > this.#retention.bytes || count > this.#retention.count) return OVER_RETENTION
    if (!this.#makeRoom(count, bytes)) return NO_LOG_MEMORY
    let start = this.#tail
    const index = start & (this.#dataBytes - 1)
    // At the very start of a lap nothing was padded; say so, or a mark 2³² bytes old would count.
    this.#nextPadStart = index === 0 ? start : this.#padStart
    if (index + bytes > this.#dataBytes) {
      this.#nextPadStart = start
      start = (start + this.#dataBytes - index) | 0
    }
    this.#nextTail = (start + bytes) | 0
    return this.#data + (start & (this.#dataBytes - 1))
  }

  /** Gives back what prepare() reserved beyond the first `bytes`. */
  trim(reserved: number, bytes: number): void {
    this.#nextTail = (this.#nextTail - reserved + bytes) | 0
  }

  /** Notes where the entry with this seq stands; between prepare() and commit(). */
  indexEntry(seq: number, offset: number): void {
    const lap = (this.#nextTail - 1) & -this.#dataBytes // The lap that the new entries are in.
    this.#memory.ints[(this.#index >> 2) + (seq & this.#indexMask)] = lap + (offset - this.#data)
  }

  /** What commit() is about to store; a journal keeps it so that a successor can do it again. */
  get preparedTail(): number {
    return this.#nextTail
  }

  get preparedPadStart(): number {
    return this.#nextPadStart
  }

  /** Second phase: the prepared entries, up to lastSeq, are in the log. Doing it twice is harmless. */
  commit(tail: number, padStart: number, lastSeq: number, timeMs: number): void {
    const { ints, floats } = this.#memory
    const descriptor = this.#descriptor()
    ints[descriptor + slot.TAIL] = tail
    ints[descriptor + slot.PAD_START] = padStart
    floats[(this.#slot + slot.LAST_TIME_MS) >> 3] = timeMs
    floats[(this.#slot + slot.LAST_SEQ) >> 3] = lastSeq
    if (this.#firstSeq > this.#lastSeq && lastSeq >= this.#firstSeq) {
      this.#head = this.#positionOf(this.#firstSeq)
    }
    this.#tail = tail
    this.#padStart = padStart
    this.#lastSeq = lastSeq
    this.#lastTimeMs = timeMs
  }

  /** Whether `seq` and all after it would still be held after appending this much to the blocks as they are. */
  keeps(seq: number, count: number, bytes: number): boolean {
    if (seq > this.#lastSeq) return true
    if (seq < this.#firstSeq) return false
    const entries = this.#lastSeq - seq + 1 + count
    if (entries > this.#retention.count || entries > this.#indexMask + 1) return false
    const index = this.#tail & (this.#dataBytes - 1)
    const padding = index + bytes > this.#dataBytes ? this.#dataBytes - index : 0
    return ((this.#tail - this.#positionOf(seq)) | 0) + padding + bytes <= this.#dataBytes
  }

  /** Byte offset in shared memory of the entry; the seq must be held. */
  offsetOf(seq: number): number {
    return this.#data + (this.#positionOf(seq) & (this.#dataBytes - 1))
  }

  /** Byte offset behind the entry. */
  endOf(seq: number): number {
    return this.#offsetOfEnd(this.#endPosition(seq))
  }

  /**
   * The last seq of the run that begins at `seq`, goes no further than `lastSeq`, stands in one
   * piece and is no longer than `maxBytes`; at least `seq` itself.
   */
  runFrom(seq: number, lastSeq: number, maxBytes: number): number {
    const start = this.#positionOf(seq)
    if (this.#isInRun(start, lastSeq, maxBytes)) return lastSeq
    let low = seq // Known to belong, even when it is over maxBytes.
    let high = lastSeq // Known not to.
    while (high - low > 1) {
      const middle = low + Math.floor((high - low) / 2)
      if (this.#isInRun(start, middle, maxBytes)) low = middle
      else high = middle
    }
    return low
  }

  /** The oldest seq held whose time is at or after `timeMs`; lastSeq + 1 when there is none. */
  seqSince(timeMs: number): number {
    let low = this.#firstSeq
    let high = this.#lastSeq + 1
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2)
      if (this.timeOf(middle) < timeMs) low = middle + 1
      else high = middle
    }
    return low
  }

  timeOf(seq: number): number {
    return entryTimeMs(this.#memory.buffer, this.offsetOf(seq))
  }

  /**
   * The newest seq that was dropped for want of room or age, before the oldest held: what was dropped
   * after it had expired, and nobody is to miss. 0 when nothing was lost.
   */
  get lostTo(): number {
    const { floats } = this.#memory
    const expiredTo = floats[(this.#slot + slot.EXPIRED_TO) >> 3] as number
    if (expiredTo === 0 || expiredTo + 1 !== this.#firstSeq) return this.#firstSeq - 1
    return (floats[(this.#slot + slot.EXPIRED_FROM) >> 3] as number) - 1
  }

  /** Drops what is older than `firstSeq`: all of it has expired. */
  dropExpired(firstSeq: number): void {
    const { floats } = this.#memory
    const from = (this.#slot + slot.EXPIRED_FROM) >> 3
    const to = (this.#slot + slot.EXPIRED_TO) >> 3
    if ((floats[to] as number) + 1 !== this.#firstSeq || floats[to] === 0) {
      floats[to] = 0 // A successor must not take the old end for that of the new run.
      floats[from] = this.#firstSeq
    }
    floats[to] = firstSeq - 1
    this.#evictTo(firstSeq)
  }

  /** Drops what is older than the retention allows. */
  evictExpired(nowMs: number): void {
    const { ageMs } = this.#retention
    if (ageMs === 0 || this.count === 0) return
    const keepFrom = this.seqSince(nowMs - ageMs)
    if (keepFrom > this.#firstSeq) this.#evictTo(keepFrom)
  }

  /** Drops everything up to this seq. */
  dropUpTo(seq: number): void {
    if (seq >= this.#firstSeq) this.#evictTo(Math.min(seq, this.#lastSeq) + 1)
  }

  /** Gives the blocks back. The log is not used after this. */
  free(): void {
    this.#memory.blocks.free(this.#data, this.#dataBytes)
    this.#memory.blocks.free(this.#index, (this.#indexMask + 1) * 4)
  }

  #makeRoom(count: number, bytes: number): boolean {
    if (bytes > this.#dataBytes || count > this.#indexMask + 1) {
      // Without larger blocks it cannot be stored at all, so this may use the growth reserve.
      if (
        !this.#tryResize(doubled(this.#dataBytes, bytes), doubled(this.#indexMask + 1, count), 0)
      ) {
        return false
      }
    }
    const overCount = this.count + count - this.#retention.count
    if (overCount > 0) this.#evictTo(this.#firstSeq + Math.min(overCount, this.count))
    if (!this.#hasRoom(bytes) || !this.#hasSlots(count)) this.#tryGrow(count, bytes)
    const bytesMax = this.#retention.bytes
    while (
      this.count > 0 &&
      (!this.#hasRoom(bytes) || !this.#hasSlots(count) || this.bytes + bytes > bytesMax)
    ) {
      this.#evictTo(this.#firstSeq + 1)
    }
    if (!this.#hasRoom(bytes)) this.#restartLap()
    // Not assert(): it would build its text for every append, 100 ns each.
    if (!this.#hasRoom(bytes)) assert.fail(`bytes=${bytes}, dataBytes=${this.#dataBytes}`)
    return true
  }

  /** Larger blocks for the sake of history, as far as bounds and memory allow. */
  #tryGrow(count: number, bytes: number): void {
    const indexSlots = doubled(this.#indexMask + 1, this.count + count)
    let dataBytes = this.#dataBytes
    // Padding can spoil a fit that looks exact, hence one step more than the sum.
    if (!this.#hasRoom(bytes)) dataBytes = doubled(dataBytes * 2, this.bytes + bytes)
    // Never smaller: the bound may have been lowered since.
    dataBytes = Math.max(this.#dataBytes, Math.min(dataBytes, this.#retention.bytes))
    if (dataBytes === this.#dataBytes && indexSlots === this.#indexMask + 1) return
    this.#tryResize(dataBytes, indexSlots, this.#memory.growthReserve())
  }

  /** An empty log may start a new lap, so that anything up to a whole block fits. */
  #restartLap(): void {
    this.#tail = ((this.#tail & -this.#dataBytes) + this.#dataBytes) | 0
    this.#head = this.#tail
    this.#padStart = this.#tail
  }

  #hasRoom(bytes: number): boolean {
    const index = this.#tail & (this.#dataBytes - 1)
    const padding = index + bytes > this.#dataBytes ? this.#dataBytes - index : 0
    return ((this.#tail - this.#head) | 0) + padding + bytes <= this.#dataBytes
  }

  #hasSlots(count: number): boolean {
    return this.count + count <= this.#indexMask + 1
  }

  /** Larger blocks for the entries; false, and nothing changed, when memory is short. */
  #tryResize(dataBytes: number, indexSlots: number, reserve: number): boolean {
    const { blocks } = this.#memory
    const isLarger = dataBytes !== this.#dataBytes
    const wanted = indexSlots * 4 + (isLarger ? dataBytes : 0)
    if (blocks.freeBytes - wanted < reserve) return false
    // First, or the new index might be what stands in the way.
    const isExtended = isLarger && this.#tryExtend(dataBytes)
    const index = blocks.tryAllocate(indexSlots * 4)
    if (index < 0) {
      if (isExtended) blocks.free(this.#data + this.#dataBytes, this.#dataBytes)
      return false
    }
    if (!isLarger || isExtended) {
      this.#copyIndex(index, indexSlots)
      this.#replaceBlocks(this.#data, dataBytes, index, indexSlots, this.#tail, this.#padStart)
      return true
    }
    const data = blocks.tryAllocate(dataBytes, this.#roomFor(dataBytes))
    if (data < 0) {
      blocks.free(index, indexSlots * 4)
      return false
    }
    const tail = this.#moveEntries(data, index, indexSlots)
    this.#replaceBlocks(data, dataBytes, index, indexSlots, tail, 0)
    this.#head = 0
    return true
  }

  /** While memory is plentiful a large block stands where it can grow as far as it may. */
  #roomFor(dataBytes: number): number {
    const { blocks } = this.#memory
    const isPlentiful = blocks.freeBytes * 2 >= blocks.totalBytes
    const isRoomy = dataBytes >= ROOMY_BYTES_MIN && isPlentiful
    return isRoomy ? Math.max(dataBytes, this.#retention.bytes) : dataBytes
  }

  /** Doubles the data block in place. Only where every entry stays at its position modulo the size. */
  #tryExtend(dataBytes: number): boolean {
    if (dataBytes !== this.#dataBytes * 2) return false
    const lap = this.#head & -this.#dataBytes
    const isOneLap = ((this.#tail - lap) | 0) <= this.#dataBytes
    const isLowerLap = (lap & this.#dataBytes) === 0
    return isOneLap && isLowerLap && this.#memory.blocks.tryExtend(this.#data, this.#dataBytes)
  }

  #copyIndex(index: number, indexSlots: number): void {
    const { ints } = this.#memory
    for (let seq = this.#firstSeq; seq <= this.#lastSeq; seq++) {
      ints[(index >> 2) + (seq & (indexSlots - 1))] = this.#positionOf(seq)
    }
  }

  /** Copies everything to the beginning of other blocks. Returns the position behind it. */
  #moveEntries(data: number, index: number, indexSlots: number): number {
    const { ints, bytes } = this.#memory
    let position = 0
    for (let seq = this.#firstSeq; seq <= this.#lastSeq; ) {
      const last = this.runFrom(seq, this.#lastSeq, this.#dataBytes)
      const from = this.offsetOf(seq)
      const length = (this.#endPosition(last) - this.#positionOf(seq)) | 0
      bytes.copyWithin(data + position, from, from + length)
      const shift = (position - this.#positionOf(seq)) | 0
      for (; seq <= last; seq++) {
        ints[(index >> 2) + (seq & (indexSlots - 1))] = (this.#positionOf(seq) + shift) | 0
      }
      position += length
    }
    return position
  }

  /** The new blocks hold from here on, and who dies before that has the old ones, unchanged. */
  #replaceBlocks(
    data: number,
    dataBytes: number,
    index: number,
    indexSlots: number,
    tail: number,
    padStart: number,
  ): void {
    const { blocks, ints } = this.#memory
    const [oldData, oldDataBytes] = [this.#data, this.#dataBytes]
    const [oldIndex, oldIndexBytes] = [this.#index, (this.#indexMask + 1) * 4]
    const other = 1 - (ints[(this.#slot + slot.DESCRIPTOR) >> 2] as number)
    const descriptor = (this.#slot + slot.DESCRIPTORS + other * slot.DESCRIPTOR_BYTES) >> 2
    ints.set([data, dataBytes, index, indexSlots, tail, padStart], descriptor)
    ints[(this.#slot + slot.DESCRIPTOR) >> 2] = other
    this.#readDescriptor()
    if (data !== oldData) blocks.free(oldData, oldDataBytes)
    blocks.free(oldIndex, oldIndexBytes)
  }

  /** Whether the entry ends in the lap of position `start`, at most `maxBytes` behind it. */
  #isInRun(start: number, seq: number, maxBytes: number): boolean {
    const lapEnd = ((start & -this.#dataBytes) + this.#dataBytes) | 0
    const isInLap = ((this.#positionOf(seq) - lapEnd) | 0) < 0
    return isInLap && ((this.#endPosition(seq) - start) | 0) <= maxBytes
  }

  #evictTo(firstSeq: number): void {
    this.#firstSeq = firstSeq
    this.#memory.floats[(this.#slot + slot.FIRST_SEQ) >> 3] = firstSeq
    this.#head = firstSeq > this.#lastSeq ? this.#tail : this.#positionOf(firstSeq)
  }

  #positionOf(seq: number): number {
    return this.#memory.ints[(this.#index >> 2) + (seq & this.#indexMask)] as number
  }

  #endPosition(seq: number): number {
    if (seq === this.#lastSeq) return this.#tail
    const next = this.#positionOf(seq + 1)
    return (next & (this.#dataBytes - 1)) === 0 ? this.#endBeforeLap(next) : next
  }

  /** Where the entry before a wrap ends: at the padding if there is any in that lap. */
  #endBeforeLap(lapStart: number): number {
    const distance = (lapStart - this.#padStart) | 0
    return distance > 0 && distance < this.#dataBytes ? this.#padStart : lapStart
  }

  #offsetOfEnd(position: number): number {
    return this.#data + ((position - 1) & (this.#dataBytes - 1)) + 1
  }

  #descriptor(): number {
    const which = this.#memory.ints[(this.#slot + slot.DESCRIPTOR) >> 2] as number
    return (this.#slot + slot.DESCRIPTORS + which * slot.DESCRIPTOR_BYTES) >> 2
  }

  #readDescriptor(): void {
    const { ints } = this.#memory
    const descriptor = this.#descriptor()
    this.#data = ints[descriptor + slot.DATA_OFFSET] as number
    this.#dataBytes = ints[descriptor + slot.DATA_BYTES] as number
    this.#index = ints[descriptor + slot.INDEX_OFFSET] as number
    this.#indexMask = (ints[descriptor + slot.INDEX_SLOTS] as number) - 1
    this.#tail = ints[descriptor + slot.TAIL] as number
    this.#padStart = ints[descriptor + slot.PAD_START] as number
  }
}

/** The smallest power of two times `from` that is at least `atLeast`. */
function doubled(from: number, atLeast: number): number {
  let value = from
  while (value < atLeast) value *= 2
  return value
}
