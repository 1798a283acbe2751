/** TTL: what readers are given, what is told, what a successor makes of it. The clock is the test's. */
import { describe, expect, test } from 'vitest'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import {
  type EventsRecord,
  eventsOf,
  type Message,
  notices,
  type OutRecord,
  only,
  replies,
  ShardRig,
} from './shard-rig.js'

/** A message of this number that lives so long; 0: for ever. */
function message(number: number, ttlMs: number): Message {
  const properties = ttlMs === 0 ? null : { ttl_ms: ttlMs }
  return [1, Buffer.from(String(number)), null, null, properties]
}

function numbers(records: readonly OutRecord[]): number[] {
  return eventsOf(records).flatMap((record) => numbersOf(record))
}

function numbersOf({ entries, json }: EventsRecord): number[] {
  const texts = json.map((event) => (event['message'] as { payload: number }).payload)
  return [...entries.map(([, , , payload]) => Number(payload)), ...texts]
}

function history(rig: ShardRig, fields: object): number[] {
  const records = rig.ask({
    op: 'history',
    topic: 'a',
    lastN: null,
    fromSeq: null,
    limit: 100,
    ...fields,
  } as never)
  const messages = only(replies(records)).body['messages'] as { payload: number }[]
  return messages.map(({ payload }) => payload)
}

describe.each([MSGPACK, JSON_TEXT] as const)('in format %d', (format) => {
  test('expired entries are covered by a chunk, and not in it', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a', format)
    rig.publish('a', [
      message(1, 0),
      message(2, 100),
      message(3, 5000),
      message(4, 100),
      message(5, 0),
    ])
    expect(numbers(rig.settle())).toEqual([1, 2, 3, 4, 5])
    rig.nowMs += 100
    const chunk = rig.chunk({ topicId, fromSeq: 1, format })
    expect([chunk.firstSeq, chunk.lastSeq, chunk.count]).toEqual([1, 5, 3])
    expect(numbersOf(chunk)).toEqual([1, 3, 5])
    rig.nowMs += 5000
    expect(numbersOf(rig.chunk({ topicId, fromSeq: 1, format }))).toEqual([1, 5])
    expect(rig.counters.get('messagesExpired')).toBe(3)
  })

  test('what expires before its EVENTS could leave is not delivered', () => {
    const rig = new ShardRig()
    rig.subscribe('a', format)
    rig.publish('a', [message(1, 50), message(2, 0)])
    rig.onNow = () => {
      rig.nowMs += 60 // The batch begins late.
      rig.onNow = () => {}
    }
    rig.settle()
    rig.publish('a', [message(3, 0)])
    expect(numbers(rig.settle())).toEqual([3])
  })

  test('a topic of expired entries only gives an empty chunk that reaches the end, and no gap', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a', format)
    rig.publish('a', [message(1, 10), message(2, 10)])
    rig.settle()
    rig.nowMs += 10
    const late = rig.chunk({ topicId, fromSeq: 1, format })
    expect([late.count, late.lastSeq, late.flags & 1]).toEqual([0, 2, 1])
    rig.nowMs += 1000
    rig.settle() // The timer has dropped them.
    const later = rig.chunk({ topicId, fromSeq: 1, format })
    expect([later.count, later.lastSeq, later.gapFrom, later.gapTo]).toEqual([0, 2, 0, 0])
  })
})

test('last_n counts what is alive, in history and in a subscribe', () => {
  const rig = new ShardRig()
  rig.publish('a', [message(1, 0), message(2, 0), message(3, 100), message(4, 0), message(5, 100)])
  rig.settle()
  rig.nowMs += 100
  expect(history(rig, { lastN: 2 })).toEqual([2, 4])
  expect(history(rig, { fromSeq: 2 })).toEqual([2, 4])
  expect(rig.subscribe('a', MSGPACK, { from: 'lastN', count: 2 }).startSeq).toBe(2)
  expect(rig.subscribe('a', MSGPACK, { from: 'lastN', count: 9 }).startSeq).toBe(1)
})

test('a topic has a TTL too: the shorter of the two counts, also for what is held already', () => {
  const rig = new ShardRig()
  rig.publish('a', [message(1, 0), message(2, 100), message(3, 9000)])
  rig.settle()
  rig.ask({ op: 'create', topic: 'a', options: { ttl_ms: 1000 } } as never)
  rig.nowMs += 100
  expect(history(rig, {})).toEqual([1, 3])
  rig.nowMs += 900
  expect(history(rig, {})).toEqual([])
  rig.settle()
  expect(rig.counters.get('messagesExpired')).toBe(3)
})

test('a resume from expired entries counts as recovered, and the loss by retention is a gap', () => {
  const rig = new ShardRig({ shard: { retention: { count: 4, bytes: 64 * 1024, ageMs: 0 } } })
  const { topicId, epoch } = rig.subscribe('a')
  rig.publish('a', [message(1, 10), message(2, 10), message(3, 0)])
  rig.settle()
  rig.nowMs += 40
  rig.settle()
  const start = { from: 'seq', seq: 1, epoch } as const
  expect(rig.subscribe('a', MSGPACK, start)).toMatchObject({ recovered: true, startSeq: 3 })
  rig.publishNumbers('a', [4, 5, 6])
  rig.publishNumbers('a', [7, 8])
  rig.settle()
  expect(rig.subscribe('a', MSGPACK, start)).toMatchObject({ recovered: false })
  const { gapFrom, gapTo, firstSeq } = rig.chunk({ topicId, fromSeq: 1 })
  expect([gapFrom, gapTo, firstSeq]).toEqual([1, 4, 5])
})

test('the old end of the log is given back, the middle when its turn comes', () => {
  const rig = new ShardRig()
  rig.publish('a', [message(1, 10), message(2, 10), message(3, 50), message(4, 10), message(5, 0)])
  rig.settle()
  const log = rig.shard.topics.named('a')?.log
  rig.nowMs += 30
  rig.settle()
  expect([log?.firstSeq, log?.count]).toEqual([3, 3])
  rig.nowMs += 40
  rig.settle()
  expect([log?.firstSeq, log?.count]).toEqual([5, 1])
})

describe('$events.<topic>', () => {
  const eventsIn = (rig: ShardRig): unknown[] => {
    const request = { op: 'history', topic: '$events.a', lastN: 100, fromSeq: null, limit: 100 }
    const [reply] = replies(rig.ask(request as never))
    return ((reply?.body['messages'] ?? []) as { payload: object }[]).map(({ payload }) => payload)
  }

  test('gets an entry for each expiry if somebody subscribed to it', () => {
    const rig = new ShardRig()
    rig.subscribe('$events.a')
    rig.publish('a', [message(1, 0), message(2, 20), message(3, 10)])
    rig.settle()
    const bornMs = rig.nowMs
    rig.nowMs += 50
    const told = eventsOf(rig.settle()).flatMap(({ entries }) => entries)
    expect(told.map(([seq, , , payload]) => [seq, JSON.parse(payload.toString())])).toEqual([
      [1, expect.objectContaining({ type: 'expired', topic: 'a', seq: 3 })],
      [2, expect.objectContaining({ type: 'expired', topic: 'a', seq: 2 })],
    ])
    expect(eventsIn(rig)[1]).toEqual({
      type: 'expired',
      topic: 'a',
      seq: 2,
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      ts: new Date(bornMs).toISOString(),
      expired_at: new Date(bornMs + 20).toISOString(),
    })
  })

  test('is made by the option events, and not without it', () => {
    for (const events of [0, 1]) {
      const rig = new ShardRig({ shard: { autoCreateTopics: false } })
      rig.ask({ op: 'create', topic: 'a', options: { events } } as never)
      rig.publish('a', [message(1, 20)])
      rig.settle()
      rig.nowMs += 50
      rig.settle()
      expect(eventsIn(rig)).toHaveLength(events)
      expect(rig.counters.get('messagesExpired')).toBe(1)
    }
  })
})

test('a successor goes on where its predecessor was: each expiry is told once', () => {
  const rig = new ShardRig()
  rig.subscribe('$events.a')
  rig.publish('a', [message(1, 0), message(2, 100), message(3, 200), message(4, 100)])
  rig.settle()
  rig.restart()
  rig.nowMs += 120
  rig.settle()
  rig.restart()
  rig.nowMs += 100
  rig.settle()
  rig.restart()
  rig.settle()
  expect(rig.counters.get('messagesExpired')).toBe(3)
  expect(rig.shard.topics.named('$events.a')?.log.lastSeq).toBe(3)
  expect(notices(rig.taken, 'attach').length).toBeGreaterThan(1)
})

test('what the log drops for want of room is not told as expired', () => {
  const rig = new ShardRig({ shard: { retention: { count: 2, bytes: 64 * 1024, ageMs: 0 } } })
  for (let number = 1; number <= 200; number++) {
    rig.publish('a', [message(number, 1000)])
    rig.settle()
  }
  rig.nowMs += 2000
  rig.settle()
  expect(rig.counters.get('messagesExpired')).toBe(2)
})

test('many that expire at once do not hold up a publish for longer than a batch', () => {
  const rig = new ShardRig()
  for (let record = 0; record < 4; record++) {
    rig.publish(
      'a',
      Array.from({ length: 1000 }, (_, index) => message(index, 10)),
    )
    rig.settle()
  }
  rig.nowMs += 50
  rig.publish('b', [message(1, 0)], { requestId: 'r' })
  rig.run()
  expect(rig.counters.get('messagesExpired')).toBeLessThan(4000)
  expect(rig.shard.topics.named('b')?.log.lastSeq).toBe(1)
  rig.settle()
  expect(rig.counters.get('messagesExpired')).toBe(4000)
  expect(rig.shard.topics.named('a')?.log.count).toBe(0)
})
