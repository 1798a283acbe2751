/**
 * One entry of a topic log, as bytes: exactly the MessagePack array that subscribers receive.
 *
 *   96 | 97               array of 6, or of 7 when the message has properties
 *   ce ....               seq, uint32; from 2³² on: cb + float64
 *   cb ........           time, ms since 1970, float64
 *   00|01|02              encoding of the payload
 *   c4|c5|c6 len bytes    payload
 *   c4 10 16 bytes        message id
 *   map | c0              headers
 *   map                   properties, in an array of 7 only (entry-properties.ts)
 *
 * All but seq and time stand in the message just as the client sent it, so an entry is a header of 15 bytes
 * and one copy. Whole numbers beyond 32 bits travel as float64, not uint64, because JavaScript's
 * decoders hand out a BigInt for every uint64; both are exact below 2⁵³.
 * Runs on: the shard. Owns: nothing.
 */
export const ENTRY_HEADER_BYTES_MAX = 19

const ARRAY_OF_6 = 0x96
/** An entry with properties. */
export const ARRAY_OF_7 = 0x97
const UINT32 = 0xce
const FLOAT64 = 0xcb
const TWO_32 = 2 ** 32

/** Length of the header of an entry with this seq. */
export function entryHeaderBytes(seq: number): number {
  return seq < TWO_32 ? 15 : ENTRY_HEADER_BYTES_MAX
}

/** Writes array mark, seq and time; returns the offset behind them. */
export function writeEntryHeader(
  view: DataView,
  at: number,
  seq: number,
  timeMs: number,
  mark = ARRAY_OF_6,
): number {
  view.setUint8(at, mark)
  let next = at + 1
  if (seq < TWO_32) {
    view.setUint8(next, UINT32)
    view.setUint32(next + 1, seq)
    next += 5
  } else {
    view.setUint8(next, FLOAT64)
    view.setFloat64(next + 1, seq)
    next += 9
  }
  view.setUint8(next, FLOAT64)
  view.setFloat64(next + 1, timeMs)
  return next + 9
}

/** Offset of the encoding byte of the entry at `at`. */
export function entryBody(bytes: Uint8Array, at: number): number {
  return at + (bytes[at + 1] === UINT32 ? 15 : ENTRY_HEADER_BYTES_MAX)
}

export function entrySeq(buffer: Buffer, at: number): number {
  return buffer[at + 1] === UINT32 ? buffer.readUInt32BE(at + 2) : buffer.readDoubleBE(at + 2)
}

export function entryTimeMs(buffer: Buffer, at: number): number {
  return buffer.readDoubleBE(entryBody(buffer, at) - 8)
}
