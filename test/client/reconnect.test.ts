import { expect, test } from 'vitest'
import { ConnectionClosedError, type Subscription } from '../../src/client/ringcast.js'
import { startBroker } from '../broker/harness.js'
import { CuttingProxy, Log, open, sleep, waitUntil } from './harness.js'

const ENCODINGS = ['msgpack', 'json'] as const

/** What a subscription is told besides messages. */
function told(subscription: Subscription): unknown[] {
  const events: unknown[] = []
  subscription.on('resumed', (recovered) => events.push(recovered))
  subscription.on('gap', ({ topic, fromSeq, toSeq }) => events.push([topic, fromSeq, toSeq]))
  subscription.on('epoch', ({ topic, lostFromSeq }) => events.push({ topic, lostFromSeq }))
  subscription.on('deleted', (topic) => events.push(`${topic} deleted`))
  return events
}

test.each(ENCODINGS)(
  '%s: a cut costs nothing: both kinds of subscription go on where they were',
  async (encoding) => {
    const { wsUrl, broker } = await startBroker()
    const proxy = await CuttingProxy.start(broker.port)
    const client = await open(proxy.url, { encoding })
    const publisher = await open(wsUrl, { encoding })
    const states: string[] = []
    client.on('state', (state) => states.push(state))
    for (let n = 0; n < 3; n++) await publisher.publish('old.silent', n)
    const plain = new Log()
    const wild = new Log()
    const one = client.subscribe('new.a', plain.add)
    const two = client.subscribe('*.*', wild.add)
    const events = [told(one), told(two)]
    await Promise.all([one.ready, two.ready])
    for (let round = 0; round < 4; round++) {
      for (let n = 0; n < 5; n++) await publisher.publish('new.a', [round, n])
      proxy.cut()
      for (let n = 5; n < 10; n++) await publisher.publish('new.a', [round, n])
      await publisher.publish('new.b', round)
      await plain.whenLength((round + 1) * 10)
      await wild.whenLength((round + 1) * 11)
    }
    expect([plain.repeats, wild.repeats]).toEqual([[], []])
    const expected = [0, 1, 2, 3].flatMap((round) =>
      Array.from({ length: 10 }, (_, n) => [round, n]),
    )
    expect(plain.payloads).toEqual(expected)
    // Nothing of the topic that was there before and stayed silent.
    expect(wild.messages.filter(({ topic }) => topic === 'old.silent')).toEqual([])
    expect(events).toEqual([Array(4).fill(true), Array(4).fill(true)])
    expect(states).toEqual(Array(4).fill(['reconnecting', 'open']).flat())
    await publisher.publish('old.silent', 'now')
    await wild.whenLength(45)
    expect(wild.messages.at(-1)?.payload).toBe('now')
  },
)

test('what retention took meanwhile is told with its exact range, before anything else comes', async () => {
  const { wsUrl, broker } = await startBroker({
    TOPIC_HISTORY_SIZE: '100',
    SUBSCRIBER_QUEUE_SIZE: '100',
  })
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url)
  const publisher = await open(wsUrl)
  const logs = [new Log(), new Log()]
  const subscriptions = ['t', '*'].map((text, index) =>
    client.subscribe(text, logs[index]?.add as () => void),
  )
  const events = subscriptions.map(told)
  await Promise.all(subscriptions.map(({ ready }) => ready))
  await publisher.publish('t', 0)
  await Promise.all(logs.map((log) => log.whenLength(1)))
  proxy.isRefusing = true
  proxy.cut()
  await waitUntil(() => client.state === 'reconnecting')
  for (let n = 0; n < 5; n++)
    await publisher.publishBatch(
      't',
      Array.from({ length: 50 }, () => n),
    )
  proxy.isRefusing = false
  await Promise.all(logs.map((log) => log.whenLength(101)))
  expect(events).toEqual([
    [['t', 2, 151], false],
    [['t', 2, 151], false],
  ])
  expect(logs.map((log) => [log.messages[1]?.seq, log.repeats])).toEqual([
    [152, []],
    [152, []],
  ])
})

test('a topic that was deleted and made again meanwhile is another log, and said to be', async () => {
  const { wsUrl, broker, http } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url)
  const publisher = await open(wsUrl)
  const logs = [new Log(), new Log()]
  const subscriptions = ['t', '#'].map((text, index) =>
    client.subscribe(text, logs[index]?.add as () => void),
  )
  const events = subscriptions.map(told)
  await Promise.all(subscriptions.map(({ ready }) => ready))
  await publisher.publishBatch('t', [1, 2, 3])
  await publisher.publish('gone', 1)
  await logs[0]?.whenLength(3)
  await logs[1]?.whenLength(4)
  proxy.isRefusing = true
  proxy.cut()
  await http('DELETE', '/topics/t')
  await http('DELETE', '/topics/gone')
  await publisher.publishBatch('t', ['new'])
  proxy.isRefusing = false
  await logs[0]?.whenLength(4)
  await logs[1]?.whenLength(5)
  expect(events).toEqual([
    [{ topic: 't', lostFromSeq: 4 }, false],
    ['gone deleted', { topic: 't', lostFromSeq: 4 }, false],
  ])
  expect(logs.map((log) => log.messages.at(-1)?.seq)).toEqual([1, 1])
})

test('resend: publishes over a connection that is cut are all stored, under one id each', async () => {
  const { wsUrl, broker } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url)
  const log = new Log()
  const watcher = await open(wsUrl)
  await watcher.subscribe('t', log.add).ready
  const publishing: Promise<unknown>[] = []
  for (let n = 0; n < 400; n++) {
    publishing.push(client.publish('t', n))
    if (n % 10 === 0) await sleep(1)
    if (n % 50 === 25) proxy.cut()
  }
  await Promise.all(publishing)
  const stored = new Set(log.payloads)
  await waitUntil(() => log.payloads.every((payload) => stored.add(payload)) && stored.size === 400)
  // Stored twice at worst, and then under the same id, next to each other or not.
  const payloadsOfId = new Map<string, unknown>()
  for (const { id, payload } of log.messages) {
    expect(payloadsOfId.get(id) ?? payload).toBe(payload)
    payloadsOfId.set(id, payload)
  }
  expect(payloadsOfId.size).toBe(400)
})

test('reject: publishes without an ack at the cut are rejected, later ones wait for the connection', async () => {
  const { broker } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url, { onLostConnection: 'reject' })
  proxy.isStuck = true
  const lost = client.publish('t', 1)
  await sleep(5)
  proxy.isStuck = false
  proxy.cut()
  await expect(lost).rejects.toThrow(ConnectionClosedError)
  await expect(client.publish('t', 2)).resolves.toMatchObject({ seq: 1 })
})

test('publishNow() refuses without a connection, and drain tells when there is one', async () => {
  const { broker } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url)
  proxy.isRefusing = true // Or it would be back before we look.
  proxy.cut()
  await waitUntil(() => client.state === 'reconnecting')
  let drains = 0
  client.on('drain', () => drains++)
  expect(client.publishNow('t', 1)).toBe(false)
  proxy.isRefusing = false
  await waitUntil(() => drains === 1)
  expect(client.publishNow('t', 1)).toBe(true)
})

test('a peer that is silent is given up after two heartbeats, and not before', async () => {
  const { broker } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url, { heartbeatMs: 100, attemptTimeoutMs: 200 })
  const states: string[] = []
  client.on('state', (state) => states.push(state))
  await sleep(500) // Quiet, but answered pings.
  expect(states).toEqual([])
  proxy.isStuck = true
  const before = performance.now()
  await waitUntil(() => states.length > 0)
  const silentMs = performance.now() - before
  expect(silentMs).toBeGreaterThan(150)
  expect(silentMs).toBeLessThan(1000)
  await sleep(300) // A try or two against the wall.
  proxy.isStuck = false
  proxy.cut()
  await waitUntil(() => client.state === 'open')
})

test('drain() over a connection that is lost waits for the next one', async () => {
  const { wsUrl, broker } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url)
  proxy.isStuck = true
  const publishing = client.publish('t', 'kept')
  await sleep(5)
  const draining = client.drain()
  proxy.isStuck = false
  proxy.cut()
  await draining
  expect(await publishing).toMatchObject({ epoch: expect.any(String) })
  const watcher = await open(wsUrl)
  const log = new Log()
  watcher.subscribe('t', log.add, { lastN: 1 })
  await log.whenLength(1)
  expect(log.payloads).toEqual(['kept'])
})

test('a subscription made while there is no connection begins with the next one', async () => {
  const { wsUrl, broker } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url)
  proxy.isRefusing = true
  proxy.cut()
  await waitUntil(() => client.state === 'reconnecting')
  const log = new Log()
  const subscription = client.subscribe('t', log.add)
  client.subscribe('never').unsubscribe()
  proxy.isRefusing = false
  await subscription.ready
  await (await open(wsUrl)).publish('t', 1)
  await log.whenLength(1)
})

test('a filter holds through cuts: what does not come through it is no gap', async () => {
  const { wsUrl, broker } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url)
  const publisher = await open(wsUrl)
  const plain = new Log()
  const wild = new Log()
  const one = client.subscribe('a', plain.add, { filter: 'payload % 2 == 0' })
  const two = client.subscribe('*', wild.add, { filter: 'payload % 2 == 1' })
  const events = [told(one), told(two)]
  await Promise.all([one.ready, two.ready])
  for (let n = 0; n < 60; n++) {
    if (n % 20 === 10) proxy.cut()
    await publisher.publish('a', n)
    if (n % 20 === 5) await plain.whenLength(Math.floor(n / 2) + 1)
  }
  await plain.whenLength(30)
  await wild.whenLength(30)
  expect(plain.payloads).toEqual(Array.from({ length: 30 }, (_, n) => n * 2))
  expect(wild.payloads).toEqual(Array.from({ length: 30 }, (_, n) => n * 2 + 1))
  expect(events).toEqual([Array(3).fill(true), Array(3).fill(true)])
})
