/** PROTOCOL.md section 2, row by row, and the limits that are seen at either door. */
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import {
  type Json,
  JsonClient,
  MsgpackClient,
  sleep,
  startBroker,
  type TestBroker,
  waitUntil,
} from './harness.js'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** A request that may be what fetch() would not send. */
function send(
  { httpUrl }: TestBroker,
  method: string,
  path: string,
  options: { body?: string | Buffer; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const { hostname, port } = new URL(httpUrl)
  return new Promise((resolve, reject) => {
    const { headers = {}, body } = options
    const sent = request({ hostname, port, method, path, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const { statusCode: status = 0, headers: received } = response
        resolve({ status, headers: received, text: Buffer.concat(chunks).toString() })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Sends these one after the other on one connection, each when the last was answered. */
async function sendRaw({ httpUrl }: TestBroker, ...requests: string[]): Promise<string[]> {
  const socket = connect(Number(new URL(httpUrl).port), '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  const answers: string[] = []
  for (const bytes of requests) {
    let text = ''
    const take = (chunk: Buffer) => {
      text += chunk
    }
    socket.on('data', take)
    socket.write(bytes)
    await waitUntil(() => text.includes('\r\n\r\n'))
    await sleep(20) // For a body that should not be there.
    socket.off('data', take)
    answers.push(text)
  }
  return answers
}

/** Status and code of an upgrade that was refused. */
function refusedUpgrade(url: string, origin?: string): Promise<{ status: number; text: string }> {
  const socket = new WebSocket(url, origin === undefined ? {} : { origin })
  return new Promise((resolve, reject) => {
    socket.on('open', () => {
      socket.terminate()
      reject(new Error('not refused'))
    })
    socket.on('unexpected-response', (_request, response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    socket.on('error', () => {})
  })
}

function errorCode(answer: Json): unknown {
  return (answer['error'] as Json | undefined)?.['code']
}

test('topics are created, listed, described, published to, read, deleted: every row of section 2', async () => {
  const broker = await startBroker()
  const { http, wsUrl } = broker
  expect(await http('POST', '/topics', { name: 'orders' })).toEqual({
    status: 201,
    body: { status: 'created', topic: 'orders' },
  })
  expect(await http('POST', '/topics', { name: 'orders' })).toEqual({
    status: 200,
    body: { status: 'exists', topic: 'orders' },
  })
  const subscriber = await JsonClient.connect(wsUrl)
  await subscriber.ask({ type: 'subscribe', topic: 'orders', client_id: 's1' })
  expect(await http('GET', '/topics')).toEqual({
    status: 200,
    body: { topics: [{ name: 'orders', subscribers: 1 }] },
  })

  const id = '550e8400-e29b-41d4-a716-446655440000'
  const message = { id, payload: { n: 1 }, headers: { h: 'v' } }
  const published = await http('POST', '/topics/orders/messages', { message })
  expect(published).toMatchObject({
    status: 200,
    body: { status: 'published', topic: 'orders', first_seq: 1, last_seq: 1 },
  })
  const messages = [{ payload: 2 }, { payload: '3' }]
  expect(await http('POST', '/topics/orders/messages', { messages })).toMatchObject({
    status: 200,
    body: { status: 'published', topic: 'orders', first_seq: 2, last_seq: 3 },
  })
  await waitUntil(() => subscriber.events.length === 3)
  expect(subscriber.events[0]).toMatchObject({ seq: 1, message })

  const { epoch } = published.body
  const info = await http('GET', '/topics/orders')
  expect(info).toMatchObject({
    status: 200,
    body: { name: 'orders', epoch, first_seq: 1, last_seq: 3, messages: 3, subscribers: 1 },
  })
  expect(info.body['bytes']).toBeGreaterThan(0)
  expect([0, 1]).toContain(info.body['worker'])
  expect(info.body['subscriptions']).toMatchObject([{ client_id: 's1', subscription: 'orders' }])

  const ts = expect.stringMatching(ISO_TIME)
  expect(await http('GET', '/topics/orders/messages?last_n=10')).toEqual({
    status: 200,
    body: {
      topic: 'orders',
      epoch,
      messages: [
        { seq: 1, ts, ...message },
        { seq: 2, ts, id: expect.stringMatching(UUID), payload: 2 },
        { seq: 3, ts, id: expect.stringMatching(UUID), payload: '3' },
      ],
      next_seq: 4,
    },
  })

  const health = await http('GET', '/health')
  expect(health).toMatchObject({ status: 200, body: { status: 'ok', topics: 1, subscribers: 1 } })
  expect(health.body['uptime_sec']).toBeGreaterThanOrEqual(0)
  expect(await http('GET', '/stats')).toMatchObject({
    status: 200,
    body: {
      topics: { orders: { messages: 3, subscribers: 1 } },
      connections: 1,
      gateway: { messagesDelivered: 3 },
    },
  })

  expect(await http('DELETE', '/topics/orders')).toEqual({
    status: 200,
    body: { status: 'deleted', topic: 'orders' },
  })
  const told = await subscriber.next(({ type }) => type === 'info')
  expect(told).toMatchObject({ code: 'TOPIC_DELETED', topic: 'orders' })
  for (const [method, path] of [
    ['DELETE', '/topics/orders'],
    ['GET', '/topics/orders'],
    ['GET', '/topics/orders/messages'],
  ] as const) {
    const answer = await http(method, path)
    expect([answer.status, errorCode(answer.body)], path).toEqual([404, 'TOPIC_NOT_FOUND'])
  }
  expect(await http('GET', '/topics')).toEqual({ status: 200, body: { topics: [] } })
})

test('history is read page by page: last_n, from_seq with limit, next_seq', async () => {
  const { http } = await startBroker()
  const messages = Array.from({ length: 25 }, (_, n) => ({ payload: n + 1 }))
  await http('POST', '/topics/t/messages', { messages })
  const read = async (query: string) => {
    const { body } = await http('GET', `/topics/t/messages${query}`)
    const seqs = (body['messages'] as Json[]).map(({ seq }) => seq as number)
    return [seqs[0], seqs.at(-1), seqs.length, body['next_seq']]
  }
  expect(await read('')).toEqual([1, 25, 25, 26])
  expect(await read('?last_n=10')).toEqual([16, 25, 10, 26])
  expect(await read('?last_n=1000000')).toEqual([1, 25, 25, 26])
  expect(await read('?limit=5')).toEqual([21, 25, 5, 26])
  expect(await read('?from_seq=1&limit=10')).toEqual([1, 10, 10, 11])
  expect(await read('?from_seq=11&limit=10')).toEqual([11, 20, 10, 21])
  expect(await read('?from_seq=21&limit=10')).toEqual([21, 25, 5, 26])
  expect(await read('?from_seq=26&limit=10')).toEqual([undefined, undefined, 0, 26])
  for (const query of [
    '?last_n=0',
    '?last_n=-1',
    '?last_n=x',
    '?last_n=',
    '?last_n=1e2',
    '?from_seq=0',
    '?from_seq=1.5',
    '?limit=0',
    '?from_seq=99999999999999999999',
    '?last_n=5&from_seq=1',
  ]) {
    const { status, body } = await http('GET', `/topics/t/messages${query}`)
    expect([status, errorCode(body)], query).toEqual([400, 'BAD_REQUEST'])
  }
})

test('a history of more than one answer holds is read whole by following next_seq', async () => {
  const { http, wsUrl } = await startBroker()
  const client = await MsgpackClient.connect(wsUrl)
  const count = 60
  for (let n = 1; n <= count; n++) {
    client.send([1, null, 't', [[1, Buffer.from(`"${String(n).padEnd(60_000, 'x')}"`)]]])
  }
  await client.ask(4)
  await client.ask(1, 't', [[1, Buffer.from('"end"')]])
  const seqs: unknown[] = []
  let answers = 0
  for (let next = 1; next <= count; answers++) {
    const { body } = await http('GET', `/topics/t/messages?from_seq=${next}&limit=1000`)
    seqs.push(...(body['messages'] as Json[]).map(({ seq }) => seq))
    next = body['next_seq'] as number
  }
  expect(seqs).toEqual(Array.from({ length: count + 1 }, (_, index) => index + 1))
  expect(answers).toBeGreaterThan(5)
})

test('wrong methods get 405 with Allow, unknown paths 404, bad names and bodies 400', async () => {
  const broker = await startBroker()
  for (const [path, allow] of [
    ['/health', 'GET'],
    ['/stats', 'GET'],
    ['/topics', 'GET, POST'],
    ['/topics/t', 'GET, DELETE'],
    ['/topics/t/messages', 'GET, POST'],
  ] as const) {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'FOO']) {
      if (allow.includes(method)) continue
      const { status, headers, text } = await send(broker, method, path)
      expect([status, headers.allow], `${method} ${path}`).toEqual([405, allow])
      expect(errorCode(JSON.parse(text))).toBe('BAD_REQUEST')
    }
  }
  const paths = [
    '/',
    '/x',
    '/topics/',
    '/topics/t/',
    '/topics/t/x',
    '/topics/t/messages/1',
    '/health/',
    '//health',
    '/TOPICS',
    '/ws/x',
  ]
  for (const path of paths) {
    const { status, text, headers } = await send(broker, 'GET', path)
    expect([status, errorCode(JSON.parse(text))], path).toEqual([404, 'BAD_REQUEST'])
    expect(headers['content-type']).toBe('application/json')
  }
  expect((await send(broker, 'GET', '/ws')).status).toBe(400)
  const bad: [string, string, string?][] = [
    ['GET', '/topics/%ff'],
    ['GET', '/topics/a%20b'],
    ['GET', '/topics/a..b'],
    ['GET', '/topics/a.*'],
    ['GET', '/topics/%'],
    ['GET', `/topics/${'x'.repeat(256)}`],
    ['POST', '/topics', ''],
    ['POST', '/topics', '[]'],
    ['POST', '/topics', '{"name":5}'],
    ['POST', '/topics', '{"name":"a b"}'],
    ['POST', '/topics', '{"name":"a.*"}'],
    ['POST', '/topics', '{"name":"$sys"}'],
    ['DELETE', '/topics/$sys'],
    ['POST', '/topics/t/messages', ''],
    ['POST', '/topics/t/messages', '{'],
    ['POST', '/topics/t/messages', '{}'],
    ['POST', '/topics/t/messages', '{"message":{}}'],
    ['POST', '/topics/t/messages', '{"messages":[]}'],
    ['POST', '/topics/t/messages', '{"message":{"payload":1,"id":"x"}}'],
    ['POST', '/topics/$sys/messages', '{"message":{"payload":1}}'],
  ]
  for (const [method, path, body] of bad) {
    const { status, text } = await send(broker, method, path, body === undefined ? {} : { body })
    expect([status, errorCode(JSON.parse(text))], `${method} ${path} ${body}`).toEqual([
      400,
      'BAD_REQUEST',
    ])
  }
  expect((await broker.http('GET', '/topics')).body).toEqual({ topics: [] })
})

test('percent-encoded names are the topics they spell, in every path', async () => {
  const { http, wsUrl } = await startBroker()
  const client = await JsonClient.connect(wsUrl)
  for (const name of ['ü€😀', 'a/b', 'a?b&c=d', '100%', 'a+b', '__proto__', 'constructor', '"']) {
    const path = `/topics/${encodeURIComponent(name)}`
    expect((await http('POST', '/topics', { name })).status).toBe(201)
    await client.ask({ type: 'subscribe', topic: name })
    const { body } = await http('POST', `${path}/messages`, { message: { payload: name } })
    expect(body).toMatchObject({ topic: name, first_seq: 1 })
    expect((await http('GET', path)).body).toMatchObject({ name, last_seq: 1, subscribers: 1 })
    expect((await http('GET', `${path}/messages`)).body).toMatchObject({ topic: name, next_seq: 2 })
    const { topics } = (await http('GET', '/stats')).body
    expect(Object.entries(topics as Json)).toEqual([
      [name, { messages: 1, held: 1, subscribers: 1 }],
    ])
    expect((await http('DELETE', path)).body).toEqual({ status: 'deleted', topic: name })
  }
  await waitUntil(() => client.events.length === 8)
})

test('HEAD is answered as GET without a body, so that the connection can be used again', async () => {
  const broker = await startBroker()
  const get = 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n'
  for (const path of ['/health', '/stats', '/topics', '/nothing', '/topics/nothing']) {
    const requests = [`HEAD ${path} HTTP/1.1\r\nHost: x\r\n\r\n`, get]
    const [first = '', second = ''] = await sendRaw(broker, ...requests)
    expect(first, path).toMatch(path.includes('nothing') ? /^HTTP\/1\.1 404 / : /^HTTP\/1\.1 200 /)
    expect(first.toLowerCase(), path).toMatch(/content-length: [1-9]\d*\r\n/)
    expect(first.split('\r\n\r\n')[1], path).toBe('')
    expect(second, path).toMatch(/^HTTP\/1\.1 200 /)
    expect(JSON.parse(second.split('\r\n\r\n')[1] as string)).toMatchObject({ status: 'ok' })
  }
})

test('requests that do not wait for the answer before them end the connection, and nothing else', async () => {
  const broker = await startBroker()
  const text = `GET /topics HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(3)
  const socket = connect(Number(new URL(broker.httpUrl).port), '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  let isClosed = false
  socket
    .on('error', () => {})
    .on('close', () => {
      isClosed = true
    })
  socket.resume().write(text)
  await waitUntil(() => isClosed)
  expect((await broker.http('GET', '/health')).body).toMatchObject({ status: 'ok' })
  await waitUntil(() => broker.broker.gateway.requests.size === 0)
})

test('a body over MAX_FRAME_BYTES gets 413, one that is no UTF-8 gets 400, and neither is stored', async () => {
  const broker = await startBroker({ MAX_FRAME_BYTES: '8KiB', MAX_PAYLOAD_BYTES: '4KiB' })
  const { http, wsUrl } = broker
  const subscriber = await JsonClient.connect(wsUrl)
  await subscriber.ask({ type: 'subscribe', topic: 't' })
  for (const size of [8 * 1024 + 1, 100_000, 3_000_000]) {
    const body = `{"message":{"payload":"${'x'.repeat(size - 26)}"}}`
    const { status, text } = await send(broker, 'POST', '/topics/t/messages', { body })
    expect([status, errorCode(JSON.parse(text))]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
  }
  for (const size of [4 * 1024 + 1, 8 * 1024 - 40]) {
    const body = `{"message":{"payload":"${'x'.repeat(size - 2)}"}}`
    const { status, text } = await send(broker, 'POST', '/topics/t/messages', { body })
    expect([status, errorCode(JSON.parse(text))]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
  }
  const invalid = Buffer.from('{"message":{"payload":"\xff\xfe"}}', 'latin1')
  const { status, text } = await send(broker, 'POST', '/topics/t/messages', { body: invalid })
  expect([status, errorCode(JSON.parse(text))]).toEqual([400, 'BAD_REQUEST'])
  const body = `{"message":{"payload":"${'x'.repeat(4 * 1024 - 2)}"}}`
  expect((await send(broker, 'POST', '/topics/t/messages', { body })).status).toBe(200)
  await waitUntil(() => subscriber.events.length > 0)
  expect(subscriber.events).toMatchObject([{ seq: 1 }])
  expect((await http('GET', '/topics/t')).body).toMatchObject({ messages: 1 })
})

test('a WebSocket payload over MAX_PAYLOAD_BYTES gets PAYLOAD_TOO_LARGE, a frame over MAX_FRAME_BYTES ends the connection', async () => {
  const { wsUrl } = await startBroker({ MAX_FRAME_BYTES: '8KiB', MAX_PAYLOAD_BYTES: '4KiB' })
  const client = await JsonClient.connect(wsUrl)
  const msgpack = await MsgpackClient.connect(wsUrl)
  const publish = (length: number) =>
    client.ask({ type: 'publish', topic: 't', message: { payload: 'x'.repeat(length - 2) } })
  expect(await publish(4096)).toMatchObject({ type: 'ack' })
  expect(await publish(4097)).toMatchObject({
    type: 'error',
    error: { code: 'PAYLOAD_TOO_LARGE', retryable: false },
  })
  expect((await msgpack.ask(1, 't', [[2, Buffer.alloc(4096)]]))[0]).toBe(33)
  const refused = await msgpack.ask(1, 't', [[2, Buffer.alloc(4097)]])
  expect(refused).toEqual([35, refused[1], 'PAYLOAD_TOO_LARGE', expect.any(String), false])
  client.send(' '.repeat(8193))
  msgpack.socket.send(Buffer.alloc(8193))
  await client.whenClosed()
  await msgpack.whenClosed()
  const other = await JsonClient.connect(wsUrl)
  expect(await other.ask({ type: 'subscribe', topic: 't' })).toMatchObject({ seq: 2 })
})

test('CORS_ORIGINS: listed origins get headers and may upgrade, others get neither, no origin may', async () => {
  const origin = 'https://app.example'
  const broker = await startBroker({ CORS_ORIGINS: `${origin},http://localhost:3000` })
  const { wsUrl } = broker
  const cors = 'access-control-allow-origin'
  const allowed = await send(broker, 'GET', '/health', { headers: { origin } })
  expect(allowed.headers[cors]).toBe(origin)
  expect(allowed.headers.vary).toBe('Origin')
  const notFound = await send(broker, 'GET', '/nothing', { headers: { origin } })
  expect(notFound.headers[cors]).toBe(origin)
  const preflight = await send(broker, 'OPTIONS', '/topics/t/messages', {
    headers: { origin, 'access-control-request-method': 'POST' },
  })
  expect(preflight.status).toBe(204)
  expect(preflight.headers[cors]).toBe(origin)
  const methods = preflight.headers['access-control-allow-methods']?.split(', ')
  expect(methods).toEqual(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
  expect(preflight.headers['access-control-allow-headers']).toContain('Content-Type')
  for (const method of ['GET', 'OPTIONS']) {
    const other = await send(broker, method, '/health', {
      headers: { origin: 'https://evil.example' },
    })
    expect(other.headers).not.toHaveProperty(cors)
    expect((await send(broker, method, '/health')).headers).not.toHaveProperty(cors)
  }
  for (const fine of [{ origin }, {}]) {
    const socket = new WebSocket(wsUrl, fine)
    onTestFinished(() => socket.terminate())
    await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
  }
  const refused = await refusedUpgrade(wsUrl, 'https://evil.example')
  expect([refused.status, errorCode(JSON.parse(refused.text))]).toEqual([403, 'BAD_REQUEST'])
})

test('without CORS_ORIGINS there are no CORS headers and any origin may upgrade; with * everybody has both', async () => {
  const origin = 'https://any.example'
  const closed = await startBroker()
  const open = await startBroker({ CORS_ORIGINS: '*' })
  const cors = 'access-control-allow-origin'
  expect((await send(closed, 'GET', '/health', { headers: { origin } })).headers[cors]).toBe(
    undefined,
  )
  expect((await send(open, 'GET', '/health', { headers: { origin } })).headers[cors]).toBe(origin)
  for (const { wsUrl } of [closed, open]) {
    const socket = new WebSocket(wsUrl, { origin })
    onTestFinished(() => socket.terminate())
    await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
  }
})

test('with AUTO_CREATE_TOPICS=false only created topics can be used, others are TOPIC_NOT_FOUND', async () => {
  const { http, wsUrl } = await startBroker({ AUTO_CREATE_TOPICS: 'false' })
  const client = await JsonClient.connect(wsUrl)
  const msgpack = await MsgpackClient.connect(wsUrl)
  const subscribe = { type: 'subscribe', topic: 't' }
  const publish = { type: 'publish', topic: 't', message: { payload: 1 } }
  for (const frame of [subscribe, publish]) {
    expect(await client.ask(frame)).toMatchObject({
      type: 'error',
      error: { code: 'TOPIC_NOT_FOUND', retryable: false },
    })
  }
  expect((await msgpack.ask(1, 't', [[1, Buffer.from('1')]]))[2]).toBe('TOPIC_NOT_FOUND')
  expect((await msgpack.ask(2, 't'))[2]).toBe('TOPIC_NOT_FOUND')
  const refused = await http('POST', '/topics/t/messages', { message: { payload: 1 } })
  expect([refused.status, errorCode(refused.body)]).toEqual([404, 'TOPIC_NOT_FOUND'])
  expect((await http('GET', '/health')).body).toMatchObject({ topics: 0, subscribers: 0 })
  expect(await client.ask({ type: 'subscribe', topic: '#' })).toMatchObject({ type: 'ack' })
  await http('POST', '/topics', { name: 't' })
  expect(await client.ask(subscribe)).toMatchObject({ type: 'ack', seq: 0 })
  expect(await client.ask(publish)).toMatchObject({ type: 'ack', seq: 1 })
  await waitUntil(() => client.events.length === 2)
})

test('MAX_TOPICS: the one too many is refused at every door, and fits again after a delete', async () => {
  const { http, wsUrl } = await startBroker({ MAX_TOPICS: '3', WORKERS: '1' })
  const client = await JsonClient.connect(wsUrl)
  for (const name of ['a', 'b', 'c']) await http('POST', '/topics', { name })
  const refused = await http('POST', '/topics', { name: 'd' })
  expect([refused.status, errorCode(refused.body)]).toEqual([429, 'LIMIT_EXCEEDED'])
  const publish = { type: 'publish', topic: 'd', message: { payload: 1 } }
  for (const frame of [publish, { type: 'subscribe', topic: 'd' }]) {
    expect(await client.ask(frame)).toMatchObject({
      error: { code: 'LIMIT_EXCEEDED', retryable: false },
    })
  }
  expect((await http('GET', '/health')).body).toMatchObject({ topics: 3, subscribers: 0 })
  await http('DELETE', '/topics/a')
  expect(await client.ask(publish)).toMatchObject({ type: 'ack', seq: 1 })
})

test('MAX_CONNECTIONS: further upgrades get 503 until somebody leaves; HTTP goes on', async () => {
  const { http, wsUrl } = await startBroker({ MAX_CONNECTIONS: '2' })
  const first = await JsonClient.connect(wsUrl)
  await JsonClient.connect(wsUrl)
  const refused = await refusedUpgrade(wsUrl)
  expect([refused.status, errorCode(JSON.parse(refused.text))]).toEqual([503, 'LIMIT_EXCEEDED'])
  expect(await http('GET', '/health')).toMatchObject({ status: 200, body: { connections: 2 } })
  first.socket.close()
  await first.whenClosed()
  await JsonClient.connect(wsUrl)
})

test('MAX_SUBSCRIPTIONS_PER_CONNECTION, MAX_SUBSCRIBERS_PER_TOPIC and MAX_PATTERNS are refused beyond', async () => {
  const { http, wsUrl } = await startBroker({
    MAX_SUBSCRIPTIONS_PER_CONNECTION: '3',
    MAX_SUBSCRIBERS_PER_TOPIC: '2',
    MAX_PATTERNS: '2',
  })
  const clients = await Promise.all([1, 2, 3].map(() => JsonClient.connect(wsUrl)))
  const [a, b, c] = clients as [JsonClient, JsonClient, JsonClient]
  const subscribe = (client: JsonClient, topic: string) => client.ask({ type: 'subscribe', topic })
  const limited = { type: 'error', error: { code: 'LIMIT_EXCEEDED', retryable: false } }
  for (const topic of ['t', 'u', 'a.*'])
    expect(await subscribe(a, topic)).toMatchObject({ type: 'ack' })
  for (const topic of ['v', 'b.*']) expect(await subscribe(a, topic)).toMatchObject(limited)
  expect(await subscribe(b, 't')).toMatchObject({ type: 'ack' })
  expect(await subscribe(c, 't')).toMatchObject(limited)
  for (const topic of ['a.*', 'b.*'])
    expect(await subscribe(b, topic)).toMatchObject({ type: 'ack' })
  for (const topic of ['a.*', 'c.*']) expect(await subscribe(c, topic)).toMatchObject(limited)
  await a.ask({ type: 'unsubscribe', topic: 'a.*' })
  expect(await subscribe(c, 'a.*')).toMatchObject({ type: 'ack' })
  a.socket.close()
  await a.whenClosed()
  expect(await subscribe(c, 't')).toMatchObject({ type: 'ack' })
  expect((await http('GET', '/health')).body).toMatchObject({ subscribers: 5 })
})

test('MAX_IN_FLIGHT_PUBLISHES: what waits for an ack beyond it gets OVERLOADED and is not stored', async () => {
  const { http, wsUrl } = await startBroker({ MAX_IN_FLIGHT_PUBLISHES: '10' })
  const client = await MsgpackClient.connect(wsUrl)
  const frames = Array.from({ length: 100 }, (_, n) => [1, n, 't', [[1, Buffer.from(`${n}`)]]])
  client.send(...frames) // One WebSocket frame: all of it is read before an ack can come.
  await waitUntil(() => client.frames.length === 100)
  const acked = client.frames.filter(([op]) => op === 33)
  const refused = client.frames.filter(([op]) => op === 35)
  expect(acked.length).toBeGreaterThanOrEqual(10)
  expect(refused.length).toBeGreaterThan(0)
  for (const frame of refused)
    expect(frame.slice(2)).toEqual(['OVERLOADED', expect.any(String), true])
  expect((await http('GET', '/topics/t')).body).toMatchObject({ messages: acked.length })
  // Publishes that want no ack do not count, and the refused ones have left no trace.
  client.send(...frames.map(([op, , ...rest]) => [op, null, ...rest]))
  for (let n = 0; n < 20; n++)
    expect((await client.ask(1, 't', [[1, Buffer.from('1')]]))[0]).toBe(33)
  expect((await http('GET', '/topics/t')).body).toMatchObject({ messages: acked.length + 120 })
})

test('HTTP requests that are aborted at any moment leave nothing behind', async () => {
  const broker = await startBroker()
  const { http, fatal } = broker
  const port = Number(new URL(broker.httpUrl).port)
  const body = '{"message":{"payload":1}}'
  const requests = [
    'GET /stats HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /topics/t/messages HTTP/1.1\r\nHost: x\r\n\r\n',
    `POST /topics/t/messages HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    `POST /topics/t/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n${body}`,
    'GET /top',
    'GET /stats HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n',
  ]
  await http('POST', '/topics', { name: 't' })
  for (let n = 0; n < 300; n++) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    await new Promise((resolve) => socket.write(requests[n % requests.length] as string, resolve))
    if (n % 3 === 0) socket.resetAndDestroy()
    else if (n % 3 === 1) socket.destroy()
    else setTimeout(() => socket.destroy(), n % 5)
  }
  await waitUntil(() => broker.broker.gateway.requests.size === 0)
  expect((await http('GET', '/health')).body).toMatchObject({ status: 'ok', connections: 0 })
  expect((await http('GET', '/stats')).status).toBe(200)
  expect(fatal).toEqual([])
})

test('GET /stats tells process and configuration, and each thread with THREAD_TIMINGS', async () => {
  const quiet = await startBroker({ WORKERS: '1' })
  const { body } = await quiet.http('GET', '/stats?topics=none')
  expect(body).toMatchObject({
    process: { node: process.version, cpu_seconds: expect.any(Number) },
    config: { WORKERS: '1', THREAD_TIMINGS: 'false', MAX_PAYLOAD_BYTES: '64KiB' },
  })
  expect(body).not.toHaveProperty('threads')

  const { http } = await startBroker({ WORKERS: '2', THREAD_TIMINGS: 'true' })
  type Thread = { name: string; event_loop_delay: { max_ms: number } }
  let threads: Thread[] = []
  // A second after its start each thread has something to tell.
  for (let i = 0; i < 50 && !(threads.length > 0 && threads.every(isMeasured)); i++) {
    await sleep(100)
    threads = (await http('GET', '/stats?topics=none')).body['threads'] as Thread[]
  }
  expect(threads.map(({ name }) => name)).toEqual(['front', 'shard-0', 'shard-1'])
  expect(threads.every(isMeasured)).toBe(true)
  function isMeasured({ event_loop_delay }: Thread): boolean {
    return event_loop_delay.max_ms > 0
  }
})
