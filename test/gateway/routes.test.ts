/**
 * Routing rules, from the door to the subscribers of their targets: gateway and shards over real rings.
 */
import { Packr } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import type { ShownRoute } from '../../src/gateway/routes.js'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { ROUTES_MAX } from '../../src/shared-memory.js'
import { type Client, makeRig, type Rig, range } from './rig.js'

const packr = new Packr({ useRecords: false, variableMapSize: true })

function payloads(client: Client, topic: string): unknown[] {
  return client.events(topic).map(({ payload }) => payload)
}

/** A topic that the shard owns. */
function topicOn(rig: Rig, shard: number, from = 0): string {
  const { names } = rig.gateway
  return range(from, from + 100)
    .map((number) => `t${number}`)
    .find((name) => names.byName(name).shard === shard) as string
}

function sum(rig: Rig, counter: 'copiesRouted' | 'copiesDropped'): number {
  return rig.shards.reduce((total, { counters }) => total + counters.get(counter), 0)
}

test.each([1, 3])('copies what matches to all targets, over %i shards', async (workers) => {
  const rig = makeRig({ plan: { workers } })
  const { routes } = rig.gateway
  const [reader, writer] = [rig.connect(), rig.connect(MSGPACK)]
  routes.put('big', { source: 'orders.*', filter: 'payload > 10', targets: ['big', 'audit'] })
  routes.put('eu', { source: 'orders.eu', targets: ['audit'] })
  for (const topic of ['big', 'audit', 'orders.eu']) reader.subscribe(topic)
  rig.settle()
  writer.publish('orders.eu', [5, 50])
  writer.publish('orders.us', [6, 60])
  await rig.settleWithRetries()
  expect(payloads(reader, 'orders.eu')).toEqual([5, 50])
  expect(payloads(reader, 'big').sort()).toEqual([50, 60])
  // Once, though two rules say so.
  expect(payloads(reader, 'audit').sort()).toEqual([5, 50, 60].sort())
  expect(sum(rig, 'copiesRouted')).toBe(5)
})

test('a copy has the id, payload, encoding and properties of its original, and says its way', () => {
  const rig = makeRig()
  const { routes } = rig.gateway
  routes.put('1', { source: 'a', targets: ['b'] })
  routes.put('2', { source: 'b', filter: 'key == "k"', targets: ['c'] })
  const writer = rig.connect(MSGPACK)
  const id = Buffer.from('550e8400e29b41d4a716446655440000', 'hex')
  const payload = packr.pack({ x: 1 })
  writer.publishPacked('a', [
    [0, payload, id, { h: 'v' }, { key: 'k', priority: 'high' }],
    [2, Buffer.of(7), null, null],
  ])
  rig.settle()
  const entries = (topic: string) => {
    const reader = rig.connect(MSGPACK)
    reader.subscribe(topic, { last_n: 10 })
    rig.settle()
    return reader.socket.sent
      .flatMap((frame) => packr.unpackMultiple(frame) as unknown as unknown[][])
      .filter(([op]) => op === 34)
      .flatMap((frame) => frame[3] as unknown[][])
  }
  expect(entries('b')).toMatchObject([
    [1, expect.any(Number), 0, payload, id, { h: 'v', 'x-ringcast-route': 'a > b' }, { key: 'k' }],
    [2, expect.any(Number), 2, Buffer.of(7), expect.anything(), { 'x-ringcast-route': 'a > b' }],
  ])
  expect(entries('c')).toMatchObject([
    [
      1,
      expect.any(Number),
      0,
      payload,
      id,
      { h: 'v', 'x-ringcast-route': 'a > b > c' },
      { key: 'k' },
    ],
  ])
  expect(entries('b')[1]?.[4]).toEqual(entries('a')[1]?.[4])
})

describe('rules', () => {
  test('are for what is stored while they stand', () => {
    const rig = makeRig()
    const { routes } = rig.gateway
    const [reader, writer] = [rig.connect(), rig.connect()]
    reader.subscribe('b')
    writer.publish('a', [1])
    rig.settle()
    expect(routes.put('r', { source: 'a', targets: ['b'] })).toBe(true)
    writer.publish('a', [2])
    rig.settle()
    expect(routes.put('r', { source: 'a', filter: 'payload != 3', targets: ['b'] })).toBe(false)
    writer.publish('a', [3, 4])
    rig.settle()
    expect(routes.delete('r')).toBe(true)
    expect(routes.delete('r')).toBe(false)
    writer.publish('a', [5])
    rig.settle()
    routes.put('r', { source: 'a', targets: ['b'] })
    writer.publish('a', [6])
    rig.settle()
    expect(payloads(reader, 'b')).toEqual([2, 4, 6])
  })

  test('survive the death of a shard, with what they had yet to look at', async () => {
    const rig = makeRig({ plan: { workers: 2 } })
    const { routes } = rig.gateway
    const [source, target] = [topicOn(rig, 0), topicOn(rig, 1)]
    const [reader, writer] = [rig.connect(), rig.connect()]
    reader.subscribe(target)
    routes.put('r', { source, filter: 'payload % 2 == 0', targets: [target] })
    rig.settle()
    rig.startShard(0)
    writer.publish(source, [1, 2, 3])
    rig.runShard(0) // Stored, and the copies sent.
    rig.startShard(0)
    rig.startShard(1)
    writer.publish(source, [4])
    await rig.settleWithRetries()
    expect([...new Set(payloads(reader, target))]).toEqual([2, 4])
  })

  test('are refused: circles, wrong fields, wrong filters, one too many', () => {
    const rig = makeRig()
    const { routes } = rig.gateway
    routes.put('1', { source: 'a', targets: ['b'] })
    const put = (body: unknown) => () => routes.put('2', body)
    expect(put({ source: 'b', targets: ['a'] })).toThrow(
      'route would send messages in a circle: 2 > 1 > 2',
    )
    expect(put({ source: '#', targets: ['z'] })).toThrow('in a circle')
    expect(put({ source: 'b', targets: [], extra: 1 })).toThrow('route')
    expect(put({ targets: ['a'] })).toThrow('route source: ')
    expect(put({ source: 'x', targets: 'y' })).toThrow('route targets: ')
    expect(put({ source: 'x', filter: 'payload.matches("x")', targets: ['y'] })).toThrow(
      'matches()',
    )
    expect(put(undefined)).toThrow('route')
    expect(routes.list()).toHaveLength(1)
    for (const number of range(2, ROUTES_MAX)) {
      routes.put(`${number}`, { source: `s${number}`, targets: ['t'] })
    }
    expect(() => routes.put('more', { source: 'x', targets: ['y'] })).toThrow('ROUTES_MAX=100')
    expect(routes.put('1', { source: 'x', targets: ['y'] })).toBe(false)
    rig.settle()
  })

  test('come from a list, as they do from ROUTES_FILE', () => {
    const rig = makeRig()
    const { routes } = rig.gateway
    const rules: ShownRoute[] = [
      { name: '1', source: 'a', targets: ['b'] },
      { name: '2', source: 'b', targets: ['c'], filter: 'true' },
    ]
    routes.load(rules)
    expect(routes.list()).toEqual(rules)
    expect(() => routes.load(rules)).toThrow('route 1 is there twice')
    expect(() => routes.load([{ name: '3', source: 'a' }])).toThrow('route 0.targets: ')
  })

  test('share MAX_FILTERS with subscriptions, and give theirs back', () => {
    const rig = makeRig({ plan: { maxFilters: 1 } })
    const { routes } = rig.gateway
    const reader = rig.connect()
    routes.put('1', { source: 'a', filter: 'payload > 1', targets: ['b'] })
    reader.subscribe('t', { filter: 'payload > 2' }, 'other')
    reader.subscribe('u', { filter: 'payload > 1' }, 'same')
    rig.settle()
    expect(reader.answers('other')).toMatchObject([{ code: 'LIMIT_EXCEEDED' }])
    expect(reader.answers('same')).toMatchObject([{ type: 'ack' }])
    reader.unsubscribe('u')
    routes.delete('1')
    reader.subscribe('t', { filter: 'payload > 2' }, 'again')
    rig.settle()
    expect(reader.answers('again')).toMatchObject([{ type: 'ack' }])
  })
})

describe('copies that cannot be', () => {
  test('are counted when the target refuses them', () => {
    const rig = makeRig({ plan: { maxTopics: 1 } })
    rig.gateway.routes.put('r', { source: 'a', targets: ['b'] })
    rig.connect().publish('a', [1, 2, 3])
    rig.settle()
    expect(sum(rig, 'copiesRouted')).toBe(3)
    expect(sum(rig, 'copiesDropped')).toBe(3)
  })

  test('are counted after ROUTE_HOPS_MAX hops', () => {
    const rig = makeRig()
    for (const hop of range(0, 9)) {
      rig.gateway.routes.put(`${hop}`, { source: `t${hop}`, targets: [`t${hop + 1}`] })
    }
    const reader = rig.connect()
    reader.subscribe('t8')
    reader.subscribe('t9')
    rig.connect().publish('t0', [1])
    rig.settle()
    expect(payloads(reader, 't8')).toEqual([1])
    expect(payloads(reader, 't9')).toEqual([])
    expect(sum(rig, 'copiesDropped')).toBe(1)
  })

  test('are counted when retention dropped what no rule had looked at', async () => {
    const rig = makeRig({
      plan: { workers: 2 },
      shard: { retention: { count: 256, bytes: 256 * 1024, ageMs: 0 } },
    })
    const { routes } = rig.gateway
    const [source, target] = [topicOn(rig, 0), topicOn(rig, 1)]
    routes.put('r', { source, targets: [target] })
    const [reader, writer] = [rig.connect(JSON_TEXT), rig.connect(JSON_TEXT)]
    reader.subscribe(target)
    rig.settle()
    rig.asleep.add(1) // Its ring fills, so its copies wait in the gateway, and the source goes on.
    const big = 'x'.repeat(900)
    let published = 0
    for (let turn = 0; turn < 300; turn++) {
      writer.publish(
        source,
        range(1, 5).map((n) => [turn * 5 + n, big]),
      )
      published += 5
      rig.settle()
    }
    expect(rig.gateway.forwarding.isWaiting).toBe(true)
    rig.asleep.delete(1)
    await rig.settleWithRetries()
    const numbers = payloads(reader, target).map((payload) => (payload as [number])[0])
    expect(numbers).toEqual([...numbers].sort((x, y) => x - y))
    expect(new Set(numbers).size).toBe(numbers.length)
    expect(numbers.at(-1)).toBe(published)
    const stored = rig.shards[1]?.counters.get('messagesStored') as number
    expect(stored).toBeLessThan(published)
    expect(sum(rig, 'copiesRouted')).toBe(stored)
    expect(sum(rig, 'copiesDropped')).toBe(published - stored)
  })
})

test('two shards that copy to each other at full rings go on, and nothing is lost', async () => {
  const rig = makeRig({
    plan: { workers: 2, logMemoryBytes: 16 * 1024 * 1024 },
    shard: { retention: { count: 65_536, bytes: 8 * 1024 * 1024, ageMs: 0 } },
  })
  const { routes } = rig.gateway
  const [a, b] = [topicOn(rig, 0), topicOn(rig, 0, 100)]
  const [c, d] = [topicOn(rig, 1), topicOn(rig, 1, 100)]
  routes.put('there', { source: a, targets: [c] })
  routes.put('back', { source: d, targets: [b] })
  const [reader, writer] = [rig.connect(MSGPACK), rig.connect(MSGPACK)]
  reader.subscribe(c)
  reader.subscribe(b)
  rig.settle()
  const big = 'x'.repeat(1000)
  let published = 0
  for (let turn = 0; turn < 60; turn++) {
    for (const topic of [a, d])
      writer.publish(
        topic,
        range(1, 20).map((n) => [turn * 20 + n, big]),
      )
    published += 20
    if (turn % 2 === 0) rig.runShard(turn % 4 === 0 ? 0 : 1)
    if (turn % 5 === 0) await rig.settleWithRetries()
  }
  await rig.settleWithRetries()
  for (const topic of [b, c]) {
    expect(payloads(reader, topic).map((payload) => (payload as [number])[0])).toEqual(
      range(1, published),
    )
  }
  expect(sum(rig, 'copiesDropped')).toBe(0)
})
