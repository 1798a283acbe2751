/**
 * Subscribers that stop reading, among others that do not. Allowed for a slow one: every seq either
 * received or named by a GAP, once, in order; or, by policy, SLOW_CONSUMER and 4008. For the others:
 * everything, in order. For the broker: no more memory than a socket's high-water mark for each.
 */
import { expect, test } from 'vitest'
import {
  type Json,
  JsonClient,
  MsgpackClient,
  type Packed,
  startBroker,
  type TestBroker,
  type TestClient,
  waitUntil,
} from './harness.js'

const MiB = 2 ** 20
const PAYLOAD_BYTES = 16 * 1024
const BATCH = 16

/** Follows one subscriber: what it was given, without keeping it. */
class Follower {
  readonly client: TestClient<Json> | TestClient<Packed>
  next = 1
  received = 0
  dropped = 0
  gaps = 0
  readonly wrong: string[] = []

  constructor(client: TestClient<Json> | TestClient<Packed>) {
    this.client = client
    client.socket.on('message', () => {
      for (const frame of client.frames.splice(0)) {
        if (Array.isArray(frame)) this.#onPacked(frame as unknown as Packed)
        else this.#onJson(frame as Json)
      }
    })
  }

  #onPacked(frame: Packed): void {
    if (frame[0] === 34) for (const [seq] of frame[3] as unknown[][]) this.#onEvent(Number(seq))
    if (frame[0] === 37) this.#onGap(frame[3] as Json)
    if (frame[0] === 35) this.wrong.push(String(frame[2]))
  }

  #onJson(frame: Json): void {
    if (frame['type'] === 'event') this.#onEvent(Number(frame['seq']))
    if (frame['type'] === 'info') this.#onGap(frame)
    if (frame['type'] === 'error') this.wrong.push(String((frame['error'] as Json)['code']))
  }

  #onEvent(seq: number): void {
    if (seq !== this.next) this.wrong.push(`seq ${seq} instead of ${this.next}`)
    this.next = seq + 1
    this.received++
  }

  #onGap(gap: Json): void {
    const [from, to] = [Number(gap['from_seq']), Number(gap['to_seq'])]
    if (from !== this.next) this.wrong.push(`gap from ${from} instead of ${this.next}`)
    if (gap['dropped'] !== to - from + 1) this.wrong.push(`gap ${from} to ${to}: ${gap['dropped']}`)
    this.next = to + 1
    this.dropped += to - from + 1
    this.gaps++
  }
}

/** Publishes so many messages, never further ahead of the slowest healthy subscriber than they can take. */
async function publish(
  { wsUrl, broker }: TestBroker,
  count: number,
  healthy: readonly Follower[],
  meanwhile: () => void = () => {},
): Promise<{ peakBuffered: number }> {
  const publisher = await MsgpackClient.connect(wsUrl)
  const payload = Buffer.from(JSON.stringify('x'.repeat(PAYLOAD_BYTES - 2)))
  const messages = Array.from({ length: BATCH }, () => [1, payload])
  let peakBuffered = 0
  for (let sent = 0; sent < count; sent += BATCH) {
    await publisher.ask(1, 't', messages)
    await waitUntil(() => healthy.every(({ next }) => next > sent - 4 * BATCH))
    peakBuffered = Math.max(peakBuffered, broker.gateway.bufferedBytes)
    meanwhile()
  }
  await waitUntil(() => healthy.every(({ next }) => next === count + 1))
  return { peakBuffered }
}

async function healthyOnes(broker: TestBroker, count: number): Promise<Follower[]> {
  const followers: Follower[] = []
  for (let n = 0; n < count; n++) {
    const client = await MsgpackClient.connect(broker.wsUrl)
    await client.ask(2, n % 2 === 0 ? 't' : '#')
    followers.push(new Follower(client))
  }
  return followers
}

test('a slow subscriber gets everything or a GAP that names it, 50 healthy ones miss nothing, memory is bounded', async () => {
  const count = 2400 // 39 MB, 50 times.
  const broker = await startBroker({
    HIGH_WATER_MARK_BYTES: '512KiB',
    SUBSCRIBER_QUEUE_SIZE: '200',
  })
  const healthy = await healthyOnes(broker, 50)
  const stopped = await MsgpackClient.connect(broker.wsUrl)
  await stopped.ask(2, 't')
  const wild = await JsonClient.connect(broker.wsUrl)
  await wild.ask({ type: 'subscribe', topic: '*' })
  const fitful = await JsonClient.connect(broker.wsUrl)
  await fitful.ask({ type: 'subscribe', topic: 't' })
  const slow = [stopped, wild, fitful].map((client) => new Follower(client))
  const rssBefore = process.memoryUsage.rss()
  stopped.socket.pause()
  wild.socket.pause()
  let turn = 0
  const { peakBuffered } = await publish(broker, count, healthy, () => {
    turn++
    if (turn % 30 === 0) fitful.socket.pause()
    if (turn % 30 === 25) fitful.socket.resume()
  })
  const rssAfter = process.memoryUsage.rss()
  expect(broker.broker.gateway.bufferedBytes).toBeGreaterThan(2 * 512 * 1024)
  // Each socket may pass its mark by what one turn or chunk brings at once. Published: 2 GB in all.
  expect(peakBuffered).toBeLessThan(53 * (0.5 + 0.25) * MiB)
  expect(rssAfter - rssBefore).toBeLessThan(400 * MiB)
  for (const { client } of slow) client.socket.resume()
  await waitUntil(() => slow.every(({ next }) => next === count + 1))

  for (const { received, gaps, wrong } of healthy)
    expect([received, gaps, wrong]).toEqual([count, 0, []])
  for (const { received, dropped, wrong } of slow) {
    expect(wrong).toEqual([])
    expect(received + dropped).toBe(count)
  }
  for (const { gaps, dropped } of slow.slice(0, 2)) {
    expect(gaps).toBeGreaterThan(0)
    expect(dropped).toBeGreaterThan(count / 2)
  }
  const { gateway } = (await broker.http('GET', '/stats')).body as { gateway: Json }
  expect(gateway['messagesDropped']).toBe(slow.reduce((sum, { dropped }) => sum + dropped, 0))
  expect(gateway['gaps']).toBe(slow.reduce((sum, { gaps }) => sum + gaps, 0))

  // Caught up, it is live again.
  const publisher = await JsonClient.connect(broker.wsUrl)
  await publisher.ask({ type: 'publish', topic: 't', message: { payload: 'live' } })
  await waitUntil(() => [...slow, ...healthy].every(({ next }) => next === count + 2))
  expect(broker.broker.gateway.fanOut.lagCount).toBe(0)
})

test('the GAP of a pattern subscription names the subscription, in both encodings', async () => {
  const broker = await startBroker({ HIGH_WATER_MARK_BYTES: '64KiB', SUBSCRIBER_QUEUE_SIZE: '10' })
  const json = await JsonClient.connect(broker.wsUrl)
  const msgpack = await MsgpackClient.connect(broker.wsUrl)
  await json.ask({ type: 'subscribe', topic: '*' })
  await msgpack.ask(2, '#')
  for (const { socket } of [json, msgpack]) socket.pause()
  await publish(broker, 1600, [])
  for (const { socket } of [json, msgpack]) socket.resume()
  const ranges = {
    from_seq: expect.any(Number),
    to_seq: expect.any(Number),
    dropped: expect.any(Number),
  }
  expect(await json.next(({ type }) => type === 'info')).toEqual({
    type: 'info',
    code: 'GAP',
    topic: 't',
    subscription: '*',
    ...ranges,
    ts: expect.any(String),
  })
  expect(await msgpack.next(([op]) => op === 37)).toEqual([
    37,
    'GAP',
    't',
    { subscription: '#', ...ranges },
  ])
})

test('by policy disconnect a slow subscriber gets SLOW_CONSUMER and 4008, and holds nothing afterwards', async () => {
  const count = 1600
  const broker = await startBroker({
    HIGH_WATER_MARK_BYTES: '512KiB',
    SUBSCRIBER_QUEUE_SIZE: '200',
  })
  const healthy = await healthyOnes(broker, 10)
  const byOption = await MsgpackClient.connect(broker.wsUrl)
  await byOption.ask(2, 't', { policy: 'disconnect' })
  const json = await JsonClient.connect(broker.wsUrl)
  await json.ask({ type: 'subscribe', topic: '*', policy: 'disconnect' })
  const slow = [byOption, json].map((client) => new Follower(client))
  for (const { client } of slow) client.socket.pause()
  const { gateway } = broker.broker
  const closed = () => broker.broker.gateway.counters.get('slowConsumersClosed') === 2
  await publish(broker, count, healthy, () => {
    // They read on as soon as they are closed: about 4 s later the system would drop what they are owed.
    if (closed()) for (const { client } of slow) client.socket.resume()
  })
  await waitUntil(closed)
  for (const { client } of slow) client.socket.resume()
  await waitUntil(() => gateway.sessions.size === 11)
  expect([gateway.subscribing.total, gateway.fanOut.lagCount]).toEqual([10, 0])
  for (const { client } of slow) expect((await client.whenClosed()).code).toBe(4008)
  for (const { received, gaps, wrong } of slow) {
    expect([gaps, wrong]).toEqual([0, ['SLOW_CONSUMER']])
    expect(received).toBeGreaterThan(0)
    expect(received).toBeLessThan(count)
  }
  for (const { received, gaps, wrong } of healthy)
    expect([received, gaps, wrong]).toEqual([count, 0, []])
})
