/**
 * The hash against a slow reference, and how evenly names spread over shards.
 * Runs on: the test thread.
 */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hashTopic, routingHash, shardOf } from '../../src/routing/topic-hash.js'

describe('hashTopic()', () => {
  // Recorded from this code. They may change, but never between threads of one process.
  test.each([
    ['', 0xab3e7c0b],
    ['a', 0x1a80b1b3],
    ['topic.1', 0xaa7195d4],
    ['orders.é', 0xddf854f0],
  ])('hashTopic() of %j stays what it is', (name, hash) => {
    expect(hashOf(name)).toBe(hash)
  })

  test('hashTopic() equals FNV-1a and the murmur3 finalizer done in BigInt', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 255 }), (bytes) => {
        expect(hashTopic(bytes, 0, bytes.length)).toBe(referenceHash(bytes))
      }),
    )
  })

  test('hashTopic() looks at nothing outside its range', () => {
    const bytes = fc.uint8Array({ maxLength: 16 })
    fc.assert(
      fc.property(bytes, bytes, bytes, (before, name, after) => {
        const frame = Uint8Array.from([...before, ...name, ...after])
        expect(hashTopic(frame, before.length, name.length)).toBe(hashTopic(name, 0, name.length))
      }),
    )
  })

  test('hashTopic() gives the same for shared and private memory', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(16))
    shared.set(Buffer.from('orders.1'), 4)
    expect(hashTopic(shared, 4, 8)).toBe(hashOf('orders.1'))
  })
})

describe('shardOf()', () => {
  test('shardOf() stays within [0, shards) for every hash', () => {
    const hash = fc.integer({ min: 0, max: 0xffffffff })
    const shards = fc.integer({ min: 1, max: 1024 })
    fc.assert(
      fc.property(hash, shards, (someHash, someShards) => {
        const shard = shardOf(someHash, someShards)
        expect(Number.isInteger(shard) && shard >= 0 && shard < someShards).toBe(true)
      }),
    )
  })

  test.each([1, 2, 3, 7, 8, 64, 1000])('shardOf() uses the first and the last of %i', (shards) => {
    expect(shardOf(0, shards)).toBe(0)
    expect(shardOf(0xffffffff, shards)).toBe(shards - 1)
  })

  test('shardOf() cuts the hashes into slices whose sizes differ by one at most', () => {
    for (const shards of [3, 5, 7, 12]) {
      const sizes: number[] = []
      for (let shard = 0; shard < shards; shard++) {
        const from = Math.ceil((shard * 2 ** 32) / shards)
        const to = Math.ceil(((shard + 1) * 2 ** 32) / shards)
        expect([shardOf(from, shards), shardOf(to - 1, shards)]).toEqual([shard, shard])
        sizes.push(to - from)
      }
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
    }
  })
})

describe('hashTopic() and shardOf() give every shard its fair share', () => {
  const NAMES = 10_000
  const TOLERANCE = 0.15
  const families: Record<string, (n: number) => string> = {
    'topic.N': (n) => `topic.${n}`,
    'N.topic': (n) => `${n}.topic`,
    'orders.eu.customer-000N': (n) => `orders.eu.customer-${String(n).padStart(6, '0')}`,
    'N in base 36': (n) => n.toString(36),
    'sensors.A.B': (n) => `sensors.${n % 100}.${Math.floor(n / 100)}`,
  }

  describe.each(Object.entries(families))('of %s', (_family, nameOf) => {
    test.each([2, 3, 7, 8])('hashTopic() spreads 10 000 names over %i shards', (shards) => {
      const counts = new Array<number>(shards).fill(0)
      for (let n = 0; n < NAMES; n++) {
        const shard = shardOf(hashOf(nameOf(n)), shards)
        counts[shard] = (counts[shard] ?? 0) + 1
      }
      const fair = NAMES / shards
      expect(Math.min(...counts)).toBeGreaterThanOrEqual(fair * (1 - TOLERANCE))
      expect(Math.max(...counts)).toBeLessThanOrEqual(fair * (1 + TOLERANCE))
    })
  })
})

function hashOf(name: string): number {
  const bytes = new TextEncoder().encode(name)
  return hashTopic(bytes, 0, bytes.length)
}

function referenceHash(bytes: Uint8Array): number {
  const low = (value: bigint): bigint => BigInt.asUintN(32, value)
  let hash = 2166136261n
  for (const byte of bytes) hash = low((hash ^ BigInt(byte)) * 16777619n)
  hash = low((hash ^ (hash >> 16n)) * 0x85ebca6bn)
  hash = low((hash ^ (hash >> 13n)) * 0xc2b2ae35n)
  return Number(hash ^ (hash >> 16n))
}

describe('routingHash()', () => {
  const hash = (name: string) => routingHash(Buffer.from(name))

  test('is the hash of the topic that a companion stands beside', () => {
    expect(hash('orders')).toBe(hashTopic(Buffer.from('orders'), 0, 6))
    for (const name of ['$dlq.orders', '$events.orders', '$events.$dlq.orders']) {
      expect(hash(name)).toBe(hash('orders'))
    }
  })

  test('takes other names as they are', () => {
    for (const name of ['$dlq', '$dlq.', '$dlqorders', 'a.$dlq.orders', '$inbox.orders']) {
      expect(hash(name)).toBe(hashTopic(Buffer.from(name), 0, Buffer.byteLength(name)))
    }
  })
})
