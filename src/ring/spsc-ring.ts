/**
 * A ring of variable-length records between two threads: one produces, one consumes, nobody locks.
 * Runs on: RingProducer on one thread, RingConsumer on another. Owns: one region of shared memory,
 * see layout.ts for who writes which word.
 *
 * Invariant: 0 <= ((tail - head) | 0) <= capacity. Positions wrap on purpose and are compared by
 * difference only; capacity is a power of two of at most 2³⁰, so the difference never wraps. 64-bit
 * positions were rejected: BigInt64Array hands every read a BigInt.
 *
 * A record never crosses the end of the ring: the producer pads up to the wrap and starts again.
 * So a record may need room for its own length twice; a record of at most half the ring always
 * fits in the end, and a larger one is refused up front instead of waiting for ever.
 */
import assert from 'node:assert'
import {
  align,
  HEAD_OFFSET,
  RECORD_ALIGNMENT,
  RECORD_HEADER_BYTES,
  RECORDS_OFFSET,
  type SharedViews,
  TAIL_OFFSET,
} from './layout.js'

/** tryClaim() found no room now. Try again when the consumer has released some. */
export const BACK_PRESSURED = -1
/** tryClaim() was asked for more than half the ring: there will never be room. */
export const TOO_LARGE = -2

export const CAPACITY_MAX = 2 ** 30

/** The largest payload that a ring of this capacity takes. */
export function maxRecordLength(capacity: number): number {
  return capacity / 2 - RECORD_HEADER_BYTES
}

export class RingProducer {
  readonly maxLength: number
  readonly #ints: Int32Array
  readonly #tailIndex: number
  readonly #headIndex: number
  readonly #records: number
  readonly #capacity: number
  readonly #mask: number
  /** Our own position: what we wrote, published or not. */
  #tail: number
  /** The consumer's position when we last looked. */
  #headSeen: number
  #claimed = 0

  constructor(views: SharedViews, base: number, capacity: number) {
    assertCapacity(base, capacity)
    this.#ints = views.ints
    this.#tailIndex = (base + TAIL_OFFSET) >> 2
    this.#headIndex = (base + HEAD_OFFSET) >> 2
    this.#records = base + RECORDS_OFFSET
    this.#capacity = capacity
    this.#mask = capacity - 1
    this.maxLength = maxRecordLength(capacity)
    this.#tail = Atomics.load(views.ints, this.#tailIndex)
    this.#headSeen = Atomics.load(views.ints, this.#headIndex)
  }

  /** Position after everything committed so far, published or not. */
  get tail(): number {
    return this.#tail
  }

  /**
   * Makes room for one record of up to `length` bytes.
   * Returns the byte offset in shared memory where its payload begins, aligned to 8, or
   * BACK_PRESSURED or TOO_LARGE; those change nothing. Write there, then commit().
   */
  tryClaim(length: number): number {
    if (length > this.maxLength) return TOO_LARGE
    const capacity = this.#capacity
    const needed = align(RECORD_HEADER_BYTES + length, RECORD_ALIGNMENT)
    let index = this.#tail & this.#mask
    const toEnd = capacity - index
    const padding = needed > toEnd ? toEnd : 0

    if (capacity - ((this.#tail - this.#headSeen) | 0) < needed + padding) {
      // Full as far as we last looked. Look again; pairs with the store in RingConsumer.release().
      this.#headSeen = Atomics.load(this.#ints, this.#headIndex)
      if (capacity - ((this.#tail - this.#headSeen) | 0) < needed + padding) return BACK_PRESSURED
    }

    if (padding > 0) {
      this.#ints[(this.#records + index) >> 2] = -padding // Plain: nobody reads past tail.
      this.#tail = (this.#tail + padding) | 0
      index = 0
    }
    this.#claimed = needed
    return this.#records + index + RECORD_HEADER_BYTES
  }

  /** Ends the record begun by tryClaim(); `length` may be less than what was claimed. */
  commit(kind: number, length: number): void {
    const needed = align(RECORD_HEADER_BYTES + length, RECORD_ALIGNMENT)
    if (needed > this.#claimed) throw new RangeError(`length=${length}, claimed=${this.#claimed}`)
    this.#claimed = 0
    const word = (this.#records + (this.#tail & this.#mask)) >> 2
    this.#ints[word] = RECORD_HEADER_BYTES + length
    this.#ints[word + 1] = kind
    this.#tail = (this.#tail + needed) | 0
  }

  /** Shows everything committed to the consumer. */
  publish(): void {
    Atomics.store(this.#ints, this.#tailIndex, this.#tail) // Pairs with the load in RingConsumer.next().
  }

  /** Bytes that may be claimed and committed now, headers and padding included. */
  room(): number {
    // Pairs with the store in RingConsumer.release().
    this.#headSeen = Atomics.load(this.#ints, this.#headIndex)
    return this.#capacity - ((this.#tail - this.#headSeen) | 0)
  }

  /** Bytes published and not yet released by the consumer. */
  unread(): number {
    return (Atomics.load(this.#ints, this.#tailIndex) - this.consumed()) | 0
  }

  /** The consumer's position now: it moves when and only when the other thread is alive and working. */
  consumed(): number {
    return Atomics.load(this.#ints, this.#headIndex)
  }

  /** True when the consumer has released everything that was published. */
  isEmpty(): boolean {
    return Atomics.load(this.#ints, this.#headIndex) === Atomics.load(this.#ints, this.#tailIndex)
  }
}

export class RingConsumer {
  /** Kind of the record that next() found. */
  kind = 0
  /** Byte offset in shared memory of its payload, and where the payload ends. */
  start = 0
  end = 0
  readonly #ints: Int32Array
  readonly #tailIndex: number
  readonly #headIndex: number
  readonly #records: number
  readonly #mask: number
  /** What we have read, released or not. */
  #position: number
  /** Where the record that next() found began. */
  #recordPosition: number
  #tailSeen: number

  constructor(views: SharedViews, base: number, capacity: number) {
    assertCapacity(base, capacity)
    this.#ints = views.ints
    this.#tailIndex = (base + TAIL_OFFSET) >> 2
    this.#headIndex = (base + HEAD_OFFSET) >> 2
    this.#records = base + RECORDS_OFFSET
    this.#mask = capacity - 1
    this.#position = Atomics.load(views.ints, this.#headIndex)
    this.#recordPosition = this.#position
    this.#tailSeen = this.#position
  }

  /** Position after the record that next() found last. */
  get position(): number {
    return this.#position
  }

  /** Position at which that record began; two records that are both unreleased never share it. */
  get recordPosition(): number {
    return this.#recordPosition
  }

  /**
   * Steps to the next record and fills kind, start and end. Returns false when there is none.
   * The bytes stay valid until release().
   */
  next(): boolean {
    for (;;) {
      if (this.#position === this.#tailSeen) {
        // Pairs with the store in RingProducer.publish().
        this.#tailSeen = Atomics.load(this.#ints, this.#tailIndex)
        if (this.#position === this.#tailSeen) return false
      }
      const offset = this.#records + (this.#position & this.#mask)
      const length = this.#ints[offset >> 2] as number
      if (length < 0) {
        this.#position = (this.#position - length) | 0 // Padding up to the wrap.
        continue
      }
      this.#recordPosition = this.#position
      this.kind = this.#ints[(offset >> 2) + 1] as number
      this.start = offset + RECORD_HEADER_BYTES
      this.end = offset + length
      this.#position = (this.#position + align(length, RECORD_ALIGNMENT)) | 0
      return true
    }
  }

  /** Goes back to the record that next() found, so that it is found again. */
  putBack(): void {
    this.#position = this.#recordPosition
  }

  /** Gives everything read so far back to the producer. */
  release(): void {
    Atomics.store(this.#ints, this.#headIndex, this.#position) // Pairs with tryClaim() and room().
  }

  /** True when there is nothing to read now. */
  isEmpty(): boolean {
    return this.#position === Atomics.load(this.#ints, this.#tailIndex)
  }

  /** Bytes published and not yet read. */
  unread(): number {
    return (Atomics.load(this.#ints, this.#tailIndex) - this.#position) | 0
  }
}

/** Moves both positions of a ring, when a successor finishes what its predecessor had begun. */
export function setTail(views: SharedViews, base: number, tail: number): void {
  Atomics.store(views.ints, (base + TAIL_OFFSET) >> 2, tail)
}

export function setHead(views: SharedViews, base: number, head: number): void {
  Atomics.store(views.ints, (base + HEAD_OFFSET) >> 2, head)
}

function assertCapacity(base: number, capacity: number): void {
  const isPowerOfTwo = capacity > 0 && (capacity & (capacity - 1)) === 0
  assert(isPowerOfTwo && capacity <= CAPACITY_MAX, `capacity=${capacity} is not a power of two`)
  assert(base % RECORD_ALIGNMENT === 0, `base=${base} is not aligned to ${RECORD_ALIGNMENT}`)
}
