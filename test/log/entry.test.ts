import fc from 'fast-check'
import { Unpackr } from 'msgpackr'
import { expect, test } from 'vitest'
import {
  ENTRY_HEADER_BYTES_MAX,
  entryBody,
  entryHeaderBytes,
  entrySeq,
  entryTimeMs,
  writeEntryHeader,
} from '../../src/log/entry.js'

const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true })
/** Raw payload "hi", a message id, no headers. */
const REST = Buffer.from([2, 0xc4, 2, 0x68, 0x69, 0xc4, 16, ...Array(16).keys(), 0xc0])

const viewOf = ({ buffer, byteOffset, length }: Buffer) => new DataView(buffer, byteOffset, length)

test.each([
  [1, 15],
  [2 ** 31, 15],
  [2 ** 32 - 1, 15],
  [2 ** 32, 19],
  [Number.MAX_SAFE_INTEGER, 19],
])('writeEntryHeader() and the readers agree about seq %d', (seq, headerBytes) => {
  const buffer = Buffer.alloc(64)
  const end = writeEntryHeader(viewOf(buffer), 3, seq, 1756116000123)
  expect(end - 3).toBe(headerBytes)
  expect(entryHeaderBytes(seq)).toBe(headerBytes)
  expect(headerBytes).toBeLessThanOrEqual(ENTRY_HEADER_BYTES_MAX)
  expect(entryBody(buffer, 3)).toBe(end)
  expect(entrySeq(buffer, 3)).toBe(seq)
  expect(entryTimeMs(buffer, 3)).toBe(1756116000123)
})

test('writeEntryHeader() begins the array that MessagePack clients decode, numbers as numbers', () => {
  const seq = fc.oneof(fc.integer({ min: 1, max: 2 ** 32 + 10 }), fc.maxSafeNat())
  fc.assert(
    fc.property(seq, fc.integer({ min: 0, max: 8.64e15 }), (someSeq, timeMs) => {
      const header = Buffer.alloc(entryHeaderBytes(someSeq))
      writeEntryHeader(viewOf(header), 0, someSeq, timeMs)
      const entry = unpackr.unpack(Buffer.concat([header, REST])) as unknown[]
      expect(entry.slice(0, 3)).toEqual([someSeq, timeMs, 2])
      expect(Buffer.from(entry[3] as Uint8Array).toString()).toBe('hi')
      expect(entry[5]).toBeNull()
    }),
  )
})
