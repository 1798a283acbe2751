/**
 * The broker as a process that is killed, drained and frozen. Its logs are in memory: after a restart
 * there is nothing to recover, and the SDK must not claim that there was.
 */
import { expect, test } from 'vitest'
import type { EpochChange, Gap, Joined } from '../../src/client/ringcast.js'
import { BrokerProcess, Log, open, sleep, waitUntil } from './harness.js'

const GROUP = 'topics/jobs/groups/workers'

interface Truth {
  readonly recovered: boolean[]
  readonly epochs: EpochChange[]
  readonly gaps: Gap[]
  readonly deleted: string[]
}

/** Subscribes, and writes down what it is told. */
async function watch(url: string, text: string, options = {}) {
  const client = await open(url, options)
  const log = new Log()
  const subscription = client.subscribe(text, log.add)
  const truth: Truth = { recovered: [], epochs: [], gaps: [], deleted: [] }
  subscription.on('resumed', (recovered) => truth.recovered.push(recovered))
  subscription.on('epoch', (change) => truth.epochs.push(change))
  subscription.on('gap', (gap) => truth.gaps.push(gap))
  subscription.on('deleted', (topic) => truth.deleted.push(topic))
  await subscription.ready
  return { client, log, subscription, truth }
}

test('SIGKILL and a new start: it comes back, and says that nothing was recovered', async () => {
  const first = await BrokerProcess.start()
  const plain = await watch(first.url, 't')
  const wild = await watch(first.url, '*')
  const publisher = await open(first.url)
  await publisher.publishBatch('t', [1, 2, 3])
  await Promise.all([plain.log.whenLength(3), wild.log.whenLength(3)])
  await first.end('SIGKILL')
  await waitUntil(() => publisher.state === 'reconnecting')
  const waiting = publisher.publish('t', 4)
  await BrokerProcess.start(first.port)
  expect((await waiting).seq).toBe(1)
  await Promise.all([plain.log.whenLength(4), wild.log.whenLength(4)])
  const epochs = new Set(plain.log.messages.map(({ epoch }) => epoch))
  expect(epochs.size).toBe(2)
  const [previousEpoch, epoch] = epochs
  await waitUntil(() => plain.truth.recovered.length > 0)
  expect(plain.truth).toEqual({
    recovered: [false],
    epochs: [{ topic: 't', epoch, previousEpoch, lostFromSeq: 4 }],
    gaps: [],
    deleted: [],
  })
  // Whether the topic was there again when the pattern came back depends on who was first.
  expect(wild.truth.recovered).toEqual([false])
  expect(wild.truth.gaps).toEqual([])
  expect(wild.truth.epochs.length + wild.truth.deleted.length).toBe(1)
  for (const { log } of [plain, wild]) {
    expect(log.repeats).toEqual([])
    expect(log.payloads).toEqual([1, 2, 3, 4])
  }
})

test('SIGTERM: the broker’s slot is honoured, and publishes meanwhile arrive afterwards', async () => {
  const first = await BrokerProcess.start()
  const told: number[] = []
  const times: [string, number][] = []
  const onShutdown = (ms: number) => void told.push(ms)
  const { client, log, truth } = await watch(first.url, 't', { onShutdown })
  client.on('state', (state) => times.push([state, performance.now()]))
  const publisher = await open(first.url)
  await publisher.publish('t', 'before')
  await log.whenLength(1)
  const ending = first.end('SIGTERM')
  const publishing: Promise<unknown>[] = []
  while (publisher.state === 'open') {
    publishing.push(publisher.publish('t', 'meanwhile'))
    await sleep(1)
  }
  await ending
  await BrokerProcess.start(first.port)
  await Promise.all(publishing)
  await waitUntil(() => times.length >= 2)
  expect(told.length).toBe(1)
  expect(told[0]).toBeGreaterThanOrEqual(500)
  const [lost, back] = times.map(([, time]) => time) as [number, number]
  expect(times.slice(0, 2).map(([state]) => state)).toEqual(['reconnecting', 'open'])
  expect(back - lost).toBeGreaterThanOrEqual((told[0] as number) - 20)
  await waitUntil(() => truth.recovered.length === 1)
  expect(truth.recovered).toEqual([false])
  expect(log.repeats).toEqual([])
})

test('a broker that is frozen is left, and found again when it goes on: nothing was lost', async () => {
  const broker = await BrokerProcess.start()
  const options = { heartbeatMs: 300, attemptTimeoutMs: 500 }
  const watched = [await watch(broker.url, 't', options), await watch(broker.url, '#', options)]
  const publisher = await open(broker.url, options)
  await publisher.publish('t', 1)
  broker.signal('SIGSTOP')
  const frozenAt = performance.now()
  const waiting = [publisher.publish('t', 2), publisher.publish('t', 3)]
  await waitUntil(() => watched.every(({ client }) => client.state === 'reconnecting'))
  const noticedMs = performance.now() - frozenAt
  await sleep(1200) // Tries that nobody answers.
  broker.signal('SIGCONT')
  const results = await Promise.all(waiting)
  const last = await publisher.publish('t', 'last')
  for (const { log, truth } of watched) {
    await waitUntil(() => log.messages.at(-1)?.seq === last.seq)
    await waitUntil(() => truth.recovered.length > 0)
    expect(log.repeats).toEqual([])
    // Stored twice at worst: the frozen broker had read it, and it was sent again. Handed out once each.
    expect(log.messages.map(({ seq }) => seq)).toEqual(
      Array.from({ length: last.seq }, (_, index) => index + 1),
    )
    expect(truth).toEqual({
      recovered: truth.recovered.map(() => true),
      epochs: [],
      gaps: [],
      deleted: [],
    })
  }
  expect(new Set(results.map((result) => result.epoch)).size).toBe(1)
  expect(noticedMs).toBeLessThan(2000)
})

test.each(['msgpack', 'json'] as const)(
  '%s: a consumer joins its group again after a restart, and begins with the new log',
  async (encoding) => {
    const first = await BrokerProcess.start()
    const client = await open(first.url, { encoding })
    const publisher = await open(first.url)
    const handled: string[] = []
    const failures: string[] = []
    const joined: Joined[] = []
    let release = () => {}
    const isReleased = new Promise<void>((resolve) => {
      release = resolve
    })
    const consumer = client.consume<string>(
      'jobs',
      'workers',
      async ({ payload }) => {
        if (payload === 'old 2') await isReleased // It runs over the end of the broker.
        handled.push(payload)
      },
      { start: 'earliest', ackWaitMs: 60_000 },
    )
    consumer.on('joined', (now) => joined.push(now))
    consumer.on('failure', (error) => failures.push(error.message))
    await consumer.ready
    await publisher.publishBatch('jobs', ['old 1', 'old 2', 'old 3'])
    await waitUntil(() => consumer.running === 1 && consumer.queued === 1)
    await first.end('SIGKILL')
    await waitUntil(() => client.state === 'reconnecting' && publisher.state === 'reconnecting')
    // Of another log, and with seqs that the old one had: nobody may take the one for the other.
    const published = publisher.publishBatch('jobs', ['new 1', 'new 2', 'new 3'])
    await BrokerProcess.start(first.port)
    await published
    await waitUntil(() => joined.length === 2)
    release()
    await waitUntil(() => handled.length === 5)
    await consumer.flush()
    expect(handled.filter((payload) => payload.startsWith('old'))).toEqual(['old 1', 'old 2'])
    expect(handled.filter((payload) => payload.startsWith('new'))).toEqual([
      'new 1',
      'new 2',
      'new 3',
    ])
    const [before, after] = joined as [Joined, Joined]
    expect(before).toMatchObject({ created: true, ackFloor: 0 })
    expect(after).toMatchObject({ created: true, ackFloor: 0, options: { ack_wait_ms: 60_000 } })
    expect(after.epoch).not.toBe(before.epoch)
    expect(failures).toEqual([])
    // Two acks of the old log would have settled two of the new one.
    const answer = await fetch(first.url.replace('ws://', 'http://').replace(/ws$/, GROUP))
    expect(await answer.json()).toMatchObject({ acked: 3, lag: 0, redelivered: 0 })
  },
)
