import { expect, test } from 'vitest'
import { msgpackCodec } from '../../src/client/codecs.js'
import type { MessageHandler } from '../../src/client/handler.js'
import type { MessageSource } from '../../src/client/message.js'
import type { Gap } from '../../src/client/ringcast.js'
import { type SubscribeOptions, Subscription } from '../../src/client/subscription.js'
import { startBroker } from '../broker/harness.js'
import { Log, open, sleep, waitUntil } from './harness.js'

function gapsOf(subscription: Subscription<never> | Subscription): Gap[] {
  const gaps: Gap[] = []
  subscription.on('gap', (gap: Gap) => gaps.push(gap))
  return gaps
}

/** A subscription to `t` without a client, and its messages 1, 2, 3 … */
function alone(handler: MessageHandler<unknown>, options: SubscribeOptions = {}) {
  const host = {
    codec: msgpackCodec,
    update: () => {},
    onConsume: () => {},
    onError: (error: Error) => {
      throw error
    },
    onEnded: () => {},
  }
  const source: MessageSource = {
    topic: 't',
    pattern: undefined,
    timeMsAt: () => 0,
    encodingAt: () => 2,
    payloadAt: () => new Uint8Array(0),
    idAt: () => '',
    headersAt: () => undefined,
    propertiesAt: () => undefined,
  }
  const subscription = new Subscription(host, 't', handler, options)
  subscription.onAck({ seq: 0, epoch: 'e' })
  return { subscription, receive: (seq: number) => subscription.onMessage(source, 0, seq) }
}

test('an iterator gives messages in order, and break unsubscribes', async () => {
  const { wsUrl, broker } = await startBroker()
  const client = await open(wsUrl)
  for (let n = 1; n <= 5; n++) await client.publish('t', n)
  const subscription = client.subscribe<number>('t', { lastN: 3 })
  const seen: number[] = []
  for await (const { payload } of subscription) {
    seen.push(payload)
    if (payload === 5) await client.publish('t', 6)
    if (payload === 6) break
  }
  expect(seen).toEqual([3, 4, 5, 6])
  expect(subscription.isEnded).toBe(true)
  await waitUntil(() => broker.gateway.subscribing.total === 0)
})

test('an iterator ends when the subscription does, after what was received', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const subscription = client.subscribe<number>('t')
  await subscription.ready
  const iterator = subscription[Symbol.asyncIterator]()
  const waiting = iterator.next()
  await client.publishBatch('t', [1, 2, 3])
  expect((await waiting).value?.payload).toBe(1)
  await waitUntil(() => subscription.queued === 2)
  subscription.unsubscribe()
  expect((await iterator.next()).value?.payload).toBe(2)
  expect((await iterator.next()).value?.payload).toBe(3)
  expect(await iterator.next()).toEqual({ done: true, value: undefined })
  expect(await iterator.next()).toEqual({ done: true, value: undefined })
})

test('an iterator that waits can be ended from outside', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const subscription = client.subscribe('t')
  const iterator = subscription[Symbol.asyncIterator]()
  const waiting = iterator.next()
  await iterator.return?.()
  expect(await waiting).toEqual({ done: true, value: undefined })
  const other = client.subscribe('t')
  const blocked = other[Symbol.asyncIterator]().next()
  await other.ready
  client.close()
  expect(await blocked).toEqual({ done: true, value: undefined })
  const third = (await open(wsUrl)).subscribe('t', () => {})
  expect(() => third[Symbol.asyncIterator]()).toThrow(TypeError)
})

test('an iterator takes its time without filling the process: the broker keeps the rest', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const publisher = await open(wsUrl)
  const subscription = client.subscribe<number>('t', { maxInFlight: 50 })
  const gaps = gapsOf(subscription)
  await subscription.ready
  const count = 6000
  let most = 0
  const payloads = Array.from({ length: count }, (_, n) => n)
  const publishing = Promise.all(payloads.map((n) => publisher.publish('t', n)))
  let next = 0
  for await (const { payload } of subscription) {
    if (payload !== next) throw new Error(`got ${payload}, expected ${next}`)
    next++
    most = Math.max(most, subscription.queued)
    if (next % 100 === 0) await sleep(1)
    if (next === count) break
  }
  await publishing
  expect(gaps).toEqual([])
  expect(most).toBeLessThanOrEqual(50 * 2 + 1000)
})

test('a handler that is slow holds its subscription back, and misses nothing', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const publisher = await open(wsUrl)
  const log = new Log()
  const subscription = client.subscribe(
    't.*',
    async (message) => {
      log.add(message)
      if (message.seq % 20 === 0) await sleep(1)
    },
    { maxInFlight: 10 },
  )
  const gaps = gapsOf(subscription)
  await subscription.ready
  const count = 3000
  let most = 0
  const timer = setInterval(() => {
    most = Math.max(most, subscription.queued)
  }, 1)
  await Promise.all(
    Array.from({ length: count }, (_, n) => publisher.publish(`t.${n % 3}`, Math.floor(n / 3))),
  )
  await log.whenLength(count)
  clearInterval(timer)
  expect(most).toBeLessThanOrEqual(10 * 2 + 1000)
  expect([log.repeats, gaps]).toEqual([[], []])
  for (const topic of ['t.0', 't.1', 't.2']) {
    const seqs = log.messages.filter((message) => message.topic === topic).map(({ seq }) => seq)
    expect(seqs).toEqual(Array.from({ length: count / 3 }, (_, n) => n + 1))
  }
})

test('pause() and resume() in any rhythm lose and repeat nothing', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const publisher = await open(wsUrl)
  for (const text of ['a.b', 'a.*', '#']) {
    const log = new Log()
    const subscription = client.subscribe(text, log.add)
    const gaps = gapsOf(subscription)
    subscription.pause()
    subscription.resume()
    await subscription.ready
    for (let n = 0; n < 300; n++) {
      publisher.publishNow('a.b', n)
      if (n % 2 === 0) subscription.pause()
      if (n % 3 === 0) subscription.resume()
      if (n % 5 === 0) subscription.pause()
      if (n % 5 === 1) subscription.resume()
      if (n % 10 === 0) await sleep(1)
    }
    subscription.resume()
    await log.whenLength(300)
    expect(log.payloads).toEqual(Array.from({ length: 300 }, (_, n) => n))
    expect([log.repeats, gaps]).toEqual([[], []])
    subscription.unsubscribe()
  }
})

test('a paused subscription handles nothing until it is resumed, and tells what the log has lost', async () => {
  const { wsUrl } = await startBroker({ TOPIC_HISTORY_SIZE: '100', SUBSCRIBER_QUEUE_SIZE: '100' })
  const client = await open(wsUrl)
  const log = new Log()
  const subscription = client.subscribe('t', log.add)
  const gaps = gapsOf(subscription)
  await subscription.ready
  await client.publish('t', 0)
  await log.whenLength(1)
  subscription.pause()
  subscription.pause()
  expect(subscription.isPaused).toBe(true)
  for (let n = 0; n < 250; n += 50)
    await client.publishBatch(
      't',
      Array.from({ length: 50 }, () => n),
    )
  await sleep(20)
  expect(log.messages.length).toBe(1)
  subscription.resume()
  await log.whenLength(101)
  expect(gaps).toEqual([{ topic: 't', fromSeq: 2, toSeq: 151, dropped: 150 }])
  expect(log.messages[1]?.seq).toBe(152)
})

test('lastN, since and fromSeq begin where they say', async () => {
  const { wsUrl } = await startBroker({ TOPIC_HISTORY_SIZE: '100', SUBSCRIBER_QUEUE_SIZE: '100' })
  const client = await open(wsUrl)
  let epoch = ''
  for (let n = 0; n < 4; n++) {
    epoch = (
      await client.publishBatch(
        't',
        Array.from({ length: 50 }, () => n),
      )
    ).epoch
  }
  const begin = async (options: object) => {
    const log = new Log()
    const subscription = client.subscribe('t', log.add, options)
    const told: unknown[] = []
    subscription.on('gap', ({ fromSeq, toSeq }) => told.push([fromSeq, toSeq]))
    subscription.on('resumed', (recovered) => told.push(recovered))
    subscription.on('epoch', ({ previousEpoch }) => told.push(previousEpoch))
    await subscription.ready
    await sleep(20)
    subscription.unsubscribe()
    return [log.messages[0]?.seq, log.messages.length, ...told]
  }
  expect(await begin({})).toEqual([undefined, 0])
  expect(await begin({ lastN: 3 })).toEqual([198, 3])
  expect(await begin({ since: '1h' })).toEqual([101, 100])
  expect(await begin({ since: '2001-01-01' })).toEqual([101, 100])
  expect(await begin({ fromSeq: 150, epoch })).toEqual([150, 51])
  expect(await begin({ fromSeq: 50, epoch })).toEqual([101, 100, [50, 100], false])
  expect(await begin({ fromSeq: 150, epoch: 'other' })).toEqual([
    101,
    100,
    'other',
    [1, 100],
    false,
  ])
})

test('a topic that is deleted ends its subscription after what was received; a pattern goes on', async () => {
  const { wsUrl, http } = await startBroker()
  const client = await open(wsUrl)
  const plain = new Log()
  const wild = new Log()
  const told: unknown[] = []
  const subscription = client.subscribe('t', async (message) => {
    await sleep(5)
    plain.add(message)
  })
  const pattern = client.subscribe('#', wild.add)
  subscription.on('deleted', (topic) => told.push(['plain', topic]))
  pattern.on('deleted', (topic) => told.push(['pattern', topic]))
  pattern.on('epoch', () => told.push('epoch'))
  const gaps = gapsOf(pattern)
  await Promise.all([subscription.ready, pattern.ready])
  await client.publishBatch('t', [1, 2, 3, 4])
  await http('DELETE', '/topics/t')
  await waitUntil(() => subscription.isEnded)
  expect(plain.payloads).toEqual([1, 2, 3, 4])
  await client.publish('t', 5)
  await wild.whenLength(5)
  expect(wild.messages.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 1])
  expect(new Set(wild.messages.map(({ epoch }) => epoch)).size).toBe(2)
  expect(told.sort()).toEqual([
    ['pattern', 't'],
    ['plain', 't'],
  ])
  expect(gaps).toEqual([])
  const again = new Log()
  await client.subscribe('t', again.add).ready
  await client.publish('t', 6)
  await again.whenLength(1)
})

test('concurrency runs that many handlers at once; one keeps the order', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  let running = 0
  let most = 0
  const work = async () => {
    running++
    most = Math.max(most, running)
    await sleep(5)
    running--
  }
  const parallel = client.subscribe('p', work, { concurrency: 4 })
  await parallel.ready
  await client.publishBatch(
    'p',
    Array.from({ length: 20 }, (_, n) => n),
  )
  await waitUntil(() => parallel.running === 4)
  await waitUntil(() => parallel.queued === 0)
  expect(most).toBe(4)
})

test('a handler that resumes its own subscription does not run twice at once', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const log = new Log()
  let depth = 0
  let most = 0
  const subscription = client.subscribe('t', (message) => {
    depth++
    most = Math.max(most, depth)
    log.add(message)
    subscription.pause()
    subscription.resume()
    depth--
  })
  await subscription.ready
  await client.publishBatch(
    't',
    Array.from({ length: 50 }, (_, n) => n),
  )
  await log.whenLength(50)
  expect(most).toBe(1)
  expect(log.payloads).toEqual(Array.from({ length: 50 }, (_, n) => n))
})

test('a handler may close the client: what is left of the frame is nobody’s', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const publisher = await open(wsUrl)
  const log = new Log()
  const subscription = client.subscribe('t', (message) => {
    log.add(message)
    client.close()
  })
  await subscription.ready
  await publisher.publishBatch('t', [1, 2, 3])
  await waitUntil(() => client.state === 'closed')
  expect(log.payloads).toEqual([1])
})

test('a handler that pauses and resumes while the queue is full does not leave it paused', () => {
  const handler = () => {
    subscription.pause()
    subscription.resume()
  }
  const { subscription, receive } = alone(handler, { concurrency: 2, maxInFlight: 1 })
  subscription.pause()
  for (const seq of [1, 2]) receive(seq)
  subscription.resume()
  expect([subscription.queued, subscription.wantsMessages]).toEqual([0, true])
})

test.each([
  ['at once', () => undefined],
  ['later', () => Promise.resolve()],
])(
  'a topic that is deleted while its subscription is paused ends it when all is handled %s',
  async (_, handle) => {
    const seen: number[] = []
    const { subscription, receive } = alone(({ seq }) => {
      seen.push(seq)
      return handle()
    })
    subscription.pause()
    for (const seq of [1, 2]) receive(seq)
    subscription.onInfo({ code: 'TOPIC_DELETED', topic: 't', details: {} })
    expect(subscription.isEnded).toBe(false)
    subscription.resume()
    await waitUntil(() => subscription.isEnded)
    expect(seen).toEqual([1, 2])
  },
)

test('options that cannot be are refused, and leave the topic free', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const handler = () => {}
  expect(() => client.subscribe('t', { maxInFlight: 0 })).toThrow('maxInFlight=0 must be')
  expect(() => client.subscribe('t', handler, { concurrency: Number.NaN })).toThrow(RangeError)
  expect(() => client.subscribe('t', handler, { retry: { maxAttempts: 0 } })).toThrow(
    'retry.maxAttempts=0 must be',
  )
  await client.subscribe('t').ready
})
