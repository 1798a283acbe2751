/**
 * More than the broker can take.
 *
 * Allowed: OVERLOADED, and publishers that are held back. Forbidden: a message that is neither stored
 * nor refused, one that is refused and stored, a broker that does not recover by itself.
 */
import { expect, test } from 'vitest'
import { FAULTY_SHARD, injector, report } from './faults.js'
import { startBroker, type TestBroker, topicOn, waitUntil } from './harness.js'
import {
  ackedMessages,
  checkAccounts,
  DEEP,
  delivered,
  type Encoding,
  Publisher,
  Subscriber,
  TINY,
} from './load.js'

const BURST = 100_000

async function checkRecovered(
  broker: TestBroker,
  publisher: Publisher,
  subscribers: Subscriber[],
  topic: string,
): Promise<void> {
  for (let count = 1; count <= 10; count++) {
    const request = publisher.publish(topic, count)
    await publisher.answered()
    expect(request.answer).toBe('ok')
  }
  await delivered([publisher], subscribers)
  checkAccounts([publisher], subscribers)
  expect((await broker.http('GET', '/health')).status).toBe(200)
  expect(broker.fatal).toEqual([])
  expect(publisher.closed).toBe(undefined)
  const { body } = await broker.http('GET', `/topics/${topic}`)
  expect(body['last_seq']).toBe(ackedMessages([publisher]))
}

test(`a burst of ${BURST} into a tiny ring is stored or refused, every message of it`, async () => {
  const env = { ...TINY, ...DEEP, PUBLISH_WAIT_MS: '0', MAX_IN_FLIGHT_PUBLISHES: String(BURST) }
  const broker = await startBroker({ ...env, TOPIC_BYTES_MAX: '32MiB' }, FAULTY_SHARD)
  const topic = topicOn(broker, 0)
  const subscribers = await oneOfEachEncoding(broker, topic)
  const publisher = await Publisher.connect(broker.wsUrl, 'msgpack', 'burst', 40)
  await injector()({ kind: 'block', shard: 0, ms: 20 })
  for (let count = 0; count < BURST; count++) publisher.publish(topic, 1)
  await publisher.answered(20_000)

  const stored = publisher.with('ok').length
  const refused = publisher.with('OVERLOADED').length
  report(`stored ${stored}, refused ${refused}`)
  expect(stored + refused).toBe(BURST)
  expect(refused).toBeGreaterThan(0)
  expect(stored).toBeGreaterThan(1000)
  await delivered([publisher], subscribers, 20_000)
  await checkRecovered(broker, publisher, subscribers, topic)
}, 60_000)

test(`a burst of ${BURST} that the ring can hold back in time is stored, all of it`, async () => {
  const env = { ...TINY, ...DEEP, PUBLISH_WAIT_MS: '5000', MAX_IN_FLIGHT_PUBLISHES: String(BURST) }
  const broker = await startBroker({ ...env, TOPIC_BYTES_MAX: '32MiB' })
  const topic = topicOn(broker, 0)
  const subscribers = await oneOfEachEncoding(broker, topic)
  const publisher = await Publisher.connect(broker.wsUrl, 'json', 'burst', 40)
  const batch = 20
  for (let count = 0; count < BURST / batch; count++) publisher.publish(topic, batch)
  await publisher.answered(20_000)
  expect(publisher.with('ok').length).toBe(BURST / batch)
  expect(broker.broker.gateway.counters.get('publishesHeld')).toBeGreaterThan(0)
  await delivered([publisher], subscribers, 20_000)
  await checkRecovered(broker, publisher, subscribers, topic)
}, 60_000)

test('a shard that does not move costs its own topics, in bounded time, and no others', async () => {
  const waitMs = 100
  const env = { ...TINY, ...DEEP, PUBLISH_WAIT_MS: String(waitMs) }
  const broker = await startBroker(env, FAULTY_SHARD)
  const topics = [topicOn(broker, 0), topicOn(broker, 1)] as const
  const subscribers = await oneOfEachEncoding(broker, topics[0])
  const others = await oneOfEachEncoding(broker, topics[1])
  const publisher = await Publisher.connect(broker.wsUrl, 'msgpack', 'stuck', 1000)
  const neighbour = await Publisher.connect(broker.wsUrl, 'json', 'neighbour')
  await injector()({ kind: 'block', shard: 0, ms: 2000 })
  const blockedAt = performance.now()
  publisher.publish(topics[0], 1)

  // Twice what the ring takes: the first to find it full waits, those after it do not.
  for (let count = 0; count < 500; count++) publisher.publish(topics[0], 1)
  const sentAt = performance.now()
  await waitUntil(() => publisher.with('OVERLOADED').length > 0)
  expect(performance.now() - sentAt).toBeLessThan(waitMs + 500)
  for (let count = 0; count < 50; count++) {
    const askedAt = performance.now()
    neighbour.publish(topics[1], 1)
    await neighbour.answered()
    expect(performance.now() - askedAt).toBeLessThan(500)
  }
  expect(neighbour.with('ok').length).toBe(50)
  await delivered([neighbour], others)
  expect(performance.now() - blockedAt).toBeLessThan(2000)

  await publisher.answered()
  expect(publisher.with('ok').length + publisher.with('OVERLOADED').length).toBe(501)
  expect(publisher.with('ok').length).toBeGreaterThan(100)
  await checkRecovered(broker, publisher, subscribers, topics[0])
  checkAccounts([neighbour], others)
})

test('history larger than the ring is replayed through it', async () => {
  const broker = await startBroker({ ...TINY, ...DEEP })
  const topic = topicOn(broker, 0)
  const publisher = await Publisher.connect(broker.wsUrl, 'msgpack', 'deep', 1000)
  for (let count = 0; count < 100; count++) publisher.publish(topic, 40)
  await publisher.answered()
  const subscribers: Subscriber[] = []
  for (const encoding of ['json', 'msgpack'] as Encoding[]) {
    const subscriber = await Subscriber.connect(broker.wsUrl, encoding, encoding)
    await subscriber.subscribe(topic, { last_n: 1_000_000 })
    subscribers.push(subscriber)
  }
  await delivered([publisher], subscribers)
  await checkRecovered(broker, publisher, subscribers, topic)
})

async function oneOfEachEncoding({ wsUrl }: TestBroker, topic: string): Promise<Subscriber[]> {
  const subscribers: Subscriber[] = []
  for (const encoding of ['json', 'msgpack'] as Encoding[]) {
    const subscriber = await Subscriber.connect(wsUrl, encoding, `${encoding} ${topic}`)
    await subscriber.subscribe(topic)
    subscribers.push(subscriber)
  }
  return subscribers
}
