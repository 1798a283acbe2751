/**
 * What a shard says for what it is told, record by record.
 * Runs on: the test thread.
 */
import { Packr } from 'msgpackr'
import { describe, expect, test, vi } from 'vitest'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { RingProducer } from '../../src/ring/spsc-ring.js'
import { BATCH_RECORDS_MAX } from '../../src/shared-memory.js'
import { range } from '../gateway/rig.js'
import {
  acksOf,
  eventsOf,
  jsonMessage,
  notices,
  only,
  replies,
  ShardRig,
  seqsOf,
} from './shard-rig.js'

const KiB = 1024
const packr = new Packr({ useRecords: false, variableMapSize: true })

describe('acks', () => {
  test('consecutive acks of one connection travel in one record, in MessagePack as one frame', () => {
    const rig = new ShardRig()
    for (const n of range(1, 5)) rig.publishNumbers('a', [n], { requestId: `r${n}` })
    const ack = only(acksOf(rig.settle()))
    expect(ack).toMatchObject({ session: 1, answered: 5, frames: 1 })
    expect(ack.values).toEqual(
      range(1, 5).map((seq) => [33, `r${seq}`, 'a', { epoch: 'epoch-0000000001', seq }]),
    )
  })

  test('acks in JSON stay frames of their own', () => {
    const rig = new ShardRig()
    const fields = { format: JSON_TEXT, requestId: 'é"' } as const
    rig.publishNumbers('a"b', [1], fields)
    rig.publishNumbers('a"b', [2, 3], fields)
    const ack = only(acksOf(rig.settle()))
    const common = { type: 'ack', request_id: 'é"', topic: 'a"b', status: 'ok' }
    const rest = { ts: '2026-01-01T00:00:00.000Z', epoch: 'epoch-0000000001' }
    expect(ack).toMatchObject({ answered: 2, frames: 2 })
    expect(ack.values).toEqual([
      { ...common, ...rest, seq: 1 },
      { ...common, ...rest, first_seq: 2, last_seq: 3, count: 2 },
    ])
  })

  test('acks of several connections keep their order and do not mix', () => {
    const rig = new ShardRig()
    for (const session of [1, 2, 2, 1]) {
      rig.publishNumbers('a', [0], { session, requestId: `s${session}` })
    }
    const acks = acksOf(rig.settle())
    expect(acks.map(({ session, answered }) => [session, answered])).toEqual([
      [1, 1],
      [2, 2],
      [1, 1],
    ])
  })

  test('the ack of a batch names its first and last seq', () => {
    const rig = new ShardRig()
    rig.publishNumbers('a', [1])
    rig.publishNumbers('a', [2, 3, 4], { requestId: 'batch' })
    const ack = only(acksOf(rig.settle()))
    const result = { epoch: 'epoch-0000000001', first_seq: 2, last_seq: 4, count: 3 }
    expect(ack.values).toEqual([[33, 'batch', 'a', result]])
  })

  test('a publish without a request id is stored and not acked', () => {
    const rig = new ShardRig()
    rig.publishNumbers('a', [1])
    expect(rig.settle()).toEqual([])
    expect(rig.counters.get('messagesStored')).toBe(1)
  })

  test('more acks than one record takes come in several, none lost', () => {
    const rig = new ShardRig()
    const topic = 't'.repeat(250)
    for (const n of range(1, BATCH_RECORDS_MAX)) {
      rig.publishNumbers(topic, [n], { requestId: `${n}`.padStart(128, '0'), format: JSON_TEXT })
    }
    const acks = acksOf(rig.settle())
    expect(acks.length).toBeGreaterThan(1)
    const seqs = acks.flatMap(({ values }) => values.map((ack) => (ack as { seq: number }).seq))
    expect(seqs).toEqual(range(1, BATCH_RECORDS_MAX))
  })

  test('a publish by HTTP is answered with a reply', () => {
    const rig = new ShardRig()
    const fields = { isHttp: true, format: JSON_TEXT, session: 99 } as const
    rig.publishNumbers('a', [1, 2], fields)
    expect(only(replies(rig.settle()))).toMatchObject({
      token: 99,
      status: 200,
      body: { status: 'published', topic: 'a', first_seq: 1, last_seq: 2 },
    })
  })
})

describe('batches', () => {
  test('Shard.runBatch() takes at most BATCH_RECORDS_MAX records', () => {
    const rig = new ShardRig()
    for (const n of range(1, BATCH_RECORDS_MAX + 1)) rig.publishNumbers('a', [n])
    rig.shard.runBatch()
    expect(rig.counters.get('recordsProcessed')).toBe(BATCH_RECORDS_MAX)
    rig.shard.runBatch()
    expect(rig.counters.get('recordsProcessed')).toBe(BATCH_RECORDS_MAX + 1)
    expect(rig.counters.get('batches')).toBe(2)
  })

  test('Shard.runBatch() takes at most about 1 MiB of messages', () => {
    const rig = new ShardRig({
      plan: { ringBytes: 4096 * KiB, logMemoryBytes: 32_768 * KiB },
      shard: { retention: { count: 8192, bytes: 8192 * KiB, ageMs: 0 } },
    })
    for (const _ of range(1, 30)) rig.publish('a', [[2, Buffer.alloc(60 * KiB)]])
    rig.shard.runBatch()
    expect(rig.counters.get('recordsProcessed')).toBe(18)
  })

  test('Shard.runBatch() does nothing, and says so, when there is nothing', () => {
    const rig = new ShardRig()
    expect(rig.shard.hasWork).toBe(false)
    expect(rig.shard.runBatch()).toBe(false)
    expect(rig.counters.get('batches')).toBe(0)
  })

  test('messages that came one by one leave as one run', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a')
    for (const n of range(1, 10)) rig.publishNumbers('a', [n])
    const events = only(eventsOf(rig.settle()))
    expect(events).toMatchObject({ topicId, count: 10, firstSeq: 1, lastSeq: 10, lag: 0, flags: 0 })
    expect(events.entries.map(([seq, ts]) => [seq, ts])).toEqual(
      range(1, 10).map((seq) => [seq, rig.nowMs]),
    )
  })
})

describe('a live subscriber', () => {
  test('of MessagePack gets entries as they were published: encoding, payload, id, headers', () => {
    const rig = new ShardRig()
    rig.subscribe('a')
    const id = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
    rig.publish('a', [
      [0, packr.pack({ n: 1 }), id, { trace: 'x' }],
      [2, Buffer.of(1, 2, 3)],
      [1, Buffer.from('[]'), null, { only: 'headers' }],
      [1, Buffer.from('{}'), id],
      [1, Buffer.from('{}'), id, null],
      [1, Buffer.from('{}'), null, null],
    ])
    const { entries } = only(eventsOf(rig.settle()))
    expect(entries.map(([, , encoding, payload]) => [encoding, Buffer.from(payload)])).toEqual([
      [0, packr.pack({ n: 1 })],
      [2, Buffer.of(1, 2, 3)],
      [1, Buffer.from('[]')],
      [1, Buffer.from('{}')],
      [1, Buffer.from('{}')],
      [1, Buffer.from('{}')],
    ])
    expect(entries.map((entry) => entry[5])).toEqual([
      { trace: 'x' },
      null,
      { only: 'headers' },
      null,
      null,
      null,
    ])
    const ids = entries.map((entry) => Buffer.from(entry[4]).toString('hex'))
    expect(ids.filter((text) => text === id.toString('hex'))).toHaveLength(3)
    expect(new Set(ids).size).toBe(4)
    for (const made of ids.filter((text) => text !== id.toString('hex'))) {
      expect(made).toMatch(/^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/)
    }
  })

  test('gets properties as the seventh element of an entry, and no element of those without', () => {
    const rig = new ShardRig()
    rig.subscribe('a')
    const id = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
    const properties = { key: 'k', priority: 'low', ttl_ms: 60_000 }
    rig.publish('a', [
      [1, Buffer.from('1'), id, null, properties],
      [1, Buffer.from('2'), null, { h: 'v' }, { key: 'é' }],
      [1, Buffer.from('3'), null, null, {}],
      [1, Buffer.from('4'), id, null, null],
      [1, Buffer.from('5')],
    ])
    const { entries } = only(eventsOf(rig.settle()))
    expect(entries.map(([, , , payload]) => Number(payload))).toEqual([1, 2, 3, 4, 5])
    expect(entries.map((entry) => entry.length)).toEqual([7, 7, 6, 6, 6])
    expect(entries.map((entry) => entry[5])).toEqual([null, { h: 'v' }, null, null, null])
    expect([entries[0]?.[6], entries[1]?.[6]]).toEqual([properties, { key: 'é' }])
  })

  test('of JSON gets properties as fields of the message, and so does the history', () => {
    const rig = new ShardRig()
    rig.subscribe('a', JSON_TEXT)
    const properties = { key: 'k"é', priority: 'high', ttl_ms: 60_000, correlation_id: 'c' }
    rig.publish('a', [[1, Buffer.from('1'), null, { h: 'v' }, properties]])
    const { json } = only(eventsOf(rig.settle()))
    const message = { id: expect.any(String), payload: 1, headers: { h: 'v' }, ...properties }
    expect(json[0]?.['message']).toEqual(message)
    const answer = rig.ask({
      op: 'history',
      topic: 'a',
      lastN: 1,
      fromSeq: null,
      limit: 1,
    } as never)
    const [stored] = only(replies(answer)).body['messages'] as Record<string, unknown>[]
    expect(stored).toMatchObject({ seq: 1, payload: 1, headers: { h: 'v' }, ...properties })
  })

  test('of JSON gets JSON text, payloads of encoding 1 byte for byte', () => {
    const rig = new ShardRig()
    rig.subscribe('a', JSON_TEXT)
    const id = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
    rig.publish('a', [[1, Buffer.from('{"n": 1e2}'), id, { k: 'v' }]])
    const { json } = only(eventsOf(rig.settle()))
    expect(json).toEqual([
      {
        type: 'event',
        topic: 'a',
        message: {
          id: '00112233-4455-6677-8899-aabbccddeeff',
          payload: { n: 100 },
          headers: { k: 'v' },
        },
        seq: 1,
        ts: '2026-01-01T00:00:00.000Z',
      },
    ])
  })

  test('of each format gets every entry, each format in records of its own', () => {
    const rig = new ShardRig()
    rig.subscribe('a', JSON_TEXT)
    rig.subscribe('a', MSGPACK)
    rig.publishNumbers('a', [1, 2])
    const events = eventsOf(rig.settle())
    expect(events.map(({ format, count }) => [format, count])).toEqual([
      [MSGPACK, 2],
      [JSON_TEXT, 2],
    ])
  })

  test('loses nothing to big batches in a tiny history: EVENTS go out before entries are dropped', () => {
    const rig = new ShardRig({ shard: { retention: { count: 8, bytes: 16 * KiB, ageMs: 0 } } })
    rig.subscribe('a', MSGPACK)
    rig.subscribe('a', JSON_TEXT)
    for (const n of range(0, 49)) rig.publishNumbers('a', range(n * 8, n * 8 + 7))
    const records = rig.settle()
    const packed = eventsOf(records).filter(({ format }) => format === MSGPACK)
    const json = eventsOf(records).filter(({ format }) => format === JSON_TEXT)
    expect(seqsOf(packed)).toEqual(range(1, 400))
    expect(seqsOf(json)).toEqual(range(1, 400))
  })

  test('loses nothing to entries of very different sizes in a tiny history', () => {
    const rig = new ShardRig({
      plan: { ringBytes: 1024 * KiB },
      shard: { retention: { count: 8192, bytes: 4 * KiB, ageMs: 0 } },
    })
    rig.subscribe('a', MSGPACK)
    for (const n of range(0, 200)) rig.publish('a', [[2, Buffer.alloc((n * 389) % 3800)]])
    expect(seqsOf(rig.settle())).toEqual(range(1, 201))
  })

  test('gets no more EVENTS once the last interest is gone', () => {
    const rig = new ShardRig()
    const { topicId } = rig.subscribe('a', MSGPACK)
    rig.subscribe('a', JSON_TEXT)
    rig.send({ op: 'interest', topicId, formats: 1 << JSON_TEXT })
    rig.publishNumbers('a', [1])
    expect(eventsOf(rig.settle()).map(({ format }) => format)).toEqual([JSON_TEXT])
    rig.send({ op: 'interest', topicId, formats: 0 })
    rig.publishNumbers('a', [2])
    expect(rig.settle()).toEqual([])
    // And is told where EVENTS begin when there is interest again.
    rig.send({
      op: 'subscribe',
      token: 1,
      topic: 'a',
      format: MSGPACK,
      start: { from: 'live' },
    })
    expect(only(notices(rig.settle(), 'attach'))).toMatchObject({ topicId, lastSeq: 2 })
  })

  test('interest in a topic that is gone is no matter', () => {
    const rig = new ShardRig()
    rig.send({ op: 'interest', topicId: 5, formats: 1 })
    rig.send({ op: 'dropPattern', patternId: 5 })
    expect(rig.settle()).toEqual([])
  })
})

describe('a full outbound ring', () => {
  const plan = { ringBytes: 128 * KiB }

  test('stops the shard; nothing is lost; it goes on when there is room', () => {
    const rig = new ShardRig({ plan })
    rig.subscribe('a')
    let published = 0
    while (rig.tryPublish('a', [[2, Buffer.alloc(1000)]], { requestId: `${published}` })) {
      published++
    }
    while (rig.run()) {} // Nobody takes anything.
    expect(rig.shard.isBlocked).toBe(true)
    expect(rig.shard.hasMoreRoom).toBe(false)
    const processed = rig.counters.get('recordsProcessed')
    expect(rig.shard.runBatch()).toBe(false)
    expect(rig.counters.get('recordsProcessed')).toBe(processed)

    rig.take(1)
    expect(rig.shard.hasMoreRoom).toBe(true)
    rig.settle()
    expect(rig.shard.isBlocked).toBe(false)
    const acks = acksOf(rig.taken).flatMap(({ values }) => values as unknown[][])
    expect(acks.map(([, id]) => id)).toEqual(range(0, published - 1).map(String))
    expect(seqsOf(rig.taken)).toEqual(range(1, published))
  })

  test('Shard.hasMoreRoom sees room that came while the batch looked for it in vain', () => {
    const rig = new ShardRig({ plan })
    rig.subscribe('a')
    while (rig.tryPublish('a', [[2, Buffer.alloc(1000)]])) {}
    while (rig.run()) {}
    expect(rig.shard.isBlocked).toBe(true)
    // The gateway takes everything just after the shard has looked, and will not ring again.
    const room = RingProducer.prototype.room
    let looks = 0
    const spy = vi.spyOn(RingProducer.prototype, 'room').mockImplementation(function (
      this: RingProducer,
    ) {
      const found = room.call(this)
      if (this === rig.shard.out && looks++ === 0) rig.take()
      return found
    })
    rig.shard.runBatch()
    spy.mockRestore()
    expect(rig.shard.isBlocked && !rig.shard.hasMoreRoom).toBe(false)
  })

  /**
   * A rig whose outbound ring has just enough room for the next record to be begun, `place` bytes
   * into the ring, and with acks that wait to go out as well.
   */
  const nearlyFull = (place: number, prepare: (rig: ShardRig) => void) => {
    const rig = new ShardRig({ plan })
    prepare(rig)
    rig.subscribe('e')
    for (let left = place; left > 0; left -= 4000) {
      rig.publish('e', [[2, Buffer.alloc(Math.min(left, 4000))]])
      rig.settle()
    }
    while (rig.shard.out.room() > 55_000) {
      rig.publish('e', [[2, Buffer.alloc(1000)]])
      rig.run()
    }
    for (const n of range(1, 25)) {
      const requestId = `${n}`.padStart(100, '0')
      rig.publishNumbers('f', [n], { format: JSON_TEXT, requestId })
    }
    return rig
  }

  test('takes a page of the longest names at any place in it', () => {
    for (let place = 0; place < 128 * KiB; place += 2500) {
      const rig = nearlyFull(place, (empty) => {
        for (const n of range(100, 199)) {
          empty.ask({ op: 'create', topic: `${n}${'n'.repeat(252)}` } as never)
        }
      })
      rig.send({ op: 'list', token: 5, after: 0 })
      rig.run()
      rig.settle()
      expect(only(notices(rig.taken, 'page')).topics).toHaveLength(100)
      expect(acksOf(rig.taken).reduce((sum, { answered }) => sum + answered, 0)).toBe(25)
    }
  })

  test('takes a history at any place in it', () => {
    for (let place = 0; place < 128 * KiB; place += 2500) {
      const rig = nearlyFull(place, (empty) => {
        for (const n of range(1, 40)) empty.publish('h', [jsonMessage(`${n} ${'x'.repeat(1000)}`)])
        empty.settle()
      })
      rig.send({ op: 'history', token: 5, topic: 'h', lastN: null, fromSeq: 1, limit: 100 })
      rig.run()
      rig.settle()
      expect(only(replies(rig.taken))).toMatchObject({ status: 200 })
      expect(acksOf(rig.taken).reduce((sum, { answered }) => sum + answered, 0)).toBe(25)
    }
  })

  test('a successor with many topics to announce and much to answer finds room for all', () => {
    const rig = new ShardRig({ plan })
    const name = (n: number) => `${n}${'n'.repeat(250)}`
    for (const n of range(0, 199)) rig.subscribe(name(n))
    for (const n of range(0, 199)) {
      rig.publishNumbers(name(0), [n], { requestId: `${n}`.padStart(128, '0'), format: JSON_TEXT })
    }
    // Dies when the batch is done but not published.
    const spy = vi.spyOn(rig.shard.flushing, 'flush').mockImplementation(() => {
      throw new Error('dies')
    })
    expect(() => rig.shard.runBatch()).toThrow('dies')
    spy.mockRestore()
    rig.restart()
    const records = rig.settle()
    const acks = acksOf(records).flatMap(({ values }) => values as { seq: number }[])
    expect(acks.map(({ seq }) => seq)).toEqual(range(1, 200))
    expect(notices(records, 'attach')).toHaveLength(200)
  })
})
