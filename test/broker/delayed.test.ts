/** Delayed messages through the doors of a real broker, and by the SDK. */
import { expect, test } from 'vitest'
import { connect } from '../../src/client/ringcast.js'
import { type Json, JsonClient, MsgpackClient, startBroker } from './harness.js'

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

const ID = '550e8400-e29b-41d4-a716-446655440000'
const ID_BYTES = Buffer.from(ID.replaceAll('-', ''), 'hex')
const HOUR_MS = 3_600_000

test('CANCEL takes back what waits under an id, in both encodings', async () => {
  const { http, wsUrl } = await startBroker()
  const json = await JsonClient.connect(wsUrl)
  const packed = await MsgpackClient.connect(wsUrl)
  const publish = async () => {
    const message = { id: ID, payload: 1, delay_ms: HOUR_MS }
    await http('POST', '/topics/orders/messages', { message })
  }
  await publish()
  await publish()
  expect(await json.ask({ type: 'cancel', topic: 'orders', id: ID.toUpperCase() })).toMatchObject({
    type: 'ack',
    topic: 'orders',
    count: 2,
  })
  await publish()
  const ack = await packed.ask(12, 'orders', ID_BYTES)
  expect(ack).toEqual([33, ack[1], 'orders', { count: 1 }])
  expect((await packed.ask(12, 'orders', ID_BYTES))[3]).toEqual({ count: 0 })
  await publish()
  packed.send([12, null, 'orders', ID_BYTES]) // Without an answer; that of the ping comes after it.
  await packed.ask(4)
  await expect.poll(async () => (await http('GET', '/topics/orders/delayed')).body['count']).toBe(0)

  const refusals: [Json, string, string][] = [
    [{ topic: 'orders', id: 'x' }, 'BAD_REQUEST', 'id must be a valid UUID'],
    [{ topic: 'orders' }, 'BAD_REQUEST', 'id must be a valid UUID'],
    [{ topic: 'a b', id: ID }, 'BAD_REQUEST', ''],
    [{ topic: 'none', id: ID }, 'TOPIC_NOT_FOUND', 'topic "none" does not exist'],
  ]
  for (const [fields, code, message] of refusals) {
    const { error } = await json.ask({ type: 'cancel', ...fields })
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
  }
  expect((await packed.ask(12, 'orders', Buffer.alloc(15))).slice(2)).toEqual([
    'BAD_REQUEST',
    'id must be a bin of 16 bytes',
    false,
  ])
  expect((await packed.ask(12, 'none', ID_BYTES))[2]).toBe('TOPIC_NOT_FOUND')
  packed.send([12, 'few', 'orders'])
  await packed.next((frame) => frame[3] === 'CANCEL must have 4 elements')
})

test.each(['msgpack', 'json'] as const)(
  '%s: Client.cancel() says whether it came in time, also over the death of a worker',
  async (encoding) => {
    const { broker, http, wsUrl } = await startBroker({ WORKERS: '1' })
    const client = await connect(wsUrl, { encoding })
    const other = '650e8400-e29b-41d4-a716-446655440000'
    // Not awaited: a publish of the same turn is before it all the same.
    void client.publish('orders', 'never', { id: ID, delayMs: HOUR_MS })
    expect(await client.cancel('orders', ID)).toBe(true)
    expect(await client.cancel('orders', ID)).toBe(false)
    await client.publish('orders', 'never', { id: other, delayMs: HOUR_MS })
    const isDead = broker.supervisor.threads[0]?.terminate()
    expect(await client.cancel('orders', other)).toBe(true)
    await isDead
    expect(await client.cancel('orders', other)).toBe(false)
    expect((await http('GET', '/topics/orders/delayed')).body['count']).toBe(0)
    await expect(client.cancel('orders', 'x')).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' })
    await expect(client.cancel('none', ID)).rejects.toMatchObject({
      name: 'CancelError',
      code: 'TOPIC_NOT_FOUND',
      retryable: false,
    })
    const cut = client.cancel('orders', ID)
    client.close()
    await expect(cut).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' })
    await expect(client.cancel('orders', ID)).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' })
  },
)
