import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import WebSocket, { WebSocketServer } from 'ws'
import {
  ConnectionClosedError,
  connect,
  type Message,
  SubscribeError,
} from '../../src/client/ringcast.js'
import { startBroker } from '../broker/harness.js'
import { event, Log, open, sleep, waitUntil } from './harness.js'

const ENCODINGS = ['msgpack', 'json'] as const

test.each(ENCODINGS)(
  '%s: what is published comes, with everything that belongs to it',
  async (encoding) => {
    const { wsUrl } = await startBroker()
    const client = await open(wsUrl, { encoding })
    const log = new Log()
    await client.subscribe('orders.*', log.add).ready
    const id = '550e8400-e29b-41d4-a716-446655440000'
    const before = Date.now()
    const result = await client.publish('orders.new', { n: 1 }, { id, headers: { source: 'test' } })
    expect(result).toEqual({ seq: 1, epoch: expect.stringMatching(/^[0-9a-f]+$/) })
    await log.whenLength(1)
    const {
      topic,
      pattern,
      seq,
      epoch,
      payload,
      headers,
      id: gotId,
      timeMs,
    } = log.messages[0] as Message
    expect({ topic, pattern, payload, headers, id: gotId }).toEqual({
      topic: 'orders.new',
      pattern: 'orders.*',
      payload: { n: 1 },
      headers: { source: 'test' },
      id,
    })
    expect({ seq, epoch }).toEqual(result)
    expect(timeMs).toBeGreaterThanOrEqual(before - 1000)
  },
)

test.each(ENCODINGS)(
  '%s: order of a topic is that of the calls, whatever they are',
  async (encoding) => {
    const { wsUrl } = await startBroker()
    const client = await open(wsUrl, { encoding })
    const log = new Log()
    await client.subscribe('t', log.add).ready
    const results: Promise<unknown>[] = []
    const expected: number[] = []
    for (let n = 0; n < 3000; n++) {
      if (n % 7 === 0) {
        results.push(client.publishBatch('t', [n, n + 0.5]))
        expected.push(n, n + 0.5)
      } else if (n % 3 === 0) {
        expect(client.publishNow('t', n)).toBe(true)
        expected.push(n)
      } else {
        results.push(client.publish('t', n))
        expected.push(n)
      }
      if (n % 500 === 0) await sleep(1)
    }
    await Promise.all(results)
    await log.whenLength(expected.length)
    expect(log.payloads).toEqual(expected)
  },
)

test('connections of either encoding and codec read each other', async () => {
  const { wsUrl } = await startBroker()
  const json = await open(wsUrl, { encoding: 'json' })
  const msgpack = await open(wsUrl)
  const mixed = await open(wsUrl, { codec: 'json' })
  const bytes = await open(wsUrl, { codec: 'bytes' })
  const clients = [json, msgpack, mixed, bytes]
  const logs = clients.map((client) => {
    const log = new Log()
    return { log, ready: client.subscribe('t', log.add).ready }
  })
  await Promise.all(logs.map(({ ready }) => ready))
  await json.publish('t', { from: 'json' })
  await msgpack.publish('t', { from: 'msgpack' })
  await mixed.publish('t', { from: 'mixed' })
  await bytes.publish('t', Uint8Array.of(1, 2, 255))
  for (const { log } of logs) {
    await log.whenLength(4)
    expect(log.payloads.slice(0, 3)).toEqual(['json', 'msgpack', 'mixed'].map((from) => ({ from })))
    expect(Buffer.from(log.payloads[3] as Uint8Array)).toEqual(Buffer.of(1, 2, 255))
  }
})

test('publish() says what was wrong, and one wrong message costs only itself', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl, { codec: 'bytes' })
  const log = new Log()
  await client.subscribe('t', log.add).ready
  const results = await Promise.allSettled([
    client.publish('t', Uint8Array.of(1)),
    client.publish('t', new Uint8Array(65_537)),
    client.publish('t', Uint8Array.of(3), { headers: { n: 1 as unknown as string } }),
    client.publish('t', 'text'),
    client.publish('t', Uint8Array.of(5), { id: 'x' }),
    client.publish('$broker', Uint8Array.of(6)),
    client.publish('t', Uint8Array.of(7)),
  ])
  const told = results.map((result) =>
    result.status === 'fulfilled' ? 'stored' : [result.reason.name, result.reason.code],
  )
  expect(told).toEqual([
    'stored',
    ['PublishError', 'PAYLOAD_TOO_LARGE'],
    ['PublishError', 'BAD_REQUEST'],
    ['InvalidPayloadError', 'INVALID_PAYLOAD'],
    ['InvalidPayloadError', 'INVALID_PAYLOAD'],
    ['PublishError', 'BAD_REQUEST'],
    'stored',
  ])
  await log.whenLength(2)
  expect(log.payloads.map((payload) => (payload as Uint8Array)[0])).toEqual([1, 7])
  await expect(
    client.publishBatch('t', [Uint8Array.of(8), new Uint8Array(65_537)]),
  ).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
  await client.publish('t', Uint8Array.of(9))
  await log.whenLength(3)
  expect((log.payloads[2] as Uint8Array)[0]).toBe(9)
})

test('a refusal of a publish that nobody waits for is an error event', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const errors: Error[] = []
  client.on('error', (error) => errors.push(error))
  expect(client.publishNow('white space', 1)).toBe(true)
  await waitUntil(() => errors.length > 0)
  expect(errors[0]).toMatchObject({ name: 'PublishError', code: 'BAD_REQUEST' })
})

test('publishNow() refuses when too much is buffered, and drain says when it is over', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl, { codec: 'bytes', highWaterMarkBytes: 200_000 })
  const payload = new Uint8Array(10_000)
  let taken = 0
  while (client.publishNow('t', payload)) taken++
  // The kernel's buffer comes on top of ours.
  expect(taken).toBeGreaterThan(15)
  await event(client, 'drain')
  expect(client.publishNow('t', payload)).toBe(true)
  const waiting = Array.from({ length: 200 }, () => client.publish('t', payload))
  expect((await Promise.all(waiting)).at(-1)?.seq).toBe(taken + 1 + 200)
})

test('connect() tells why it could not, and leaves nothing', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  const url = `ws://127.0.0.1:${port}/ws`
  const failing = connect(url, { connectTimeoutMs: 100, reconnectBaseMs: 5 })
  await expect(failing).rejects.toThrow(ConnectionClosedError)
  await expect(failing).rejects.toThrow(/within 100 ms: .*ECONNREFUSED/)
  await expect(connect('no url')).rejects.toMatchObject({
    code: 'CONNECTION_CLOSED',
    retryable: false,
  })
  await expect(connect(url, { maxInFlight: 0 })).rejects.toThrow('maxInFlight=0 must be')
  await expect(connect(url, { encoding: 'json', codec: 'bytes' })).rejects.toThrow(TypeError)
})

test('connect() gives up a try that is accepted and never answered', async () => {
  const sockets: { destroy(): void }[] = []
  const server = createServer((socket) => sockets.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as { port: number }
  const options = { connectTimeoutMs: 400, attemptTimeoutMs: 50, reconnectBaseMs: 5 }
  const failing = connect(`ws://127.0.0.1:${port}/ws`, options)
  await expect(failing).rejects.toThrow('no handshake within 50 ms')
  expect(sockets.length).toBeGreaterThan(2)
})

test('a client tells its states, and takes a WebSocket class of one’s own', async () => {
  const { wsUrl } = await startBroker()
  let made = 0
  class Counted extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      made++
    }
  }
  const client = await open(wsUrl, { WebSocket: Counted as never })
  const states: string[] = [client.state]
  client.on('state', (state) => states.push(state))
  await client.drain()
  expect([states, made]).toEqual([['open', 'draining', 'closed'], 1])
  await client.drain() // Again: nothing to do.
  client.close()
  expect(() => client.subscribe('t')).toThrow(ConnectionClosedError)
  await expect(client.publish('t', 1)).rejects.toThrow(ConnectionClosedError)
  expect(client.publishNow('t', 1)).toBe(false)
})

test('a client can be closed by whoever hears of its states', async () => {
  const { wsUrl, broker } = await startBroker()
  const client = await open(wsUrl)
  client.on('state', () => client.close())
  await broker.stop()
  await waitUntil(() => client.state === 'closed')
})

test('drain() lets handlers finish, and what they publish is confirmed', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const other = await open(wsUrl)
  const log = new Log()
  await other.subscribe('done', log.add).ready
  const handled: unknown[] = []
  const subscription = client.subscribe('t', async ({ payload }) => {
    await sleep(10)
    await client.publish('done', payload)
    handled.push(payload)
  })
  const paused = client.subscribe('p', () => {})
  await Promise.all([subscription.ready, paused.ready])
  paused.pause()
  for (let n = 0; n < 10; n++) await other.publish('t', n)
  await waitUntil(() => handled.length > 0)
  client.publishNow('done', 'now')
  await client.drain()
  expect([handled.length, client.state, subscription.isEnded]).toEqual([10, 'closed', true])
  await log.whenLength(11)
})

test('drain() waits no longer than it was told', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const subscription = client.subscribe('t', () => new Promise(() => {}))
  await subscription.ready
  await client.publish('t', 1)
  await waitUntil(() => subscription.running === 1)
  const before = performance.now()
  await client.drain(50)
  expect(performance.now() - before).toBeLessThan(1000)
  expect(client.state).toBe('closed')
})

test('hooks see everything, and what they throw stops nothing', async () => {
  const { wsUrl } = await startBroker()
  const seen: unknown[] = []
  const bug = new Error('hook')
  const client = await open(wsUrl, {
    onPublish: (topic, payload) => {
      seen.push(['publish', topic, payload])
      throw bug
    },
    onConsume: ({ topic, seq }) => {
      seen.push(['consume', topic, seq])
      throw bug
    },
    onError: (error) => void seen.push(error),
  })
  const log = new Log()
  await client.subscribe('t', log.add).ready
  await client.publish('t', 1)
  client.publishNow('t', 2)
  await client.publishBatch('t', [3])
  await log.whenLength(3)
  expect(seen.filter((what) => what === bug).length).toBe(6)
  expect(seen.filter((what) => Array.isArray(what)).length).toBe(6)
})

test('a listener that throws stops nothing, and is told', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const errors: string[] = []
  client.on('error', ({ message }) => errors.push(message))
  const log = new Log()
  const subscription = client.subscribe('t', log.add)
  await subscription.ready
  subscription.on('ended', () => {
    throw new Error('listener of a subscription')
  })
  client.on('drain', () => {
    throw new Error('listener of a client')
  })
  client.emit('drain')
  subscription.unsubscribe()
  expect(errors).toEqual(['listener of a client', 'listener of a subscription'])
})

test('a second subscribe to the same text is refused here, and possible after the first has ended', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const first = client.subscribe('t')
  await first.ready
  expect(() => client.subscribe('t')).toThrow(SubscribeError)
  first.unsubscribe()
  const log = new Log()
  const second = client.subscribe('t', log.add)
  await second.ready
  await client.publish('t', 1)
  await log.whenLength(1)
})

test('what the broker refuses for good ends the subscription, and says so', async () => {
  const { wsUrl } = await startBroker({ AUTO_CREATE_TOPICS: 'false' })
  const client = await open(wsUrl)
  const subscription = client.subscribe('unknown')
  const ended = event(subscription, 'ended')
  await expect(subscription.ready).rejects.toMatchObject({ code: 'TOPIC_NOT_FOUND' })
  expect((await ended)[0]).toBeInstanceOf(SubscribeError)
  await expect(subscription[Symbol.asyncIterator]().next()).rejects.toThrow(SubscribeError)
  const bad = client.subscribe('a..b')
  await expect(bad.ready).rejects.toMatchObject({ code: 'BAD_REQUEST' })
})

/** A server that does as a test tells it. */
async function fakeBroker(onConnection: (socket: WebSocket) => void): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  server.on('connection', onConnection)
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  return `ws://127.0.0.1:${(server.address() as { port: number }).port}/ws`
}

test('a close code from 4500 on ends the client; one below does not', async () => {
  let connections = 0
  const url = await fakeBroker((socket) => {
    connections++
    setTimeout(() => socket.close(connections < 3 ? 4008 : 4503, 'reason'), 20)
  })
  const client = await open(url)
  const errors: Error[] = []
  client.on('error', (error) => errors.push(error))
  const subscription = client.subscribe('t')
  const waiting = client.publish('t', 1)
  await expect(waiting).rejects.toMatchObject({ closeCode: 4503, retryable: false })
  expect([client.state, connections]).toEqual(['closed', 3])
  expect(errors.at(-1)).toMatchObject({ closeCode: 4503 })
  await expect(subscription.ready).rejects.toThrow('4503')
})

test('a clean close does not reset the backoff', async () => {
  const times: number[] = []
  const url = await fakeBroker((socket) => {
    times.push(performance.now())
    socket.close(1000)
  })
  await open(url, { reconnectBaseMs: 20, reconnectMaxMs: 10_000 })
  await sleep(700)
  // Were it reset, each delay would be 10 ms in the mean, and there would be dozens of tries.
  expect(times.length).toBeGreaterThan(2)
  expect(times.length).toBeLessThan(16)
})

test('bytes that are no frame end the connection, not the client', async () => {
  let connections = 0
  const url = await fakeBroker((socket) => {
    connections++
    if (connections === 1) socket.send(Buffer.of(0x91, 0xc1))
    if (connections === 2) socket.send('text')
  })
  const errors: string[] = []
  const client = await open(url, { onError: ({ name }) => void errors.push(name) })
  await waitUntil(() => connections === 3 && client.state === 'open')
  expect(errors).toEqual(['ProtocolError', 'ProtocolError'])
})

test('the broker’s slot is kept to, once', async () => {
  const times: number[] = []
  const told: number[] = []
  const packed = Buffer.from(
    '94 25 ad 53485554 54494e47 5f444f57 4e c0 81 b2'.replaceAll(' ', ''),
    'hex',
  )
  const info = Buffer.concat([packed, Buffer.from('reconnect_after_ms'), Buffer.of(0xcd, 1, 0x90)])
  const url = await fakeBroker((socket) => {
    times.push(performance.now())
    if (times.length === 1) socket.send(info)
    if (times.length <= 2) socket.close(4001)
  })
  await open(url, { onShutdown: (ms) => void told.push(ms) })
  await waitUntil(() => times.length === 3)
  expect(told).toEqual([400])
  expect((times[1] as number) - (times[0] as number)).toBeGreaterThan(395)
  expect((times[2] as number) - (times[1] as number)).toBeLessThan(300)
})

test('close() does not wait for a broker that is frozen', async () => {
  const url = await fakeBroker((socket) => socket.pause())
  const client = await open(url)
  const before = performance.now()
  await client.drain()
  expect(performance.now() - before).toBeLessThan(3000)
})
