/**
 * What a shard refuses, and what it drops.
 * Runs on: the test thread.
 */
import { describe, expect, test } from 'vitest'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { hashTopic } from '../../src/routing/topic-hash.js'
import { range } from '../gateway/rig.js'
import { acksOf, errorsOf, eventsOf, notices, only, replies, ShardRig } from './shard-rig.js'

const KiB = 1024

describe('limits', () => {
  test('MAX_TOPICS topics may be made, and a deleted one makes room', () => {
    const rig = new ShardRig({ plan: { maxTopics: 2 } })
    rig.publishNumbers('a', [1])
    rig.publishNumbers('b', [1])
    rig.publishNumbers('c', [1], { requestId: 'c' })
    const { values, answered } = only(acksOf(rig.settle()))
    expect(answered).toBe(1)
    expect(values).toMatchObject([
      [35, 'c', 'LIMIT_EXCEEDED', 'there are MAX_TOPICS=2 topics', false],
    ])
    expect(only(notices(rig.ask({ op: 'create', topic: 'c' } as never), 'refused')).replyId).toBe(4)
    rig.ask({ op: 'delete', topic: 'a' } as never)
    expect(only(replies(rig.ask({ op: 'create', topic: 'c' } as never))).status).toBe(201)
  })

  test('AUTO_CREATE_TOPICS off: publish and subscribe are refused, create is not', () => {
    const rig = new ShardRig({ shard: { autoCreateTopics: false } })
    rig.publishNumbers('a', [1], { requestId: 'r' })
    rig.publishNumbers('a', [1]) // Nobody waits for an answer, but a refusal is told.
    const records = rig.settle()
    expect(errorsOf(records)).toEqual([
      ['r', 'TOPIC_NOT_FOUND'],
      [null, 'TOPIC_NOT_FOUND'],
    ])
    expect(only(acksOf(records)).answered).toBe(1)
    const subscribe = { op: 'subscribe', topic: 'a', format: MSGPACK, start: { from: 'live' } }
    expect(only(notices(rig.ask(subscribe as never), 'refused')).replyId).toBe(2)
    rig.ask({ op: 'create', topic: 'a' } as never)
    expect(rig.subscribe('a')).toMatchObject({ startSeq: 1 })
  })

  test('a batch that the retention can never hold is refused whole', () => {
    const rig = new ShardRig({ shard: { retention: { count: 4, bytes: 4 * KiB, ageMs: 0 } } })
    rig.publishNumbers('a', range(1, 5), { requestId: 'count' })
    rig.publish('a', [[2, Buffer.alloc(4096)]], { requestId: 'bytes' })
    rig.publish('a', [[2, Buffer.alloc(4096)]], { isHttp: true, session: 9, format: JSON_TEXT })
    const records = rig.settle()
    expect(errorsOf(records)).toEqual([
      ['count', 'LIMIT_EXCEEDED'],
      ['bytes', 'LIMIT_EXCEEDED'],
    ])
    expect(only(notices(records, 'refused'))).toMatchObject({ token: 9, replyId: 4 })
    expect(rig.counters.get('publishesRefused')).toBe(3)
  })

  test('LOG_MEMORY used up: no more topics, no large messages, and the shard lives on', () => {
    const rig = new ShardRig({
      plan: { logMemoryBytes: 64 * KiB, maxTopics: 100 },
      shard: { retention: { count: 8192, bytes: 64 * KiB, ageMs: 0 } },
    })
    for (const n of range(1, 50)) rig.publishNumbers(`t${n}`, [n], { requestId: `${n}` })
    const answers = acksOf(rig.settle()).flatMap(({ values }) => values as unknown[][])
    const stored = answers.filter(([op]) => op === 33)
    expect(answers).toHaveLength(50)
    expect(stored.length).toBeGreaterThan(5)
    expect(answers.filter(([op]) => op === 35)).toHaveLength(50 - stored.length)
    expect(new Set(answers.slice(stored.length).map(([, , code]) => code))).toEqual(
      new Set(['LIMIT_EXCEEDED']),
    )
    rig.publish('t1', [[2, Buffer.alloc(20_000)]], { requestId: 'large' })
    expect(errorsOf(rig.settle())).toEqual([['large', 'OVERLOADED']])
    // What is there works as before: old entries make room for new ones.
    for (const n of range(1, 20))
      rig.publish('t1', [[2, Buffer.alloc(1000)]], { requestId: `${n}` })
    const later = acksOf(rig.settle()).flatMap(({ values }) => values as unknown[][])
    expect(later.map(([op]) => op)).toEqual(Array(20).fill(33))
    // And what is deleted can be used again.
    rig.ask({ op: 'delete', topic: 't2' } as never)
    expect(only(replies(rig.ask({ op: 'create', topic: 'new' } as never))).status).toBe(201)
  })
})

describe('age', () => {
  const ageMs = 10_000

  test('entries older than TOPIC_MAX_AGE_MS are neither replayed nor counted', () => {
    const rig = new ShardRig({ shard: { retention: { count: 100, bytes: 64 * KiB, ageMs } } })
    for (const n of range(1, 5)) {
      rig.nowMs += 4000
      rig.publishNumbers('a', [n])
      rig.settle()
    }
    // 4, 8, 12, 16, 20 s: at 20 s the first is too old.
    const start = { from: 'lastN', count: 100 } as const
    const { startSeq, topicId } = rig.subscribe('a', MSGPACK, start)
    expect(startSeq).toBe(3)
    rig.nowMs += 5000
    expect(rig.chunk({ topicId, fromSeq: 1 })).toMatchObject({ gapFrom: 1, gapTo: 3, firstSeq: 4 })
    rig.nowMs += 5000
    rig.shard.evictExpired()
    const info = only(replies(rig.ask({ op: 'info', topic: 'a' } as never)))
    expect(info.body).toMatchObject({ first_seq: 5, messages: 1 })
    rig.nowMs += 60_000
    const request = { op: 'history', topic: 'a', lastN: null, fromSeq: 1, limit: 9 }
    expect(only(replies(rig.ask(request as never))).body).toMatchObject({
      messages: [],
      next_seq: 6,
    })
  })

  test('the times of a topic never go back, whatever the clock does', () => {
    const rig = new ShardRig()
    rig.subscribe('a')
    const start = rig.nowMs
    for (const nowMs of [start, start - 5000, start + 1]) {
      rig.nowMs = nowMs
      rig.publishNumbers('a', [1])
      rig.settle()
    }
    const times = eventsOf(rig.taken).flatMap(({ entries }) => entries.map(([, ts]) => ts))
    expect(times).toEqual([start, start, start + 1])
  })
})

test.each([0, 1])(
  'topics whose names have one hash are told apart, and deleted alone (%i)',
  (first) => {
    const names = ['tag7crx', 't1wd4txb']
    expect(new Set(names.map((name) => hashTopic(Buffer.from(name), 0, name.length))).size).toBe(1)
    const rig = new ShardRig()
    for (const name of names) rig.publishNumbers(name, [1], { requestId: name })
    const { values } = only(acksOf(rig.settle()))
    expect((values as unknown[][]).map(([, , topic]) => topic)).toEqual(names)
    const [deleted, left] = [names[first], names[1 - first]] as [string, string]
    rig.ask({ op: 'delete', topic: deleted } as never)
    expect(rig.subscribe(left)).toMatchObject({ lastSeq: 1 })
    expect(rig.subscribe(deleted)).toMatchObject({ lastSeq: 0 })
    for (const name of names) rig.ask({ op: 'delete', topic: name } as never)
    expect(rig.shard.topics.size).toBe(0)
  },
)
