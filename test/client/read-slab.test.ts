import { randomInt } from 'node:crypto'
import { expect, test } from 'vitest'
import { ReadSlab, readRoom } from '../../src/client/read-slab.js'

const SMALL = 8 * 1024

/** As libuv does it: some bytes of the room are written, then it is told how many. */
function read(slab: ReadSlab, bytes: number, fill: number): Buffer {
  readRoom.fill(fill, 0, bytes)
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
  const reads = Array.from({ length: 5 }, (_, index) => read(slab, 65_536, index))
  const [first, , , , fifth] = reads
  expect(reads.map(({ byteOffset }) => byteOffset)).toEqual([0, 65_536, 131_072, 196_608, 0])
  expect(new Set(reads.map(({ buffer }) => buffer)).size).toBe(2)
  expect(first?.buffer).not.toBe(fifth?.buffer)
})

test('what came on one connection keeps nothing of another alive', () => {
  const [slow, busy] = [new ReadSlab(), new ReadSlab()]
  const kept = Array.from({ length: 100 }, (_, index) => {
    read(busy, 60_000, 0)
    return read(slow, 10_000, index)
  })
  const bytes = [...new Set(kept.map(({ buffer }) => buffer))].map((buffer) => buffer.byteLength)
  expect(bytes.reduce((sum, one) => sum + one)).toBeLessThan(1.2 * 100 * 10_000)
})

test('a connection that has become quiet has no slab', () => {
  const slab = new ReadSlab()
  const large = () => read(slab, 20_000, 1)
  const first = large()
  read(slab, 1, 2)
  expect(large().buffer).toBe(first.buffer)
  read(slab, 1, 2)
  read(slab, 1, 2)
  expect(large().buffer).not.toBe(first.buffer)
})

test('what was taken is never written again', () => {
  const slab = new ReadSlab()
  const taken: { bytes: Buffer; fill: number }[] = []
  for (let round = 0; round < 2000; round++) {
    const fill = round & 0xff
    const most = round % 3 === 0 ? readRoom.length : 20_000
    taken.push({ bytes: read(slab, randomInt(1, most + 1), fill), fill })
    if (taken.length > 200) taken.shift()
  }
  for (const { bytes, fill } of taken) expect(bytes.every((byte) => byte === fill)).toBe(true)
})
