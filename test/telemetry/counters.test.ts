import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  COUNTER_BLOCK_BYTES,
  Counters,
  GATEWAY_COUNTERS,
  SHARD_COUNTERS,
} from '../../src/telemetry/counters.js'

const NAMES = { first: 'the first', second: 'the second' } as const

describe('Counters', () => {
  test('Counters begin at 0', () => {
    const counters = new Counters(new SharedArrayBuffer(COUNTER_BLOCK_BYTES), 0, NAMES)
    expect(counters.snapshot()).toEqual({ first: 0, second: 0 })
  })

  test('Counters.add() adds 1, or the amount, to its own counter only', () => {
    const counters = new Counters(new SharedArrayBuffer(COUNTER_BLOCK_BYTES), 0, NAMES)
    counters.add('first')
    counters.add('second', 40)
    counters.add('second')
    counters.add('second', 0)
    expect([counters.get('first'), counters.get('second')]).toEqual([1, 41])
    expect(counters.snapshot()).toEqual({ first: 1, second: 41 })
  })

  test('Counters count beyond 32 bits', () => {
    const counters = new Counters(new SharedArrayBuffer(COUNTER_BLOCK_BYTES), 0, NAMES)
    counters.add('first', 2 ** 32)
    counters.add('first', 2 ** 52)
    counters.add('first')
    expect(counters.get('first')).toBe(2 ** 52 + 2 ** 32 + 1)
  })

  test('Counters over the same memory see the same, as another thread or a successor does', () => {
    const memory = new SharedArrayBuffer(2 * COUNTER_BLOCK_BYTES)
    const writer = new Counters(memory, COUNTER_BLOCK_BYTES, SHARD_COUNTERS)
    const reader = new Counters(memory, COUNTER_BLOCK_BYTES, SHARD_COUNTERS)
    writer.add('messagesStored', 3)
    expect(reader.get('messagesStored')).toBe(3)
    reader.add('messagesStored')
    expect(writer.snapshot().messagesStored).toBe(4)
  })

  test('Counters of two blocks do not touch each other', () => {
    const memory = new SharedArrayBuffer(3 * COUNTER_BLOCK_BYTES)
    const blocks = [0, 1, 2].map(
      (block) => new Counters(memory, block * COUNTER_BLOCK_BYTES, GATEWAY_COUNTERS),
    )
    for (const name of Object.keys(GATEWAY_COUNTERS) as (keyof typeof GATEWAY_COUNTERS)[]) {
      blocks[1]?.add(name, 7)
    }
    expect(Object.values(blocks[0]?.snapshot() ?? {}).every((value) => value === 0)).toBe(true)
    expect(Object.values(blocks[1]?.snapshot() ?? {}).every((value) => value === 7)).toBe(true)
    expect(Object.values(blocks[2]?.snapshot() ?? {}).every((value) => value === 0)).toBe(true)
  })

  test('Counters sum up any sequence of adds', () => {
    const name = fc.constantFrom(
      ...(Object.keys(SHARD_COUNTERS) as (keyof typeof SHARD_COUNTERS)[]),
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(name, fc.nat())), (adds) => {
        const counters = new Counters(new SharedArrayBuffer(COUNTER_BLOCK_BYTES), 0, SHARD_COUNTERS)
        const sums: Record<string, number> = {}
        for (const [some, amount] of adds) {
          counters.add(some, amount)
          sums[some] = (sums[some] ?? 0) + amount
        }
        for (const [some, value] of Object.entries(counters.snapshot())) {
          expect(value).toBe(sums[some] ?? 0)
        }
      }),
    )
  })
})

describe.each([
  ['GATEWAY_COUNTERS', GATEWAY_COUNTERS],
  ['SHARD_COUNTERS', SHARD_COUNTERS],
])('%s', (_, table) => {
  test('all of them fit one block', () => {
    expect(Object.keys(table).length * 8).toBeLessThanOrEqual(COUNTER_BLOCK_BYTES)
  })

  test('each says what it counts', () => {
    for (const doc of Object.values(table)) expect(doc.length).toBeGreaterThan(5)
  })
})

test('COUNTER_BLOCK_BYTES is a multiple of a cache line', () => {
  expect(COUNTER_BLOCK_BYTES % 64).toBe(0)
})
