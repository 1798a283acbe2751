import fc from 'fast-check'
import { expect, test } from 'vitest'
import { copyShared, copyToShared } from '../../src/ring/copy.js'
import { viewsOf } from '../../src/ring/layout.js'

const BYTES = 1024
const BYTES_MAX = 72_000

test('copyShared() copies just these bytes, wherever they stand', () => {
  const place = fc.integer({ min: 0, max: 100 })
  const length = fc.integer({ min: 0, max: 300 })
  fc.assert(
    fc.property(place, place, length, (from, to, count) => {
      const views = viewsOf(new SharedArrayBuffer(BYTES))
      for (let index = 0; index < BYTES; index++) views.bytes[index] = (index * 7 + 1) & 0xff
      const target = BYTES / 2 + to
      const wanted = Buffer.from(views.bytes.slice())
      wanted.copyWithin(target, from, from + count)
      copyShared(views, target, from, from + count)
      expect(Buffer.from(views.bytes.slice()).equals(wanted)).toBe(true)
    }),
    { numRuns: 1000 },
  )
})

test('copyToShared() copies just these bytes, however many and from wherever', () => {
  const place = fc.integer({ min: 0, max: 20 })
  const length = fc.oneof(fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: 70_000 }))
  fc.assert(
    fc.property(place, place, length, (from, to, count) => {
      const source = new Uint8Array(from + count + 1)
      for (let index = 0; index < source.length; index++) source[index] = (index * 7 + 1) & 0xff
      const views = viewsOf(new SharedArrayBuffer(BYTES_MAX))
      const wanted = Buffer.alloc(BYTES_MAX)
      wanted.set(source.subarray(from, from + count), to)
      copyToShared(views, to, source.subarray(from, from + count))
      expect(Buffer.from(views.bytes.slice()).equals(wanted)).toBe(true)
    }),
    { numRuns: 300 },
  )
})
