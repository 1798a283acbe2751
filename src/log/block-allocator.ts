/**
 * Power-of-two blocks out of one region of shared memory (a buddy allocator).
 * Runs on: the shard that owns the region. Owns: the free lists, which live on the private heap:
 * a successor rebuilds them from the topic directory (reserve() for every block in use), so there
 * is no shared state that a dying thread could leave half written.
 */
import assert from 'node:assert'

export const BLOCK_BYTES_MIN = 1024
const ORDER_MIN = 10

export class BlockAllocator {
  readonly #base: number
  readonly #bytes: number
  readonly #orderMax: number
  /** Free blocks per order, as offsets from the base. */
  readonly #free: Set<number>[] = []
  #freeBytes = 0

  /** The region [base, base + bytes); bytes beyond the last whole BLOCK_BYTES_MIN are not used. */
  constructor(base: number, bytes: number) {
    this.#base = base
    this.#bytes = bytes - (bytes % BLOCK_BYTES_MIN)
    this.#orderMax = Math.floor(Math.log2(this.#bytes))
    for (let order = 0; order <= this.#orderMax; order++) this.#free.push(new Set())
    // A region that is not a power of two is a run of ever smaller blocks, each on its own boundary.
    let offset = 0
    for (let order = this.#orderMax; order >= ORDER_MIN; order--) {
      if (this.#bytes - offset < 2 ** order) continue
      this.#listOf(order).add(offset)
      offset += 2 ** order
    }
    this.#freeBytes = this.#bytes
  }

  get freeBytes(): number {
    return this.#freeBytes
  }

  get totalBytes(): number {
    return this.#bytes
  }

  /**
   * Byte offset in shared memory of a block of `bytes` (a power of two), or -1 when none is free.
   * If there is one, it is the beginning of a free block of `roomBytes`, so that tryExtend() works
   * until it is that large; else of the largest one.
   */
  tryAllocate(bytes: number, roomBytes: number = bytes): number {
    const order = orderOf(bytes)
    const from = this.#findFree(order, orderOf(roomBytes))
    if (from < 0) return -1
    const [offset] = this.#listOf(from)
    assert(offset !== undefined)
    this.#listOf(from).delete(offset)
    for (let split = from - 1; split >= order; split--) this.#listOf(split).add(offset + 2 ** split)
    this.#freeBytes -= bytes
    return this.#base + offset
  }

  /** Makes a block twice as large where it stands; false when what is behind it is not free. */
  tryExtend(address: number, bytes: number): boolean {
    const offset = address - this.#base
    const buddy = offset + bytes
    const isLowerHalf = offset % (2 * bytes) === 0
    if (!isLowerHalf || !this.#listOf(orderOf(bytes)).delete(buddy)) return false
    this.#freeBytes -= bytes
    return true
  }

  free(address: number, bytes: number): void {
    let offset = address - this.#base
    let order = orderOf(bytes)
    assert(offset >= 0 && offset + bytes <= this.#bytes, `address=${address} is not ours`)
    while (order < this.#orderMax) {
      const buddy = offset ^ (2 ** order)
      if (!this.#listOf(order).delete(buddy)) break
      offset = Math.min(offset, buddy)
      order++
    }
    this.#listOf(order).add(offset)
    this.#freeBytes += bytes
  }

  /** Takes one particular block that a predecessor had allocated. */
  reserve(address: number, bytes: number): void {
    const offset = address - this.#base
    const order = orderOf(bytes)
    // The free block that holds it is the one of some higher order whose start is offset rounded down.
    for (let from = order; from <= this.#orderMax; from++) {
      let start = offset - (offset % 2 ** from)
      if (!this.#listOf(from).delete(start)) continue
      for (let split = from - 1; split >= order; split--) {
        const half = start + 2 ** split
        this.#listOf(split).add(offset >= half ? start : half)
        if (offset >= half) start = half
      }
      this.#freeBytes -= bytes
      return
    }
    assert.fail(`address=${address}, bytes=${bytes}: this block is in use twice`)
  }

  /** The smallest order of `room` and above that has a free block, else the largest down to `order`. */
  #findFree(order: number, room: number): number {
    for (let from = room; from <= this.#orderMax; from++) {
      if (this.#listOf(from).size > 0) return from
    }
    for (let from = Math.min(room - 1, this.#orderMax); from >= order; from--) {
      if (this.#listOf(from).size > 0) return from
    }
    return -1
  }

  #listOf(order: number): Set<number> {
    return this.#free[order] as Set<number>
  }
}

function orderOf(bytes: number): number {
  const order = Math.log2(bytes)
  assert(Number.isInteger(order) && order >= ORDER_MIN, `bytes=${bytes} is not a block size`)
  return order
}
