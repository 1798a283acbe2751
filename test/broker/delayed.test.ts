/** Delayed messages through the doors of a real broker, and by the SDK. */
import { expect, test } from 'vitest'
import { connect } from '../../src/client/ringcast.js'
import { type Json, JsonClient, startBroker } from './harness.js'

test('a delayed message comes when it is due, by an alarm of the worker and not by its tick', async () => {
  const { http, wsUrl } = await startBroker()
  const client = await JsonClient.connect(wsUrl)
  client.send({ type: 'subscribe', topic: 'orders', request_id: 's' })
  await client.next(({ request_id: requestId }) => requestId === 's')
  const dueMs: number[] = []
  for (const delay of [40, 120]) {
    const message = { payload: delay, delay_ms: delay }
    const { status, body } = await http('POST', '/topics/orders/messages', { message })
    expect([status, body]).toEqual([
      200,
      {
        status: 'scheduled',
        topic: 'orders',
        epoch: expect.any(String),
        scheduled: true,
        deliver_at: expect.any(Number),
      },
    ])
    dueMs.push(body['deliver_at'] as number)
  }
  for (const [index, delay] of [40, 120].entries()) {
    const isIt = ({ message }: Json) => (message as Json | undefined)?.['payload'] === delay
    const { ts } = await client.next(isIt)
    expect(Date.parse(ts as string)).toBeGreaterThanOrEqual(dueMs[index] as number)
  }
})

test('delayed messages are listed and cancelled over HTTP', async () => {
  const { http } = await startBroker()
  const id = '550e8400-e29b-41d4-a716-446655440000'
  const deliverAt = new Date(Date.now() + 3_600_000).toISOString()
  const message = { id, payload: 1, deliver_at: deliverAt }
  await http('POST', '/topics/orders/messages', { message })
  const list = () => http('GET', '/topics/orders/delayed')
  const delayed = [{ id, deliver_at: deliverAt }]
  expect(await list()).toEqual({ status: 200, body: { topic: 'orders', count: 1, delayed } })
  expect((await http('DELETE', '/topics/orders/delayed/nonsense')).status).toBe(400)
  expect((await http('DELETE', `/topics/none/delayed/${id}`)).status).toBe(404)
  const cancelled = await http('DELETE', `/topics/orders/delayed/${id}`)
  expect(cancelled.body).toEqual({ status: 'cancelled', topic: 'orders', count: 1 })
  expect((await list()).body['count']).toBe(0)
})

test.each(['msgpack', 'json'] as const)(
  '%s: the SDK says when a message will come',
  async (encoding) => {
    const { wsUrl } = await startBroker()
    const client = await connect(wsUrl, { encoding })
    const got: unknown[] = []
    await client.subscribe('orders', ({ payload, key }) => void got.push([payload, key])).ready
    const before = Date.now()
    const results = await Promise.all([
      client.publish('orders', 'now'),
      client.publish('orders', 'later', { delayMs: 50, key: 'k' }),
      client.publish('orders', 'now too'),
    ])
    expect(results.map(({ seq }) => seq)).toEqual([1, 0, 2])
    expect(results[1]?.deliverAt).toBeGreaterThanOrEqual(before + 50)
    await expect
      .poll(() => got, { timeout: 5000 })
      .toEqual([
        ['now', undefined],
        ['now too', undefined],
        ['later', 'k'],
      ])
    client.close()
  },
)
