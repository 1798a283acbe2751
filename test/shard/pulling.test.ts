/** What a shard answers to PULL records: runs of a topic's log for a subscription that is behind. */
import { describe, expect, test } from 'vitest'
import {
  EVENTS_AT_END,
  EVENTS_CONTINUED,
  EVENTS_TOPIC_GONE,
  JSON_TEXT,
} from '../../src/ring/record.js'
import { range } from '../gateway/rig.js'
import { type EventsRecord, eventsOf, ShardRig } from './shard-rig.js'

const KiB = 1024

describe('a pull', () => {
  const extent = ({ firstSeq, lastSeq, flags }: EventsRecord) => [firstSeq, lastSeq, flags]

  test('gets runs of a sixteenth of the ring, and the mark of the end on the last', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a')
    for (const _ of range(1, 10)) rig.publish('a', [[2, Buffer.alloc(7000)]])
    rig.settle()
    let fromSeq = 1
    const chunks = range(1, 5).map(() => {
      const chunk = rig.chunk({ topicId, fromSeq })
      fromSeq = chunk.lastSeq + 1
      return extent(chunk)
    })
    expect(chunks).toEqual([
      [1, 2, 0],
      [3, 4, 0],
      [5, 6, 0],
      [7, 8, 0],
      [9, 10, EVENTS_AT_END],
    ])
  })

  test('for several chunks gets as many records, of which all but the last say that it goes on', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a')
    for (const _ of range(1, 10)) rig.publish('a', [[2, Buffer.alloc(7000)]])
    rig.settle()
    const chunks = (fields: Parameters<ShardRig['pull']>[0]) => {
      rig.pull(fields)
      return eventsOf(rig.settle()).map(extent)
    }
    expect(chunks({ topicId, fromSeq: 2, chunks: 3 })).toEqual([
      [2, 3, EVENTS_CONTINUED],
      [4, 5, EVENTS_CONTINUED],
      [6, 7, 0],
    ])
    expect(chunks({ topicId, fromSeq: 7, chunks: 8 })).toEqual([
      [7, 8, EVENTS_CONTINUED],
      [9, 10, EVENTS_AT_END],
    ])
    // Text is written out entry by entry, so others get their turn after each chunk.
    expect(chunks({ topicId, fromSeq: 7, chunks: 8, format: JSON_TEXT })).toHaveLength(1)
    // So is what has to be looked at for its TTL.
    rig.publish('a', [[2, Buffer.alloc(1), null, null, { ttl_ms: 60_000 }]])
    rig.settle()
    expect(chunks({ topicId, fromSeq: 7, chunks: 8 })).toHaveLength(1)
  })

  test.each([
    [2, [[1, 1, 0]]],
    [
      3,
      [
        [1, 1, EVENTS_CONTINUED],
        [2, 2, 0],
      ],
    ],
  ])(
    'for %d chunks of entries that are larger gets no more bytes, but for the last',
    (chunks, expected) => {
      const rig = new ShardRig()
      const { topicId } = rig.subscribe('a')
      for (const _ of range(1, 5)) rig.publish('a', [[2, Buffer.alloc(40_000)]])
      rig.settle()
      rig.pull({ topicId, fromSeq: 1, chunks })
      expect(eventsOf(rig.settle()).map(extent)).toEqual(expected)
    },
  )

  test('tells what is lost once, before the first of its chunks', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a')
    for (const _ of range(1, 10)) rig.publish('a', [[2, Buffer.alloc(7000)]])
    rig.settle()
    rig.pull({ topicId, fromSeq: 2, chunks: 8, queueSize: 4 })
    const gaps = eventsOf(rig.settle()).map(({ firstSeq, gapFrom, gapTo }) => [
      firstSeq,
      gapFrom,
      gapTo,
    ])
    expect(gaps).toEqual([
      [7, 2, 6],
      [9, 0, 0],
    ])
  })

  test('is answered with fewer chunks while the ring has no room for more, and not with none', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a')
    for (const _ of range(1, 30)) rig.publish('a', [[2, Buffer.alloc(7000)]])
    rig.settle()
    for (const lag of range(1, 20)) rig.pull({ topicId, fromSeq: 1, chunks: 8, lag })
    rig.run()
    const records = eventsOf(rig.settle())
    for (const lag of range(1, 20)) {
      const chunks = records.filter((events) => events.lag === lag)
      let next = 1
      for (const { firstSeq, lastSeq } of chunks) {
        expect(firstSeq).toBe(next)
        next = lastSeq + 1
      }
      const flags = chunks.map((events) => events.flags)
      expect(flags).toEqual([...flags.slice(1).map(() => EVENTS_CONTINUED), 0])
      expect(next).toBeGreaterThan(1)
    }
    expect(records.length).toBeLessThan(20 * 8)
  })

  test('of what is not there yet is empty and at the end', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a')
    expect(rig.chunk({ topicId, fromSeq: 1 })).toMatchObject({
      count: 0,
      firstSeq: 1,
      lastSeq: 0,
      flags: EVENTS_AT_END,
    })
  })

  test('of what is gone says which seqs', () => {
    const rig = new ShardRig({ shard: { retention: { count: 4, bytes: 64 * KiB, ageMs: 0 } } })
    const { topicId } = rig.subscribe('a')
    for (const n of range(1, 10)) rig.publishNumbers('a', [n])
    rig.settle()
    const chunk = rig.chunk({ topicId, fromSeq: 3 })
    expect(chunk).toMatchObject({ gapFrom: 3, gapTo: 6, firstSeq: 7, lastSeq: 10 })
  })

  test('with a queue size goes no further back than that', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a')
    for (const n of range(1, 10)) rig.publishNumbers('a', [n])
    rig.settle()
    const chunk = rig.chunk({ topicId, fromSeq: 2, queueSize: 3 })
    expect(chunk).toMatchObject({ gapFrom: 2, gapTo: 7, firstSeq: 8, lastSeq: 10 })
    expect(rig.chunk({ topicId, fromSeq: 9, queueSize: 3 })).toMatchObject({ gapFrom: 0, gapTo: 0 })
  })

  test('of a topic that is gone says so', () => {
    const rig = new ShardRig()
    expect(rig.chunk({ topicId: 77, fromSeq: 1 })).toMatchObject({
      topicId: 77,
      flags: EVENTS_TOPIC_GONE,
      count: 0,
      lag: 7,
    })
  })

  test('comes after the EVENTS that it must meet', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a')
    rig.publishNumbers('a', [1, 2])
    rig.pull({ topicId, fromSeq: 1 })
    rig.publishNumbers('a', [3])
    const events = eventsOf(rig.settle())
    expect(events.map(({ lag, firstSeq, lastSeq }) => [lag, firstSeq, lastSeq])).toEqual([
      [0, 1, 2],
      [7, 1, 2],
      [0, 3, 3],
    ])
  })
})
