/**
 * The end of the process.
 *
 * Allowed: SHUTTING_DOWN for what comes too late. Forbidden: an acked message that a subscriber who
 * keeps up does not get, a connection that is not told, an end later than SHUTDOWN_TIMEOUT_MS, an
 * abort (exit code 134 or a signal).
 */
import { expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import { BrokerProcess, freePort } from './broker-process.js'
import { FAULTY_SHARD, injector } from './faults.js'
import { JsonClient, sleep, startBroker, waitUntil } from './harness.js'
import { checkAccounts, DEEP, type Encoding, Publisher, Subscriber, TINY } from './load.js'

const TOPICS = ['load.a', 'load.b', 'load.c']
/** How late a process may be seen to end on a busy machine. */
const SLACK_MS = 500

/** Four publishers that never stop, and subscribers of every kind that keep up. */
async function startLoad(url: string, burst: number, paddingBytes: number) {
  const subscribers: Subscriber[] = []
  for (const encoding of ['json', 'msgpack'] as Encoding[]) {
    const plain = await Subscriber.connect(url, encoding, `${encoding} plain`)
    for (const topic of TOPICS) await plain.subscribe(topic)
    const pattern = await Subscriber.connect(url, encoding, `${encoding} pattern`)
    await pattern.subscribe('load.*')
    subscribers.push(plain, pattern)
  }
  const publishers = await Promise.all(
    (['json', 'msgpack', 'json', 'msgpack'] as Encoding[]).map((encoding, number) =>
      Publisher.connect(url, encoding, `${encoding}-${number}`, paddingBytes),
    ),
  )
  let turn = 0
  const publish = () => {
    for (const publisher of publishers) {
      if (publisher.socket.readyState !== WebSocket.OPEN || publisher.waiting > 5 * burst) continue
      for (let count = 0; count < burst; count++) {
        publisher.publish(TOPICS[turn++ % TOPICS.length] as string, turn % 2 === 0 ? 5 : 1)
      }
    }
  }
  const timer = setInterval(publish, 2)
  onTestFinished(() => clearInterval(timer))
  return { publishers, subscribers }
}

/** A subscriber that takes nothing while more is published than kernel and broker buffer for it. */
async function addOneThatNeverReads(run: BrokerProcess): Promise<Subscriber> {
  const never = await Subscriber.connect(run.wsUrl, 'msgpack', 'never reads')
  await never.subscribe('bulk')
  never.socket.pause()
  const publisher = await Publisher.connect(run.wsUrl, 'msgpack', 'bulk', 20_000)
  for (let count = 0; count < 1000; count++) publisher.publish('bulk', 1)
  await publisher.answered()
  expect(publisher.with('ok').length).toBe(1000)
  return never
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} under load ends with 0, with everything delivered and everybody told`, async () => {
    const run = await BrokerProcess.listening(DEEP)
    const idle: JsonClient[] = []
    for (let count = 0; count < 20; count++) idle.push(await JsonClient.connect(run.wsUrl))
    const { publishers, subscribers } = await startLoad(run.wsUrl, 5, 0)
    await waitUntil(() => publishers.every((publisher) => publisher.with('ok').length > 100))
    const startedAt = performance.now()
    run.child.kill(signal)
    expect(await run.ended()).toEqual({ code: 0, signal: null })
    expect(performance.now() - startedAt).toBeLessThan(2000) // Nothing keeps it: far below 10 s.

    const clients = [...publishers, ...subscribers, ...idle]
    await waitUntil(() => clients.every(({ closed }) => closed !== undefined))
    const slots = [
      ...[...publishers, ...subscribers].map(({ infos }) => infos.map(({ fields }) => fields)),
      ...idle.map(({ frames }) => frames),
    ].map((infos) => {
      expect(infos.length).toBe(1)
      return Number(infos[0]?.['reconnect_after_ms'])
    })
    expect(slots.every((slot) => slot >= 0)).toBe(true)
    expect(new Set(slots).size).toBe(clients.length)
    for (const { closed } of clients) expect(closed?.code).toBe(4001)
    checkAccounts(publishers, subscribers)
    expect(run.line('draining')).toMatchObject({ signal })
  })
}

test('SIGTERM while a small ring is full delivers what was acked', async () => {
  for (let round = 0; round < 3; round++) {
    const run = await BrokerProcess.listening({ ...TINY, ...DEEP, WORKERS: '1' })
    const { publishers, subscribers } = await startLoad(run.wsUrl, 40, 500)
    await waitUntil(() => publishers.every((publisher) => publisher.with('ok').length > 200))
    await sleep(Math.random() * 20)
    run.child.kill('SIGTERM')
    expect(await run.ended()).toEqual({ code: 0, signal: null })
    await waitUntil(() => subscribers.every(({ closed }) => closed !== undefined))
    checkAccounts(publishers, subscribers)
  }
})

test('a stop waits for events that a shard had no room to send when it sent their ack', async () => {
  const broker = await startBroker({ ...TINY, ...DEEP, WORKERS: '1' }, FAULTY_SHARD)
  const subscribers: Subscriber[] = []
  for (const encoding of ['json', 'msgpack'] as Encoding[]) {
    const subscriber = await Subscriber.connect(broker.wsUrl, encoding, encoding)
    await subscriber.subscribe('full')
    subscribers.push(subscriber)
  }
  const publisher = await Publisher.connect(broker.wsUrl, 'msgpack', 'full', 18_000)
  // Until the log has grown: only then do events wait for room instead of making their publish wait.
  for (let count = 0; count < 50; count++) {
    publisher.publish('full', 3)
    await publisher.answered()
  }
  const inject = injector()
  await inject({ kind: 'block', shard: 0, ms: 100 }) // So that what comes meanwhile is one batch.
  await inject({ kind: 'block', shard: 0, ms: 300, isAfterFull: true })
  publisher.publish('full', 1)
  for (let count = 0; count < 4; count++) publisher.publish('full', 3)
  await publisher.answered()
  expect(publisher.with('ok').length).toBe(55)
  await broker.broker.stop()
  await waitUntil(() => subscribers.every(({ closed }) => closed?.code === 4001))
  checkAccounts([publisher], subscribers)
})

test('a subscriber that never reads does not keep a broker from ending with 0 in time', async () => {
  const timeoutMs = 2000
  const run = await BrokerProcess.listening({ ...DEEP, SHUTDOWN_TIMEOUT_MS: String(timeoutMs) })
  await addOneThatNeverReads(run)
  const { publishers, subscribers } = await startLoad(run.wsUrl, 2, 0)
  const health = await JsonClient.connect(run.wsUrl)
  await waitUntil(() => publishers.every((publisher) => publisher.with('ok').length > 20))
  const startedAt = performance.now()
  run.child.kill('SIGTERM')
  await waitUntil(() => run.line('draining') !== undefined)
  await waitUntil(() =>
    publishers.every(({ requests }) => requests.at(-1)?.answer === 'SHUTTING_DOWN'),
  )

  // As long as it drains: nobody new, nothing new, and what is there goes on.
  await expect(JsonClient.connect(run.wsUrl)).rejects.toThrow('ECONNREFUSED')
  await expect(fetch(`${run.httpUrl}/health`)).rejects.toThrow()
  expect(await health.ask({ type: 'subscribe', topic: 'late' })).toMatchObject({
    error: { code: 'SHUTTING_DOWN', retryable: true },
  })
  expect(await health.ask({ type: 'ping' })).toMatchObject({ type: 'pong' })
  expect(run.end).toBe(undefined)

  expect(await run.ended()).toEqual({ code: 0, signal: null })
  expect(performance.now() - startedAt).toBeLessThan(timeoutMs + SLACK_MS)
  await waitUntil(() =>
    [...publishers, ...subscribers].every(({ closed }) => closed?.code === 4001),
  )
  checkAccounts(publishers, subscribers)
})

test('a second signal ends the process at once with 1, without an abort', async () => {
  for (const [first, second] of [
    ['SIGTERM', 'SIGTERM'],
    ['SIGINT', 'SIGTERM'],
  ] as const) {
    const run = await BrokerProcess.listening(DEEP)
    await addOneThatNeverReads(run)
    await startLoad(run.wsUrl, 2, 0)
    run.child.kill(first)
    await waitUntil(() => run.line('draining') !== undefined)
    const startedAt = performance.now()
    run.child.kill(second)
    expect(await run.ended()).toEqual({ code: 1, signal: null })
    expect(performance.now() - startedAt).toBeLessThan(1000)
    expect(run.line('second signal, ending at once')).toBeDefined()
    expect(run.stderr).toBe('')
  }
})

test('after a graceful end a new process takes the port at once', async () => {
  const port = await freePort()
  for (let times = 0; times < 2; times++) {
    const run = await BrokerProcess.listening({ PORT: String(port) })
    await JsonClient.connect(run.wsUrl)
    run.child.kill('SIGTERM')
    expect(await run.ended()).toEqual({ code: 0, signal: null })
  }
})

test('after kill -9 a new process takes the port, and clients learn of a new epoch', async () => {
  const run = await BrokerProcess.listening({ PORT: String(await freePort()) })
  const client = await JsonClient.connect(run.wsUrl)
  const ack = await client.ask({ type: 'subscribe', topic: 'orders' })
  for (let count = 0; count < 3; count++) {
    await client.ask({ type: 'publish', topic: 'orders', message: { payload: count } })
  }
  const { port } = run
  run.child.kill('SIGKILL')
  expect(await run.ended()).toEqual({ code: null, signal: 'SIGKILL' })
  expect((await client.whenClosed()).code).toBe(1006)

  const next = await BrokerProcess.listening({ PORT: String(port) })
  expect(next.port).toBe(port)
  const again = await JsonClient.connect(next.wsUrl)
  const resume = { type: 'subscribe', topic: 'orders', from_seq: 4, epoch: ack['epoch'] }
  const answer = await again.ask(resume)
  expect(answer).toMatchObject({ type: 'ack', recovered: false, seq: 0 })
  expect(answer['epoch']).not.toBe(ack['epoch'])
  const stored = await again.ask({ type: 'publish', topic: 'orders', message: { payload: 'new' } })
  expect(stored).toMatchObject({ type: 'ack', seq: 1, epoch: answer['epoch'] })
  await again.next(({ type, seq }) => type === 'event' && seq === 1)
})
