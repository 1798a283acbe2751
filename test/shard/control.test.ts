/**
 * What the HTTP door asks of a shard, and the options of topics.
 * Runs on: the test thread.
 */
import { describe, expect, test } from 'vitest'
import { topicCount } from '../../src/shared-memory.js'
import { range } from '../gateway/rig.js'
import { jsonMessage, notices, only, replies, ShardRig, seqsOf } from './shard-rig.js'

const KiB = 1024

describe('the requests of the HTTP door', () => {
  test('create makes a topic once', () => {
    const rig = new ShardRig()
    const request = { op: 'create', topic: 'a' } as never
    expect(only(replies(rig.ask(request)))).toMatchObject({
      status: 201,
      body: { status: 'created' },
    })
    expect(only(replies(rig.ask(request)))).toMatchObject({
      status: 200,
      body: { status: 'exists' },
    })
    expect(rig.counters.get('topicsCreated')).toBe(1)
  })

  test('delete ends a topic after its EVENTS; the same name later is another topic', () => {
    const rig = new ShardRig()
    const first = rig.subscribe('a')
    rig.publishNumbers('a', [1])
    rig.send({ op: 'delete', token: 5, topic: 'a' })
    const records = rig.settle()
    expect(seqsOf(records)).toEqual([1])
    expect(only(notices(records, 'topicDeleted'))).toMatchObject({ topicId: first.topicId })
    expect(only(replies(records))).toMatchObject({ token: 5, status: 200 })
    expect(topicCount(new Int32Array(rig.memory.common))).toBe(0)

    const again = rig.subscribe('a')
    expect(again).toMatchObject({ startSeq: 1, lastSeq: 0 })
    expect(again.topicId).not.toBe(first.topicId)
    expect(again.epoch).not.toBe(first.epoch)
  })

  test.each(['delete', 'info', 'history'])('%s of an unknown topic is refused', (op) => {
    const rig = new ShardRig()
    const request = { op, topic: 'no "such"', lastN: null, fromSeq: null, limit: 1 }
    const refused = only(notices(rig.ask(request as never), 'refused'))
    expect(refused).toMatchObject({ replyId: 2, message: 'topic "no \\"such\\"" does not exist' })
  })

  test('info tells what the topic holds', () => {
    const rig = new ShardRig({ shard: { retention: { count: 2, bytes: 64 * KiB, ageMs: 0 } } })
    for (const n of range(1, 3)) rig.publishNumbers('a', [n])
    rig.settle()
    const { body } = only(replies(rig.ask({ op: 'info', topic: 'a' } as never)))
    expect(body).toMatchObject({
      name: 'a',
      epoch: 'epoch-0000000001',
      first_seq: 2,
      last_seq: 3,
      messages: 2,
      worker: 0,
      topic_id: 1,
    })
  })

  test('history pages through the log', () => {
    const rig = new ShardRig()
    for (const n of range(1, 25)) rig.publishNumbers('a', [n])
    rig.settle()
    const ask = (lastN: number | null, fromSeq: number | null, limit: number) => {
      const request = { op: 'history', topic: 'a', lastN, fromSeq, limit }
      const { body } = only(replies(rig.ask(request as never)))
      const seqs = (body['messages'] as { seq: number }[]).map(({ seq }) => seq)
      return { seqs, next: body['next_seq'] as number }
    }
    expect(ask(3, null, 100)).toEqual({ seqs: [23, 24, 25], next: 26 })
    expect(ask(null, null, 4)).toEqual({ seqs: [22, 23, 24, 25], next: 26 })
    expect(ask(null, 100, 4)).toEqual({ seqs: [], next: 100 })
    const seqs: number[] = []
    for (let from = 1; from <= 25; ) {
      const page = ask(null, from, 10)
      seqs.push(...page.seqs)
      from = page.next
    }
    expect(seqs).toEqual(range(1, 25))
  })

  test('history that is too long for one answer goes on at next_seq', () => {
    const rig = new ShardRig({ plan: { ringBytes: 64 * KiB } })
    for (const n of range(1, 30)) {
      rig.publish('a', [jsonMessage(`${n} ${'x'.repeat(2000)}`)])
      rig.settle()
    }
    const seqs: number[] = []
    let pages = 0
    for (let from = 1; from <= 30; pages++) {
      const request = { op: 'history', topic: 'a', lastN: null, fromSeq: from, limit: 100 }
      const { body } = only(replies(rig.ask(request as never)))
      seqs.push(...(body['messages'] as { seq: number }[]).map(({ seq }) => seq))
      from = body['next_seq'] as number
    }
    expect(seqs).toEqual(range(1, 30))
    expect(pages).toBeGreaterThan(2)
  })

  test('list pages through more than 100 topics, deleted ones left out', () => {
    const rig = new ShardRig()
    for (const n of range(1, 205)) rig.publishNumbers(`t${n}`, range(1, n % 3))
    rig.settle()
    rig.ask({ op: 'delete', topic: 't7' } as never)
    const names: string[] = []
    let after: number | null = 0
    let pages = 0
    for (; after !== null; pages++) {
      const page: { topics: readonly { name: string; messages: number }[]; next: number | null } =
        only(notices(rig.ask({ op: 'list', after } as never), 'page'))
      names.push(...page.topics.map(({ name }) => name))
      after = page.next
    }
    expect(pages).toBe(3)
    expect(names).toEqual(
      range(1, 205)
        .filter((n) => n !== 7)
        .map((n) => `t${n}`),
    )
  })
})

test('a successor finds the options of a request, and drops them with the topic', () => {
  const rig = new ShardRig()
  rig.ask({ op: 'create', topic: 'a', options: { history_size: 2, ttl_ms: 0, events: 1 } } as never)
  rig.restart()
  rig.publishNumbers('a', [1])
  rig.publishNumbers('a', [2])
  rig.publishNumbers('a', [3])
  const body = () => only(replies(rig.ask({ op: 'info', topic: 'a' } as never))).body
  rig.settle()
  expect(body()).toMatchObject({
    first_seq: 2,
    options: {
      history_size: { value: 2, from: 'request' },
      ttl_ms: { value: 0, from: 'request' },
      dedup_window_ms: { value: 0, from: 'default' },
      events: { value: 1, from: 'request' },
    },
  })
  rig.ask({ op: 'delete', topic: 'a' } as never)
  rig.ask({ op: 'create', topic: 'a' } as never)
  expect(body()['options']).toMatchObject({ history_size: { value: 8192, from: 'default' } })
})

test('lower bounds of a topic that is full hold from the next publish on, and higher ones too', () => {
  const rig = new ShardRig()
  const publish = (number: number) => {
    rig.publish('a', [jsonMessage(`${number}${'x'.repeat(1000)}`)])
    rig.settle()
  }
  for (let number = 0; number < 40; number++) publish(number)
  rig.ask({ op: 'create', topic: 'a', options: { history_bytes: 4096 } } as never)
  publish(40)
  const { log } = rig.shard.topics.named('a') as { log: { count: number; bytes: number } }
  expect(log.bytes).toBeLessThanOrEqual(4096)
  expect(log.count).toBe(3)
  rig.ask({
    op: 'create',
    topic: 'a',
    options: { history_bytes: 65_536, history_size: 9 },
  } as never)
  for (let number = 41; number < 60; number++) publish(number)
  expect(log.count).toBe(9)
})
