/** PROTOCOL.md sections 1.1, 1.2 and 1.4 in JSON: its examples sent literally, every answer checked. */
import { expect, onTestFinished, test } from 'vitest'
import { type Json, JsonClient, MsgpackClient, startBroker, waitUntil } from './harness.js'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const EPOCH = /^[\w-]{16}$/

const SUBSCRIBE =
  '{"type":"subscribe","topic":"orders","client_id":"s1","last_n":5,"request_id":"550e8400-e29b-41d4-a716-446655440000"}'
const UNSUBSCRIBE =
  '{"type":"unsubscribe","topic":"orders","client_id":"s1","request_id":"340e8400-e29b-41d4-a716-446655440098"}'
const PUBLISH =
  '{"type":"publish","topic":"orders","message":{"id":"550e8400-e29b-41d4-a716-446655440000","payload":{"order_id":"ORD-123","amount":99.5,"currency":"USD"}},"request_id":"r1"}'
const PUBLISH_BATCH =
  '{"type":"publish_batch","topic":"orders","messages":[{"payload":1},{"payload":2}],"request_id":"r2"}'
const PING = '{"type":"ping","request_id":"r3"}'

async function connected(env: Record<string, string> = {}) {
  const broker = await startBroker(env)
  const client = await JsonClient.connect(broker.wsUrl)
  return { ...broker, client }
}

/** Everything that came so far, and all that was answered before a ping sent now. */
async function settled(client: JsonClient): Promise<Json[]> {
  await client.ask({ type: 'ping' })
  return client.frames.filter(({ type }) => type !== 'pong')
}

test('the examples of PROTOCOL.md, sent literally, are answered field by field as it says', async () => {
  const { client } = await connected()
  client.send(SUBSCRIBE)
  const subscribed = await client.next(({ type }) => type === 'ack')
  expect(subscribed).toEqual({
    type: 'ack',
    request_id: '550e8400-e29b-41d4-a716-446655440000',
    topic: 'orders',
    status: 'ok',
    ts: expect.stringMatching(ISO_TIME),
    epoch: expect.stringMatching(EPOCH),
    seq: 0,
  })
  const { epoch } = subscribed

  client.send(PUBLISH)
  expect(await client.next(({ request_id: id }) => id === 'r1')).toEqual({
    type: 'ack',
    request_id: 'r1',
    topic: 'orders',
    status: 'ok',
    ts: expect.stringMatching(ISO_TIME),
    epoch,
    seq: 1,
  })
  expect(await client.next(({ type }) => type === 'event')).toEqual({
    type: 'event',
    topic: 'orders',
    message: {
      id: '550e8400-e29b-41d4-a716-446655440000',
      payload: { order_id: 'ORD-123', amount: 99.5, currency: 'USD' },
    },
    seq: 1,
    ts: expect.stringMatching(ISO_TIME),
  })

  client.send(PUBLISH_BATCH)
  expect(await client.next(({ request_id: id }) => id === 'r2')).toEqual({
    type: 'ack',
    request_id: 'r2',
    topic: 'orders',
    status: 'ok',
    ts: expect.stringMatching(ISO_TIME),
    epoch,
    first_seq: 2,
    last_seq: 3,
    count: 2,
  })
  await waitUntil(() => client.events.length === 3)
  for (const [index, payload] of [1, 2].entries()) {
    expect(client.events[index + 1]).toEqual({
      type: 'event',
      topic: 'orders',
      message: { id: expect.stringMatching(UUID), payload },
      seq: index + 2,
      ts: expect.stringMatching(ISO_TIME),
    })
  }

  client.send(PING)
  expect(await client.next(({ type }) => type === 'pong')).toEqual({
    type: 'pong',
    request_id: 'r3',
    ts: expect.stringMatching(ISO_TIME),
  })

  client.send(UNSUBSCRIBE)
  const unsubscribed = await client.next(({ request_id: id }) => String(id).startsWith('340e'))
  expect(unsubscribed).toEqual({
    type: 'ack',
    request_id: '340e8400-e29b-41d4-a716-446655440098',
    topic: 'orders',
    status: 'ok',
    ts: expect.stringMatching(ISO_TIME),
  })
  await client.ask({ type: 'publish', topic: 'orders', message: { payload: 3 } })
  expect((await settled(client)).filter(({ type }) => type === 'event')).toHaveLength(3)
})

test('an invalid message.id is refused with the text that PROTOCOL.md quotes, and nothing is stored', async () => {
  const { client } = await connected()
  for (const id of ['not-a-uuid', 7, '', '550e8400e29b41d4a716446655440000', {}]) {
    const message = { id, payload: 1 }
    const request = { type: 'publish', topic: 'orders', message, request_id: 'r1' }
    const from = client.frames.length
    client.send(request)
    expect(await client.next(({ type }) => type === 'error', from)).toEqual({
      type: 'error',
      request_id: 'r1',
      error: {
        code: 'BAD_REQUEST',
        message: 'message.id must be a valid UUID',
        retryable: false,
      },
      ts: expect.stringMatching(ISO_TIME),
    })
  }
  const ack = await client.ask({ type: 'subscribe', topic: 'orders', last_n: 9 })
  expect(ack['seq']).toBe(0)
})

test('a batch with one bad message is refused whole, and the text names the message', async () => {
  const { client } = await connected()
  const messages = [{ payload: 1 }, { payload: 2, id: 'x' }]
  const answer = await client.ask({ type: 'publish_batch', topic: 't', messages })
  expect(answer['error']).toMatchObject({ message: 'messages[1].id must be a valid UUID' })
  expect(await client.ask({ type: 'subscribe', topic: 't' })).toMatchObject({ seq: 0 })
})

test('the ack of a subscribe comes before the first replayed event, and names the newest seq', async () => {
  const { client, wsUrl } = await connected()
  for (let n = 1; n <= 7; n++) {
    await client.ask({ type: 'publish', topic: 'orders', message: { payload: n } })
  }
  const reader = await JsonClient.connect(wsUrl)
  reader.send(SUBSCRIBE)
  await waitUntil(() => reader.frames.length === 6)
  expect(reader.frames[0]).toMatchObject({ type: 'ack', seq: 7 })
  expect(reader.frames[0]).not.toHaveProperty('recovered')
  expect(reader.events.map(({ seq }) => seq)).toEqual([3, 4, 5, 6, 7])
})

test('a subscribe that resumes is told recovered, one with a wrong epoch is not and gets all that is held', async () => {
  const { client, wsUrl } = await connected()
  for (let n = 1; n <= 5; n++) {
    await client.ask({ type: 'publish', topic: 'orders', message: { payload: n } })
  }
  const { epoch } = await client.ask({ type: 'subscribe', topic: 'orders' })
  const cases: [Json, boolean, number[]][] = [
    [{ from_seq: 3, epoch }, true, [3, 4, 5]],
    [{ from_seq: 6, epoch }, true, []],
    [{ from_seq: 3 }, true, [3, 4, 5]],
    [{ from_seq: 3, epoch: 'another epoch' }, false, [1, 2, 3, 4, 5]],
    [{ from_seq: 7, epoch }, false, [1, 2, 3, 4, 5]],
  ]
  for (const [options, recovered, seqs] of cases) {
    const reader = await JsonClient.connect(wsUrl)
    const ack = await reader.ask({ type: 'subscribe', topic: 'orders', ...options })
    expect(ack).toMatchObject({ type: 'ack', epoch, seq: 5, recovered })
    await waitUntil(() => reader.events.length >= seqs.length)
    await settled(reader)
    expect(reader.events.map(({ seq }) => seq)).toEqual(seqs)
  }
})

test('a publish without request_id gets no ack, and its errors come without request_id', async () => {
  const { client } = await connected()
  client.send({ type: 'publish', topic: 't', message: { payload: 1 } })
  client.send({ type: 'publish', topic: 't', message: {} })
  const frames = await settled(client)
  expect(frames).toHaveLength(1)
  expect(frames[0]).toEqual({
    type: 'error',
    error: { code: 'BAD_REQUEST', message: 'message.payload is required', retryable: false },
    ts: expect.stringMatching(ISO_TIME),
  })
  expect(await client.ask({ type: 'subscribe', topic: 't' })).toMatchObject({ seq: 1 })
})

test('unsubscribe of what was never subscribed gets TOPIC_NOT_FOUND', async () => {
  const { client } = await connected()
  client.send(UNSUBSCRIBE)
  expect(await client.next(() => true)).toMatchObject({
    type: 'error',
    request_id: '340e8400-e29b-41d4-a716-446655440098',
    error: { code: 'TOPIC_NOT_FOUND', retryable: false },
  })
  await client.ask({ type: 'subscribe', topic: 'orders.*' })
  const answer = await client.ask({ type: 'unsubscribe', topic: 'orders.a' })
  expect(answer).toMatchObject({ type: 'error', error: { code: 'TOPIC_NOT_FOUND' } })
})

test('a second subscribe to the same topic on one connection is refused, the first goes on', async () => {
  const { client } = await connected()
  await client.ask({ type: 'subscribe', topic: 't' })
  const again = await client.ask({ type: 'subscribe', topic: 't', last_n: 3 })
  expect(again).toMatchObject({ type: 'error', error: { code: 'BAD_REQUEST' } })
  await client.ask({ type: 'publish', topic: 't', message: { payload: 1 } })
  await waitUntil(() => client.events.length > 0)
  expect((await settled(client)).filter(({ type }) => type === 'event')).toHaveLength(1)
  await client.ask({ type: 'unsubscribe', topic: 't' })
  expect(await client.ask({ type: 'subscribe', topic: 't' })).toMatchObject({ type: 'ack' })
})

test('subscribe, unsubscribe and subscribe sent at once are all answered, and one subscription is left', async () => {
  const { client } = await connected()
  for (const topic of ['t', 'a.*']) {
    client.send({ type: 'subscribe', topic, request_id: '1' })
    client.send({ type: 'unsubscribe', topic, request_id: '2' })
    client.send({ type: 'subscribe', topic, request_id: '3' })
    await waitUntil(() => client.frames.length >= 3)
    expect(client.frames.map(({ type }) => type)).toEqual(['ack', 'ack', 'ack'])
    expect(client.frames.map(({ request_id: id }) => id).sort()).toEqual(['1', '2', '3'])
    client.frames.length = 0
  }
  for (const topic of ['t', 'a.b']) {
    await client.ask({ type: 'publish', topic, message: { payload: 1 } })
  }
  await waitUntil(() => client.events.length === 2)
})

test('topics that begin with $ can be subscribed to, but not published to', async () => {
  const { client } = await connected()
  expect(await client.ask({ type: 'subscribe', topic: '$sys' })).toMatchObject({ type: 'ack' })
  const refused = await client.ask({ type: 'publish', topic: '$sys', message: { payload: 1 } })
  expect(refused).toMatchObject({ type: 'error', error: { code: 'BAD_REQUEST' } })
  expect((refused['error'] as Json)['message']).toContain('$')
})

test('every wrong field is refused with BAD_REQUEST that names it, and the connection stays as it was', async () => {
  const { client } = await connected()
  await client.ask({ type: 'subscribe', topic: 'healthy' })
  const topic = 't'
  const payload = 1
  const manyHeaders = Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`h${n}`, '']))
  const wrong: [string, Json][] = [
    ['type', {}],
    ['type', { type: 5 }],
    ['"publishh" is unknown', { type: 'publishh', topic }],
    ['topic', { type: 'subscribe' }],
    ['topic', { type: 'subscribe', topic: 5 }],
    ['topic', { type: 'subscribe', topic: '' }],
    ['topic', { type: 'subscribe', topic: 'a..b' }],
    ['topic', { type: 'subscribe', topic: 'a b' }],
    ['topic', { type: 'subscribe', topic: 'a*' }],
    ['topic', { type: 'subscribe', topic: 'x'.repeat(256) }],
    ['topic', { type: 'subscribe', topic: 'é'.repeat(128) }],
    ['topic', { type: 'subscribe', topic: Array(17).fill('s').join('.') }],
    ['topic', { type: 'unsubscribe' }],
    ['topic', { type: 'publish', message: { payload } }],
    ['topic', { type: 'publish', topic: 'a.*', message: { payload } }],
    ['topic', { type: 'publish', topic: 'a.#', message: { payload } }],
    ['message', { type: 'publish', topic }],
    ['message', { type: 'publish', topic, message: 'text' }],
    ['message', { type: 'publish', topic, message: [1] }],
    ['message.payload', { type: 'publish', topic, message: {} }],
    ['message.headers', { type: 'publish', topic, message: { payload, headers: [] } }],
    ['message.headers', { type: 'publish', topic, message: { payload, headers: { a: 1 } } }],
    ['message.headers', { type: 'publish', topic, message: { payload, headers: manyHeaders } }],
    ['messages', { type: 'publish_batch', topic }],
    ['messages', { type: 'publish_batch', topic, messages: {} }],
    ['messages', { type: 'publish_batch', topic, messages: [] }],
    ['messages[0]', { type: 'publish_batch', topic, messages: [7] }],
    ['messages[1].payload', { type: 'publish_batch', topic, messages: [{ payload }, {}] }],
    ['client_id', { type: 'subscribe', topic, client_id: 5 }],
    ['client_id', { type: 'subscribe', topic, client_id: 'x'.repeat(129) }],
    ['client_id', { type: 'unsubscribe', topic: 'healthy', client_id: 5 }],
    ['last_n', { type: 'subscribe', topic, last_n: -1 }],
    ['last_n', { type: 'subscribe', topic, last_n: 1.5 }],
    ['last_n', { type: 'subscribe', topic, last_n: '5' }],
    ['from_seq', { type: 'subscribe', topic, from_seq: 0 }],
    ['from_seq', { type: 'subscribe', topic, from_seq: 1, last_n: 1 }],
    ['from_seq', { type: 'subscribe', topic: 'a.*', from_seq: 1 }],
    ['epoch', { type: 'subscribe', topic, epoch: 'e' }],
    ['epoch', { type: 'subscribe', topic, from_seq: 1, epoch: 5 }],
    ['since', { type: 'subscribe', topic, since: '5 minutes' }],
    ['since', { type: 'subscribe', topic, since: 5 }],
    ['cursors', { type: 'subscribe', topic, cursors: {} }],
    ['cursors', { type: 'subscribe', topic: 'a.*', cursors: { 'a.b': 5 } }],
    ['policy', { type: 'subscribe', topic, policy: 'drop_newest' }],
    ['batch', { type: 'subscribe', topic, batch: 1 }],
  ]
  for (const [named, frame] of wrong) {
    const answer = await client.ask(frame)
    expect(answer, JSON.stringify(frame)).toMatchObject({
      type: 'error',
      error: { code: 'BAD_REQUEST', retryable: false },
    })
    expect((answer['error'] as Json)['message'], JSON.stringify(frame)).toContain(named)
  }
  await client.ask({ type: 'publish', topic: 'healthy', message: { payload: 'ok' } })
  await waitUntil(() => client.events.length === 1)
  expect(client.closed).toBeUndefined()
})

test('request_id comes back as it was sent: unicode, quotes, escapes, up to 128 bytes', async () => {
  const { client } = await connected()
  for (const id of [
    '',
    'ü€😀',
    '"quoted" \\ \n\t\u0000',
    '\ud800',
    'é'.repeat(64),
    'x'.repeat(128),
  ]) {
    const from = client.frames.length
    client.send({ type: 'ping', request_id: id })
    client.send({ type: 'publish', topic: 't', message: { payload: 1 }, request_id: id })
    client.send({ type: 'subscribe', topic: '', request_id: id })
    await waitUntil(() => client.frames.length === from + 3)
    const ids = client.frames.slice(from).map(({ request_id: echoed }) => echoed)
    expect(ids).toEqual([id, id, id])
  }
})

test('a request_id over 128 bytes, or no string, is refused and the request is not done', async () => {
  const { client } = await connected()
  for (const id of ['x'.repeat(129), 'é'.repeat(65), 5, {}, true]) {
    const from = client.frames.length
    client.send({ type: 'publish', topic: 't', message: { payload: 1 }, request_id: id })
    const answer = await client.next(({ type }) => type === 'error', from)
    expect(answer).toMatchObject({ error: { code: 'BAD_REQUEST' } })
    expect((answer['error'] as Json)['message']).toContain('request_id')
    expect(answer).not.toHaveProperty('request_id')
  }
  expect(await client.ask({ type: 'subscribe', topic: 't' })).toMatchObject({ seq: 0 })
})

test('frames of the wrong kind and text that is no JSON object get BAD_REQUEST, the connection stays', async () => {
  const { client } = await connected()
  await client.ask({ type: 'subscribe', topic: 't' })
  const malformed = [Buffer.from(PUBLISH), '', 'hello', '{', '[]', 'null', '5', '"publish"', '{}}']
  for (const frame of malformed) {
    const from = client.frames.length
    client.socket.send(frame)
    expect(await client.next(({ type }) => type === 'error', from)).toMatchObject({
      error: { code: 'BAD_REQUEST', retryable: false },
    })
  }
  await client.ask({ type: 'publish', topic: 't', message: { payload: 1 } })
  await waitUntil(() => client.events.length === 1)
  expect(client.closed).toBeUndefined()
})

test('the tenth malformed frame in a row closes with 4503; a good one in between starts the count anew', async () => {
  const { client, wsUrl, http } = await connected()
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 9; n++) client.send('{')
    await client.ask({ type: 'ping' })
  }
  expect(client.closed).toBeUndefined()
  expect(client.frames.filter(({ type }) => type === 'error')).toHaveLength(27)

  const bad = await JsonClient.connect(wsUrl)
  await bad.ask({ type: 'subscribe', topic: 't' })
  for (let n = 0; n < 15; n++) bad.send('{')
  expect((await bad.whenClosed()).code).toBe(4503)
  expect(bad.frames.filter(({ type }) => type === 'error')).toHaveLength(10)
  expect((await http('GET', '/stats')).body).toMatchObject({ connections: 1, subscribers: 0 })
})

test('bad fields are no malformed frames: any number of them leaves the connection open', async () => {
  const { client } = await connected()
  for (let n = 0; n < 30; n++) client.send({ type: 'publish', topic: 't' })
  await client.ask({ type: 'ping' })
  expect(client.frames.filter(({ type }) => type === 'error')).toHaveLength(30)
  expect(client.closed).toBeUndefined()
})

test('headers reach JSON and MessagePack subscribers and the history as they were sent', async () => {
  const { client, wsUrl, http } = await connected()
  const msgpack = await MsgpackClient.connect(wsUrl)
  await client.ask({ type: 'subscribe', topic: 't' })
  await msgpack.ask(2, 't')
  const names = ['trace', '', 'ünï"code', 'constructor', 'toString', '__proto__']
  const headers = Object.fromEntries(names.map((name) => [name, `${name} 😀`]))
  const many = Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`h${n}`, `${n}`]))
  for (const sent of [headers, many, {}]) {
    await client.ask({ type: 'publish', topic: 't', message: { payload: 1, headers: sent } })
  }
  await waitUntil(() => client.events.length === 3 && msgpack.entries.length === 3)
  const received = client.events.map(({ message }) => (message as Json)['headers'])
  expect(received.map((value) => Object.entries(value ?? {}))).toEqual(
    [headers, many, {}].map((value) => Object.entries(value)),
  )
  expect(msgpack.entries[1]?.[5]).toEqual(many)
  const history = (await http('GET', '/topics/t/messages')).body['messages'] as Json[]
  expect(Object.entries(history[0]?.['headers'] as Json)).toEqual(Object.entries(headers))
})

test('payloads come out byte for byte as they went in: big integers, decimals, spacing, escapes', async () => {
  const { client } = await connected()
  const raw: string[] = []
  client.socket.on('message', (data) => raw.push(String(data)))
  await client.ask({ type: 'subscribe', topic: 't' })
  const payloads = [
    '12345678901234567890123',
    '-0',
    '1.10',
    '1e400',
    '0.1000000000000000055511151231257827',
    '{ "a" : [ 1 , 2.0 ] ,\n\t"b" : null }',
    '"\\u00fc \\/ \\ud800 😀 ü"',
    '{"payload":{"payload":1},"payload":2,"id":"x"}',
    '"}],{\\"\\\\"',
    'null',
    'true',
    '[]',
    '{"__proto__":{"x":1}}',
  ]
  for (const payload of payloads) {
    client.send(`{"message" : {"payload": ${payload} }, "topic":"t","type":"publish"}`)
  }
  const batch = payloads.map((payload) => `{"headers":{}, "payload":${payload}}`).join(' , ')
  client.send(`{"type":"publish_batch","messages":[ ${batch} ],"topic":"t"}`)
  await waitUntil(() => client.events.length === payloads.length * 2)
  const events = raw.filter((text) => text.startsWith('{"type":"event"'))
  for (const [index, event] of events.entries()) {
    const payload = payloads[index % payloads.length]
    expect(event).toMatch(/"payload":/)
    expect(event).toContain(`"payload":${payload}${index < payloads.length ? '}' : ''}`)
  }
})

test('member names spelt with escapes or given twice mean what JSON.parse() says they mean', async () => {
  const { client } = await connected()
  await client.ask({ type: 'subscribe', topic: 't' })
  const sent: [string, unknown[]][] = [
    ['"message":5,"m\\u0065ssage":{"payload":1}', [1]],
    ['"message":{"payload":1},"m\\u0065ssage":{"payload":2}', [2]],
    ['"m\\u0065ssage":{"payload":1},"message":{"payload":2}', [2]],
    ['"message":{"payload":1,"p\\u0061yload":12345678901234567890}', [12345678901234567890n]],
    ['"message":{"p\\u0061yload":1,"payload":3}', [3]],
    ['"messages":5,"m\\u0065ssages":[{"payload":4}]', [4]],
    ['"messages":[{"payload":4}],"m\\u0065ssages":[{"payload":5},{"p\\u0061yload":6}]', [5, 6]],
  ]
  let count = 0
  const raw: string[] = []
  client.socket.on('message', (data) => raw.push(String(data)))
  for (const [members, payloads] of sent) {
    const type = members.includes('ssages"') ? 'publish_batch' : 'publish'
    client.send(`{"type":"${type}","topic":"t",${members}}`)
    count += payloads.length
    await waitUntil(() => client.events.length === count)
    const events = raw.filter((text) => text.startsWith('{"type":"event"')).slice(-payloads.length)
    const received = events.map((text) => /"payload":(\d+)/.exec(text)?.[1])
    expect(received).toEqual(payloads.map(String))
  }
})

test('payloads nested as deep as a frame allows are delivered', async () => {
  const { client } = await connected()
  await client.ask({ type: 'subscribe', topic: 't' })
  const deep = `${'['.repeat(32_000)}${']'.repeat(32_000)}`
  const raw: string[] = []
  client.socket.on('message', (data) => raw.push(String(data)))
  client.send(`{"type":"publish","topic":"t","message":{"payload":${deep}}}`)
  await waitUntil(() => raw.length === 1)
  expect(raw[0]).toContain(deep)
})

test('with batch:true the events of a replay come as one events frame', async () => {
  const { client, wsUrl } = await connected()
  const messages = [{ payload: 1 }, { payload: { two: 2 }, headers: { h: '1' } }, { payload: '3' }]
  await client.ask({ type: 'publish_batch', topic: 'a.b', messages })
  const expected = (extra: Json) => ({
    type: 'events',
    topic: 'a.b',
    ...extra,
    events: messages.map((message, index) => ({
      type: 'event',
      topic: 'a.b',
      message: { id: expect.stringMatching(UUID), ...message },
      seq: index + 1,
      ts: expect.stringMatching(ISO_TIME),
    })),
  })
  const plain = await JsonClient.connect(wsUrl)
  await plain.ask({ type: 'subscribe', topic: 'a.b', last_n: 9, batch: true })
  expect(await plain.next(({ type }) => type === 'events')).toEqual(expected({}))
  const wild = await JsonClient.connect(wsUrl)
  await wild.ask({ type: 'subscribe', topic: 'a.*', last_n: 9, batch: true })
  const frame = await wild.next(({ type }) => type === 'events')
  expect(frame).toEqual(expected({ subscription: 'a.*' }))
  await client.ask({ type: 'publish', topic: 'a.b', message: { payload: 4 } })
  const live = await plain.next(({ type }) => type === 'events', 2)
  expect((live['events'] as Json[]).map(({ seq }) => seq)).toEqual([4])
})

test('a pattern delivers what it matches, once for each subscription, with the subscription named', async () => {
  const { client } = await connected()
  const patterns = ['orders.*', 'orders.#', '#', '#.created', '*.eu.*']
  for (const topic of [...patterns, 'orders.eu.created']) {
    expect(await client.ask({ type: 'subscribe', topic })).toMatchObject({ type: 'ack', topic })
  }
  const published = ['orders', 'orders.eu', 'orders.eu.created', 'other']
  for (const topic of published) {
    await client.ask({ type: 'publish', topic, message: { payload: topic } })
  }
  await waitUntil(() => client.events.length >= 11)
  await settled(client)
  const got = client.events.map(({ topic, subscription }) => `${topic} by ${subscription}`)
  expect(got.sort()).toEqual(
    [
      'orders by orders.#',
      'orders by #',
      'orders.eu by orders.*',
      'orders.eu by orders.#',
      'orders.eu by #',
      'orders.eu.created by orders.#',
      'orders.eu.created by #',
      'orders.eu.created by #.created',
      'orders.eu.created by *.eu.*',
      'orders.eu.created by undefined',
      'other by #',
    ].sort(),
  )
  expect(client.events.every((event) => event['seq'] === 1)).toBe(true)
})

test('a pattern whose first segment is a wildcard does not match topics that begin with $', async () => {
  const { client, http } = await connected()
  await client.ask({ type: 'subscribe', topic: '#' })
  await client.ask({ type: 'subscribe', topic: '$sys.a' })
  const { topics } = (await http('GET', '/topics')).body
  expect(topics).toEqual([{ name: '$sys.a', subscribers: 1 }])
})

test('a deleted topic is told to its subscribers, patterns too; both may go on', async () => {
  const { client, http } = await connected()
  await client.ask({ type: 'subscribe', topic: 'a.b' })
  await client.ask({ type: 'subscribe', topic: 'a.*' })
  await client.ask({ type: 'publish', topic: 'a.b', message: { payload: 1 } })
  await http('DELETE', '/topics/a.b')
  await waitUntil(() => client.frames.filter(({ type }) => type === 'info').length === 2)
  const infos = client.frames.filter(({ type }) => type === 'info')
  const info = { type: 'info', code: 'TOPIC_DELETED', topic: 'a.b', ts: expect.any(String) }
  expect(infos).toEqual(expect.arrayContaining([info, { ...info, subscription: 'a.*' }]))
  await client.ask({ type: 'publish', topic: 'a.b', message: { payload: 2 } })
  await waitUntil(() => client.events.length === 3)
  expect(client.events[2]).toMatchObject({ subscription: 'a.*', seq: 1, message: { payload: 2 } })
  expect(await client.ask({ type: 'unsubscribe', topic: 'a.b' })).toMatchObject({ type: 'error' })
  expect(await client.ask({ type: 'subscribe', topic: 'a.b' })).toMatchObject({ seq: 1 })
})

test('a pattern subscribed while the last plain subscription to a topic it matches ends misses nothing', async () => {
  const { client } = await connected()
  await client.ask({ type: 'subscribe', topic: 'a.b' })
  client.send({ type: 'subscribe', topic: 'a.*', request_id: 'wild' })
  client.send({ type: 'unsubscribe', topic: 'a.b', request_id: 'plain' })
  await client.next(({ request_id: id }) => id === 'wild')
  await client.ask({ type: 'publish', topic: 'a.b', message: { payload: 1 } })
  await client.next(({ type }) => type === 'event')
  expect(client.events).toMatchObject([{ subscription: 'a.*', seq: 1 }])
})

test('the ack of a pattern comes before its events, even while one shard is slow to answer', async () => {
  const { client, wsUrl, broker } = await connected()
  const { names } = broker.gateway
  // One topic that is busy on one shard, and on the other so many that telling them takes a while.
  const busy = 'busy.0'
  const slow: string[] = []
  for (let n = 0; slow.length < 3000; n++) {
    const name = `slow.${n}`
    if (names.byName(name).shard !== names.byName(busy).shard) slow.push(name)
  }
  for (const topic of slow) client.send({ type: 'publish', topic, message: { payload: 1 } })
  await client.ask({ type: 'publish', topic: busy, message: { payload: 0 } })
  const publisher = await MsgpackClient.connect(wsUrl)
  const publish = setInterval(() => publisher.send([1, null, busy, [[1, Buffer.from('1')]]]), 1)
  onTestFinished(() => clearInterval(publish))
  for (let round = 0; round < 10; round++) {
    const reader = await JsonClient.connect(wsUrl)
    const isReplay = round % 2 === 1
    if (isReplay) await reader.ask({ type: 'subscribe', topic: 'other' })
    const from = reader.frames.length
    reader.send({
      type: 'subscribe',
      topic: '#',
      request_id: 'r',
      ...(isReplay ? { last_n: 1 } : {}),
    })
    await waitUntil(() => reader.events.some(({ topic }) => topic === busy))
    expect(reader.frames[from]).toMatchObject({ type: 'ack', request_id: 'r' })
    const seqs = reader.events.filter(({ topic }) => topic === busy).map(({ seq }) => Number(seq))
    expect(seqs).toEqual(seqs.map((_, index) => (seqs[0] as number) + index))
    reader.socket.terminate()
  }
})
