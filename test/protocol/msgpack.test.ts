import fc from 'fast-check'
import { Packr, unpack } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import {
  binHeadBytes,
  DEPTH_MAX,
  MALFORMED,
  readArray,
  readBin,
  readMap,
  readStr,
  skipStandardValue,
  skipValue,
  strBytes,
  writeArrayHead,
  writeBinHead,
  writeNumber,
} from '../../src/protocol/msgpack.js'

const packr = new Packr({ useRecords: false, variableMapSize: true })
const span = { start: -1, length: -1 }

/** Any value that msgpackr writes, in all widths of lengths but the largest. */
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false, undefined),
    fc.integer(),
    fc.double(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.integer({ min: 250, max: 300 }).map((length) => 'x'.repeat(length)),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.date({ noInvalidDate: true }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(fc.string({ maxLength: 8 }), tie('value'), { maxKeys: 20 }),
  ),
}))

describe('skipValue()', () => {
  test('skipValue() ends where the value ends, whatever it is and whatever follows', () => {
    fc.assert(
      fc.property(value, fc.uint8Array({ maxLength: 4 }), fc.nat(3), (some, rest, at) => {
        const packed = packr.pack(some)
        const bytes = Buffer.concat([Buffer.alloc(at, 0xc1), packed, rest])
        expect(skipValue(bytes, at, bytes.length)).toBe(at + packed.length)
        expect(skipValue(bytes, at, at + packed.length)).toBe(at + packed.length)
      }),
      { numRuns: 1000 },
    )
  })

  test('skipValue() returns MALFORMED for every truncation', () => {
    fc.assert(
      fc.property(value, (some) => {
        const packed = packr.pack(some)
        const step = Math.max(1, packed.length >> 6)
        for (let end = 0; end < packed.length; end += step) {
          // The bytes are still there, but they are not ours any more.
          expect(skipValue(packed, 0, end)).toBe(MALFORMED)
        }
        expect(skipValue(packed, 0, packed.length - 1)).toBe(MALFORMED)
      }),
    )
  })

  test('skipValue() of random bytes ends within them, or is MALFORMED', () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(bytes, (some) => {
        const frame = Buffer.from(some)
        const end = skipValue(frame, 0, frame.length)
        if (end === MALFORMED) return
        expect(end).toBeGreaterThan(0)
        expect(end).toBeLessThanOrEqual(frame.length)
        // Every byte before the end belongs to the value.
        for (let shorter = 0; shorter < end; shorter++) {
          expect(skipValue(frame, 0, shorter)).toBe(MALFORMED)
        }
      }),
      { numRuns: 3000 },
    )
  })

  test.each([
    ['nothing', []],
    ['c1, which does not exist', [0xc1]],
    ['str8 without its length', [0xd9]],
    ['str32 of 4 GiB', [0xdb, 0xff, 0xff, 0xff, 0xff, 1]],
    ['bin32 of 4 GiB', [0xc6, 0xff, 0xff, 0xff, 0xff, 1]],
    ['ext32 of 4 GiB', [0xc9, 0xff, 0xff, 0xff, 0xff, 1, 1]],
    ['ext8 without its type', [0xc7, 0]],
    ['array32 of 2^32 - 1', [0xdd, 0xff, 0xff, 0xff, 0xff, 1]],
    ['map32 of 2^32 - 1', [0xdf, 0xff, 0xff, 0xff, 0xff, 1, 1]],
    ['map32 of 2^31, whose elements overflow int32', [0xdf, 0x80, 0, 0, 0, 1, 1]],
    ['map16 with half an entry', [0xde, 0, 1, 1]],
    ['array of one without it', [0x91]],
    ['map of one with a key only', [0x81, 1]],
    ['float64 cut short', [0xcb, 0, 0, 0]],
    ['fixext16 cut short', [0xd8, 1, 0]],
  ])('skipValue() returns MALFORMED for %s', (_, bytes) => {
    expect(skipValue(Uint8Array.from(bytes), 0, bytes.length)).toBe(MALFORMED)
  })

  test('skipValue() follows no count that the bytes cannot hold', () => {
    // 64 KiB of array32 heads that each claim 4 Gi elements: it must not take long to say no.
    const bytes = new Uint8Array(65_535)
    for (let at = 0; at < bytes.length; at += 5) bytes.set([0xdd, 0xff, 0xff, 0xff, 0xff], at)
    const startedMs = performance.now()
    for (let round = 0; round < 100; round++) {
      expect(skipValue(bytes, 0, bytes.length)).toBe(MALFORMED)
    }
    expect(performance.now() - startedMs).toBeLessThan(1000)
  })

  test('skipValue() takes DEPTH_MAX containers inside each other and not one more', () => {
    const nested = (depth: number) => Uint8Array.from([...Array(depth).fill(0x91), 0xc0])
    expect(skipValue(nested(DEPTH_MAX), 0, DEPTH_MAX + 1)).toBe(DEPTH_MAX + 1)
    expect(skipValue(nested(DEPTH_MAX + 1), 0, DEPTH_MAX + 2)).toBe(MALFORMED)
    expect(skipValue(nested(60_000), 0, 60_001)).toBe(MALFORMED)
  })

  test('skipValue() counts depth, not containers', () => {
    const wide = packr.pack(Array.from({ length: 1000 }, () => [[1], { a: [] }]))
    expect(skipValue(wide, 0, wide.length)).toBe(wide.length)
  })
})

describe('skipStandardValue()', () => {
  test('skipStandardValue() is skipValue() for what needs no extension, and for timestamps', () => {
    fc.assert(
      fc.property(value, (some) => {
        const packed = packr.pack(some) // Dates are timestamps; undefined is an extension of msgpackr.
        const hasUndefined = !packed.equals(packr.pack(withoutUndefined(some)))
        const end = hasUndefined ? MALFORMED : packed.length
        expect(skipStandardValue(packed, 0, packed.length)).toBe(end)
      }),
    )
  })

  test('skipStandardValue() refuses every other extension, wherever it stands', () => {
    for (const mark of [0xd4, 0xd5, 0xd6, 0xd7, 0xd8]) {
      for (let type = 0; type < 256; type++) {
        const bytes = Uint8Array.from([0x92, 0x01, mark, type, ...Array(16).fill(0)])
        const end = skipStandardValue(bytes, 0, bytes.length)
        expect(end).toBe(type === 0xff ? skipValue(bytes, 0, bytes.length) : MALFORMED)
      }
    }
    for (const head of [
      [0xc7, 1],
      [0xc8, 0, 1],
      [0xc9, 0, 0, 0, 1],
    ]) {
      const bytes = (type: number) => Uint8Array.from([0x81, 0xa0, ...head, type, 0])
      const { length } = bytes(0)
      expect(skipStandardValue(bytes(0x70), 0, length)).toBe(MALFORMED)
      expect(skipStandardValue(bytes(0xff), 0, length)).toBe(length)
      expect(skipValue(bytes(0x70), 0, length)).toBe(length)
    }
  })

  function withoutUndefined(some: unknown): unknown {
    if (some === undefined) return null
    if (Array.isArray(some)) return some.map(withoutUndefined)
    if (typeof some !== 'object' || some === null) return some
    if (Buffer.isBuffer(some) || some instanceof Date) return some
    return Object.fromEntries(
      Object.entries(some).map(([key, inner]) => [key, withoutUndefined(inner)]),
    )
  }
})

describe('readStr(), readBin(), readArray(), readMap()', () => {
  test.each([0, 31, 32, 255, 256, 65_535, 65_536])(
    'they measure %i bytes or elements',
    (length) => {
      const text = packr.pack('x'.repeat(length))
      expect(readStr(text, 0, text.length, span)).toBe(true)
      expect([span.length, span.start + span.length]).toEqual([length, text.length])

      const bin = packr.pack(Buffer.alloc(length))
      expect(readBin(bin, 0, bin.length, span)).toBe(true)
      expect([span.length, span.start + span.length]).toEqual([length, bin.length])

      const array = packr.pack(Array(length).fill(1))
      expect(readArray(array, 0, array.length, span)).toBe(true)
      expect([span.length, span.start + span.length]).toEqual([length, array.length])

      const map = packr.pack(new Map(Array.from({ length }, (_, index) => [index & 0x7f, 1])))
      const pairs = Math.min(length, 128)
      expect(readMap(map, 0, map.length, span)).toBe(true)
      expect([span.length, span.start + span.length * 2]).toEqual([pairs, map.length])
    },
  )

  test('readStr() and readBin() refuse what does not fit before the end', () => {
    for (const packed of [packr.pack('x'.repeat(300)), packr.pack('ab'), packr.pack('')]) {
      for (let end = 0; end < packed.length; end++) {
        expect(readStr(packed, 0, end, span)).toBe(false)
      }
    }
    const bin = packr.pack(Buffer.alloc(300))
    for (let end = 0; end < bin.length; end++) expect(readBin(bin, 0, end, span)).toBe(false)
  })

  test('readArray() and readMap() refuse a head that is cut short', () => {
    for (const head of [[0xdc, 0], [0xdd, 0, 0, 0], [0x91]]) {
      const end = head[0] === 0x91 ? 0 : head.length
      expect(readArray(Uint8Array.from([...head, 9]), 0, end, span)).toBe(false)
    }
    for (const head of [[0xde, 0], [0xdf, 0, 0, 0], [0x81]]) {
      const end = head[0] === 0x81 ? 0 : head.length
      expect(readMap(Uint8Array.from([...head, 9]), 0, end, span)).toBe(false)
    }
  })

  test('they refuse each other, and every other mark', () => {
    for (let mark = 0; mark < 256; mark++) {
      const bytes = Uint8Array.from([mark, ...Array(40).fill(0)])
      const isString = (mark >= 0xa0 && mark <= 0xbf) || (mark >= 0xd9 && mark <= 0xdb)
      expect(readStr(bytes, 0, 41, span)).toBe(isString)
      expect(readBin(bytes, 0, 41, span)).toBe(mark >= 0xc4 && mark <= 0xc6)
      const isArray = (mark >= 0x90 && mark <= 0x9f) || mark === 0xdc || mark === 0xdd
      expect(readArray(bytes, 0, 41, span)).toBe(isArray)
      const isMap = (mark >= 0x80 && mark <= 0x8f) || mark === 0xde || mark === 0xdf
      expect(readMap(bytes, 0, 41, span)).toBe(isMap)
    }
  })
})

describe('writers', () => {
  test.each([0, 15, 16, 65_535, 65_536])('writeArrayHead() begins an array of %i', (count) => {
    const bytes = new Uint8Array(5 + count).fill(0xc0)
    const end = writeArrayHead(bytes, 0, count)
    const decoded = unpack(bytes.subarray(0, end + count)) as unknown[]
    expect(decoded.length).toBe(count)
  })

  test.each([0, 255, 256, 65_535, 65_536])('writeBinHead() begins a bin of %i', (length) => {
    const bytes = new Uint8Array(5 + length)
    const end = writeBinHead(bytes, 0, length)
    expect(end).toBe(binHeadBytes(length))
    expect((unpack(bytes.subarray(0, end + length)) as Uint8Array).length).toBe(length)
  })

  test('strBytes() is the string', () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('é'.repeat(16), 'x'.repeat(255), 'x'.repeat(70_000)),
    )
    fc.assert(
      fc.property(text, (some) => {
        expect(unpack(strBytes(some))).toBe(some)
      }),
    )
  })

  test('writeNumber() is a number to every decoder, never a BigInt', () => {
    const buffer = Buffer.alloc(9)
    const number = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1))
    fc.assert(
      fc.property(number, (some) => {
        const end = writeNumber(buffer, 0, some)
        expect(end).toBe(some < 2 ** 32 ? 5 : 9)
        expect(unpack(buffer.subarray(0, end))).toBe(some)
      }),
    )
  })
})
