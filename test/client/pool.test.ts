import { expect, test } from 'vitest'
import { connectPool } from '../../src/client/ringcast.js'
import { startBroker } from '../broker/harness.js'
import { Log, waitUntil } from './harness.js'

test('a pool spreads topics over its connections, and keeps the order of each', async () => {
  const { wsUrl, broker } = await startBroker()
  const pool = await connectPool(wsUrl, { size: 3 })
  expect(broker.gateway.sessions.size).toBe(3)
  const topics = Array.from({ length: 30 }, (_, n) => `t.${n}`)
  const used = new Set(topics.map((topic) => pool.clientFor(topic)))
  expect(used.size).toBe(3)
  const log = new Log()
  await pool.subscribe('t.*', log.add).ready
  const results: Promise<unknown>[] = []
  for (let n = 0; n < 20; n++) {
    for (const topic of topics) {
      if (n % 2 === 0) results.push(pool.publish(topic, n))
      else expect(pool.publishNow(topic, n)).toBe(true)
    }
  }
  results.push(pool.publishBatch('t.0', [20, 21]))
  await Promise.all(results)
  await log.whenLength(30 * 20 + 2)
  for (const topic of topics) {
    const payloads = log.messages
      .filter((message) => message.topic === topic)
      .map(({ payload }) => payload)
    expect(payloads.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, n) => n))
  }
  const iterated = pool.subscribe<number>('t.1', { lastN: 1 })
  for await (const { payload } of iterated) {
    expect(payload).toBe(19)
    break
  }
  await pool.drain()
  await waitUntil(() => broker.gateway.sessions.size === 0)
})

test('a pool asks and answers over the connection of the topic', async () => {
  const { wsUrl } = await startBroker()
  const pool = await connectPool(wsUrl, { size: 3 })
  await pool.respond<number>('double.*', ({ payload }) => payload * 2).ready
  const topics = ['double.a', 'double.b', 'double.c', 'double.d']
  const replies = await Promise.all(topics.map((topic, n) => pool.request<number>(topic, n)))
  expect(replies.map(({ payload }) => payload)).toEqual([0, 2, 4, 6])
  const [reply] = await pool.requestMany<number>('double.e', 21, { max: 1 }).collect()
  expect(reply).toMatchObject({ payload: 42 })
  pool.close()
})

test('a pool refuses a size that is none, and closes at once', async () => {
  const { wsUrl, broker } = await startBroker()
  await expect(connectPool(wsUrl, { size: 0 })).rejects.toThrow(RangeError)
  const pool = await connectPool(wsUrl)
  expect(pool.clients.length).toBe(4)
  pool.close()
  await waitUntil(() => broker.gateway.sessions.size === 0)
})
