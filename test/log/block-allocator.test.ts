import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BLOCK_BYTES_MIN, BlockAllocator } from '../../src/log/block-allocator.js'

const BASE = 4096
const KiB = 1024

describe('BlockAllocator.tryAllocate()', () => {
  test('BlockAllocator.tryAllocate() hands out the whole region and then -1', () => {
    const blocks = new BlockAllocator(BASE, 8 * KiB)
    const addresses = Array.from({ length: 8 }, () => blocks.tryAllocate(KiB))
    expect(addresses.sort((a, b) => a - b)).toEqual([...Array(8).keys()].map((n) => BASE + n * KiB))
    expect(blocks.freeBytes).toBe(0)
    expect(blocks.tryAllocate(KiB)).toBe(-1)
  })

  test('BlockAllocator.tryAllocate() uses a region that is not a power of two to its end', () => {
    const blocks = new BlockAllocator(BASE, 7 * KiB + 100)
    expect(blocks.totalBytes).toBe(7 * KiB)
    expect(blocks.tryAllocate(8 * KiB)).toBe(-1)
    expect(blocks.tryAllocate(4 * KiB)).toBe(BASE)
    expect(blocks.tryAllocate(2 * KiB)).toBe(BASE + 4 * KiB)
    expect(blocks.tryAllocate(KiB)).toBe(BASE + 6 * KiB)
    expect(blocks.freeBytes).toBe(0)
  })

  test('BlockAllocator.tryAllocate() finds nothing in a region smaller than a block', () => {
    const blocks = new BlockAllocator(BASE, BLOCK_BYTES_MIN - 1)
    expect([blocks.totalBytes, blocks.freeBytes, blocks.tryAllocate(KiB)]).toEqual([0, 0, -1])
  })

  test('BlockAllocator.tryAllocate() changes nothing when it finds none', () => {
    const blocks = new BlockAllocator(BASE, 4 * KiB)
    blocks.tryAllocate(KiB)
    expect(blocks.tryAllocate(4 * KiB)).toBe(-1)
    expect(blocks.freeBytes).toBe(3 * KiB)
    expect(blocks.tryAllocate(2 * KiB)).toBe(BASE + 2 * KiB)
  })

  test.each([0, 512, 1000, 3 * KiB])(
    'BlockAllocator.tryAllocate() asserts against a size of %i',
    (bytes) => {
      expect(() => new BlockAllocator(BASE, 8 * KiB).tryAllocate(bytes)).toThrow(
        'is not a block size',
      )
    },
  )
})

describe('BlockAllocator.tryExtend()', () => {
  test('BlockAllocator.tryExtend() doubles a block until it has the room it was given', () => {
    const blocks = new BlockAllocator(BASE, 32 * KiB)
    const roomy = blocks.tryAllocate(KiB, 16 * KiB)
    expect(blocks.tryAllocate(KiB, 16 * KiB)).toBe(roomy + 16 * KiB)
    for (let bytes = KiB; bytes < 16 * KiB; bytes *= 2) {
      expect(blocks.tryExtend(roomy, bytes)).toBe(true)
    }
    expect(blocks.freeBytes).toBe(15 * KiB)
    expect(blocks.tryExtend(roomy, 16 * KiB)).toBe(false)
    expect(blocks.freeBytes).toBe(15 * KiB)
  })

  test('BlockAllocator.tryExtend() is false for an upper half, and at the end of the region', () => {
    const blocks = new BlockAllocator(BASE, 6 * KiB)
    const upper = BASE + 2 * KiB
    blocks.reserve(upper, 2 * KiB)
    expect(blocks.tryExtend(upper, 2 * KiB)).toBe(false)
    blocks.reserve(BASE + 4 * KiB, 2 * KiB)
    expect(blocks.tryExtend(BASE + 4 * KiB, 2 * KiB)).toBe(false)
  })

  test('BlockAllocator.tryAllocate() with less room than was asked for takes the largest', () => {
    const blocks = new BlockAllocator(BASE, 8 * KiB)
    blocks.reserve(BASE, KiB)
    expect(blocks.tryAllocate(KiB, 8 * KiB)).toBe(BASE + 4 * KiB)
  })
})

test('BlockAllocator.free() asserts against a block outside the region', () => {
  const blocks = new BlockAllocator(BASE, 8 * KiB)
  expect(() => blocks.free(BASE - KiB, KiB)).toThrow('is not ours')
  expect(() => blocks.free(BASE + 8 * KiB, KiB)).toThrow('is not ours')
})

test('BlockAllocator.reserve() asserts when the block is in use', () => {
  const blocks = new BlockAllocator(BASE, 8 * KiB)
  blocks.reserve(BASE + 2 * KiB, 2 * KiB)
  expect(() => blocks.reserve(BASE + 2 * KiB, 2 * KiB)).toThrow('in use twice')
  expect(() => blocks.reserve(BASE + 3 * KiB, KiB)).toThrow('in use twice')
  expect(() => blocks.reserve(BASE, 8 * KiB)).toThrow('in use twice')
})

describe('a BlockAllocator under any sequence of calls', () => {
  const region = fc.integer({ min: 1, max: 70 }).map((blocks) => blocks * KiB)
  const steps = fc.array(
    fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({
          allocate: fc.integer({ min: 0, max: 5 }),
          room: fc.integer({ min: 0, max: 6 }),
        }),
      },
      { weight: 2, arbitrary: fc.record({ extend: fc.nat() }) },
      { weight: 2, arbitrary: fc.record({ free: fc.nat() }) },
    ),
    { maxLength: 80 },
  )
  type Step = { allocate: number; room: number } | { free: number } | { extend: number }
  type Block = { address: number; bytes: number }

  function apply(blocks: BlockAllocator, held: Block[], step: Step): void {
    if ('free' in step) {
      const [block] = held.length > 0 ? held.splice(step.free % held.length, 1) : []
      if (block !== undefined) blocks.free(block.address, block.bytes)
      return
    }
    if ('extend' in step) {
      const [block] = held.length > 0 ? held.splice(step.extend % held.length, 1) : []
      if (block === undefined) return
      const isLarger = blocks.tryExtend(block.address, block.bytes)
      hold(blocks, held, { ...block, bytes: block.bytes * (isLarger ? 2 : 1) })
      return
    }
    const bytes = KiB * 2 ** step.allocate
    const address = blocks.tryAllocate(bytes, bytes * 2 ** step.room)
    if (address >= 0) hold(blocks, held, { address, bytes })
  }

  function hold(blocks: BlockAllocator, held: Block[], { address, bytes }: Block): void {
    expect((address - BASE) % bytes).toBe(0)
    expect(address).toBeGreaterThanOrEqual(BASE)
    expect(address + bytes).toBeLessThanOrEqual(BASE + blocks.totalBytes)
    for (const other of held) {
      expect(address + bytes <= other.address || other.address + other.bytes <= address).toBe(true)
    }
    held.push({ address, bytes })
  }

  /** The largest blocks that can be had, until nothing is left. */
  function shapeOf(blocks: BlockAllocator): number[] {
    const sizes: number[] = []
    for (let bytes = 64 * KiB; bytes >= KiB; bytes /= 2) {
      while (blocks.tryAllocate(bytes) >= 0) sizes.push(bytes)
    }
    expect(blocks.freeBytes).toBe(0)
    return sizes
  }

  test('BlockAllocator blocks never overlap, and freeBytes is what is left', () => {
    fc.assert(
      fc.property(region, steps, (bytes, someSteps) => {
        const blocks = new BlockAllocator(BASE, bytes)
        const held: Block[] = []
        for (const step of someSteps) {
          apply(blocks, held, step)
          const inUse = held.reduce((sum, block) => sum + block.bytes, 0)
          expect(blocks.freeBytes).toBe(blocks.totalBytes - inUse)
        }
      }),
    )
  })

  test('BlockAllocator.free() merges everything back to what it began with', () => {
    fc.assert(
      fc.property(region, steps, (bytes, someSteps) => {
        const blocks = new BlockAllocator(BASE, bytes)
        const held: Block[] = []
        for (const step of someSteps) apply(blocks, held, step)
        for (const block of held) blocks.free(block.address, block.bytes)
        expect(blocks.freeBytes).toBe(bytes)
        expect(shapeOf(blocks)).toEqual(shapeOf(new BlockAllocator(BASE, bytes)))
      }),
    )
  })

  test('BlockAllocator.reserve() rebuilds what another allocator had handed out', () => {
    fc.assert(
      fc.property(region, steps, fc.boolean(), (bytes, someSteps, isReversed) => {
        const predecessor = new BlockAllocator(BASE, bytes)
        const held: Block[] = []
        for (const step of someSteps) apply(predecessor, held, step)

        const blocks = new BlockAllocator(BASE, bytes)
        for (const block of isReversed ? held.toReversed() : held)
          blocks.reserve(block.address, block.bytes)
        expect(blocks.freeBytes).toBe(predecessor.freeBytes)
        for (let next = 0; next < 5; next++) apply(blocks, held, { allocate: next, room: 0 }) // None overlaps.
        for (const block of held) blocks.free(block.address, block.bytes)
        expect(shapeOf(blocks)).toEqual(shapeOf(new BlockAllocator(BASE, bytes)))
      }),
    )
  })
})
