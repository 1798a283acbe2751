/** Topic options and TTL through the doors of a real broker. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ConfigError } from '../../src/config.js'
import { type Json, JsonClient, startBroker } from './harness.js'

function rulesFile(value: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-options-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'rules.json')
  writeFileSync(path, JSON.stringify(value))
  return path
}

test('options of a request and of rules hold, and are shown with where they come from', async () => {
  const rules = [{ pattern: 'orders.#', options: { history_size: 3, ttl_ms: 60_000 } }]
  const { http } = await startBroker({ TOPIC_RULES_FILE: rulesFile({ rules }) })
  const options = { ttl_ms: 0, events: true }
  const made = await http('POST', '/topics', { name: 'orders.eu', options })
  expect(made.status).toBe(201)
  const { body: info } = await http('GET', '/topics/orders.eu')
  expect(info['options']).toMatchObject({
    history_size: { value: 3, from: 'rule orders.#' },
    ttl_ms: { value: 0, from: 'request' },
    events: { value: 1, from: 'request' },
    max_age_ms: { value: 0, from: 'default' },
  })
  for (const number of [1, 2, 3, 4]) {
    await http('POST', '/topics/orders.eu/messages', { message: { payload: number } })
  }
  const { body } = await http('GET', '/topics/orders.eu/messages')
  expect((body['messages'] as Json[]).map(({ payload }) => payload)).toEqual([2, 3, 4])
  const refused = await http('POST', '/topics/orders.eu/messages', {
    messages: [1, 2, 3, 4].map((payload) => ({ payload })),
  })
  expect(refused.body).toMatchObject({ error: { code: 'LIMIT_EXCEEDED' } })
})

test('what is wrong with options is said', async () => {
  const { http } = await startBroker()
  const { status, body } = await http('POST', '/topics', { name: 'a', options: { ttl: 1 } })
  const message = expect.stringContaining('options: Unrecognized key')
  expect([status, body]).toEqual([400, { error: { code: 'BAD_REQUEST', message } }])
  const env = { TOPIC_RULES_FILE: rulesFile({ rules: [{ pattern: '..', options: {} }] }) }
  await expect(startBroker(env)).rejects.toThrow(ConfigError)
})

test('expired messages are not replayed, and $events says which they were', async () => {
  const { http, wsUrl } = await startBroker()
  const client = await JsonClient.connect(wsUrl)
  client.send({ type: 'subscribe', topic: '$events.quotes', request_id: 's' })
  await client.next(({ request_id: id }) => id === 's')
  const published = await http('POST', '/topics/quotes/messages', {
    messages: [{ payload: 1, ttl_ms: 30, key: 'k' }, { payload: 2 }],
  })
  expect(published.status).toBe(200)
  const event = await client.next(({ type }) => type === 'event')
  const { payload } = event['message'] as { payload: Json }
  expect(payload).toMatchObject({ type: 'expired', topic: 'quotes', seq: 1 })
  const expiredMs = Date.parse(payload['expired_at'] as string)
  expect(Date.parse(event['ts'] as string)).toBeGreaterThanOrEqual(expiredMs)
  const { body } = await http('GET', '/topics/quotes/messages')
  expect((body['messages'] as Json[]).map(({ seq }) => seq)).toEqual([2])
})
