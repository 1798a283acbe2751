import { randomInt } from 'node:crypto'
import { expect, onTestFinished, test, vi } from 'vitest'
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
  const most = Math.max(SMALL, Buffer.poolSize)
  for (const { buffer } of taken) expect(buffer.byteLength).toBeLessThanOrEqual(most)
})

/** Time goes on when it is told to. */
function handClock(): { nowMs: number } {
  const clock = { nowMs: 0 }
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => clock.nowMs)
  onTestFinished(() => spy.mockRestore())
  return clock
}

/** Reads of equal size, `everyMs` apart. */
function readSteadily(bytes: number, everyMs: number, count: number): Buffer[] {
  const clock = handClock()
  const slab = new ReadSlab()
  return Array.from({ length: count }, (_, index) => {
    clock.nowMs += everyMs
    return read(slab, bytes, index)
  })
}

test.each([
  ['as large as the read when they are rare', 60_000, 1000, 65_536],
  ['small when little comes', 10_000, 10, 16_384],
  ['for four milliseconds', 10_000, 1, 65_536],
  ['of 256 KiB at most', 60_000, 0.1, 262_144],
  ['of 256 KiB if the clock stands still', 60_000, 0, 262_144],
])('a slab is %s', (_, bytes, everyMs, size) => {
  const settled = readSteadily(bytes, everyMs, 50).slice(-20)
  expect([...new Set(settled.map(({ buffer }) => buffer.byteLength))]).toEqual([size])
})

test('large reads stand one behind the other in a slab, as long as they fit', () => {
  const settled = readSteadily(60_000, 0.1, 50)
  const begin = settled.findLastIndex(({ byteOffset }) => byteOffset === 0) - 4
  const reads = settled.slice(begin, begin + 5)
  expect(reads.map(({ byteOffset }) => byteOffset)).toEqual([0, 60_000, 120_000, 180_000, 0])
  expect(new Set(reads.map(({ buffer }) => buffer)).size).toBe(2)
})

test('what came on one connection keeps nothing of another alive', () => {
  handClock()
  const [slow, busy] = [new ReadSlab(), new ReadSlab()]
  const kept = Array.from({ length: 100 }, (_, index) => {
    read(busy, 60_000, 0)
    return read(slow, 10_000, index)
  })
  const bytes = [...new Set(kept.map(({ buffer }) => buffer))].map((buffer) => buffer.byteLength)
  expect(bytes.reduce((sum, one) => sum + one)).toBeLessThan(1.2 * 100 * 10_000)
})

test('a connection that has become quiet has no slab', () => {
  handClock() // It stands still: the second slab and those after it are of the largest.
  const slab = new ReadSlab()
  const large = () => read(slab, 10_000, 1)
  large()
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
