/**
 * What a shard says for what it is told, record by record.
 * Runs on: the test thread.
 */
import { Packr } from 'msgpackr'
import { describe, expect, test, vi } from 'vitest'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { RingProducer } from '../../src/ring/spsc-ring.js'
import { hashTopic } from '../../src/routing/topic-hash.js'
import { BATCH_RECORDS_MAX, topicCount } from '../../src/shared-memory.js'
import { range } from '../gateway/rig.js'
import {
  acksOf,
  eventsOf,
  jsonMessage,
  notices,
  type OutRecord,
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

describe('patterns', () => {
  test('a pattern is told of every topic that matches, and where it is', () => {
    const rig = new ShardRig()
    rig.publishNumbers('a.1', [1, 2])
    rig.publishNumbers('a.2', [1])
    rig.publishNumbers('b', [1])
    const records = rig.subscribePattern(3, 'a.*')
    expect(notices(records, 'attach').map(({ topic, patternIds }) => [topic, patternIds])).toEqual([
      ['a.1', [3]],
      ['a.2', [3]],
    ])
    expect(notices(records, 'match')).toMatchObject([
      { patternId: 3, startSeq: 3, lastSeq: 2, recovered: null },
      { patternId: 3, startSeq: 2, lastSeq: 1, recovered: null },
    ])
    expect(records.at(-1)).toMatchObject({ notice: { op: 'patternSubscribed' } })
    rig.publishNumbers('a.2', [2])
    rig.publishNumbers('b', [2])
    expect(seqsOf(rig.settle())).toEqual([2])
  })

  test('a topic made later is attached from its first entry', () => {
    const rig = new ShardRig()
    rig.subscribePattern(3, '*.x', JSON_TEXT)
    rig.publishNumbers('a.x', [1])
    const records = rig.settle()
    expect(only(notices(records, 'attach'))).toMatchObject({ lastSeq: 0, patternIds: [3] })
    expect(seqsOf(records)).toEqual([1])
  })

  test('a pattern that begins with a wildcard does not match $ topics', () => {
    const rig = new ShardRig()
    rig.subscribe('$sys.x')
    const records = rig.subscribePattern(1, '#')
    expect(notices(records, 'match')).toEqual([])
    expect(notices(rig.subscribePattern(2, '$sys.#'), 'match')).toHaveLength(1)
  })

  test('a dropped pattern makes no more EVENTS, and its place is free again', () => {
    const rig = new ShardRig()
    for (const id of range(1, 4)) rig.subscribePattern(id, `${id}.*`)
    const refused = rig.subscribePattern(5, 'one.too.many')
    expect(only(notices(refused, 'refused')).message).toContain('MAX_PATTERNS')
    rig.publishNumbers('2.x', [1])
    rig.settle()
    rig.send({ op: 'dropPattern', patternId: 2 })
    rig.publishNumbers('2.x', [2])
    expect(rig.settle()).toEqual([])
    expect(notices(rig.subscribePattern(5, '2.#'), 'match')).toMatchObject([{ startSeq: 3 }])
  })

  test('a dropped pattern leaves what others want', () => {
    const rig = new ShardRig()
    rig.subscribePattern(1, 'a.*')
    rig.subscribePattern(2, 'a.#')
    rig.subscribe('a.1')
    rig.send({ op: 'dropPattern', patternId: 1 })
    rig.publishNumbers('a.1', [1])
    rig.publishNumbers('a.2', [1])
    expect(seqsOf(rig.settle())).toEqual([1, 1])
  })

  test('a pattern of many topics is told of all of them through a small ring', () => {
    const rig = new ShardRig({ plan: { ringBytes: 64 * KiB } })
    for (const n of range(0, 199)) {
      rig.publishNumbers(`${n}${'n'.repeat(250)}`, [n])
      rig.settle()
    }
    rig.publishNumbers('late', [0])
    const records = rig.subscribePattern(1, '#', MSGPACK, { from: 'lastN', count: 1 })
    expect(notices(records, 'match').map(({ startSeq }) => startSeq)).toEqual(
      Array.from({ length: 201 }, () => 1),
    )
    expect(only(notices(records, 'patternSubscribed'))).toBeDefined()
  })
})

describe('where a subscription starts', () => {
  const filled = () => {
    const rig = new ShardRig({ shard: { retention: { count: 10, bytes: 64 * KiB, ageMs: 0 } } })
    for (const n of range(1, 20)) {
      rig.nowMs += 1000
      rig.publishNumbers('a', [n])
      rig.settle()
    }
    return rig // Holds 11 … 20.
  }
  const epoch = 'epoch-0000000001'

  test.each([
    [{ from: 'live' }, 21, null],
    [{ from: 'lastN', count: 3 }, 18, null],
    [{ from: 'lastN', count: 1000 }, 11, null],
    [{ from: 'seq', seq: 15, epoch }, 15, true],
    [{ from: 'seq', seq: 15, epoch: null }, 15, true],
    [{ from: 'seq', seq: 11, epoch }, 11, true],
    [{ from: 'seq', seq: 21, epoch }, 21, true],
    [{ from: 'seq', seq: 22, epoch }, 11, false],
    [{ from: 'seq', seq: 10, epoch }, 11, false],
    [{ from: 'seq', seq: 15, epoch: 'another' }, 11, false],
    [{ from: 'time', timeMs: 0 }, 11, null],
    [{ from: 'time', timeMs: Date.UTC(2026, 0, 1) + 15_000 }, 15, null],
    [{ from: 'time', timeMs: Date.UTC(2026, 0, 1) + 15_001 }, 16, null],
    [{ from: 'time', timeMs: Date.UTC(2030, 0, 1) }, 21, null],
  ] as const)('%j is seq %i, recovered: %s', (start, startSeq, recovered) => {
    expect(filled().subscribe('a', MSGPACK, start)).toMatchObject({
      epoch,
      startSeq,
      recovered,
      lastSeq: 20,
    })
  })

  test('cursors of a pattern are per topic; a topic without one is new to the client', () => {
    const rig = filled()
    rig.publishNumbers('b', [1])
    rig.publishNumbers('constructor', [1])
    const cursors = { a: { epoch, seq: 14 }, b: { epoch: 'another', seq: 1 } }
    const records = rig.subscribePattern(1, '*', MSGPACK, { from: 'cursors', cursors })
    expect(notices(records, 'match')).toMatchObject([
      { startSeq: 14, recovered: true },
      { startSeq: 1, recovered: false },
      { startSeq: 1, recovered: true },
    ])
  })

  test('a topic without a cursor whose first entries are gone was not recovered', () => {
    const rig = filled()
    const records = rig.subscribePattern(1, '*', MSGPACK, { from: 'cursors', cursors: {} })
    expect(notices(records, 'match')).toMatchObject([{ startSeq: 11, recovered: false }])
  })

  test('what was stored before the subscribe goes out before it, what comes after it follows', () => {
    const rig = new ShardRig()
    rig.subscribe('a')
    rig.publishNumbers('a', [1])
    rig.send({ op: 'subscribe', token: 9, topic: 'a', format: MSGPACK, start: { from: 'live' } })
    rig.publishNumbers('a', [2])
    const records = rig.settle()
    const kinds = records.map((record) =>
      record.kind === 'control' ? record.notice.op : seqsOf([record]),
    )
    expect(kinds).toEqual([[1], 'subscribed', [2]])
  })
})

describe('payloads as JSON', () => {
  const asJson = (message: readonly unknown[], options = {}) => {
    const rig = new ShardRig(options)
    rig.subscribe('a', JSON_TEXT)
    rig.publish('a', [message])
    return only(only(eventsOf(rig.settle())).json)['message'] as Record<string, unknown>
  }

  test.each([
    ['a map', packr.pack({ a: [1, 'two', null, true] }), { a: [1, 'two', null, true] }],
    ['a BigInt', Buffer.from('d300000000000003e8', 'hex'), 1000],
    ['uint64 beyond 2^53', Buffer.from('cfffffffffffffffff', 'hex'), 2 ** 64],
    ['an int64 inside', Buffer.from('81a16ed3fffffffffffffc18', 'hex'), { n: -1000 }],
    ['a string', packr.pack('é\u0000"'), 'é\u0000"'],
    ['nil', packr.pack(null), null],
    ['NaN', Buffer.from('cb7ff8000000000000', 'hex'), null],
  ])('encoding 0 is decoded: %s', (_name, bytes, payload) => {
    const message = asJson([0, bytes])
    expect(message['payload']).toEqual(payload)
    expect(message['encoding']).toBeUndefined()
  })

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a value cut short', Buffer.from('93c0', 'hex')],
    ['two values', Buffer.from('c0c0', 'hex')],
    ['the byte that is never used', Buffer.from('c1', 'hex')],
    ['nested too deep', Buffer.concat([Buffer.alloc(50_000, 0x91), Buffer.of(0xc0)])],
  ])('encoding 0 that cannot be decoded goes out as base64: %s', (_name, bytes) => {
    const message = asJson([0, bytes])
    expect(message['encoding']).toBe('base64')
    expect(Buffer.from(message['payload'] as string, 'base64')).toEqual(bytes)
  })

  test('encoding 0 that would grow beyond a record goes out as base64', () => {
    const bytes = packr.pack('\u0001'.repeat(10_000)) // Six bytes each as JSON.
    const message = asJson([0, bytes], { plan: { ringBytes: 64 * KiB } })
    expect(message['encoding']).toBe('base64')
    expect(Buffer.from(message['payload'] as string, 'base64')).toEqual(bytes)
  })

  test('encoding 0 is decoded wherever it stands in a record', () => {
    const rig = new ShardRig({ plan: { ringBytes: 64 * KiB } })
    rig.subscribe('a', JSON_TEXT)
    // Alone it fits a record; behind another it does not, but its base64 would.
    const large = packr.pack('\u0001'.repeat(4800))
    rig.publish('a', [
      [0, packr.pack('x'.repeat(1900))],
      [0, packr.pack('x'.repeat(1900))],
      [0, large],
    ])
    const events = eventsOf(rig.settle()).flatMap(({ json }) => json)
    const messages = events.map((event) => event['message'] as Record<string, unknown>)
    expect(messages.map((message) => message['encoding'])).toEqual(Array(3).fill(undefined))
    expect(messages[2]?.['payload']).toBe('\u0001'.repeat(4800))
  })

  test('encoding 2 goes out as base64', () => {
    const message = asJson([2, Buffer.of(0, 255)])
    expect(message).toMatchObject({ payload: 'AP8=', encoding: 'base64' })
  })

  test.each([
    ['no JSON', Buffer.from('{no')],
    ['nothing', Buffer.alloc(0)],
    ['two values', Buffer.from('1 2')],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['good JSON after which comes more', Buffer.from('"a","b":"c"')],
  ])('encoding 1 that is not JSON is refused: %s', (_name, bytes) => {
    const rig = new ShardRig()
    const good = [1, Buffer.from('1'), null, { a: 'b' }]
    rig.publish('a', [good, [1, bytes]], { requestId: 'lie' })
    expect(errorsOf(rig.settle())).toEqual([['lie', 'BAD_REQUEST']])
    expect(rig.counters.get('messagesStored')).toBe(0)
  })

  test('the same messages in the history of the HTTP door', () => {
    const rig = new ShardRig()
    const id = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
    rig.publish('a', [
      [0, packr.pack({ n: 1 }), id, { k: 'v' }],
      [1, Buffer.from('"text"'), id],
      [2, Buffer.of(1), id],
      [0, Buffer.of(0xc1), id],
    ])
    rig.settle()
    const request = { op: 'history', topic: 'a', lastN: null, fromSeq: null, limit: 10 }
    const { body } = only(replies(rig.ask(request as never)))
    const common = {
      ts: '2026-01-01T00:00:00.000Z',
      id: '00112233-4455-6677-8899-aabbccddeeff',
    }
    expect(body).toEqual({
      topic: 'a',
      epoch: 'epoch-0000000001',
      messages: [
        { seq: 1, ...common, payload: { n: 1 }, headers: { k: 'v' } },
        { seq: 2, ...common, payload: 'text' },
        { seq: 3, ...common, payload: 'AQ==', encoding: 'base64' },
        { seq: 4, ...common, payload: 'wQ==', encoding: 'base64' },
      ],
      next_seq: 5,
    })
  })
})

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

/** Request id and code of every refusal among acks. */
function errorsOf(records: readonly OutRecord[]): unknown[] {
  return acksOf(records)
    .flatMap(({ values }) => values as unknown[][])
    .filter(([op]) => op === 35)
    .map(([, id, code]) => [id, code])
}

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
