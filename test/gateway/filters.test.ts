/**
 * Subscriptions with a filter, from their client's end: gateway and shards over real rings.
 */
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { type Format, JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { type Client, makeRig, range } from './rig.js'

const packr = new Packr({ useRecords: false, variableMapSize: true })
const BOTH: readonly [string, Format][] = [
  ['JSON', JSON_TEXT],
  ['MessagePack', MSGPACK],
]
const EVEN = 'payload % 2 == 0'

function gaps(client: Client): unknown[] {
  return client.of('info').filter(({ code }) => code === 'GAP')
}

describe.each(BOTH)('a subscription with a filter (%s)', (_, format) => {
  test('gets what matches, with its seq, and hears of no gap', () => {
    const rig = makeRig()
    const [reader, writer] = [rig.connect(format), rig.connect()]
    reader.subscribe('t', { filter: EVEN })
    rig.settle()
    writer.publish('t', [1, 2, 3])
    rig.settle()
    writer.publish('t', [5])
    rig.settle()
    writer.publish('t', [6, 7, 8])
    rig.settle()
    expect(reader.seqs('t')).toEqual([2, 5, 7])
    expect(gaps(reader)).toEqual([])
  })

  test('to a pattern gets what matches of each topic, also of topics yet to come', () => {
    const rig = makeRig({ plan: { workers: 2 } })
    const [reader, writer] = [rig.connect(format), rig.connect()]
    writer.publish('t.old', [1, 2])
    rig.settle()
    reader.subscribe('t.*', { filter: `${EVEN} && topic != "t.not"`, last_n: 10 })
    rig.settle()
    for (const topic of ['t.old', 't.new', 't.not']) writer.publish(topic, [3, 4, 5, 6])
    rig.settle()
    expect(reader.seqs('t.old', 't.*')).toEqual([2, 4, 6])
    expect(reader.seqs('t.new', 't.*')).toEqual([2, 4])
    expect(reader.seqs('t.not', 't.*')).toEqual([])
  })

  test('replays what matches of the past, then goes live', () => {
    const rig = makeRig()
    const [reader, writer] = [rig.connect(format), rig.connect()]
    writer.publish('t', range(1, 3000))
    rig.settle()
    reader.subscribe('t', { filter: 'payload % 1000 == 0', from_seq: 1 })
    rig.settle()
    writer.publish('t', range(3001, 4000))
    rig.settle()
    expect(reader.seqs('t')).toEqual([1000, 2000, 3000, 4000])
    expect(gaps(reader)).toEqual([])
    expect(rig.gateway.fanOut.lagCount).toBe(0)
  })

  test('goes live after a replay in which nothing matched', () => {
    const rig = makeRig()
    const [reader, writer] = [rig.connect(format), rig.connect()]
    writer.publish('t', range(1, 2500))
    reader.subscribe('t', { filter: 'payload > 5000', from_seq: 1 })
    rig.settle()
    expect(reader.answers('subscribe t')).toMatchObject([{ type: 'ack', result: { seq: 2500 } }])
    expect(rig.gateway.fanOut.lagCount).toBe(0)
    writer.publish('t', [1, 5001])
    rig.settle()
    expect(reader.seqs('t')).toEqual([2502])
  })

  test('hears of a gap only for what retention dropped', () => {
    const rig = makeRig({ shard: { retention: { count: 256, bytes: 256 * 1024, ageMs: 0 } } })
    const [reader, writer] = [rig.connect(format), rig.connect()]
    writer.publish('t', range(1, 200))
    writer.publish('t', range(201, 400))
    rig.settle()
    reader.subscribe('t', { filter: EVEN, from_seq: 1 })
    rig.settle()
    const [first] = reader.seqs('t')
    expect(first).toBeGreaterThan(100)
    expect(reader.answers('subscribe t')).toMatchObject([{ result: { recovered: false } }])
    expect(reader.seqs('t')).toEqual(range(first as number, 400).filter((seq) => seq % 2 === 0))
  })

  test('is not disturbed by others to the same topic, with the same, another or no filter', () => {
    const rig = makeRig()
    const writer = rig.connect()
    const readers = [
      { client: rig.connect(format), filter: EVEN, wants: (n: number) => n % 2 === 0 },
      { client: rig.connect(JSON_TEXT), filter: EVEN, wants: (n: number) => n % 2 === 0 },
      { client: rig.connect(MSGPACK), filter: 'payload > 50', wants: (n: number) => n > 50 },
      { client: rig.connect(format), filter: undefined, wants: () => true },
    ]
    for (const { client, filter } of readers) {
      client.subscribe('t', filter === undefined ? {} : { filter })
    }
    rig.settle()
    for (const from of [1, 31, 61]) {
      writer.publish('t', range(from, from + 29))
      rig.settle()
    }
    for (const { client, wants } of readers) {
      expect(client.seqs('t')).toEqual(range(1, 90).filter(wants))
    }
  })

  test('is slow, turns PULLING, and gets what matches exactly once', () => {
    const rig = makeRig({ gateway: { highWaterMarkBytes: 512 } })
    const [reader, writer] = [rig.connect(format), rig.connect()]
    reader.subscribe('t', { filter: EVEN })
    rig.settle()
    for (let turn = 0; turn < 40; turn++) {
      if (turn === 5) reader.socket.isReading = false
      if (turn === 30) {
        reader.socket.isReading = true
        reader.drain()
      }
      writer.publish('t', range(turn * 20 + 1, turn * 20 + 20))
      rig.settle()
    }
    reader.drain()
    rig.settle()
    expect(reader.seqs('t')).toEqual(range(1, 800).filter((seq) => seq % 2 === 0))
    expect(gaps(reader)).toEqual([])
  })

  test('looks at headers, key and both encodings of payloads; a wrong payload does not match', () => {
    const rig = makeRig()
    const reader = rig.connect(format)
    const writer = rig.connect(MSGPACK)
    const any = 'payload.a == 1 || headers.h == "x" || key == "k" || size(payload) == 3'
    reader.subscribe('t', { filter: any })
    rig.settle()
    const json = (value: unknown) => Buffer.from(JSON.stringify(value))
    writer.publishPacked('t', [
      [1, json({ a: 1 })], // 1
      [0, packr.pack({ a: 1 })], // 2
      [0, packr.pack(new Map<unknown, unknown>([['a', 2n ** 63n]]))],
      [2, Buffer.of(1, 2, 3)], // 4
      [2, json({ a: 1 })],
      [1, json([1, 2, 3])], // 6
      [1, json('a')],
      [0, Buffer.of(0xc1)],
      [0, Buffer.concat([packr.pack({ a: 1 }), packr.pack(1)])],
      [0, Buffer.alloc(0)],
      [1, json({ a: 2 }), null, { h: 'x' }], // 11
      [1, json({ a: 2 }), null, { h: 'y' }],
      [1, json({ a: 2 }), null, null, { key: 'k' }], // 13
      [1, json({ a: 2 }), null, { h: 'y' }, { key: 'kk' }],
      [1, Buffer.from('{"__proto__":{"a":1}}')],
      [1, Buffer.from(`${'['.repeat(20_000)}${']'.repeat(20_000)}`)],
    ])
    rig.settle()
    expect(reader.seqs('t')).toEqual([1, 2, 4, 6, 11, 13])
  })

  test('survives the death of its shard', () => {
    const rig = makeRig()
    const [reader, pattern, writer] = [rig.connect(format), rig.connect(format), rig.connect()]
    reader.subscribe('t', { filter: EVEN })
    pattern.subscribe('*', { filter: 'payload > 3' })
    rig.settle()
    writer.publish('t', [1, 2, 3])
    rig.settle()
    rig.startShard(0)
    writer.publish('t', [4, 5, 6])
    rig.settle()
    writer.publish('t', [7, 8])
    writer.publish('u', [7, 2])
    rig.settle()
    expect(reader.seqs('t')).toEqual([2, 4, 6, 8])
    expect(pattern.seqs('t', '*')).toEqual([4, 5, 6, 7, 8])
    expect(pattern.seqs('u', '*')).toEqual([1])
  })

  test('is refused when the filter is none, and nothing of it stays', () => {
    const rig = makeRig()
    const reader = rig.connect(format)
    reader.subscribe('t', { filter: 'payload.a.matches("(x+x+)+y")' }, 'bad')
    reader.subscribe('t', { filter: 5 }, 'worse')
    reader.subscribe('t', {}, 'good')
    rig.settle()
    expect(reader.answers('bad')).toMatchObject([{ type: 'error', code: 'BAD_REQUEST' }])
    expect(reader.answers('worse')).toMatchObject([{ message: 'filter must be a string' }])
    expect(reader.answers('good')).toMatchObject([{ type: 'ack' }])
  })
})

describe('filters', () => {
  test('10 000 different ones: MAX_FILTERS of them are taken, the others refused', () => {
    const rig = makeRig({
      plan: { maxFilters: 100, maxTopics: 200, workers: 2 },
      gateway: { maxSubscriptionsPerConnection: 20_000 },
    })
    const [reader, writer] = [rig.connect(), rig.connect()]
    for (let number = 0; number < 10_000; number++) {
      reader.subscribe(`t.${number % 2}.${number}`, { filter: `payload == ${number}` }, `${number}`)
      if (number % 500 === 0) rig.settle()
    }
    rig.settle()
    expect(reader.errorCodes).toEqual(Array(9900).fill('LIMIT_EXCEEDED'))
    expect(reader.of('error')[0]?.message).toBe('MAX_FILTERS=100 reached')
    writer.publish('t.1.7', [7, 8])
    rig.settle()
    expect(reader.seqs('t.1.7')).toEqual([1])
    // The same text is no other filter, and one that nobody uses makes room.
    reader.subscribe('more', { filter: 'payload == 7' }, 'same')
    reader.subscribe('other', { filter: 'payload == -1' }, 'other')
    reader.unsubscribe('t.0.0')
    reader.subscribe('more.again', { filter: 'payload == -1' }, 'again')
    rig.settle()
    expect(reader.answers('same')).toMatchObject([{ type: 'ack' }])
    expect(reader.answers('other')).toMatchObject([{ code: 'LIMIT_EXCEEDED' }])
    expect(reader.answers('again')).toMatchObject([{ type: 'ack' }])
  })

  test('MAX_FILTERS of them on one topic, live, by pattern and by topic: each gets its own', () => {
    const rig = makeRig({ plan: { maxFilters: 64, maxPatterns: 64 } })
    const writer = rig.connect()
    const readers = range(0, 63).map((number) => {
      const client = rig.connect(number % 2 === 0 ? JSON_TEXT : MSGPACK)
      client.subscribe(number % 4 < 2 ? 't' : '*', { filter: `payload % 64 == ${number}` })
      return client
    })
    rig.settle()
    writer.publish('t', range(0, 639))
    rig.settle()
    for (const [number, client] of readers.entries()) {
      const wanted = range(0, 9).map((turn) => turn * 64 + number + 1)
      expect(client.seqs('t', number % 4 < 2 ? null : '*')).toEqual(wanted)
    }
  })

  test('with more work than a batch may have: new records wait, and nobody misses anything', () => {
    const rig = makeRig({
      plan: { maxFilters: 16, ringBytes: 2048 * 1024, logMemoryBytes: 8192 * 1024 },
    })
    const [reader, writer] = [rig.connect(), rig.connect()]
    const hostile = range(1, 8).map((number) => {
      const client = rig.connect(MSGPACK)
      client.subscribe('t', { filter: `payload.l.exists(x, x == 1 && x == ${number} + 1)` })
      return client
    })
    reader.subscribe('t', { filter: 'payload.n % 2 == 0' })
    rig.settle()
    const l = Array.from({ length: 2500 }, (_, index) => index % 10)
    for (const n of range(1, 40)) writer.publish('t', [{ n, l }])
    const stored = () => rig.shard.counters.get('messagesStored')
    rig.runShard(0)
    expect(stored()).toBe(40)
    writer.publish('t', [{ n: 42, l }])
    const late = rig.connect()
    late.subscribe('t', { from_seq: 39, filter: 'payload.n % 2 == 0' })
    expect(rig.shard.isBlocked).toBe(false)
    expect(rig.shard.hasWork).toBe(true)
    let batches = 0
    for (; stored() === 40; batches++) rig.runShard(0)
    expect(batches).toBeGreaterThan(0)
    rig.settle()
    expect(reader.seqs('t')).toEqual([...range(1, 20).map((half) => half * 2), 41])
    expect(late.seqs('t')).toEqual([40, 41])
    for (const client of hostile) expect(client.events()).toEqual([])
  })

  test('leave nothing behind: shard and gateway forget them with the last who uses them', () => {
    const rig = makeRig({ plan: { maxFilters: 2 } })
    const writer = rig.connect()
    writer.publish('t', [1])
    for (let turn = 0; turn < 50; turn++) {
      const reader = rig.connect(turn % 2 === 0 ? JSON_TEXT : MSGPACK)
      reader.subscribe('t', { filter: `payload > ${turn}` })
      reader.subscribe('*', { filter: `payload < ${turn}` })
      if (turn % 3 > 0) rig.settle()
      if (turn % 5 === 0) rig.startShard(0)
      reader.disconnect()
      if (turn % 3 > 1) rig.settle()
    }
    rig.settle()
    expect(rig.gateway.fanOut.feedCount).toBe(0)
    const reader = rig.connect()
    reader.subscribe('t', { filter: 'payload > 1' }, 'first')
    reader.subscribe('u', { filter: 'payload > 2' }, 'second')
    rig.settle()
    expect(reader.answers('first')).toMatchObject([{ type: 'ack' }])
    expect(reader.answers('second')).toMatchObject([{ type: 'ack' }])
    writer.publish('t', [2])
    rig.settle()
    expect(reader.seqs('t')).toEqual([2])
  })

  test('end with a topic that is deleted, and see the one that is made again', () => {
    const rig = makeRig()
    const [reader, pattern, writer] = [rig.connect(), rig.connect(), rig.connect()]
    reader.subscribe('t', { filter: EVEN })
    pattern.subscribe('*', { filter: EVEN })
    writer.publish('t', [1, 2])
    rig.settle()
    const token = rig.gateway.requests.add({ notice: () => {}, reply: () => {} })
    rig.gateway.links[0]?.send({ op: 'delete', token, topic: 't' })
    writer.publish('t', [4, 5])
    rig.settle()
    expect(reader.seqs('t')).toEqual([2])
    expect(reader.of('info')).toMatchObject([{ code: 'TOPIC_DELETED', topic: 't' }])
    expect(pattern.seqs('t', '*')).toEqual([2, 1])
  })

  test('whatever readers do, each gets what matches exactly once, in order', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ do: fc.constant('stall' as const), who: fc.nat({ max: 2 }) }),
      fc.record({ do: fc.constant('read' as const), who: fc.nat({ max: 2 }) }),
      fc.record({ do: fc.constant('settle' as const) }),
      fc.record({ do: fc.constant('die' as const) }),
    )
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
        const rig = makeRig({ gateway: { highWaterMarkBytes: 300, subscriberQueueSize: 8192 } })
        const writer = rig.connect()
        const readers = [rig.connect(JSON_TEXT), rig.connect(MSGPACK), rig.connect(MSGPACK)]
        readers[0]?.subscribe('t', { filter: 'payload % 3 == 0' })
        readers[1]?.subscribe('t', { filter: 'payload % 3 == 1' })
        readers[2]?.subscribe('*', { filter: 'payload % 3 == 0' })
        rig.settle()
        let count = 0
        for (const each of steps) {
          if (each.do === 'publish') {
            writer.publish('t', range(count + 1, count + each.count))
            count += each.count
          } else if (each.do === 'settle') {
            rig.settle()
          } else if (each.do === 'die') {
            rig.startShard(0)
          } else {
            const reader = readers[each.who] as Client
            reader.socket.isReading = each.do === 'read'
            if (each.do === 'read') reader.drain()
          }
        }
        for (const reader of readers) reader.socket.isReading = true
        for (let turn = 0; turn < 3; turn++) {
          rig.settle()
          for (const reader of readers) reader.drain()
        }
        rig.settle()
        const wanted = (rest: number) => range(1, count).filter((seq) => seq % 3 === rest)
        expect(readers[0]?.seqs('t')).toEqual(wanted(0))
        expect(readers[1]?.seqs('t')).toEqual(wanted(1))
        expect(readers[2]?.seqs('t', '*')).toEqual(wanted(0))
      }),
      { numRuns: 60 },
    )
  })
})
