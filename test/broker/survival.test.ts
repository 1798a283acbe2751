/**
 * Shards die; the promise holds (docs/ARCHITECTURE.md, «When things die»).
 *
 * Allowed: a publish without an answer or with INTERNAL, `/health` 503 for a while.
 * Forbidden: another epoch, an acked message that a subscriber does not get at the seq of the ack, a
 * gap, a repeat, a closed connection.
 */
import { expect, onTestFinished, test } from 'vitest'
import { FAULTY_SHARD, injector, POISON, report, STEPS, seeded } from './faults.js'
import { sleep, startBroker, type TestBroker, topicOn, waitUntil } from './harness.js'
import {
  ackedUpTo,
  checkAccounts,
  DEEP,
  delivered,
  type Encoding,
  Publisher,
  Subscriber,
  TINY,
} from './load.js'

const DEATHS = 50
const SHARDS = 2
const TOPICS = ['load.a', 'load.b', 'load.c', 'load.d', 'load.e', 'load.f']
async function isHealthy({ http }: TestBroker): Promise<boolean> {
  return (await http('GET', '/health')).status === 200
}

async function untilHealthy(broker: TestBroker): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (await isHealthy(broker)) return
    await sleep(5)
  }
  expect.fail('the broker does not become healthy')
}

function setEnv(name: string, value: string): void {
  process.env[name] = value
  onTestFinished(() => {
    delete process.env[name]
  })
}

async function workerStats(broker: TestBroker): Promise<Record<string, number>[]> {
  const { body } = await broker.http('GET', '/stats')
  return body['workers'] as Record<string, number>[]
}

test(`shards that die ${DEATHS} times under load lose, repeat and reorder nothing`, async () => {
  const draw = seeded()
  const broker = await startBroker({ WORKERS: String(SHARDS), ...DEEP }, FAULTY_SHARD)
  const inject = injector()
  const owners = TOPICS.map((topic) => broker.broker.gateway.names.byName(topic).shard)
  expect(new Set(owners).size).toBe(SHARDS)

  const subscribers = await subscribeInEveryWay(broker)
  const publishers = await Promise.all(
    (['json', 'msgpack'] as Encoding[]).flatMap((encoding) => [
      Publisher.connect(broker.wsUrl, encoding, `${encoding}-single`),
      Publisher.connect(broker.wsUrl, encoding, `${encoding}-batch`),
    ]),
  )
  const publish = (publisher: Publisher) => {
    const topic = TOPICS[Math.floor(draw() * TOPICS.length)] as string
    const isBatch = publisher.name.endsWith('batch')
    publisher.publish(topic, isBatch ? 2 + Math.floor(draw() * 20) : 1)
  }
  const load = setInterval(() => publishers.forEach(publish), 2)
  onTestFinished(() => clearInterval(load))

  const { counters } = broker.broker.gateway
  let sawUnhealthy = 0
  let kills = 0
  let throws = Math.floor(draw() * STEPS.length)
  while (counters.get('shardRestarts') < DEATHS) {
    if (kills++ % 2 === 0) {
      // Every step in its turn, first before it and then after it.
      const [type, method] = STEPS[throws % STEPS.length] as (typeof STEPS)[number]
      const isAfter = throws++ % (2 * STEPS.length) >= STEPS.length
      const shard = Math.floor(draw() * SHARDS)
      const calls = Math.floor(draw() * 40)
      void inject({ kind: 'throw', shard, type, method, isAfter, calls })
    } else {
      // A burst, so that the thread is ended in the middle of work.
      for (let burst = 0; burst < 10; burst++) publishers.forEach(publish)
      await sleep(draw() * 3)
      const { threads } = broker.broker.supervisor
      void threads[Math.floor(draw() * threads.length)]?.terminate()
    }
    await sleep(draw() * 40)
    if (!(await isHealthy(broker))) sawUnhealthy++
    if (draw() < 0.7) await untilHealthy(broker) // Else the next death comes on top of this one.
  }
  clearInterval(load)
  await untilHealthy(broker)
  await Promise.all(publishers.map((publisher) => publisher.answered()))
  await delivered(publishers, subscribers)

  expect(broker.fatal).toEqual([])
  for (const client of [...publishers, ...subscribers]) {
    expect(client.closed).toBe(undefined)
    expect(client.infos).toEqual([])
  }
  for (const topic of TOPICS) {
    const epochs = new Set(publishers.flatMap(({ epochs }) => [...(epochs.get(topic) ?? [])]))
    expect(epochs.size).toBe(1)
  }
  checkAccounts(publishers, subscribers)
  const answers = new Map<string, number>()
  for (const { answer } of publishers.flatMap(({ requests }) => requests)) {
    answers.set(String(answer), (answers.get(String(answer)) ?? 0) + 1)
  }
  const summary = JSON.stringify(Object.fromEntries(answers))
  report(`answers ${summary}, kills ${kills}, 503 seen ${sawUnhealthy} times`)
  expect(answers.get('undefined')).toBe(undefined)
  expect(sawUnhealthy).toBeGreaterThan(0)
}, 60_000)

async function subscribeInEveryWay({ wsUrl }: TestBroker): Promise<Subscriber[]> {
  const subscribers: Subscriber[] = []
  for (const encoding of ['json', 'msgpack'] as const) {
    const plain = await Subscriber.connect(wsUrl, encoding, `${encoding} plain`)
    for (const topic of TOPICS) await plain.subscribe(topic)
    const pattern = await Subscriber.connect(wsUrl, encoding, `${encoding} pattern`)
    await pattern.subscribe(encoding === 'json' ? 'load.*' : '#')
    subscribers.push(plain, pattern)
  }
  const lists = await Subscriber.connect(wsUrl, 'json', 'json in lists')
  for (const topic of TOPICS) await lists.subscribe(topic, { batch: true })
  return [...subscribers, lists]
}

test('a thread that is ended before it is up is replaced too', async () => {
  const broker = await startBroker({ SHARD_RESTART_TIMEOUT_MS: '5000' })
  const { supervisor } = broker.broker
  for (let times = 0; times < 3; times++) {
    const before = new Set(supervisor.threads)
    await supervisor.threads[0]?.terminate()
    await waitUntil(() => supervisor.threads.some((thread) => !before.has(thread)))
    await supervisor.threads.find((thread) => !before.has(thread))?.terminate()
    await waitUntil(() => broker.broker.gateway.links.every((link) => !link.isDown))
  }
  expect(broker.fatal).toEqual([])
})

test('history that is read through a small ring while its shard dies arrives whole, once', async () => {
  const draw = seeded()
  const broker = await startBroker({ WORKERS: '1', ...TINY, ...DEEP }, FAULTY_SHARD)
  const inject = injector()
  const publisher = await Publisher.connect(broker.wsUrl, 'msgpack', 'history', 200)
  for (let count = 0; count < 50; count++) {
    for (const topic of TOPICS) publisher.publish(topic, 20)
  }
  await publisher.answered()
  for (let round = 0; round < 10; round++) {
    const readers: Subscriber[] = []
    for (const encoding of ['json', 'msgpack'] as Encoding[]) {
      for (const topic of ['#', ...TOPICS]) {
        readers.push(await Subscriber.connect(broker.wsUrl, encoding, `${encoding} ${topic}`))
      }
    }
    const isAfter = round % 2 === 0
    const [type, method] = STEPS[Math.floor(draw() * STEPS.length)] as (typeof STEPS)[number]
    const calls = Math.floor(draw() * 60)
    await inject({ kind: 'throw', shard: 0, type, method, isAfter, calls })
    const reading = readers.map((reader) => {
      const topic = reader.name.split(' ')[1] as string
      return reader.subscribe(topic, { last_n: 1_000_000 })
    })
    if (round % 2 === 1) {
      await sleep(draw() * 20)
      void broker.broker.supervisor.threads[0]?.terminate()
    }
    for (const topic of TOPICS) publisher.publish(topic, 3)
    await Promise.all([...reading, publisher.answered()])
    await untilHealthy(broker)
    for (const reader of readers) {
      const own = TOPICS.filter((topic) => reader.name.endsWith(topic) || reader.name.endsWith('#'))
      const needed = ackedUpTo([publisher])
      await waitUntil(() =>
        own.every((topic) => reader.got.get(topic)?.length === needed.get(topic)),
      )
      expect(reader.infos).toEqual([])
      checkAccounts([publisher], [reader], own)
      reader.socket.terminate()
    }
  }
  expect(broker.fatal).toEqual([])
  expect(broker.broker.gateway.counters.get('shardRestarts')).toBeGreaterThan(4)
})

test('a batch that filled the ring is done again although there is more to say by then', async () => {
  const broker = await startBroker({ WORKERS: '1', ...TINY, ...DEEP }, FAULTY_SHARD)
  const inject = injector()
  const publisher = await Publisher.connect(broker.wsUrl, 'msgpack', 'hot', 200)
  // A successor announces all of these before it does anything else.
  for (let topic = 0; topic < 100; topic++) publisher.publish(`${'long'.repeat(50)}${topic}`, 1)
  for (let count = 0; count < 50; count++) publisher.publish('hot', 40)
  await publisher.answered()
  const listener = await Subscriber.connect(broker.wsUrl, 'msgpack', 'listener')
  await listener.subscribe('#')
  const readers = await Promise.all(
    Array.from({ length: 30 }, (_, number) =>
      Subscriber.connect(broker.wsUrl, number % 2 === 0 ? 'json' : 'msgpack', `reader ${number}`),
    ),
  )
  const reading = readers.map((reader) => reader.subscribe('hot', { last_n: 1_000_000 }))
  const step = { type: 'Journal', method: 'commitBatch', isAfter: false } as const
  for (let calls = 0; calls < 10; calls++) {
    await inject({ kind: 'throw', shard: 0, ...step, calls })
    await sleep(5)
  }
  await Promise.all(reading)
  await delivered([publisher], readers, 10_000, ['hot'])
  checkAccounts([publisher], readers, ['hot'])
  expect(broker.fatal).toEqual([])
})

test('a stuck shard is ended by the watchdog and replaced', async () => {
  const broker = await startBroker({ SHARD_STALL_MS: '300' }, FAULTY_SHARD)
  const { publisher, subscriber, topic } = await oneOfEach(broker)
  await injector()({ kind: 'spin', shard: 0 })
  publisher.publish(topic, 3)
  await waitUntil(() => broker.broker.gateway.links[0]?.isDown === true)
  expect((await broker.http('GET', '/health')).body).toMatchObject({
    status: 'degraded',
    workers_down: [0],
  })
  await publisher.answered()
  await untilHealthy(broker)
  publisher.publish(topic, 1)
  await publisher.answered()
  await delivered([publisher], [subscriber])
  expect(publisher.with('ok').length).toBe(3)
  checkAccounts([publisher], [subscriber])
})

test('a shard that exhausts its heap is replaced', async () => {
  const broker = await startBroker({ SHARD_HEAP_MB: '24' }, FAULTY_SHARD)
  const { publisher, subscriber, topic } = await oneOfEach(broker)
  await injector()({ kind: 'exhaust', shard: 0 })
  publisher.publish(topic, 3)
  await publisher.answered()
  await untilHealthy(broker)
  publisher.publish(topic, 1)
  await publisher.answered()
  await delivered([publisher], [subscriber])
  expect(publisher.with('ok').length).toBe(3)
  expect(broker.broker.gateway.counters.get('shardRestarts')).toBe(1)
  checkAccounts([publisher], [subscriber])
})

test('a record that kills its shard twice is set aside, and only that one', async () => {
  const broker = await startBroker({}, FAULTY_SHARD)
  const { publisher, subscriber, topic } = await oneOfEach(broker)
  const poison = []
  for (let round = 0; round < 3; round++) {
    for (let count = 1; count <= 3; count++) publisher.publish(topic, count)
    poison.push(publisher.publish(topic, 2, POISON))
    for (let count = 1; count <= 3; count++) publisher.publish(topic, count)
    await publisher.answered()
  }
  const overHttp = await broker.http('POST', `/topics/${topic}/messages`, {
    message: { payload: POISON },
  })
  expect(overHttp).toMatchObject({ status: 500, body: { error: { code: 'INTERNAL' } } })
  publisher.publish(topic, 1)
  await publisher.answered()
  await delivered([publisher], [subscriber])
  await untilHealthy(broker)

  expect(poison.map(({ answer }) => answer)).toEqual(['INTERNAL', 'INTERNAL', 'INTERNAL'])
  expect(publisher.with('ok').length).toBe(publisher.requests.length - 3)
  const workers = await workerStats(broker)
  expect(workers.map(({ recordsSetAside }) => recordsSetAside)).toEqual([4, 0])
  expect(broker.fatal).toEqual([])
  checkAccounts([publisher], [subscriber])
})

test('workers that always fail at start are fatal, with the reason', async () => {
  setEnv('FAULTY_START', 'throw')
  const fatal: Error[] = []
  const start = startBroker({}, FAULTY_SHARD, fatal)
  await expect(start).rejects.toThrow(/^shard \d died 10 times without doing any work, giving up$/)
  await expect(start).rejects.toMatchObject({ cause: { message: 'injected at start' } })
  expect(fatal.length).toBe(1)
})

test('a shard that keeps dying without doing any work is fatal, with the reason', async () => {
  const broker = await startBroker({}, FAULTY_SHARD)
  setEnv('FAULTY_START', 'throw') // From now on: every thread that takes the place of this one.
  await broker.broker.supervisor.threads[0]?.terminate()
  await waitUntil(() => broker.fatal.length > 0)
  expect(broker.fatal[0]?.message).toMatch(/^shard \d died 10 times without doing any work/)
  expect(broker.fatal[0]?.cause).toMatchObject({ message: 'injected at start' })
  expect((await broker.http('GET', '/health')).status).toBe(503)
})

test('a shard that does not come back in time is fatal', async () => {
  const env = { SHARD_RESTART_TIMEOUT_MS: '1500', SHUTDOWN_TIMEOUT_MS: '500' }
  const broker = await startBroker(env, FAULTY_SHARD)
  setEnv('FAULTY_RESTART', 'hang')
  const startedAt = performance.now()
  await broker.broker.supervisor.threads[0]?.terminate()
  await waitUntil(() => broker.fatal.length > 0)
  expect(performance.now() - startedAt).toBeLessThan(4000)
  expect(broker.fatal[0]?.message).toMatch(/^shard \d did not come back within 1500 ms$/)
})

test('a shard that dies again at once and then does not come back is fatal', async () => {
  const env = { SHARD_RESTART_TIMEOUT_MS: '1500', SHUTDOWN_TIMEOUT_MS: '500' }
  const broker = await startBroker(env, FAULTY_SHARD)
  await injector()({ kind: 'doom', shard: 0, deaths: 3 })
  broker.http('GET', '/topics').catch(() => {}) // Makes the shard run a batch; is never answered.
  await waitUntil(() => broker.fatal.length > 0)
  expect(broker.fatal[0]?.message).toBe('shard 0 did not come back within 1500 ms')
})

/** A publisher and a subscriber of one topic that shard 0 owns. */
async function oneOfEach(broker: TestBroker) {
  const topic = topicOn(broker, 0)
  const subscriber = await Subscriber.connect(broker.wsUrl, 'json', 'subscriber')
  await subscriber.subscribe(topic)
  const publisher = await Publisher.connect(broker.wsUrl, 'msgpack', 'publisher')
  publisher.publish(topic, 1)
  await publisher.answered()
  return { topic, publisher, subscriber }
}
