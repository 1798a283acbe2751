/** Inboxes and requests by plain frames: what PROTOCOL.md says, and what hostile clients try. */
import { expect, test } from 'vitest'
import {
  type Json,
  JsonClient,
  MsgpackClient,
  type Packed,
  startBroker,
  waitUntil,
} from './harness.js'

const BAD_REQUEST = { error: { code: 'BAD_REQUEST' } }
const NO_RESPONDERS = { error: { code: 'NO_RESPONDERS', retryable: true } }

async function inboxOf(client: JsonClient): Promise<string> {
  const ack = await client.ask({ type: 'subscribe', topic: '$inbox' })
  expect(ack).toMatchObject({ type: 'ack', topic: '$inbox', status: 'ok' })
  return ack['inbox'] as string
}

function publish(topic: string, message: Json): Json {
  return { type: 'publish', topic, message }
}

test('a request and its reply in JSON, as PROTOCOL.md shows them', async () => {
  const { wsUrl } = await startBroker()
  const [asker, answerer] = [await JsonClient.connect(wsUrl), await JsonClient.connect(wsUrl)]
  await answerer.ask({ type: 'subscribe', topic: 'prices' })
  const inbox = await inboxOf(asker)
  const request = { payload: 'tea', reply_to: inbox, correlation_id: 'c1' }
  expect(await asker.ask(publish('prices', request))).toMatchObject({ type: 'ack', seq: 1 })
  const event = await answerer.next(({ type }) => type === 'event')
  expect(event).toMatchObject({ topic: 'prices', seq: 1, message: request })
  const id = '550e8400-e29b-41d4-a716-446655440000'
  const reply = { payload: 4.5, id, headers: { currency: 'EUR' }, correlation_id: 'c1' }
  expect(await answerer.ask(publish(inbox, reply))).toMatchObject({
    type: 'ack',
    topic: inbox,
    delivered: 1,
  })
  expect(await asker.next(({ type }) => type === 'event')).toEqual({
    type: 'event',
    topic: inbox,
    message: reply,
    seq: 0,
    ts: expect.stringMatching(/^\d{4}-.*Z$/),
  })
})

test('a batch of replies in MessagePack is one frame, in JSON an event each; absent parts are filled in', async () => {
  const { wsUrl, broker } = await startBroker()
  const packed = await MsgpackClient.connect(wsUrl)
  const json = await JsonClient.connect(wsUrl)
  const [, , topic, result] = await packed.ask(2, '$inbox')
  expect(topic).toBe('$inbox')
  const { inbox } = result as { inbox: string }
  const id = Buffer.alloc(16, 7)
  const messages = [
    [1, Buffer.from('1')],
    [2, Buffer.from('raw'), id],
    [0, Buffer.of(0xc3), null, { a: 'b' }],
    [1, Buffer.from('4'), null, null, { correlation_id: 'x' }],
    [1, Buffer.from('5'), null, null, {}],
  ]
  expect(await packed.ask(1, inbox, messages)).toEqual([
    33,
    expect.any(String),
    inbox,
    { delivered: 5 },
  ])
  const [, name, pattern, entries] = (await packed.next(([op]) => op === 34)) as [
    ...Packed,
    unknown[][],
  ]
  expect([name, pattern]).toEqual([inbox, null])
  const rows = (entries as unknown as unknown[][]).map(([seq, , encoding, payload, , ...rest]) => [
    seq,
    encoding,
    (payload as Buffer).toString('latin1'),
    ...rest,
  ])
  expect(rows).toEqual([
    [0, 1, '1', null],
    [0, 2, 'raw', null],
    [0, 0, '\xc3', { a: 'b' }],
    [0, 1, '4', null, { correlation_id: 'x' }],
    [0, 1, '5', null],
  ])
  const ids = (entries as unknown as unknown[][]).map((entry) =>
    (entry[4] as Buffer).toString('hex'),
  )
  expect(ids[1]).toBe(id.toString('hex'))
  expect(new Set(ids).size).toBe(5)
  expect(ids.every((hex) => hex.length === 32)).toBe(true)

  const jsonInbox = await inboxOf(json)
  packed.send([1, null, jsonInbox, messages])
  await waitUntil(() => json.events.length === 5)
  expect(json.events.map(({ message }) => message)).toEqual([
    { id: expect.any(String), payload: 1 },
    { id: '07070707-0707-0707-0707-070707070707', payload: 'cmF3', encoding: 'base64' },
    { id: expect.any(String), payload: true, headers: { a: 'b' } },
    { id: expect.any(String), payload: 4, correlation_id: 'x' },
    { id: expect.any(String), payload: 5 },
  ])
  expect(broker.gateway.counters.get('repliesDelivered')).toBe(10)
  expect(await (await fetch(wsUrl.replace('ws', 'http').replace('/ws', '/topics'))).json()).toEqual(
    {
      topics: [],
    },
  )
})

test('inboxes are told apart, unlike each other, and gone with their connection or an unsubscribe', async () => {
  const { wsUrl, broker } = await startBroker()
  const clients = await Promise.all(Array.from({ length: 20 }, () => JsonClient.connect(wsUrl)))
  const inboxes = await Promise.all(clients.map(inboxOf))
  expect(new Set(inboxes).size).toBe(20)
  for (const inbox of inboxes) expect(inbox).toMatch(/^\$inbox\.[\w-]{22}$/)
  const [first, second, third] = clients as [JsonClient, JsonClient, JsonClient]
  expect(await first.ask({ type: 'subscribe', topic: '$inbox' })).toMatchObject(BAD_REQUEST)
  expect(await second.ask({ type: 'unsubscribe', topic: '$inbox' })).toMatchObject({ type: 'ack' })
  expect(await second.ask({ type: 'unsubscribe', topic: '$inbox' })).toMatchObject({
    error: { code: 'TOPIC_NOT_FOUND' },
  })
  third.socket.terminate()
  await waitUntil(() => broker.gateway.inboxes.size === 18)
  for (const gone of [inboxes[1], inboxes[2]] as [string, string]) {
    expect(await first.ask(publish(gone, { payload: 1 }))).toMatchObject(NO_RESPONDERS)
  }
  expect(broker.gateway.counters.get('repliesDropped')).toBe(2)
  const again = await inboxOf(second)
  expect(inboxes).not.toContain(again)
  for (const client of clients) client.socket.terminate()
  await waitUntil(() => broker.gateway.inboxes.size === 0)
})

test.each(['$inbox.#', '$inbox.*', '$inbox.guess', '$inbox.guess.#', '$inbox..'])(
  'nobody listens at the inboxes of others: %s is refused, in both encodings',
  async (text) => {
    const { wsUrl, broker } = await startBroker()
    const [json, packed] = [await JsonClient.connect(wsUrl), await MsgpackClient.connect(wsUrl)]
    expect(await json.ask({ type: 'subscribe', topic: text })).toMatchObject(BAD_REQUEST)
    expect((await packed.ask(2, text))[2]).toBe('BAD_REQUEST')
    expect(broker.gateway.subscribing.total).toBe(0)
  },
)

test('patterns and an inbox of others see nothing of a reply, nor does the HTTP door', async () => {
  const { wsUrl, http } = await startBroker()
  const spy = await JsonClient.connect(wsUrl)
  const spied = await JsonClient.connect(wsUrl)
  const sender = await JsonClient.connect(wsUrl)
  await inboxOf(spy)
  for (const topic of ['#', '*.*', '#.#', '$events.#']) {
    await spy.ask({ type: 'subscribe', topic })
  }
  const inbox = await inboxOf(spied)
  await sender.ask(publish(inbox, { payload: 'secret' }))
  await waitUntil(() => spied.events.length === 1)
  await spy.ask({ type: 'ping' })
  expect(spy.events).toEqual([])
  const path = `/topics/${encodeURIComponent(inbox)}`
  expect((await http('GET', path)).status).toBe(404)
  expect((await http('GET', `${path}/messages`)).status).toBe(404)
  expect((await http('DELETE', path)).status).toBe(400)
  expect((await http('POST', '/topics', { name: inbox })).status).toBe(400)
  expect((await http('POST', `${path}/messages`, { message: { payload: 1 } })).status).toBe(400)
  expect(JSON.stringify((await http('GET', '/stats')).body)).not.toContain(inbox)
})

test('guessed, empty and broken inbox names get nothing and leave nothing', async () => {
  const { wsUrl, broker } = await startBroker()
  const victim = await JsonClient.connect(wsUrl)
  const inbox = await inboxOf(victim)
  const hostile = await JsonClient.connect(wsUrl)
  const guesses = [
    ...Array.from({ length: 200 }, (_, n) => `$inbox.${Buffer.alloc(16, n).toString('base64url')}`),
    inbox.slice(0, -1),
    `${inbox}.`,
    `${inbox}x`,
    '$inbox.',
    `$inbox.${'x'.repeat(5000)}`,
  ]
  for (const guess of guesses) {
    expect(await hostile.ask(publish(guess, { payload: 1 }))).toMatchObject(NO_RESPONDERS)
  }
  expect(await hostile.ask(publish('$inbox', { payload: 1 }))).toMatchObject(BAD_REQUEST)
  const packed = await MsgpackClient.connect(wsUrl)
  const bytes = Buffer.concat([
    Buffer.of(0x94, 1, 0xa1, 0x78, 0xa8),
    Buffer.from('$inbox.'),
    Buffer.of(0xff, 0x91, 0x92, 1, 0xc4, 1, 0x31),
  ])
  packed.socket.send(bytes)
  expect((await packed.next(([op]) => op === 35)).slice(1, 3)).toEqual(['x', 'BAD_REQUEST'])
  await victim.ask({ type: 'ping' })
  expect(victim.events).toEqual([])
  expect(broker.gateway.inboxes.size).toBe(1)
  expect(broker.gateway.counters.get('repliesDropped')).toBe(guesses.length)
})

test.each([
  [{ reply_to: 'orders' }, 'reply_to'],
  [{ reply_to: '$inbox' }, 'reply_to'],
  [{ reply_to: 7 }, 'reply_to'],
  [{ correlation_id: 'x'.repeat(129) }, 'correlation_id'],
] as const)('a message with %j is refused, by name', async (properties, field) => {
  const { wsUrl } = await startBroker()
  const client = await JsonClient.connect(wsUrl)
  const answer = await client.ask(publish('orders', { payload: 1, ...properties }))
  expect(answer).toMatchObject(BAD_REQUEST)
  expect((answer['error'] as Json)['message']).toContain(`message.${field} must be`)
})

test('an inbox replays nothing, and takes nothing that is to come later', async () => {
  const { wsUrl } = await startBroker()
  const client = await JsonClient.connect(wsUrl)
  const withReplay = { type: 'subscribe', topic: '$inbox', last_n: 5 }
  expect(await client.ask(withReplay)).toMatchObject(BAD_REQUEST)
  const inbox = await inboxOf(client)
  const delayed = publish(inbox, { payload: 1, delay_ms: 10 })
  expect(await client.ask(delayed)).toMatchObject(BAD_REQUEST)
})

test('a request by HTTP is refused when nobody listens, and stored when somebody does', async () => {
  const { wsUrl, http } = await startBroker()
  const client = await JsonClient.connect(wsUrl)
  const reply_to = await inboxOf(client)
  const body = { message: { payload: 1, reply_to } }
  const refused = await http('POST', '/topics/asked/messages', body)
  expect(refused).toMatchObject({ status: 503, body: { error: { code: 'NO_RESPONDERS' } } })
  await client.ask({ type: 'subscribe', topic: 'asked' })
  expect((await http('POST', '/topics/asked/messages', body)).status).toBe(200)
  const event = await client.next(({ type }) => type === 'event')
  expect(event).toMatchObject({ topic: 'asked', message: { reply_to } })
})

test('a flood of replies to a client that does not read is refused, not piled up', async () => {
  const { wsUrl, broker } = await startBroker({ HIGH_WATER_MARK_BYTES: '262144' })
  const victim = await JsonClient.connect(wsUrl)
  const inbox = await inboxOf(victim)
  const flooder = await MsgpackClient.connect(wsUrl)
  victim.socket.pause()
  const payload = Buffer.from(JSON.stringify('x'.repeat(60_000)))
  let asked = 0
  const { counters, sessions } = broker.gateway
  // The kernel takes a few MiB before the broker has to buffer.
  while (counters.get('repliesDropped') < 50) {
    if (asked++ > 5000) throw new Error('nothing was refused')
    const [op, , code] = await flooder.ask(1, inbox, [[1, payload]])
    expect(op === 33 ? 'delivered' : code).toMatch(/delivered|OVERLOADED/)
  }
  const buffered = Math.max(
    ...[...sessions.values()].map(({ socket }) => socket.getBufferedAmount()),
  )
  expect(buffered).toBeLessThan(262_144 + 1024 * 1024)
  expect(victim.closed).toBeUndefined()
  victim.socket.resume()
  await waitUntil(() => victim.events.length === counters.get('repliesDelivered'))
  const [op] = await flooder.ask(1, inbox, [[1, payload]])
  expect(op).toBe(33) // It reads again.
})
