/** Consumers of groups against a real broker: what handlers do, and what the broker makes of it. */
import { describe, expect, test } from 'vitest'
import {
  type ConsumedMessage,
  type ConsumeOptions,
  type Consumer,
  type HandlerError,
  NonRetryableError,
  RetryLaterError,
} from '../../src/client/ringcast.js'
import { type Json, sleep, startBroker, type TestBroker, waitUntil } from '../broker/harness.js'
import { CuttingProxy, event, open } from './harness.js'

const ENCODINGS = ['msgpack', 'json'] as const
const AT_ONCE = { backoff: [0], start: 'earliest' } as const

async function info(broker: TestBroker, topic: string, group: string): Promise<Json> {
  return (await broker.http('GET', `/topics/${topic}/groups/${group}`)).body
}

/** Everything published so far is settled. */
async function untilSettled(broker: TestBroker, topic: string, group: string): Promise<Json> {
  let last: Json = {}
  for (let tries = 0; tries < 1000; tries++) {
    last = await info(broker, topic, group)
    if (last['lag'] === 0) return last
    await sleep(5)
  }
  throw new Error(`never settled: ${JSON.stringify(last)}`)
}

async function deadLetters({ wsUrl }: TestBroker, topic: string, count: number): Promise<Json[]> {
  const letters: Json[] = []
  const client = await open(wsUrl)
  client.subscribe(
    `$dlq.${topic}`,
    ({ payload, headers }) => letters.push({ payload, ...headers }),
    { lastN: 1000 },
  )
  await waitUntil(() => letters.length >= count)
  return letters
}

describe.each(ENCODINGS)('in %s', (encoding) => {
  async function scene(
    handler: (message: ConsumedMessage<number>) => unknown,
    options: ConsumeOptions = {},
  ) {
    const broker = await startBroker({ WORKERS: '1' })
    const client = await open(broker.wsUrl, { encoding })
    const consumer = client.consume<number>('jobs', 'workers', handler, {
      ...AT_ONCE,
      ...options,
    })
    await consumer.ready
    const publish = (count: number) =>
      client.publishBatch(
        'jobs',
        Array.from({ length: count }, (_, index) => index + 1),
      )
    return { broker, client, consumer, publish }
  }

  test('Client.consume() acks what its handler handled, a promise or not', async () => {
    const seen: number[] = []
    const { broker, publish } = await scene(({ payload, attempt, group, deadlineMs, seq }) => {
      expect([attempt, group, seq]).toEqual([1, 'workers', payload])
      expect(deadlineMs).toBeGreaterThan(Date.now())
      seen.push(payload)
      return payload % 2 === 0 ? sleep(0) : undefined
    })
    await publish(500)
    const { acked, delivered, redelivered } = await untilSettled(broker, 'jobs', 'workers')
    expect({ acked, delivered, redelivered }).toEqual({
      acked: 500,
      delivered: 500,
      redelivered: 0,
    })
    expect(seen).toEqual(Array.from({ length: 500 }, (_, index) => index + 1))
  })

  test('Client.consume() has a failed message delivered again, and tells the failure', async () => {
    const attempts: number[] = []
    const { broker, client, consumer, publish } = await scene(({ attempt, payload }) => {
      attempts.push(attempt)
      if (attempt === 1) throw new Error(`no ${payload}`)
      if (attempt === 2) return Promise.reject(new RetryLaterError(30, 'busy'))
      return undefined
    })
    const failures: [HandlerError, ConsumedMessage][] = []
    consumer.on('failure', (error, message) => failures.push([error, message]))
    const errors: Error[] = []
    client.on('error', (error) => errors.push(error))
    await publish(1)
    const { redelivered } = await untilSettled(broker, 'jobs', 'workers')
    expect([attempts, redelivered]).toEqual([[1, 2, 3], 2])
    expect(failures.map(([{ message }]) => message)).toEqual([
      'handler failed on jobs seq 1: no 1',
      'handler failed on jobs seq 1: busy',
    ])
    expect(failures.map(([, { attempt }]) => attempt)).toEqual([1, 2])
    expect(errors).toEqual(failures.map(([error]) => error))
  })

  test('NonRetryableError and too many attempts make dead letters that say why', async () => {
    const { broker, publish } = await scene(
      ({ payload }) => {
        if (payload === 1) throw new NonRetryableError('é'.repeat(300))
        if (payload === 2) throw new Error('always')
      },
      { maxDeliver: 2, clientId: 'worker one' },
    )
    await publish(3)
    const { acked, dead_lettered: dead } = await untilSettled(broker, 'jobs', 'workers')
    expect([acked, dead]).toEqual([1, 2])
    const letters = await deadLetters(broker, 'jobs', 2)
    const byPayload = letters.sort(
      (one, other) => Number(one['payload']) - Number(other['payload']),
    )
    expect(byPayload).toMatchObject([
      { 'dlq-reason': 'term', 'dlq-attempts': '1', 'dlq-error': 'é'.repeat(128) },
      { 'dlq-reason': 'max_deliver', 'dlq-attempts': '2', 'dlq-error': 'always' },
    ])
    expect(byPayload[1]).toMatchObject({ 'dlq-member': 'worker one', 'dlq-group': 'workers' })
  })

  test('a handler that is slower than ack_wait keeps its message, and so does what waits behind it', async () => {
    const { broker, publish } = await scene(() => sleep(900), { ackWaitMs: 500 })
    await publish(2)
    const { acked, redelivered } = await untilSettled(broker, 'jobs', 'workers')
    expect([acked, redelivered]).toEqual([2, 0])
  })

  test('without extend a message goes again when its time is over', async () => {
    const attempts: number[] = []
    const { broker, publish } = await scene(
      ({ attempt }) => {
        attempts.push(attempt)
        return attempt === 1 ? sleep(900) : undefined
      },
      { ackWaitMs: 300, extend: false, concurrency: 2 },
    )
    await publish(1)
    await untilSettled(broker, 'jobs', 'workers')
    expect(attempts).toEqual([1, 2])
  })

  test('a handler that takes longer than timeoutMs has failed, and is told by its signal', async () => {
    const broker = await startBroker({ WORKERS: '1' })
    const client = await open(broker.wsUrl, { encoding })
    const aborted: unknown[] = []
    const consumer = client.consume(
      'jobs',
      'workers',
      ({ attempt }, { signal }) => {
        if (attempt > 1) return undefined
        return new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            aborted.push(signal.reason)
            resolve(undefined)
          })
        })
      },
      { ...AT_ONCE, timeoutMs: 20 },
    )
    await consumer.ready
    const failure = event(consumer, 'failure')
    await client.publish('jobs', 1)
    expect((await failure)[0]).toMatchObject({ cause: { name: 'TimeoutError' } })
    const { redelivered } = await untilSettled(broker, 'jobs', 'workers')
    expect([aborted.length, redelivered]).toEqual([1, 1])
  })

  test("with ack: 'manual' a message is settled by whoever has it, once, at any time", async () => {
    const held: ConsumedMessage<number>[] = []
    const { broker, consumer, publish } = await scene((message) => held.push(message), {
      ack: 'manual',
      maxInFlight: 4,
      ackWaitMs: 500,
    })
    await publish(10)
    await waitUntil(() => held.length === 4)
    await sleep(900) // Longer than ackWaitMs: they are kept.
    expect((await info(broker, 'jobs', 'workers'))['outstanding']).toBe(4)
    expect(held.length).toBe(4)
    const [one, two, three, four] = held as [
      ConsumedMessage,
      ConsumedMessage,
      ConsumedMessage,
      ConsumedMessage,
    ]
    expect([one.working(), one.ack(), one.ack(), one.nack(), one.working()]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
    expect([two.nack(0, 'again'), two.isSettled, three.term('never')]).toEqual([true, true, true])
    four.ack()
    await waitUntil(() => held.length >= 8)
    expect(held.filter(({ seq }) => seq === 2).map(({ attempt }) => attempt)).toEqual([1, 2])
    for (const message of held) message.ack()
    await consumer.flush()
    await waitUntil(() => held.length === 11)
    for (const message of held) message.ack()
    const { acked, dead_lettered: dead } = await untilSettled(broker, 'jobs', 'workers')
    expect([acked, dead]).toEqual([9, 1])
  })

  test('Consumer.pause() takes nothing more until resume()', async () => {
    const seen: number[] = []
    const { broker, consumer, publish } = await scene(({ payload }) => seen.push(payload))
    consumer.pause()
    consumer.pause()
    expect(consumer.isPaused).toBe(true)
    await publish(10)
    expect(await info(broker, 'jobs', 'workers')).toMatchObject({
      lag: 10,
      member_list: [{ paused: true }],
    })
    expect(seen).toEqual([])
    consumer.resume()
    await untilSettled(broker, 'jobs', 'workers')
    expect(seen.length).toBe(10)
  })

  test('Consumer.stop() finishes what runs and gives back what has not begun: that was no attempt', async () => {
    const done: number[] = []
    const attempts: number[] = []
    let release = () => {}
    const handler = async ({ payload }: ConsumedMessage<number>) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      done.push(payload)
    }
    // With one attempt alone: a delivery that counted would make a dead letter.
    const { broker, client, consumer, publish } = await scene(handler, { maxDeliver: 1 })
    await publish(10)
    await waitUntil(() => consumer.running === 1 && consumer.queued === 9)
    const stopped = consumer.stop()
    const ended = event(consumer, 'ended')
    await waitUntil(() => consumer.queued === 0)
    release()
    await stopped
    expect([done, await ended, consumer.isEnded]).toEqual([[1], [undefined], true])
    const after = client.consume<number>('jobs', 'workers', ({ payload, attempt }) => {
      done.push(payload)
      attempts.push(attempt)
    })
    await untilSettled(broker, 'jobs', 'workers')
    expect(done).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(attempts).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1])
    await after.stop()
    expect(await info(broker, 'jobs', 'workers')).toMatchObject({ members: 0, acked: 10 })
  })

  test('Client.drain() waits for handlers of consumers and for the confirmation of their acks', async () => {
    const { broker, client, consumer, publish } = await scene(() => sleep(50), { concurrency: 4 })
    await publish(4)
    await waitUntil(() => consumer.running === 4)
    await client.drain()
    expect(await info(broker, 'jobs', 'workers')).toMatchObject({ acked: 4, lag: 0 })
  })

  test('a consumer joins again after a cut; acks of handlers that ran meanwhile count', async () => {
    const broker = await startBroker({ WORKERS: '1' })
    const proxy = await CuttingProxy.start(broker.broker.port)
    const client = await open(proxy.url, { encoding })
    const handled: [seq: number, attempt: number][] = []
    const releases: (() => void)[] = []
    const consumer = client.consume(
      'jobs',
      'workers',
      async ({ seq, attempt }) => {
        handled.push([seq, attempt])
        if (attempt === 1 && seq === 1) await new Promise<void>((resolve) => releases.push(resolve))
      },
      { ...AT_ONCE },
    )
    await consumer.ready
    await client.publishBatch('jobs', [1, 2, 3])
    await waitUntil(() => releases.length === 1)
    const joined = event(consumer, 'joined')
    const lost = event(client, 'state')
    proxy.isRefusing = true
    proxy.cut()
    expect(await lost).toEqual(['reconnecting'])
    releases[0]?.() // The work is done while there is no connection.
    await sleep(10)
    proxy.isRefusing = false
    expect(await joined).toMatchObject([{ created: false }])
    const { acked } = await untilSettled(broker, 'jobs', 'workers')
    expect(acked).toBe(3)
    expect(handled.filter(([seq]) => seq > 1)).toEqual([
      [2, 2],
      [3, 2],
    ])
  })

  test('a consumer ends when its group or its topic is deleted, or the broker refuses it', async () => {
    const { broker, client, consumer } = await scene(() => {})
    const ended = event(consumer, 'ended')
    await broker.http('DELETE', '/topics/jobs/groups/workers')
    expect(await ended).toMatchObject([{ code: 'GROUP_DELETED', retryable: false }])
    const other = client.consume('jobs', 'others', () => {})
    await other.ready
    const otherEnded = event(other, 'ended')
    await broker.http('DELETE', '/topics/jobs')
    expect(await otherEnded).toMatchObject([{ code: 'TOPIC_DELETED' }])
    const refused = client.consume('jobs', 'no name', () => {})
    await expect(refused.ready).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    expect(refused.isEnded).toBe(true)
  })
})

test('Client.consume() refuses a second member on one client, and bad options', async () => {
  const broker = await startBroker({ WORKERS: '1' })
  const client = await open(broker.wsUrl)
  const consumer = client.consume('jobs', 'workers', () => {})
  expect(() => client.consume('jobs', 'workers', () => {})).toThrow('a member of group workers')
  expect(() => client.consume('jobs', 'more', () => {}, { concurrency: 0 })).toThrow(RangeError)
  expect(() => client.consume('jobs', 'more', () => {}, { timeoutMs: Number.NaN })).toThrow(
    'timeoutMs=NaN must be a number of at least 1',
  )
  await consumer.ready
  await consumer.stop()
  const again = client.consume('jobs', 'workers', () => {})
  await again.ready
  const other = client.consume('jobs', 'workers2', () => {}, { ackWaitMs: 1000 })
  await other.ready
  const second = await open(broker.wsUrl)
  const conflicting = second.consume('jobs', 'workers2', () => {}, { ackWaitMs: 2000 })
  await expect(conflicting.ready).rejects.toThrow('has ack_wait_ms=1000, not 2000')
})

test('a group that was changed while a consumer was away is taken as it is', async () => {
  const broker = await startBroker({ WORKERS: '1' })
  const proxy = await CuttingProxy.start(broker.broker.port)
  const client = await open(proxy.url)
  const seen: number[] = []
  const consumer = client.consume<number>('jobs', 'workers', ({ payload }) => seen.push(payload), {
    ackWaitMs: 1000,
  })
  await consumer.ready
  await broker.http('PATCH', '/topics/jobs/groups/workers', { ack_wait_ms: 5000 })
  const joined = event(consumer, 'joined') as Promise<Json[]>
  proxy.cut()
  expect((await joined)[0]).toMatchObject({ options: { ack_wait_ms: 5000 } })
  await client.publish('jobs', 7)
  await untilSettled(broker, 'jobs', 'workers')
  expect(seen).toEqual([7])
})

test('members of two clients share the work, and keys keep their order', async () => {
  const broker = await startBroker({ WORKERS: '1' })
  const publisher = await open(broker.wsUrl)
  const seen: { member: number; key: string; value: number }[] = []
  const consumers: Consumer<number>[] = []
  for (const member of [1, 2]) {
    const client = await open(broker.wsUrl)
    consumers.push(
      client.consume<number>(
        'jobs',
        'workers',
        async ({ key = '', payload }) => {
          await sleep(payload % 3)
          seen.push({ member, key, value: payload })
        },
        { ordered: 'key', concurrency: 8, start: 'earliest' },
      ),
    )
  }
  await Promise.all(consumers.map(({ ready }) => ready))
  const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
  for (let value = 0; value < 20; value++) {
    await Promise.all(keys.map((key) => publisher.publish('jobs', value, { key })))
  }
  await untilSettled(broker, 'jobs', 'workers')
  expect(new Set(seen.map(({ member }) => member)).size).toBe(2)
  for (const wanted of keys) {
    const values = seen.filter(({ key }) => key === wanted).map(({ value }) => value)
    expect(values).toEqual(Array.from({ length: 20 }, (_, value) => value))
  }
})
