import { randomInt } from 'node:crypto'
import { expect, test } from 'vitest'
import { ReadSlab } from '../../src/client/read-slab.js'

const SMALL = 8 * 1024

/** As libuv does it: some bytes of the room are written, then it is told how many. */
function read(slab: ReadSlab, bytes: number, fill: number): Buffer {
  slab.room.fill(fill, 0, bytes)
  return slab.take(bytes)
}

test('small reads keep nothing alive but themselves', () => {
  const slab = new ReadSlab()
  const sizes = [1, 100, SMALL]
  const taken = sizes.map((bytes, index) => read(slab, bytes, index))
  expect(taken.map((bytes) => [...new Set(bytes)])).toEqual([[0], [1], [2]])
  for (const { buffer } of taken) expect(buffer.byteLength).toBeLessThanOrEqual(SMALL)
})

test('large reads stand one behind the other in a slab, as long as they fit', () => {
  const slab = new ReadSlab()
  const reads = Array.from({ length: 5 }, (_, index) => read(slab, 131_072, index))
  const [first, , , , fifth] = reads
  expect(reads.map(({ byteOffset }) => byteOffset)).toEqual([0, 131_072, 262_144, 393_216, 0])
  expect(new Set(reads.map(({ buffer }) => buffer)).size).toBe(2)
  expect(first?.buffer).not.toBe(fifth?.buffer)
})

test('what was taken is never written again', () => {
  const slab = new ReadSlab()
  const taken: { bytes: Buffer; fill: number }[] = []
  for (let round = 0; round < 2000; round++) {
    const fill = round & 0xff
    const most = round % 3 === 0 ? slab.room.length : 20_000
    taken.push({ bytes: read(slab, randomInt(1, most + 1), fill), fill })
    if (taken.length > 200) taken.shift()
  }
  for (const { bytes, fill } of taken) expect(bytes.every((byte) => byte === fill)).toBe(true)
})
