/**
 * Subscriptions that come and go, while the shards answer sooner or later.
 * Runs on: the test thread; the test decides when a shard has its turn.
 */
import { describe, expect, test } from 'vitest'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { hashTopic, shardOf } from '../../src/routing/topic-hash.js'
import { type Client, makeRig, type Rig, range } from './rig.js'

const KiB = 1024

/** Nobody is left, and nothing of anybody. */
function expectNothingLeft(rig: Rig): void {
  const { fanOut, subscribing, requests } = rig.gateway
  expect({
    feeds: fanOut.feedCount,
    lags: fanOut.lagCount,
    groups: fanOut.groups.size,
    subscriptions: subscribing.total,
    requests: requests.size,
  }).toEqual({ feeds: 0, lags: 0, groups: 0, subscriptions: 0, requests: 0 })
  for (const shard of rig.shards) {
    for (const topic of shard.topics.values()) {
      expect([topic.attached, topic.plainFormats, topic.patterns]).toEqual([0, 0, []])
    }
  }
}

function acked(client: Client, id: string): boolean {
  return client.answers(id).map(({ type }) => type)[0] === 'ack'
}

/** A topic that lives on this shard. */
function topicOn(shard: number, shards: number, prefix = 't'): string {
  const found = range(1, 1000)
    .map((n) => `${prefix}.${n}`)
    .find((name) => shardOf(hashTopic(Buffer.from(name), 0, name.length), shards) === shard)
  return found as string
}

describe.each([
  ['JSON', JSON_TEXT],
  ['MessagePack', MSGPACK],
] as const)('a subscribe in %s that is on its way', (_name, format) => {
  test.each(['a.b', 'a.*'])('and is taken back is acked, and so is the unsubscribe: %s', (text) => {
    const rig = makeRig()
    const client = rig.connect(format)
    client.publish('a.b', [1])
    client.subscribe(text, { last_n: 5 })
    client.unsubscribe(text)
    client.publish('a.b', [2])
    rig.settle()
    expect(client.of('ack').map(({ id }) => id)).toEqual([
      `unsubscribe ${text}`,
      `subscribe ${text}`,
    ])
    expect(client.of('event')).toEqual([])
    expectNothingLeft(rig)
  })

  test.each(['a.b', 'a.*'])('and is made again at once counts from the second: %s', (text) => {
    const rig = makeRig()
    const client = rig.connect(format)
    client.subscribe(text, {}, 'first')
    client.unsubscribe(text)
    client.publish('a.b', [1])
    client.subscribe(text, {}, 'second')
    client.publish('a.b', [2])
    rig.settle()
    client.publish('a.b', [3])
    rig.settle()
    expect([acked(client, 'first'), acked(client, 'second')]).toEqual([true, true])
    expect(client.seqs('a.b', text === 'a.b' ? null : text)).toEqual([2, 3])
    client.unsubscribe(text)
    rig.settle()
    expectNothingLeft(rig)
  })

  test.each(['a.b', 'a.*'])('when the connection goes leaves nothing behind: %s', (text) => {
    const rig = makeRig()
    const client = rig.connect(format)
    client.publish('a.b', [1])
    rig.settle()
    client.subscribe(text, { last_n: 1 })
    client.disconnect()
    rig.settle()
    expect(rig.gateway.sessions.size).toBe(0)
    expectNothingLeft(rig)
  })

  test('keeps the topic attached when the last subscriber leaves meanwhile', () => {
    const rig = makeRig()
    const leaving = rig.connect(format)
    const joining = rig.connect(format)
    leaving.subscribe('a')
    rig.settle()
    joining.subscribe('a')
    leaving.unsubscribe('a')
    joining.publish('a', [1])
    rig.settle()
    joining.publish('a', [2])
    rig.settle()
    expect(joining.seqs('a')).toEqual([1, 2])
    joining.unsubscribe('a')
    rig.settle()
    expectNothingLeft(rig)
  })

  test('keeps the topic when the pattern that held it goes meanwhile', () => {
    const rig = makeRig()
    const leaving = rig.connect(format)
    const joining = rig.connect(format)
    leaving.publish('a', [1])
    leaving.subscribe('*')
    rig.settle()
    joining.subscribe('a')
    leaving.unsubscribe('*')
    joining.publish('a', [2])
    rig.settle()
    joining.publish('a', [3])
    rig.settle()
    expect(joining.seqs('a')).toEqual([2, 3])
    joining.disconnect()
    rig.settle()
    expectNothingLeft(rig)
  })

  test('as a pattern keeps what the last plain subscriber leaves', () => {
    const rig = makeRig()
    const leaving = rig.connect(format)
    const joining = rig.connect(format)
    leaving.subscribe('a')
    rig.settle()
    joining.subscribe('*', { last_n: 1 })
    rig.runShard(0) // The shard has answered; the gateway has not heard it.
    leaving.unsubscribe('a')
    joining.publish('a', [1])
    rig.settle()
    joining.publish('a', [2])
    rig.settle()
    expect(joining.seqs('a', '*')).toEqual([1, 2])
    joining.disconnect()
    rig.settle()
    expectNothingLeft(rig)
  })

  test('ends with the topic that is deleted right after', () => {
    const rig = makeRig()
    const client = rig.connect(format)
    client.subscribe('a')
    client.subscribe('#')
    rig.gateway.links[0]?.trySend({ op: 'delete', token: 0, topic: 'a' })
    rig.settle()
    expect(acked(client, 'subscribe a')).toBe(true)
    const notices = client
      .of('info')
      .map(({ code, topic, details }) => [code, topic, details['subscription'] ?? null])
    expect(notices).toEqual([
      ['TOPIC_DELETED', 'a', null],
      ['TOPIC_DELETED', 'a', '#'],
    ])
    // The plain one is over, the pattern waits for other topics, or for this one again.
    expect([...(client.session.subscriptions?.keys() ?? [])]).toEqual(['#'])
    client.publish('a', [1])
    rig.settle()
    expect(client.events()).toEqual([])
    expect(client.seqs('a', '#')).toEqual([1])
    client.unsubscribe('#')
    rig.settle()
    expectNothingLeft(rig)
  })
})

describe('subscribers of both formats', () => {
  test('do not detach each other', () => {
    const rig = makeRig()
    const json = rig.connect(JSON_TEXT)
    const packed = rig.connect(MSGPACK)
    json.subscribe('a')
    packed.subscribe('a')
    rig.settle()
    json.unsubscribe('a')
    packed.publish('a', [1])
    rig.settle()
    expect(packed.seqs('a')).toEqual([1])
    json.subscribe('a')
    packed.unsubscribe('a')
    packed.publish('a', [2])
    rig.settle()
    expect(json.seqs('a')).toEqual([2])
    expect(packed.seqs('a')).toEqual([1])
    json.disconnect()
    rig.settle()
    expectNothingLeft(rig)
  })

  test('all hear of a deleted topic', () => {
    const rig = makeRig()
    const clients = ([JSON_TEXT, MSGPACK, JSON_TEXT] as const).map((format) => rig.connect(format))
    for (const client of clients) client.subscribe('a')
    rig.settle()
    rig.gateway.links[0]?.trySend({ op: 'delete', token: 0, topic: 'a' })
    rig.settle()
    for (const client of clients) expect(client.of('info')).toMatchObject([{ topic: 'a' }])
    expectNothingLeft(rig)
  })
})

describe('a pattern over several shards', () => {
  const workers = 3

  test('is acked when all have answered; no event comes before the ack', () => {
    const rig = makeRig({ plan: { workers } })
    const client = rig.connect(JSON_TEXT)
    const topics = range(0, workers - 1).map((shard) => topicOn(shard, workers))
    for (const topic of topics) client.publish(topic, [1])
    rig.settle()
    rig.asleep.add(2)
    client.subscribe('t.*', { last_n: 1 })
    client.publish(topics[0] as string, [2])
    client.sendRaw('{"type":"ping"}') // Some other frame must not set the replay off.
    rig.settle()
    client.publish(topics[1] as string, [2])
    rig.settle()
    expect(client.of('event')).toEqual([])
    expect(client.answers('subscribe t.*')).toEqual([])
    rig.asleep.delete(2)
    rig.settle()
    expect(acked(client, 'subscribe t.*')).toBe(true)
    const [first] = client.heard.filter(({ type }) => type === 'ack' || type === 'event')
    expect(first).toMatchObject({ type: 'ack', id: 'subscribe t.*' })
    expect(topics.map((topic) => client.seqs(topic, 't.*'))).toEqual([[1, 2], [1, 2], [1]])
    client.disconnect()
    rig.settle()
    expectNothingLeft(rig)
  })

  test('that starts live is given after the ack what came before it', () => {
    const rig = makeRig({ plan: { workers } })
    const client = rig.connect(MSGPACK)
    const topic = topicOn(0, workers)
    client.publish(topic, [1])
    rig.settle()
    rig.asleep.add(2)
    client.subscribe('t.#')
    rig.settle()
    client.publish(topic, [2])
    rig.settle()
    client.publish(topic, [3])
    rig.settle()
    expect(client.of('event')).toEqual([])
    rig.asleep.delete(2)
    rig.settle()
    expect(client.heard.map(({ type }) => type)).toEqual(['ack', 'event', 'event'])
    expect(client.seqs(topic, 't.#')).toEqual([2, 3])
  })

  test('says recovered: false when one topic was not', () => {
    const rig = makeRig({ plan: { workers } })
    const client = rig.connect(MSGPACK)
    const [one, two] = [topicOn(0, workers), topicOn(1, workers)] as [string, string]
    client.publish(one, [1, 2])
    client.publish(two, [1, 2])
    rig.settle()
    const [topic] = [...rig.shard.topics.values()]
    const epoch = topic?.epoch as string
    client.subscribe('t.*', {
      cursors: { [one]: { epoch, seq: 2 }, [two]: { epoch: 'x', seq: 2 } },
    })
    client.subscribe('t.#', { cursors: { [one]: { epoch, seq: 3 } } })
    rig.settle()
    expect(client.answers('subscribe t.*')).toMatchObject([{ result: { recovered: false } }])
    expect(client.answers('subscribe t.#')).toMatchObject([{ result: { recovered: true } }])
    expect(client.seqs(one, 't.*')).toEqual([2])
    expect(client.seqs(two, 't.*')).toEqual([1, 2])
    expect(client.seqs(one, 't.#')).toEqual([])
  })

  test('is refused when one shard refuses it', () => {
    const rig = makeRig({ plan: { workers, maxPatterns: 1 }, gateway: { maxPatterns: 5 } })
    const client = rig.connect(JSON_TEXT)
    client.subscribe('a.*')
    client.subscribe('b.*')
    rig.settle()
    expect(acked(client, 'subscribe a.*')).toBe(true)
    expect(client.answers('subscribe b.*')).toMatchObject([{ code: 'LIMIT_EXCEEDED' }])
    expect(rig.gateway.subscribing.total).toBe(1)
    client.disconnect()
    rig.settle()
    expectNothingLeft(rig)
  })
})

describe('limits', () => {
  test('one connection subscribes to a topic once', () => {
    const rig = makeRig()
    const client = rig.connect()
    client.subscribe('a', {}, 'first')
    client.subscribe('a', {}, 'second')
    rig.settle()
    expect(acked(client, 'first')).toBe(true)
    expect(client.answers('second')).toMatchObject([{ code: 'BAD_REQUEST' }])
  })

  test('MAX_SUBSCRIPTIONS_PER_CONNECTION', () => {
    const rig = makeRig({ gateway: { maxSubscriptionsPerConnection: 2 } })
    const client = rig.connect()
    for (const topic of ['a', 'b.*', 'c']) client.subscribe(topic)
    expect(client.answers('subscribe c')).toMatchObject([{ code: 'LIMIT_EXCEEDED' }])
    client.unsubscribe('a')
    client.subscribe('c', {}, 'again')
    rig.settle()
    expect(acked(client, 'again')).toBe(true)
  })

  test('MAX_SUBSCRIBERS_PER_TOPIC counts those on their way, and those who left no more', () => {
    const rig = makeRig({ gateway: { maxSubscribersPerTopic: 2 } })
    const clients = range(1, 3).map(() => rig.connect())
    for (const client of clients) client.subscribe('a')
    expect(clients.map((client) => client.errorCodes)).toEqual([[], [], ['LIMIT_EXCEEDED']])
    clients[0]?.disconnect()
    clients[2]?.subscribe('a', {}, 'again')
    rig.settle()
    expect(acked(clients[2] as Client, 'again')).toBe(true)
  })

  test('MAX_PATTERNS counts different patterns, per format', () => {
    const rig = makeRig({ plan: { maxPatterns: 2 } })
    const clients = range(1, 3).map(() => rig.connect())
    for (const client of clients) client.subscribe('a.*')
    clients[0]?.subscribe('b.*')
    clients[1]?.subscribe('c.*')
    rig.settle()
    expect(clients[1]?.errorCodes).toEqual(['LIMIT_EXCEEDED'])
    clients[0]?.disconnect()
    rig.settle()
    clients[1]?.subscribe('c.*', {}, 'again')
    rig.settle()
    expect(acked(clients[1] as Client, 'again')).toBe(true)
  })

  test('MAX_TOPICS: a subscribe that would make one too many is refused and forgotten', () => {
    const rig = makeRig({ plan: { maxTopics: 1 } })
    const client = rig.connect()
    client.subscribe('a')
    client.subscribe('b')
    rig.settle()
    expect(client.answers('subscribe b')).toMatchObject([{ code: 'LIMIT_EXCEEDED' }])
    expect(rig.gateway.subscribing.total).toBe(1)
    client.subscribe('b', {}, 'again')
    rig.settle()
    expect(client.answers('again')).toMatchObject([{ code: 'LIMIT_EXCEEDED' }])
  })

  test.each([
    ['a..b', {}],
    ['a*', {}],
    ['', {}],
    ['a', { last_n: -1 }],
    ['a', { from_seq: 1, last_n: 1 }],
    ['a', { policy: 'none' }],
    ['a.*', { from_seq: 1 }],
    ['a', { cursors: {} }],
  ])('%j %j is a bad request', (topic, options) => {
    const rig = makeRig()
    for (const format of [JSON_TEXT, MSGPACK] as const) {
      const client = rig.connect(format)
      client.subscribe(topic, options, 'r')
      expect(client.answers('r')).toMatchObject([{ code: 'BAD_REQUEST' }])
    }
    expectNothingLeft(rig)
  })

  test('unsubscribe from what was never subscribed is TOPIC_NOT_FOUND', () => {
    const client = makeRig().connect()
    client.unsubscribe('a', 'r')
    expect(client.answers('r')).toMatchObject([{ code: 'TOPIC_NOT_FOUND' }])
  })
})

describe('a full inbound ring', () => {
  /** Fills the ring of a shard that does not read. */
  const fill = (rig: Rig) => {
    const link = rig.gateway.links[0]
    rig.asleep.add(0)
    while (link?.trySend({ op: 'dropPattern', patternId: 999 })) {}
  }
  const plan = { ringBytes: 128 * KiB }

  test('refuses a subscribe with OVERLOADED, and nothing of it stays', () => {
    const rig = makeRig({ plan })
    const client = rig.connect()
    fill(rig)
    client.subscribe('a')
    expect(client.answers('subscribe a')).toMatchObject([{ code: 'OVERLOADED' }])
    expectNothingLeft(rig)
  })

  test('delays what must not be lost: unsubscribes and patterns', async () => {
    const rig = makeRig({ plan })
    const client = rig.connect(JSON_TEXT)
    client.subscribe('a')
    client.subscribe('b.*')
    rig.settle()
    fill(rig)
    client.unsubscribe('a')
    client.unsubscribe('b.*')
    client.subscribe('c.*')
    expect(client.of('ack').map(({ id }) => id)).toEqual([
      'subscribe a',
      'subscribe b.*',
      'unsubscribe a',
      'unsubscribe b.*',
    ])
    // What may be refused does not overtake what waits.
    client.subscribe('a', {}, 'too soon')
    expect(client.answers('too soon')).toMatchObject([{ code: 'OVERLOADED' }])
    expect(rig.gateway.links[0]?.hasDeferred).toBe(true)
    rig.asleep.clear()
    await rig.settleWithRetries()
    expect(acked(client, 'subscribe c.*')).toBe(true)
    client.publish('a', [1])
    client.publish('c.x', [1])
    rig.settle()
    expect(client.events()).toEqual([])
    expect(client.seqs('c.x', 'c.*')).toEqual([1])
    client.disconnect()
    await rig.settleWithRetries()
    expectNothingLeft(rig)
  })

  test('delays a pull; the replay comes whole', async () => {
    const rig = makeRig({ plan })
    const client = rig.connect(MSGPACK)
    client.publish('a', range(1, 300))
    rig.settle()
    client.subscribe('a', { last_n: 300 })
    rig.runShard(0)
    fill(rig)
    rig.runGateway()
    expect(rig.gateway.fanOut.isWaiting).toBe(true)
    rig.asleep.clear()
    await rig.settleWithRetries()
    expect(client.seqs('a')).toEqual(range(1, 300))
  })
})
