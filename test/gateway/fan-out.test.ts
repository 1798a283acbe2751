/**
 * What subscribers are given: LIVE, PULLING, and in between. Real gateway, real shard, real rings;
 * the sockets are the test's own and read or do not read as it likes.
 */
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import type { ShardLink } from '../../src/gateway/shard-link.js'
import { type Format, JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { type Client, makeRig, Rig, range } from './rig.js'

const KiB = 1024
const FORMATS = [
  ['JSON', JSON_TEXT],
  ['MessagePack', MSGPACK],
] as const

/** Publishes one message of about 1 KB, `count` times, and lets it arrive. */
function publishSome(publisher: Client, topic: string, count: number): void {
  for (const _ of range(1, count)) publisher.publish(topic, ['x'.repeat(1000)])
  publisher.rig.settle()
}

describe.each(FORMATS)('a subscriber of %s that stops reading', (_name, format) => {
  test.each([
    ['by topic', 'a.b', null],
    ['by pattern', 'a.*', 'a.*'],
  ])('%s turns PULLING, and LIVE again once it reads: every seq exactly once', (_by, text, by) => {
    const rig = makeRig()
    const publisher = rig.connect(MSGPACK)
    const slow = rig.connect(format)
    const healthy = rig.connect(format)
    slow.subscribe(text)
    healthy.subscribe(text)
    rig.settle()
    for (let round = 0; round < 3; round++) {
      const before = slow.seqs('a.b', by).length
      slow.socket.isReading = false
      publishSome(publisher, 'a.b', 100)
      expect(slow.session.isCongested).toBe(true)
      publishSome(publisher, 'a.b', 100)
      publishSome(publisher, 'a.b', 100)
      expect(rig.gateway.fanOut.lagCount).toBe(1)
      expect(slow.seqs('a.b', by).length).toBeLessThan(before + 300)
      expect(healthy.seqs('a.b', by)).toHaveLength(round * 310 + 300)
      slow.socket.isReading = true
      slow.drain()
      rig.settle()
      expect(rig.gateway.fanOut.lagCount).toBe(0)
      publishSome(publisher, 'a.b', 10)
      expect(slow.seqs('a.b', by)).toEqual(healthy.seqs('a.b', by))
    }
    expect(slow.seqs('a.b', by)).toEqual(range(1, 930))
  })

  test('is not asked to take more while it has more than half of the high-water mark', () => {
    const rig = makeRig()
    const publisher = rig.connect(MSGPACK)
    const slow = rig.connect(format)
    slow.subscribe('a')
    slow.socket.isReading = false
    for (const _ of range(1, 3)) publishSome(publisher, 'a', 100)
    const sent = slow.socket.sent.length
    slow.socket.buffered = 33 * KiB
    rig.gateway.onWritable(slow.session)
    rig.settle()
    expect(slow.session.isCongested).toBe(true)
    expect(slow.socket.sent).toHaveLength(sent)
    slow.socket.isReading = true
    slow.socket.buffered = 31 * KiB
    rig.gateway.onWritable(slow.session)
    rig.settle()
    expect(slow.seqs('a')).toEqual(range(1, 300))
  })

  test('longer than SUBSCRIBER_QUEUE_SIZE jumps, and is told which seqs it lost', () => {
    const rig = makeRig({ gateway: { subscriberQueueSize: 50 } })
    const publisher = rig.connect(MSGPACK)
    const slow = rig.connect(format)
    slow.subscribe('a.b')
    slow.subscribe('a.#')
    rig.settle()
    slow.socket.isReading = false
    for (const _ of range(1, 5)) publishSome(publisher, 'a.b', 100)
    slow.socket.isReading = true
    slow.drain()
    rig.settle()
    publishSome(publisher, 'a.b', 10)
    const gaps = slow.of('info').filter(({ code }) => code === 'GAP')
    expect(gaps.map(({ details }) => details['subscription'] ?? null).sort()).toEqual(['a.#', null])
    for (const { topic, details } of gaps) {
      expect(topic).toBe('a.b')
      expect(details['to_seq']).toBe(450)
      expect(details['dropped']).toBe(450 - (details['from_seq'] as number) + 1)
    }
    for (const by of [null, 'a.#']) {
      expect(slow.accounted('a.b', by)).toEqual(range(1, 510))
      expect(new Set(slow.seqs('a.b', by)).size).toBe(slow.seqs('a.b', by).length)
    }
    expect(rig.counters.get('gaps')).toBe(2)
    const dropped = gaps.reduce((sum, { details }) => sum + (details['dropped'] as number), 0)
    expect(rig.counters.get('messagesDropped')).toBe(dropped)
  })

  test('whose entries the log has dropped is told which', () => {
    const rig = makeRig({ shard: { retention: { count: 60, bytes: 256 * KiB, ageMs: 0 } } })
    const publisher = rig.connect(MSGPACK)
    const slow = rig.connect(format)
    slow.subscribe('a')
    slow.socket.isReading = false
    for (const _ of range(1, 10)) publishSome(publisher, 'a', 50)
    slow.socket.isReading = true
    slow.drain()
    rig.settle()
    expect(slow.accounted('a')).toEqual(range(1, 500))
    expect(slow.seqs('a').slice(-60)).toEqual(range(441, 500))
  })

  test.each([
    ['while it lags', 50, 8192],
    ['when it comes back', 1_000_000, 60],
  ])('with policy disconnect is closed with 4008, %s', (_when, subscriberQueueSize, count) => {
    const rig = makeRig({
      gateway: { subscriberQueueSize },
      shard: { retention: { count, bytes: 1024 * KiB, ageMs: 0 } },
      plan: { logMemoryBytes: 4096 * KiB },
    })
    const publisher = rig.connect(MSGPACK)
    const slow = rig.connect(format)
    const healthy = rig.connect(format)
    slow.subscribe('a', { policy: 'disconnect' })
    slow.subscribe('other')
    healthy.subscribe('a', { policy: 'disconnect' })
    slow.socket.isReading = false
    for (const _ of range(1, 10)) publishSome(publisher, 'a', 50)
    if (subscriberQueueSize > 50) slow.drain()
    rig.settle()
    expect(slow.socket.closed).toEqual({ code: 4008, reason: 'slow consumer' })
    expect(slow.heard.at(-1)).toMatchObject({ type: 'error', code: 'SLOW_CONSUMER' })
    expect(slow.of('info')).toEqual([])
    expect(slow.seqs('a')).toEqual(range(1, slow.seqs('a').length)) // Up to there all of them.
    expect(healthy.seqs('a')).toEqual(range(1, 500))
    expect(rig.gateway.sessions.size).toBe(2)
    expect(rig.gateway.subscribing.total).toBe(1)
    expect(rig.gateway.fanOut.lagCount).toBe(0)
    expect(rig.counters.get('slowConsumersClosed')).toBe(1)
  })

  test('and whose socket drops frames is closed with 4008', () => {
    const rig = makeRig()
    const publisher = rig.connect(MSGPACK)
    const deaf = rig.connect(format)
    deaf.subscribe('a')
    rig.settle()
    deaf.socket.isReading = false
    deaf.socket.limit = 200 * KiB
    for (const n of range(1, 10_000)) {
      if (deaf.socket.closed !== undefined) break
      deaf.publish('b', [n], `${n}`.padStart(100, '0')) // Acks are never held back.
      rig.settle()
    }
    expect(deaf.socket.closed).toEqual({ code: 4008, reason: 'slow consumer' })
    publishSome(publisher, 'a', 1)
    expect(rig.gateway.sessions.size).toBe(1)
  })
})

describe('replay', () => {
  test.each(FORMATS)('joins live while publishing goes on (%s)', (_name, format) => {
    const rig = makeRig()
    const publisher = rig.connect(MSGPACK)
    publishSome(publisher, 'a.b', 200)
    const subscribers = [
      ['a.b', { last_n: 150 }, 51, null],
      ['a.b', { from_seq: 20 }, 20, null],
      ['a.b', { since: '1970-01-01T00:00:00Z' }, 1, null],
      ['a.*', { last_n: 100 }, 101, 'a.*'],
      ['a.#', { cursors: { 'a.b': { epoch: 'epoch-0000000001', seq: 77 } } }, 77, 'a.#'],
    ] as const
    const clients = subscribers.map(([text, options]) => {
      const client = rig.connect(format)
      client.subscribe(text, options)
      return client
    })
    for (const _ of range(1, 60)) {
      publisher.publish('a.b', ['y'.repeat(1000)])
      rig.runShard(0)
      if (rig.shard.isBlocked || Math.abs(Math.sin(rig.nowMs++)) > 0.5) rig.runGateway()
    }
    rig.settle()
    for (const [index, [, , from, by]] of subscribers.entries()) {
      expect(clients[index]?.accounted('a.b', by)).toEqual(range(from, 260))
    }
  })

  test('goes on with the other topics when one is deleted in the middle of it', () => {
    const rig = makeRig()
    const publisher = rig.connect(MSGPACK)
    for (const topic of ['a', 'b', 'c']) publishSome(publisher, topic, 100)
    const reader = rig.connect(JSON_TEXT)
    reader.subscribe('*', { last_n: 100 })
    rig.runShard(0)
    rig.runGateway()
    rig.gateway.links[0]?.trySend({ op: 'delete', token: 0, topic: 'b' })
    rig.settle()
    for (const topic of ['a', 'c']) expect(reader.seqs(topic, '*')).toEqual(range(1, 100))
    expect(rig.gateway.fanOut.lagCount).toBe(0)
    expect(reader.session.pulling).toBeUndefined()
  })

  test('does not stop for a topic that was deleted while its chunk was asked for', () => {
    const rig = makeRig()
    const publisher = rig.connect(MSGPACK)
    publishSome(publisher, 'a', 10)
    publishSome(publisher, 'b', 10)
    rig.gateway.links[0]?.trySend({ op: 'delete', token: 0, topic: 'a' })
    const reader = rig.connect(MSGPACK)
    reader.subscribe('*', { last_n: 10 })
    rig.runShard(0)
    rig.settle()
    expect(reader.seqs('b', '*')).toEqual(range(1, 10))
  })
})

describe('a subscriber behind a ring that is full of publishes', () => {
  const MiB = 1024 * KiB
  /** One topic with 3 MB for a reader who has stopped, and a shard that has 3.5 MB of others' to do. */
  const fallBehind = () => {
    const rig = makeRig({
      plan: { ringBytes: 4 * MiB, logMemoryBytes: 32 * MiB },
      shard: { retention: { count: 8192, bytes: 8 * MiB, ageMs: 0 } },
    })
    const publisher = rig.connect(MSGPACK)
    const slow = rig.connect(MSGPACK)
    slow.subscribe('a')
    rig.settle()
    slow.socket.isReading = false
    const publish = (topic: string, count: number) => {
      for (const _ of range(1, count)) publisher.publish(topic, ['x'.repeat(50_000)])
    }
    publish('a', 60)
    rig.settle()
    const before = slow.seqs('a').length
    rig.asleep.add(0)
    publish('b', 70)
    slow.socket.isReading = true
    const pulled: number[] = []
    const link = rig.gateway.links[0] as ShardLink
    const tryPull = link.tryPull.bind(link)
    vi.spyOn(link, 'tryPull').mockImplementation((lag, queueSize) => {
      pulled.push(lag.nextSeq)
      return tryPull(lag, queueSize)
    })
    slow.drain()
    rig.asleep.delete(0)
    return { rig, slow, pulled, before }
  }

  test('gets as much as waits there for one PULL, and chunk by chunk when the ring is empty', () => {
    const { rig, slow, pulled, before } = fallBehind()
    rig.settle()
    expect(slow.seqs('a')).toEqual(range(1, 60))
    const [first = 0, second = 0, ...others] = pulled
    expect(first).toBe(before + 1)
    expect((second - first) * 50_000, 'eight chunks of 256 KiB, of whole entries').toBe(2_000_000)
    expect(others).toEqual([second + 5, second + 10, second + 15])
    expect(rig.gateway.fanOut.lagCount).toBe(0)
  })

  test('is not given anything twice when its socket is writable in the midst of it', () => {
    const { rig, slow, pulled, before } = fallBehind()
    for (let turn = 0; turn < 10 && slow.seqs('a').length === before; turn++) {
      rig.runShard(0)
      rig.gateway.wake()
    }
    expect(slow.session.pulling, 'chunks of its PULL are on their way').toBeDefined()
    slow.drain()
    expect(pulled).toHaveLength(1)
    rig.settle()
    expect(slow.seqs('a')).toEqual(range(1, 60))
  })

  test('may leave, and come back, in the midst of it', () => {
    const { rig, slow, before } = fallBehind()
    for (let turn = 0; turn < 10 && slow.seqs('a').length === before; turn++) {
      rig.runShard(0)
      rig.gateway.wake()
    }
    const had = slow.seqs('a').length
    slow.unsubscribe('a')
    slow.subscribe('a', { from_seq: 1 }, 'again')
    rig.settle()
    expect(slow.seqs('a')).toEqual([...range(1, had), ...range(1, 60)])
    expect(slow.session.pulling).toBeUndefined()
    expect(rig.gateway.fanOut.lagCount).toBe(0)
  })
})

describe('one topic, several subscriptions', () => {
  test.each(FORMATS)('of one connection get the event once each (%s)', (_name, format) => {
    const rig = makeRig()
    const client = rig.connect(format)
    const other = rig.connect(format === MSGPACK ? JSON_TEXT : MSGPACK)
    for (const text of ['a.b', 'a.*', '#', 'x']) client.subscribe(text)
    other.subscribe('a.*')
    rig.settle()
    client.publish('a.b', [{ n: 1 }, { n: 2 }])
    rig.settle()
    const subscriptions = client.events('a.b').map(({ seq }) => seq)
    expect(subscriptions).toEqual([1, 2])
    for (const by of ['a.*', '#']) {
      expect(client.events('a.b', by)).toMatchObject([
        { seq: 1, payload: { n: 1 } },
        { seq: 2, payload: { n: 2 } },
      ])
    }
    expect(other.seqs('a.b', 'a.*')).toEqual([1, 2])
    expect(rig.counters.get('messagesDelivered')).toBe(8)
  })

  test('batch: true gives JSON subscribers one frame for a run of events', () => {
    const rig = makeRig()
    const client = rig.connect(JSON_TEXT)
    const other = rig.connect(JSON_TEXT)
    client.subscribe('a.b', { batch: true })
    client.subscribe('a.*', { batch: true })
    other.subscribe('a.b')
    other.subscribe('a.*')
    rig.settle()
    client.publish('a.b', [1, 2, 3])
    rig.settle()
    const frames = client.socket.sent.map((frame) => JSON.parse(frame.toString()))
    const lists = frames.filter(({ type }) => type === 'events')
    expect(lists.map(({ topic, subscription }) => [topic, subscription])).toEqual([
      ['a.b', undefined],
      ['a.b', 'a.*'],
    ])
    for (const by of [null, 'a.*']) {
      const events = client.events('a.b', by)
      expect(events.map(({ payload }) => payload)).toEqual([1, 2, 3])
      expect(other.events('a.b', by)).toEqual(events)
    }
    expect(other.socket.corks).toBeGreaterThan(0) // Six frames in one go.
  })
})

describe('after a shard died', () => {
  const dyingRig = () => {
    let mustDie = false
    const rig = makeRig({
      gateway: { subscriberQueueSize: 20 },
      onShardDeath: () => {
        mustDie = false
      },
    })
    return {
      rig,
      /** The next batch of the shard is done but not published: its EVENTS are lost. */
      die() {
        const { shard } = rig
        mustDie = true
        const { flushing } = shard
        const flush = flushing.flush.bind(flushing)
        flushing.flush = () => {
          if (mustDie) throw new Error('dies')
          return flush()
        }
      },
    }
  }

  test('a live subscriber misses nothing, though more than SUBSCRIBER_QUEUE_SIZE came at once', () => {
    const { rig, die } = dyingRig()
    const publisher = rig.connect(MSGPACK)
    const json = rig.connect(JSON_TEXT)
    json.subscribe('a')
    json.subscribe('#')
    rig.settle()
    publishSome(publisher, 'a', 5)
    die()
    publishSome(publisher, 'a', 100)
    publishSome(publisher, 'a', 5)
    expect(json.seqs('a')).toEqual(range(1, 110))
    expect(json.seqs('a', '#')).toEqual(range(1, 110))
    expect(rig.gateway.fanOut.lagCount).toBe(0)
  })

  test('a pattern misses nothing of a topic that was made in the batch that was lost', () => {
    const { rig, die } = dyingRig()
    const publisher = rig.connect(MSGPACK)
    const json = rig.connect(JSON_TEXT)
    json.subscribe('#')
    rig.settle()
    die()
    publishSome(publisher, 'new', 50)
    publishSome(publisher, 'new', 5)
    expect(json.seqs('new', '#')).toEqual(range(1, 55))
  })
})

test('whatever a reader does, it is given or told every seq exactly once, in order', () => {
  const action = fc.oneof(
    fc.record({ do: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 60 }) }),
    fc.constant({ do: 'stall' as const, count: 0 }),
    fc.constant({ do: 'read' as const, count: 0 }),
    fc.constant({ do: 'shard' as const, count: 0 }),
    fc.constant({ do: 'gateway' as const, count: 0 }),
  )
  const setting = fc.record({
    format: fc.constantFrom<Format>(JSON_TEXT, MSGPACK),
    queueSize: fc.constantFrom(5, 50, 5000),
    history: fc.constantFrom(8, 100, 8192),
    actions: fc.array(action, { maxLength: 60 }),
  })
  fc.assert(
    fc.property(setting, ({ format, queueSize, history, actions }) => {
      const rig = new Rig({
        plan: { ringBytes: 128 * KiB, logMemoryBytes: 512 * KiB },
        gateway: { subscriberQueueSize: queueSize, highWaterMarkBytes: 16 * KiB },
        shard: { retention: { count: history, bytes: 128 * KiB, ageMs: 0 } },
      })
      const publisher = rig.connect(MSGPACK)
      const reader = rig.connect(format)
      reader.subscribe('a')
      reader.subscribe('*', { last_n: 3 })
      rig.settle()
      let published = 0
      for (const { do: what, count } of actions) {
        if (what === 'publish') {
          publisher.publish('a', Array(Math.min(count, history)).fill('x'.repeat(300)))
          published += Math.min(count, history)
        } else if (what === 'stall') reader.socket.isReading = false
        else if (what === 'shard') rig.runShard(0)
        else if (what === 'gateway') rig.runGateway()
        else {
          reader.socket.isReading = true
          reader.drain()
        }
      }
      reader.socket.isReading = true
      rig.settle()
      reader.drain()
      rig.settle()
      rig.gateway.stop()
      const refused = publisher.errorCodes.length
      expect(refused).toBe(0)
      for (const by of [null, '*']) {
        expect(reader.accounted('a', by)).toEqual(range(1, published))
        expect(reader.seqs('a', by).at(-1) ?? 0).toBe(published)
      }
      expect(rig.gateway.fanOut.lagCount).toBe(0)
    }),
    { numRuns: 150 },
  )
})
