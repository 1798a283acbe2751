/**
 * Where a ring keeps its positions. Both threads compute the same offsets from the same base.
 *
 *   base ┌──────────────┬──────────────┬───────────────────────────────────────┐
 *        │ tail, 64 B   │ head, 64 B   │ records, `capacity` bytes             │
 *        └──────────────┴──────────────┴───────────────────────────────────────┘
 *
 *   position  written by  read by   unit                     ordering
 *   tail      producer    consumer  bytes published, mod 2³²  Atomics.store / Atomics.load
 *   head      consumer    producer  bytes released, mod 2³²   Atomics.store / Atomics.load
 *
 * Each position has a 64-byte line of its own: two threads writing one line cost 7–8 times.
 */
export const LINE_BYTES = 64

/** Byte offsets from the base of a ring. */
export const TAIL_OFFSET = 0
export const HEAD_OFFSET = TAIL_OFFSET + LINE_BYTES
export const RECORDS_OFFSET = 2 * LINE_BYTES

/** Records start on 8 bytes, so their fields can be read as int32 and float64 where they stand. */
export const RECORD_ALIGNMENT = 8

/** int32 length of the record with its header (negative: padding up to the wrap), int32 kind. */
export const RECORD_HEADER_BYTES = 8

declare global {
  interface Buffer {
    // Node's own fast paths for short text; the typings that match Node 20 leave them out.
    latin1Slice(start?: number, end?: number): string
    utf8Slice(start?: number, end?: number): string
    latin1Write(text: string, offset?: number, length?: number): number
    utf8Write(text: string, offset?: number, length?: number): number
  }
}

/** The same shared bytes, seen in several ways. One per thread: a view costs more than a field read. */
export interface SharedViews {
  readonly bytes: Uint8Array
  readonly ints: Int32Array
  readonly floats: Float64Array
  /** For text; Buffer's slices are the fastest reads of shared text. */
  readonly buffer: Buffer
  /** For numbers that stand anywhere: one store each, where Buffer writes byte by byte. */
  readonly view: DataView
}

export function viewsOf(memory: SharedArrayBuffer): SharedViews {
  return {
    bytes: new Uint8Array(memory),
    ints: new Int32Array(memory),
    floats: new Float64Array(memory),
    buffer: Buffer.from(memory),
    view: new DataView(memory),
  }
}

export function ringBytes(capacity: number): number {
  return RECORDS_OFFSET + capacity
}

export function align(value: number, alignment: number): number {
  return (value + alignment - 1) & -alignment
}
