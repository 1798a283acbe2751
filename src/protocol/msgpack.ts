/**
 * Walking MessagePack where it stands, without decoding it.
 * Runs on: any thread. Owns: nothing; pure.
 *
 * msgpackr decodes envelopes that are rare; here are the few steps the hot path takes itself: find
 * out what a value is, where it ends, and nothing else. Truncated or hostile bytes are never read
 * past `end`: every step that would do so returns MALFORMED. That goes for every single read, and all
 * numbers are small integers: after one index beyond an array, or one count of four billion, V8 would
 * compile the walk for such things, and it would be slower for everybody.
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
export const MALFORMED = -1
/** Containers inside containers; what is deeper is refused, so walking needs no unbounded stack. */
export const DEPTH_MAX = 64

export const NIL = 0xc0
export const BIN8 = 0xc4
const BIN16 = 0xc5
const BIN32 = 0xc6
const STR8 = 0xd9
const STR16 = 0xda
const STR32 = 0xdb
const ARRAY16 = 0xdc
const ARRAY32 = 0xdd
const UINT32 = 0xce
const FLOAT64 = 0xcb
/** Type −1: the one extension that the specification itself defines. */
const TIMESTAMP = 0xff

/** Length and start of the string, bytes, array or map that was measured last. */
export interface Span {
  start: number
  length: number
}

/** Measures a string; false when there is none here or it does not fit. */
export function readStr(bytes: Uint8Array, at: number, end: number, span: Span): boolean {
  if (at >= end) return false
  const mark = bytes[at] as number
  if (mark >= 0xa0 && mark <= 0xbf) return measured(span, at + 1, mark & 0x1f, end)
  if (mark === STR8) return readLength(bytes, at + 1, 1, end, span)
  if (mark === STR16) return readLength(bytes, at + 1, 2, end, span)
  if (mark === STR32) return readLength(bytes, at + 1, 4, end, span)
  return false
}

/** Measures a bin; false when there is none here or it does not fit. */
export function readBin(bytes: Uint8Array, at: number, end: number, span: Span): boolean {
  if (at >= end) return false
  const mark = bytes[at] as number
  if (mark === BIN8) return readLength(bytes, at + 1, 1, end, span)
  if (mark === BIN16) return readLength(bytes, at + 1, 2, end, span)
  if (mark === BIN32) return readLength(bytes, at + 1, 4, end, span)
  return false
}

/** Measures the head of an array: `start` is its first element, `length` how many it has. */
export function readArray(bytes: Uint8Array, at: number, end: number, span: Span): boolean {
  if (at >= end) return false
  const mark = bytes[at] as number
  if (mark >= 0x90 && mark <= 0x9f) return measured(span, at + 1, mark & 0x0f, -1)
  if (mark === ARRAY16) return readCount(bytes, at + 1, 2, end, span)
  if (mark === ARRAY32) return readCount(bytes, at + 1, 4, end, span)
  return false
}

/** Measures the head of a map: `start` is its first key, `length` how many pairs it has. */
export function readMap(bytes: Uint8Array, at: number, end: number, span: Span): boolean {
  if (at >= end) return false
  const mark = bytes[at] as number
  if (mark >= 0x80 && mark <= 0x8f) return measured(span, at + 1, mark & 0x0f, -1)
  if (mark === 0xde) return readCount(bytes, at + 1, 2, end, span)
  if (mark === 0xdf) return readCount(bytes, at + 1, 4, end, span)
  return false
}

/** Offset behind the value at `at`, whatever it is, or MALFORMED. */
export function skipValue(bytes: Uint8Array, at: number, end: number): number {
  return skip(bytes, at, end, false)
}

/**
 * The same, MALFORMED also when there is an extension in it that is no timestamp. msgpackr gives a
 * dozen of them a meaning, with which a few bytes decode to gigabytes or to a value inside itself:
 * what is decoded comes through here first.
 */
export function skipStandardValue(bytes: Uint8Array, at: number, end: number): number {
  return skip(bytes, at, end, true)
}

function skip(bytes: Uint8Array, at: number, end: number, isStandard: boolean): number {
  // A stack of how many values are still to come at each depth, without recursion.
  let pending = 1
  const outer: number[] = []
  let next = at
  for (;;) {
    if (next >= end) return MALFORMED
    const mark = bytes[next] as number
    if (isStandard && isForeignExtension(bytes, next, mark, end)) return MALFORMED
    const size = FIXED_SIZE[mark] as number
    let children = 0
    if (size > 0) {
      next += size
    } else if (mark >= 0x80 && mark <= 0x8f) {
      children = (mark & 0x0f) * 2
      next += 1
    } else if (mark >= 0x90 && mark <= 0x9f) {
      children = mark & 0x0f
      next += 1
    } else if (mark >= 0xa0 && mark <= 0xbf) {
      next += 1 + (mark & 0x1f)
    } else {
      const width = LENGTH_WIDTH[mark] as number
      if (width === 0 || next + 1 + width > end) return MALFORMED
      if (isHuge(bytes, next + 1, width)) return MALFORMED
      const length = readUint(bytes, next + 1, width)
      next += 1 + width
      if (mark === ARRAY16 || mark === ARRAY32) children = length
      else if (mark === 0xde || mark === 0xdf) children = length * 2
      else next += length + (mark >= 0xc7 && mark <= 0xc9 ? 1 : 0) // ext has a type byte more.
      // Every element takes a byte at least: a count that cannot be true is not followed.
      if (children > end - next) return MALFORMED
    }
    if (next > end) return MALFORMED
    pending--
    if (children > 0) {
      if (outer.length === DEPTH_MAX) return MALFORMED
      outer.push(pending)
      pending = children
    }
    while (pending === 0) {
      const rest = outer.pop()
      if (rest === undefined) return next
      pending = rest
    }
  }
}

function isForeignExtension(bytes: Uint8Array, at: number, mark: number, end: number): boolean {
  const isFixed = mark >= 0xd4 && mark <= 0xd8
  if (!isFixed && (mark < 0xc7 || mark > 0xc9)) return false
  const type = at + 1 + (isFixed ? 0 : (LENGTH_WIDTH[mark] as number))
  return type >= end || bytes[type] !== TIMESTAMP
}

/** Head of an array of `count`, written at `at`; returns the offset behind it. */
export function writeArrayHead(bytes: Uint8Array, at: number, count: number): number {
  if (count <= 15) {
    bytes[at] = 0x90 | count
    return at + 1
  }
  if (count <= 0xffff) {
    bytes[at] = ARRAY16
    return writeUint(bytes, at + 1, 2, count)
  }
  bytes[at] = ARRAY32
  return writeUint(bytes, at + 1, 4, count)
}

/** Head of a bin of `length` bytes, written at `at`; returns the offset behind it. */
export function writeBinHead(bytes: Uint8Array, at: number, length: number): number {
  if (length <= 0xff) {
    bytes[at] = BIN8
    return writeUint(bytes, at + 1, 1, length)
  }
  if (length <= 0xffff) {
    bytes[at] = BIN16
    return writeUint(bytes, at + 1, 2, length)
  }
  bytes[at] = BIN32
  return writeUint(bytes, at + 1, 4, length)
}

/** Bytes that writeBinHead() takes for this length. */
export function binHeadBytes(length: number): number {
  return length <= 0xff ? 2 : length <= 0xffff ? 3 : 5
}

/** A string with its head, as bytes of its own. */
export function strBytes(text: string): Buffer {
  const body = Buffer.from(text)
  const { length } = body
  if (length <= 31) return Buffer.concat([Buffer.of(0xa0 | length), body])
  if (length <= 0xff) return Buffer.concat([Buffer.of(STR8, length), body])
  const head = Buffer.of(STR32, 0, 0, 0, 0)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, body])
}

/** A whole number below 2⁵³: uint32, or float64 beyond it (see log/entry.ts for why). */
export function writeNumber(buffer: Buffer, at: number, value: number): number {
  if (value <= 0xffffffff) {
    buffer[at] = UINT32
    buffer.writeUInt32BE(value, at + 1)
    return at + 5
  }
  buffer[at] = FLOAT64
  buffer.writeDoubleBE(value, at + 1)
  return at + 9
}

function readLength(
  bytes: Uint8Array,
  at: number,
  width: number,
  end: number,
  span: Span,
): boolean {
  if (at + width > end || isHuge(bytes, at, width)) return false
  return measured(span, at + width, readUint(bytes, at, width), end)
}

/** Like readLength() for counts of elements, which say nothing about bytes. */
function readCount(bytes: Uint8Array, at: number, width: number, end: number, span: Span): boolean {
  if (at + width > end || isHuge(bytes, at, width)) return false
  return measured(span, at + width, readUint(bytes, at, width), -1)
}

function measured(span: Span, start: number, length: number, end: number): boolean {
  if (end >= 0 && start + length > end) return false
  span.start = start
  span.length = length
  return true
}

/** A length or count from 2²⁹ on: no frame is that large, and twice as much is no small integer. */
function isHuge(bytes: Uint8Array, at: number, width: number): boolean {
  return width === 4 && (bytes[at] as number) >= 0x20
}

function readUint(bytes: Uint8Array, at: number, width: number): number {
  let value = 0
  for (let index = 0; index < width; index++) value = value * 256 + (bytes[at + index] as number)
  return value
}

function writeUint(bytes: Uint8Array, at: number, width: number, value: number): number {
  for (let index = 0; index < width; index++) {
    bytes[at + index] = (value >>> (8 * (width - 1 - index))) & 0xff
  }
  return at + width
}

/** Whole size of values whose mark says it all; 0 for the others. */
const FIXED_SIZE = new Uint8Array(256)
FIXED_SIZE.fill(1, 0x00, 0x80)
FIXED_SIZE.fill(1, 0xe0)
FIXED_SIZE[0xc0] = FIXED_SIZE[0xc2] = FIXED_SIZE[0xc3] = 1
FIXED_SIZE.set([5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18], 0xca)

/** Width of the length that follows the mark; 0 for marks that have none or do not exist (c1). */
const LENGTH_WIDTH = new Uint8Array(256)
LENGTH_WIDTH.set([1, 2, 4, 1, 2, 4], 0xc4)
LENGTH_WIDTH.set([1, 2, 4, 2, 4, 2, 4], 0xd9)
