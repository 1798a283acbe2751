/**
 * Publishes on their way to a shard: held back while it has no room, refused when it stays so.
 * Runs on: the test thread, which is also the shard's: it works only when the test, or a socket of
 * the test, gives it a turn.
 */
import { describe, expect, test } from 'vitest'
import type { ShardLink } from '../../src/gateway/shard-link.js'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { Doorbell, IDLE } from '../../src/ring/wakeup.js'
import { SHARD_BELL } from '../../src/shared-memory.js'
import { type Client, makeRig, type Rig, range } from './rig.js'

const KiB = 1024
const plan = { ringBytes: 128 * KiB }

/** Publishes without acks until the inbound ring of a shard that sleeps has no room for another. */
function fill(rig: Rig): void {
  rig.asleep.add(0)
  const link = rig.gateway.links[0]
  while (link?.trySend({ op: 'interest', topicId: 0, formats: 0 })) {}
}

function elapsed(act: () => void): number {
  const start = performance.now()
  act()
  return performance.now() - start
}

describe('a publish that finds the inbound ring full', () => {
  test.each([
    ['JSON', JSON_TEXT],
    ['MessagePack', MSGPACK],
  ] as const)(
    'is held for PUBLISH_WAIT_MS, then refused; the next is not held (%s)',
    (_name, format) => {
      const rig = makeRig({ plan, gateway: { publishWaitMs: 40 } })
      const client = rig.connect(format)
      fill(rig)
      const first = elapsed(() => client.publish('a', [1], 'first'))
      expect(first).toBeGreaterThanOrEqual(40)
      expect(client.answers('first')).toMatchObject([
        { code: 'OVERLOADED', message: 'the broker is saturated, the message was not stored' },
      ])
      // The shard has not moved: to wait for it again would only hold everybody up.
      const next = elapsed(() => {
        for (const n of range(1, 20)) client.publish('a', [n], `next ${n}`)
      })
      expect(next).toBeLessThan(40)
      expect(client.answers('next 20')).toMatchObject([{ code: 'OVERLOADED' }])
      expect(rig.counters.get('publishesHeld')).toBe(1)
      expect(rig.counters.get('publishesRefused')).toBe(21)
      expect(client.session.inFlight).toBe(0)

      // It recovers by itself, and then a full ring is worth waiting for again.
      rig.asleep.clear()
      rig.settle()
      client.publish('a', [1], 'later')
      rig.settle()
      expect(client.answers('later')).toMatchObject([{ type: 'ack', result: { seq: 1 } }])
      fill(rig)
      expect(elapsed(() => client.publish('a', [1]))).toBeGreaterThanOrEqual(40)
      expect(rig.counters.get('publishesHeld')).toBe(2)
    },
  )

  test('is stored when the shard makes room while it is held', () => {
    const rig = makeRig({ plan, gateway: { publishWaitMs: 10_000 } })
    const subscriber = rig.connect(JSON_TEXT)
    const client = rig.connect(MSGPACK)
    subscriber.subscribe('a')
    rig.settle()
    client.publish('a', ['x'])
    rig.runShard(0)
    fill(rig)
    // As soon as the gateway moves what the shard has produced, the shard goes on.
    const send = subscriber.socket.send.bind(subscriber.socket)
    subscriber.socket.send = (message, isBinary) => {
      rig.asleep.clear()
      rig.runShard(0)
      return send(message, isBinary)
    }
    client.publish('a', ['y'], 'held')
    rig.settle()
    expect(client.answers('held')).toMatchObject([{ type: 'ack', result: { seq: 2 } }])
    expect(subscriber.seqs('a')).toEqual([1, 2])
    expect(rig.counters.get('publishesHeld')).toBe(1)
  })

  test('lets no other shard sleep meanwhile, which was given something in the same turn', () => {
    const rig = makeRig({ plan: { ...plan, workers: 2 }, gateway: { publishWaitMs: 20 } })
    const client = rig.connect(MSGPACK)
    const names = range(1, 20).map((n) => `topic-${n}`)
    const onShard = (shard: number) =>
      names.find((name) => rig.gateway.names.byName(name).shard === shard) ?? ''
    fill(rig)
    const other = rig.gateway.links[1] as ShardLink
    const bell = new Doorbell(other.views.ints, SHARD_BELL)
    expect(bell.park(IDLE, () => false)).toBeDefined()
    client.publish(onShard(1), [1])
    expect(bell.isParked).toBe(true)
    client.publish(onShard(0), [2])
    expect(rig.counters.get('publishesHeld')).toBe(1)
    expect(bell.isParked).toBe(false)
  })

  test('survives that its own connection is closed while it is held', () => {
    const rig = makeRig({ plan })
    const client = rig.connect(MSGPACK)
    client.subscribe('a')
    rig.settle()
    client.publish('a', ['x'])
    rig.runShard(0)
    fill(rig)
    client.socket.isReading = false
    client.socket.limit = -1 // Drops whatever is sent: closed with 4008.
    client.publish('a', ['y'], 'held')
    expect(client.socket.closed).toMatchObject({ code: 4008 })
    rig.asleep.clear()
    rig.settle()
    expect(rig.gateway.sessions.size).toBe(0)
    expect(rig.gateway.subscribing.total).toBe(0)
  })

  test('is refused at once while there is no thread behind it, and stored if there is room', () => {
    const rig = makeRig({ plan, gateway: { publishWaitMs: 10_000 } })
    const client = rig.connect(JSON_TEXT)
    const [link] = rig.gateway.links
    if (link !== undefined) link.isDown = true
    client.publish('a', [1], 'room')
    fill(rig)
    expect(elapsed(() => client.publish('a', [2], 'none'))).toBeLessThan(1000)
    expect(client.answers('none')).toMatchObject([{ code: 'OVERLOADED' }])
    rig.asleep.clear()
    rig.settle()
    expect(client.answers('room')).toMatchObject([{ type: 'ack' }])
  })

  test('larger than half the ring is refused, however empty the ring is', () => {
    const rig = makeRig({ plan, gateway: { maxPayloadBytes: 1024 * KiB } })
    for (const format of [JSON_TEXT, MSGPACK] as const) {
      const client = rig.connect(format)
      client.publish('a', ['x'.repeat(65 * KiB)], 'r')
      expect(client.answers('r')).toMatchObject([
        { code: 'OVERLOADED', message: expect.stringContaining('half of RING_BYTES') },
      ])
    }
    expect(rig.counters.get('publishesHeld')).toBe(0)
  })
})

describe('a burst into a ring far too small for it', () => {
  test('is stored or refused, each message one or the other, in order', () => {
    const rig = makeRig({ plan, gateway: { publishWaitMs: 0 } })
    const client = rig.connect(MSGPACK)
    const subscriber = rig.connect(MSGPACK)
    subscriber.subscribe('a')
    rig.settle()
    for (const n of range(1, 10_000)) {
      client.publish('a', [n], `${n}`)
      if (n % 3000 === 0) rig.settle()
    }
    rig.settle()
    const acked = client.of('ack').map(({ id }) => Number(id))
    const refused = client.of('error').map(({ id }) => Number(id))
    expect([...acked, ...refused].sort((a, b) => a - b)).toEqual(range(1, 10_000))
    expect(refused.length).toBeGreaterThan(100)
    expect(acked).toEqual(acked.toSorted((a, b) => a - b))
    expect(subscriber.events('a').map(({ payload }) => payload)).toEqual(acked)
  })
})

describe('MAX_IN_FLIGHT_PUBLISHES', () => {
  const options = { gateway: { maxInFlightPublishes: 3 } }
  const codes = (client: Client) => client.of('error').map(({ id, code }) => [id, code])

  test.each([
    ['JSON', JSON_TEXT],
    ['MessagePack', MSGPACK],
  ] as const)(
    'bounds the publishes that wait for an ack; a batch counts as one (%s)',
    (_name, format) => {
      const rig = makeRig(options)
      const client = rig.connect(format)
      client.publish('a', [1, 2, 3], '1')
      client.publish('a', [1], '2')
      client.publish('a', [1]) // Waits for nothing, and is not counted.
      client.publish('a', [1], '3')
      client.publish('a', [1], '4')
      client.publish('a', [1])
      expect(codes(client)).toEqual([['4', 'OVERLOADED']])
      rig.settle()
      expect(client.session.inFlight).toBe(0)
      client.publish('a', [1], '5')
      rig.settle()
      expect(client.of('ack').map(({ id }) => id)).toEqual(['1', '2', '3', '5'])
      expect([...rig.shard.topics.values()].map(({ log }) => log.lastSeq)).toEqual([8])
    },
  )

  test('a refusal by the shard counts as an answer', () => {
    const rig = makeRig({ ...options, plan: { maxTopics: 1 } })
    const client = rig.connect(JSON_TEXT)
    client.publish('a', [1], 'a')
    rig.settle()
    for (const n of range(1, 9)) {
      client.publish('b', [1], `${n}`)
      rig.settle()
    }
    expect(client.errorCodes).toEqual(Array(9).fill('LIMIT_EXCEEDED'))
    expect(client.session.inFlight).toBe(0)
  })
})

test('acks of a connection that is gone go nowhere, and the messages are stored', () => {
  const rig = makeRig()
  const client = rig.connect(JSON_TEXT)
  client.publish('a', [1], 'r')
  client.disconnect()
  rig.settle()
  expect(client.socket.sent).toEqual([])
  expect([...rig.shard.topics.values()].map(({ log }) => log.lastSeq)).toEqual([1])
})
