/** Topics and connections that come and go: nothing of them is left, and nobody else is disturbed. */
import { readdirSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import type { Broker } from '../../src/broker.js'
import { FAULTY_SHARD, injector, report, STEPS, seeded } from './faults.js'
import { type Json, JsonClient, sleep, startBroker, type TestBroker, waitUntil } from './harness.js'
import { type Encoding, Publisher } from './load.js'

/** Connections that fetch() keeps for its next request, each with both ends in this process. */
const KEPT_BY_FETCH = 12

/** One life of a topic as a subscriber saw it: from an ack to TOPIC_DELETED. */
interface Life {
  readonly epoch: string
  readonly seqs: number[]
}

/**
 * Subscribes again whenever the topic is deleted, and keeps what it got of each life. A pattern goes
 * on by itself; its lives are told apart by TOPIC_DELETED.
 */
class Follower {
  readonly lives: Life[] = []
  deletions = 0
  readonly #client: JsonClient

  private constructor(client: JsonClient) {
    this.#client = client
  }

  static async of(broker: TestBroker, text: string): Promise<Follower> {
    const client = await JsonClient.connect(broker.wsUrl)
    const follower = new Follower(client)
    const isPlain = !text.includes('#')
    const subscribe = () => client.send({ type: 'subscribe', topic: text, request_id: 's' })
    client.socket.on('message', (data) => {
      const frame = JSON.parse(data.toString()) as Json
      if (frame['type'] === 'ack' || (frame['type'] === 'info' && !isPlain)) {
        follower.lives.push({ epoch: String(frame['epoch']), seqs: [] })
      }
      if (frame['type'] === 'event') follower.lives.at(-1)?.seqs.push(frame['seq'] as number)
      if (frame['type'] !== 'info') return
      expect(frame['code']).toBe('TOPIC_DELETED')
      follower.deletions++
      if (isPlain) subscribe()
    })
    subscribe()
    await waitUntil(() => follower.lives.length > 0)
    return follower
  }

  get problems(): string[] {
    const errors = this.#client.frames.filter(({ type }) => type === 'error')
    const gaps = this.lives.flatMap(({ seqs }, life) =>
      seqs
        .filter((seq, index) => index > 0 && seq !== (seqs[index - 1] as number) + 1)
        .map((seq) => `life ${life}: ${seq} does not follow`),
    )
    return [...errors.map((error) => JSON.stringify(error)), ...gaps]
  }
}

test('a topic that is deleted under load begins again with a new epoch, and all are told', async () => {
  const deletions = 20
  const broker = await startBroker({ TOPIC_HISTORY_SIZE: '100000' })
  const plain = [await Follower.of(broker, 'gone.a'), await Follower.of(broker, 'gone.a')]
  const pattern = await Follower.of(broker, 'gone.#')
  const publishers = await Promise.all(
    (['json', 'msgpack'] as Encoding[]).map((encoding) =>
      Publisher.connect(broker.wsUrl, encoding, encoding),
    ),
  )
  const load = setInterval(() => {
    for (const publisher of publishers) publisher.publish('gone.a', 3)
  }, 1)
  onTestFinished(() => clearInterval(load))
  const untilMoreIsStored = async () => {
    const acked = () => publishers.map((publisher) => publisher.with('ok').length)
    const before = acked()
    await waitUntil(() => acked().every((count, index) => count > Number(before[index]) + 5))
  }
  for (let round = 0; round < deletions; round++) {
    await untilMoreIsStored()
    const { status, body } = await broker.http('DELETE', '/topics/gone.a')
    expect({ status, body }).toEqual({ status: 200, body: { status: 'deleted', topic: 'gone.a' } })
  }
  await untilMoreIsStored()
  clearInterval(load)
  await Promise.all(publishers.map((publisher) => publisher.answered()))
  await waitUntil(() => plain.every((follower) => follower.lives.length === deletions + 1))

  const epochs = new Set(publishers.flatMap(({ epochs }) => [...(epochs.get('gone.a') ?? [])]))
  expect(epochs.size).toBe(deletions + 1)
  for (const publisher of publishers) {
    expect(publisher.with('ok').length).toBe(publisher.requests.length)
  }
  for (const follower of plain) {
    expect(follower.problems).toEqual([])
    expect(follower.deletions).toBe(deletions)
    expect(new Set(follower.lives.map(({ epoch }) => epoch)).size).toBe(deletions + 1)
  }
  expect(pattern.problems).toEqual([])
  expect(pattern.deletions).toBe(deletions)
  // A pattern sees every life whole, from its first entry.
  for (const { seqs } of pattern.lives) if (seqs.length > 0) expect(seqs[0]).toBe(1)
  const messages = publishers.reduce((sum, { requests }) => sum + 3 * requests.length, 0)
  const seen = () => pattern.lives.reduce((sum, { seqs }) => sum + seqs.length, 0)
  await waitUntil(() => seen() === messages)
})

test('50 clients that create, delete and list at once all get an answer that can be true', async () => {
  const broker = await startBroker()
  const names = ['x.1', 'x.2', 'x.3', 'x.4', 'x.5']
  const draw = seeded()
  const statuses = new Map<string, number>()
  const note = (what: string) => statuses.set(what, (statuses.get(what) ?? 0) + 1)
  const overHttp = async () => {
    for (let step = 0; step < 20; step++) {
      const name = names[Math.floor(draw() * names.length)] as string
      const dice = draw()
      if (dice < 0.4) {
        const { status } = await broker.http('POST', '/topics', { name })
        expect([200, 201]).toContain(status)
        note(`create ${status}`)
      } else if (dice < 0.8) {
        const { status } = await broker.http('DELETE', `/topics/${name}`)
        expect([200, 404]).toContain(status)
        note(`delete ${status}`)
      } else {
        const { status, body } = await broker.http('GET', '/topics')
        expect(status).toBe(200)
        const listed = (body['topics'] as { name: string }[]).map((topic) => topic.name)
        expect(new Set(listed).size).toBe(listed.length)
        note('list')
      }
    }
  }
  const overWebSocket = async () => {
    const client = await JsonClient.connect(broker.wsUrl)
    for (let step = 0; step < 20; step++) {
      const topic = names[Math.floor(draw() * names.length)] as string
      if (draw() < 0.5) {
        const answer = await client.ask({ type: 'publish', topic, message: { payload: step } })
        expect(answer['type']).toBe('ack')
      } else {
        // Subscribed already, or not any more since the topic went: both are told.
        const subscribed = await client.ask({ type: 'subscribe', topic })
        note(`subscribe ${subscribed['type']}`)
        if (draw() < 0.5) await client.ask({ type: 'unsubscribe', topic })
      }
    }
    client.socket.close()
    await client.whenClosed()
  }
  const work = [
    ...Array(25).fill(overHttp),
    ...Array(25).fill(overWebSocket),
  ] as (() => Promise<void>)[]
  await Promise.all(work.map((run) => run()))

  // As often as a topic came by a create (201), by a publish or by a subscribe, it may have gone.
  report(JSON.stringify(Object.fromEntries(statuses)))
  expect(statuses.get('create 201')).toBeGreaterThan(0)
  expect(statuses.get('delete 200')).toBeGreaterThan(0)
  expect(broker.fatal).toEqual([])
  const workers = (await broker.http('GET', '/stats')).body['workers'] as Record<string, number>[]
  const sum = (name: string) => workers.reduce((total, worker) => total + Number(worker[name]), 0)
  const left = ((await broker.http('GET', '/topics')).body['topics'] as unknown[]).length
  expect(sum('topicsCreated') - sum('topicsDeleted')).toBe(left)
  expect(sum('topicsDeleted')).toBe(statuses.get('delete 200'))
  for (const name of names) await broker.http('DELETE', `/topics/${name}`)
  await expectNothingLeft(broker)
  expect((await broker.http('GET', '/topics')).body).toEqual({ topics: [] })
})

test('2000 connections that came and went leave nothing behind', async () => {
  const total = 2000
  const atOnce = 100
  const broker = await startBroker()
  const publisher = await Publisher.connect(broker.wsUrl, 'msgpack', 'steady')
  const load = setInterval(() => publisher.publish(`busy.${publisher.requests.length % 5}`, 2), 2)
  onTestFinished(() => clearInterval(load))
  const draw = seeded()
  await visit(broker, draw) // Whatever is made once is there now.
  await waitUntil(() => broker.broker.gateway.sessions.size === 1)
  const resources = countedResources()

  let left = total
  const visitor = async () => {
    while (left-- > 0) await visit(broker, draw)
  }
  await Promise.all(Array.from({ length: atOnce }, visitor))
  clearInterval(load)
  await publisher.answered()
  expect(publisher.with('ok').length).toBe(publisher.requests.length)
  await waitUntil(() => broker.broker.gateway.sessions.size === 1)
  const { counters } = broker.broker.gateway
  expect(counters.get('connectionsOpened')).toBe(total + 2)
  await waitUntil(() => counters.get('connectionsClosed') === total + 1)
  publisher.socket.close()
  await waitUntil(() => broker.broker.gateway.sessions.size === 0)
  await expectNothingLeft(broker)
  expect((await broker.http('GET', '/health')).body).toMatchObject({
    status: 'ok',
    subscribers: 0,
    connections: 0,
  })
  await waitUntil(() => countedResources() <= resources + KEPT_BY_FETCH)
}, 60_000)

test('connections that come and go while shards die leave nothing behind', async () => {
  const broker = await startBroker({}, FAULTY_SHARD)
  const inject = injector()
  const draw = seeded()
  const { gateway } = broker.broker
  let visits = 0
  const isOver = () => visits > 400 && gateway.counters.get('shardRestarts') > 10
  const visitor = async () => {
    for (; !isOver(); visits++) await visit(broker, draw)
  }
  const killer = async () => {
    for (let kills = 0; !isOver(); kills++) {
      const [type, method] = STEPS[kills % STEPS.length] as (typeof STEPS)[number]
      const calls = Math.floor(draw() * 20)
      void inject({ kind: 'throw', shard: kills % 2, type, method, isAfter: draw() < 0.5, calls })
      await sleep(draw() * 60)
      if (draw() < 0.3) void broker.broker.supervisor.threads[0]?.terminate()
    }
  }
  await Promise.all([killer(), ...Array.from({ length: 20 }, visitor)])
  await waitUntil(() => gateway.links.every((link) => !link.isDown && link.isDrained))
  await Promise.all([0, 1].map((shard) => inject({ kind: 'disarm', shard })))
  await expectNothingLeft(broker)
  expect(broker.fatal).toEqual([])
})

/** One client: subscribes to this and that, asks for more than it waits for, goes as it likes. */
async function visit({ wsUrl, httpUrl }: TestBroker, draw: () => number): Promise<void> {
  const isBinary = draw() < 0.3
  const socket = new WebSocket(wsUrl, isBinary ? ['ringcast.v1.msgpack'] : [])
  socket.on('error', () => {})
  await new Promise((resolve) => socket.on('open', resolve))
  const closed = new Promise((resolve) => socket.on('close', resolve))
  const topic = `busy.${Math.floor(draw() * 5)}`
  if (isBinary) {
    // [2, "s", "busy.#", {last_n: 100}]
    socket.send(Buffer.from('9402a173a6627573792e2381a66c6173745f6e64', 'hex'))
  } else {
    socket.send(JSON.stringify({ type: 'subscribe', topic, last_n: 100, request_id: 'a' }))
    socket.send(JSON.stringify({ type: 'subscribe', topic: 'busy.*', since: '1m' }))
    if (draw() < 0.3) socket.send(JSON.stringify({ type: 'subscribe', topic: `own.${draw()}` }))
    const message = { payload: draw() }
    socket.send(JSON.stringify({ type: 'publish', topic, message, request_id: 'b' }))
    if (draw() < 0.3) socket.send(JSON.stringify({ type: 'unsubscribe', topic, request_id: 'c' }))
    if (draw() < 0.3) socket.send(JSON.stringify({ type: 'unsubscribe', topic: 'busy.*' }))
  }
  if (draw() < 0.1) {
    const signal = AbortSignal.timeout(Math.ceil(draw() * 5))
    await fetch(`${httpUrl}/topics/${topic}/messages?last_n=1000`, { signal }).catch(() => {})
  }
  if (draw() < 0.5) await sleep(draw() * 20)
  if (draw() < 0.5) socket.terminate()
  else socket.close()
  await closed
}

/** No session, subscription, feed, lag, request or pattern: what the gateway and the shards hold. */
async function expectNothingLeft({ broker, http }: TestBroker): Promise<void> {
  const { gateway } = broker
  const held = () => ({
    sessions: gateway.sessions.size,
    subscriptions: gateway.subscribing.total,
    feeds: gateway.fanOut.feedCount,
    lags: gateway.fanOut.lagCount,
    groups: gateway.fanOut.groups.size,
    requests: gateway.requests.size,
    isWaiting: gateway.fanOut.isWaiting,
    deferred: gateway.links.some((link) => link.hasDeferred),
  })
  const nothing = {
    sessions: 0,
    subscriptions: 0,
    feeds: 0,
    lags: 0,
    groups: 0,
    requests: 0,
    isWaiting: false,
    deferred: false,
  }
  for (let tries = 0; tries < 500 && JSON.stringify(held()) !== JSON.stringify(nothing); tries++) {
    await sleep(5)
  }
  expect(held()).toEqual(nothing)
  await expectSilence(broker, http)
}

/** The shards make no EVENTS for anybody: what is published now, without an ack, gets no word back. */
async function expectSilence(broker: Broker, http: TestBroker['http']): Promise<void> {
  const { links } = broker.gateway
  const { body } = await http('GET', '/topics')
  const client = await JsonClient.connect(`ws://127.0.0.1:${broker.port}/ws`)
  await waitUntil(() => links.every((link) => link.isDrained))
  const heard = links.map(({ out }) => out.position)
  for (const { name } of body['topics'] as { name: string }[]) {
    client.send({ type: 'publish', topic: name, message: { payload: 'last' } })
  }
  await client.ask({ type: 'ping' })
  await waitUntil(() => links.every((link) => link.isDrained))
  expect(links.map(({ out }) => out.position)).toEqual(heard)
  client.socket.close()
  await waitUntil(() => broker.gateway.sessions.size === 0)
}

/** What keeps this process alive, and its open files: sockets of both sides, threads. */
function countedResources(): number {
  const timers = new Set(['Timeout', 'Immediate'])
  const resources = process.getActiveResourcesInfo().filter((name) => !timers.has(name))
  return resources.length + readdirSync('/proc/self/fd').length
}
