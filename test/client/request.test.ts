/** Requests and replies through a real broker: what comes back, what fails how, and what is left behind. */
import { expect, onTestFinished, test } from 'vitest'
import {
  type Client,
  ConnectionClosedError,
  type Message,
  NoRespondersError,
  OverloadedError,
  PublishError,
  RequestFailedError,
  TimeoutError,
} from '../../src/client/ringcast.js'
import { type Json, JsonClient, startBroker } from '../broker/harness.js'
import { CuttingProxy, open, sleep, waitUntil } from './harness.js'

const ENCODINGS = ['msgpack', 'json'] as const

/** Settles as what it was rejected with. */
async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('it was not rejected')
}

async function pair(env: Record<string, string> = {}) {
  const started = await startBroker(env)
  const [asker, answerer] = [await open(started.wsUrl), await open(started.wsUrl)]
  const { gateway } = started.broker
  return { ...started, gateway, asker, answerer }
}

function neverReplies(client: Client, topic: string): Promise<void> {
  return client.respond(topic, () => new Promise(() => {}), { concurrency: 1_000_000 }).ready
}

test.each(ENCODINGS.flatMap((asks) => ENCODINGS.map((answers) => [asks, answers] as const)))(
  'a request over %s is answered over %s, and the reply is no entry of any topic',
  async (asks, answers) => {
    const { wsUrl, http, broker } = await startBroker()
    const asker = await open(wsUrl, { encoding: asks })
    const answerer = await open(wsUrl, { encoding: answers })
    const seen: Message<{ n: number }>[] = []
    const responder = answerer.respond<{ n: number }>('double', (request) => {
      seen.push(request)
      return { twice: request.payload.n * 2 }
    })
    await responder.ready
    const reply = await asker.request<{ twice: number }>(
      'double',
      { n: 21 },
      { headers: { a: 'b' } },
    )
    expect(reply.payload).toEqual({ twice: 42 })
    expect(reply.seq).toBe(0)
    expect(reply.topic).toMatch(/^\$inbox\.[\w-]{22}$/)
    expect(reply.id).toMatch(/^[0-9a-f-]{36}$/)
    expect(Math.abs(reply.timeMs - Date.now())).toBeLessThan(60_000)
    expect(seen[0]).toMatchObject({ seq: 1, replyTo: reply.topic, headers: { a: 'b' } })
    expect(seen[0]?.correlationId).toBe(reply.correlationId)
    const topics = (await http('GET', '/topics')).body['topics'] as Json[]
    expect(topics.map(({ name }) => name)).toEqual(['double'])
    const { counters, inboxes } = broker.gateway
    expect(inboxes.size).toBe(1)
    expect([counters.get('requests'), counters.get('repliesDelivered')]).toEqual([1, 1])
  },
)

test('1000 requests at once, over one inbox, each get the reply to themselves', async () => {
  const { asker, answerer, gateway } = await pair()
  await answerer.respond<number>(
    'square',
    async ({ payload }) => {
      if (payload % 7 === 0) await sleep(1)
      return payload * payload
    },
    { concurrency: 10 },
  ).ready
  const numbers = Array.from({ length: 1000 }, (_, n) => n)
  const replies = await Promise.all(numbers.map((n) => asker.request<number>('square', n)))
  expect(replies.map(({ payload }) => payload)).toEqual(numbers.map((n) => n * n))
  expect(gateway.inboxes.size).toBe(1)
  expect(asker.requestStats).toEqual({ pending: 0, lateReplies: 0, undeliveredReplies: 0 })
})

test('a request that nobody listens to fails at once, and is not stored', async () => {
  const { asker, gateway, http } = await pair()
  const started = performance.now()
  const error = await failure(asker.request('nobody', 1, { timeoutMs: 60_000 }))
  expect(error).toBeInstanceOf(NoRespondersError)
  expect(error).toMatchObject({ code: 'NO_RESPONDERS', retryable: true })
  expect(performance.now() - started).toBeLessThan(30_000)
  expect((await http('GET', '/topics/nobody')).status).toBe(404)
  const many = asker.requestMany('nobody', 1, { timeoutMs: 60_000 }).collect()
  expect(await failure(many)).toBeInstanceOf(NoRespondersError)
  expect(gateway.counters.get('requestsUnanswered')).toBe(2)
  expect(gateway.counters.get('requests')).toBe(0)
  expect(asker.requestStats.pending).toBe(0)
})

test('a plain publish of the same turn is stored though a request to the topic is refused', async () => {
  const { asker, http } = await pair()
  await asker.request('nobody', 0).catch(() => {}) // From here on there is an inbox.
  const publishing = asker.publish('nobody', 'plain')
  const asking = failure(asker.request('nobody', 'request'))
  await expect(publishing).resolves.toMatchObject({ seq: 1 })
  expect(await asking).toBeInstanceOf(NoRespondersError)
  expect((await http('GET', '/topics/nobody')).body['messages']).toBe(1)
})

test('a responder to a pattern answers topics that there never were', async () => {
  const { asker, answerer } = await pair()
  const responder = answerer.respond('service.*.get', ({ topic }) => topic)
  await responder.ready
  expect((await asker.request('service.new.get', null)).payload).toBe('service.new.get')
  expect(await failure(asker.request('service.new.put', null))).toBeInstanceOf(NoRespondersError)
  responder.unsubscribe()
  await waitUntil(() => responder.isEnded)
  await expect
    .poll(() => failure(asker.request('service.other.get', null, { timeoutMs: 500 })))
    .toBeInstanceOf(NoRespondersError)
})

test('what a responder throws is what the requester is told, after its retries', async () => {
  const { asker, answerer } = await pair()
  const errors: Error[] = []
  answerer.on('error', (error) => errors.push(error))
  let tries = 0
  const handler = async () => {
    tries++
    throw new Error(`no such product (${tries})`)
  }
  await answerer.respond('fails', handler, { retry: { maxAttempts: 3, baseMs: 1 } }).ready
  const error = await failure(asker.request('fails', 1))
  expect(error).toBeInstanceOf(RequestFailedError)
  expect(error).toMatchObject({
    code: 'REQUEST_FAILED',
    retryable: false,
    message: 'no such product (3)',
  })
  expect(errors.map(({ name }) => name)).toEqual(['HandlerError'])
  await answerer.respond('unencodable', () => 2n ** 70n).ready
  expect(await failure(asker.request('unencodable', 1))).toBeInstanceOf(RequestFailedError)
})

test('a handler that takes too long fails, and its late result is no second reply', async () => {
  const { asker, answerer } = await pair()
  let finish: (value: string) => void = () => {}
  const slow = () =>
    new Promise<string>((resolve) => {
      finish = resolve
    })
  await answerer.respond('slow', slow, { timeoutMs: 20 }).ready
  const error = await failure(asker.request('slow', 1))
  expect((error as Error).message).toContain('longer than 20 ms')
  finish('too late')
  await answerer.respond('ping', () => 'pong').ready
  await asker.request('ping', 1) // Whatever was sent before has come before this.
  expect(asker.requestStats.lateReplies).toBe(0)
})

test('undefined becomes null; a message that asks for no reply is handled, and gets none', async () => {
  const { asker, answerer, gateway } = await pair()
  const payloads: unknown[] = []
  await answerer.respond('log', ({ payload }) => void payloads.push(payload)).ready
  expect((await asker.request('log', 'asked')).payload).toBeNull()
  await asker.publish('log', 'told')
  await waitUntil(() => payloads.length === 2)
  expect(payloads).toEqual(['asked', 'told'])
  expect(gateway.counters.get('repliesDelivered')).toBe(1)
})

test('of two responders the first reply wins, the other one is counted as late', async () => {
  const { wsUrl, asker, answerer } = await pair()
  const other = await open(wsUrl)
  await answerer.respond('who', () => 'first').ready
  await other.respond('who', () => sleep(50).then(() => 'second')).ready
  expect((await asker.request('who', null)).payload).toBe('first')
  await waitUntil(() => asker.requestStats.lateReplies === 1)
})

test('requestMany() gathers everybody: until max, until it stalls, until the timeout', async () => {
  const { wsUrl, asker, answerer } = await pair()
  const other = await open(wsUrl)
  await answerer.respond('who', () => 'first').ready
  await other.respond('who', () => sleep(20).then(() => Promise.reject(new Error('broken')))).ready
  const values = (replies: readonly (Message | RequestFailedError)[]) =>
    replies.map((reply) => (reply instanceof RequestFailedError ? reply.message : reply.payload))

  const started = performance.now()
  const two = await asker.requestMany('who', null, { max: 2, timeoutMs: 60_000 }).collect()
  expect(values(two)).toEqual(['first', 'broken'])
  const stalled = asker.requestMany('who', null, { stallMs: 300, timeoutMs: 60_000 })
  expect(values(await stalled.collect())).toEqual(['first', 'broken'])
  expect(performance.now() - started).toBeLessThan(30_000)
  const timed = await asker.requestMany('who', null, { timeoutMs: 300 }).collect()
  expect(values(timed)).toEqual(['first', 'broken'])
  for await (const reply of asker.requestMany('who', null, { timeoutMs: 60_000 })) {
    expect(values([reply])).toEqual(['first'])
    break // Ends the request.
  }
  expect(asker.requestStats.pending).toBe(0)
  await waitUntil(() => asker.requestStats.lateReplies === 1)
})

test('requestMany() whose replies nobody gives ends empty', async () => {
  const { asker, answerer } = await pair()
  await neverReplies(answerer, 'silence')
  const replies = asker.requestMany('silence', null, { timeoutMs: 50, stallMs: 10 })
  expect(await replies.collect()).toEqual([])
})

test('a responder that dies in the middle: the request times out, the next one fails at once', async () => {
  const { asker, answerer } = await pair()
  let isAsked = false
  await answerer.respond('task', () => {
    isAsked = true
    return new Promise(() => {})
  }).ready
  const asking = failure(asker.request('task', 1, { timeoutMs: 300 }))
  await waitUntil(() => isAsked)
  answerer.close()
  expect(await asking).toBeInstanceOf(TimeoutError)
  await expect.poll(() => failure(asker.request('task', 2))).toBeInstanceOf(NoRespondersError)
})

test('a responder that comes back passes over requests that have expired meanwhile', async () => {
  const { broker, wsUrl } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const asker = await open(wsUrl)
  const answerer = await open(proxy.url)
  const handled: unknown[] = []
  await answerer.respond('work', ({ payload }) => {
    handled.push(payload)
    return payload
  }).ready
  // Somebody else listens, or nothing would be stored.
  asker.subscribe('work', () => {})
  proxy.isRefusing = true
  proxy.cut()
  await waitUntil(() => answerer.state === 'reconnecting')
  expect(await failure(asker.request('work', 'old', { timeoutMs: 100 }))).toBeInstanceOf(
    TimeoutError,
  )
  await sleep(50)
  const fresh = asker.request('work', 'fresh', { timeoutMs: 10_000 })
  proxy.isRefusing = false
  expect((await fresh).payload).toBe('fresh')
  expect(handled).toEqual(['fresh'])
})

test('10 000 requests that time out leave nothing behind, here or at the broker', async () => {
  const { asker, answerer, gateway } = await pair()
  const requests: Message[] = []
  const keep = (request: Message) => {
    requests.push(request)
    return new Promise(() => {})
  }
  await answerer.respond('void', keep, { concurrency: 1_000_000, maxInFlight: 1_000_000 }).ready
  await failure(asker.request('void', 0, { timeoutMs: 10 })) // The inbox is there, and lazy code compiled.
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  const asking = Array.from({ length: 10_000 }, (_, n) =>
    failure(asker.request('void', n, { timeoutMs: 3000 + (n % 100) })),
  )
  expect(asker.requestStats.pending).toBe(10_000)
  // One timer for all of them; the others are the heartbeat's and the publisher's.
  expect(timers()).toBeLessThanOrEqual(before + 3)
  await waitUntil(() => gateway.counters.get('requests') === 10_001)
  const errors = await Promise.all(asking)
  expect(errors.every((error) => error instanceof TimeoutError)).toBe(true)
  expect(asker.requestStats).toEqual({ pending: 0, lateReplies: 0, undeliveredReplies: 0 })
  expect(gateway.inboxes.size).toBe(1)
  expect(gateway.requests.size).toBe(0)

  // Replies that come now find nobody.
  await waitUntil(() => requests.length > 100)
  const late = requests.slice(-100)
  for (const { replyTo = '', correlationId = '' } of late) {
    await answerer.publish(replyTo, 'late', { correlationId })
  }
  await waitUntil(() => asker.requestStats.lateReplies === 100)
  asker.close()
  await waitUntil(() => gateway.inboxes.size === 0)
  const { replyTo = '' } = requests[0] as Message
  const error = await failure(answerer.publish(replyTo, 'too late'))
  expect(error).toBeInstanceOf(PublishError)
  expect(error).toMatchObject({ code: 'NO_RESPONDERS' })
  expect(gateway.counters.get('repliesDropped')).toBe(1)
})

test('a lost connection rejects what was sent, keeps what was not, and brings a new inbox', async () => {
  const { broker, wsUrl } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const [asker, answerer] = [await open(proxy.url), await open(wsUrl)]
  const inboxes: (string | undefined)[] = []
  await answerer.respond(
    'echo',
    (request) => {
      inboxes.push(request.replyTo)
      return request.payload === 'first' ? new Promise(() => {}) : request.payload
    },
    { concurrency: 10 },
  ).ready
  const first = failure(asker.request('echo', 'first', { timeoutMs: 60_000 }))
  await waitUntil(() => inboxes.length === 1)
  proxy.isRefusing = true
  proxy.cut()
  expect(await first).toBeInstanceOf(ConnectionClosedError)
  await waitUntil(() => broker.gateway.inboxes.size === 0)
  const second = asker.request('echo', 'second', { timeoutMs: 60_000 })
  const given = failure(asker.request('echo', 'given up', { timeoutMs: 20 }))
  expect(await given).toBeInstanceOf(TimeoutError)
  proxy.isRefusing = false
  expect((await second).payload).toBe('second')
  expect(inboxes).toHaveLength(2) // Neither the first again nor the one that was given up.
  expect(inboxes[1]).not.toBe(inboxes[0])
})

test('closing rejects what waits; draining waits for it', async () => {
  const { wsUrl, asker, answerer } = await pair()
  await neverReplies(answerer, 'silence')
  const asking = failure(asker.request('silence', 1))
  const gathering = failure(asker.requestMany('silence', 1).collect())
  asker.close()
  expect(await asking).toBeInstanceOf(ConnectionClosedError)
  expect(await gathering).toBeInstanceOf(ConnectionClosedError)
  expect(await failure(asker.request('silence', 1))).toBeInstanceOf(ConnectionClosedError)

  const other = await open(wsUrl)
  await answerer.respond('slow', () => sleep(50).then(() => 'done')).ready
  const slow = other.request('slow', 1)
  await other.drain()
  expect((await slow).payload).toBe('done')
})

test('the bounds of a client: requests at once, bytes that wait for a connection', async () => {
  const { broker, wsUrl } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const answerer = await open(wsUrl)
  await neverReplies(answerer, 'silence')
  const asker = await open(proxy.url, { maxRequests: 10, maxHeldBytes: 1000 })
  const asking = Array.from({ length: 11 }, () => failure(asker.request('silence', 1)))
  expect(await asking[10]).toBeInstanceOf(OverloadedError)
  expect(asker.requestStats.pending).toBe(10)
  await waitUntil(() => broker.gateway.counters.get('requests') === 10)
  proxy.isRefusing = true
  proxy.cut()
  for (const error of await Promise.all(asking.slice(0, 10))) {
    expect(error).toBeInstanceOf(ConnectionClosedError)
  }
  const held = failure(asker.request('silence', 'x'.repeat(600)))
  expect(await failure(asker.request('silence', 'x'.repeat(600)))).toBeInstanceOf(OverloadedError)
  asker.close()
  expect(await held).toBeInstanceOf(ConnectionClosedError)
})

test('options that cannot be are refused', async () => {
  const { asker } = await pair()
  expect(await failure(asker.request('a', 1, { timeoutMs: 0 }))).toBeInstanceOf(RangeError)
  expect(await failure(asker.request('a', 1, { timeoutMs: 2 ** 31 }))).toBeInstanceOf(RangeError)
  expect(() => asker.requestMany('a', 1, { max: 0 })).toThrow(RangeError)
  expect(() => asker.requestMany('a', 1, { stallMs: Number.NaN })).toThrow(RangeError)
  const error = await failure(asker.requestMany('a', 2n ** 70n).collect())
  expect(error).toMatchObject({ code: 'INVALID_PAYLOAD' })
})

test('one request that the broker refuses for its content does not fail those beside it', async () => {
  const { asker, answerer } = await pair()
  await answerer.respond('length', ({ payload }) => (payload as string).length).ready
  await asker.request('length', '') // From here on requests of one turn share a frame.
  const asking = [10, 70_000, 20].map((length) => asker.request('length', 'x'.repeat(length)))
  const settled = await Promise.allSettled(asking)
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(await failure(asking[1] as Promise<unknown>)).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
})

test('a reply by hand, from a plain JSON client, is a reply like any other', async () => {
  const { wsUrl } = await startBroker()
  const asker = await open(wsUrl)
  const answerer = await JsonClient.connect(wsUrl)
  await answerer.ask({ type: 'subscribe', topic: 'by.hand' })
  const asking = asker.request('by.hand', { n: 1 })
  const event = await answerer.next(({ type }) => type === 'event')
  const { reply_to: topic, correlation_id } = event['message'] as Json
  const message = { payload: 'hello', correlation_id }
  const ack = await answerer.ask({ type: 'publish', topic, message })
  expect(ack).toMatchObject({ type: 'ack', topic, delivered: 1 })
  expect((await asking).payload).toBe('hello')
  onTestFinished(() => asker.close())
})
