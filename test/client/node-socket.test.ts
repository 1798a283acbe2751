/** The frames that the SDK writes itself, read by the `ws` of somebody else. */
import { randomBytes, randomInt } from 'node:crypto'
import dns from 'node:dns'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createPlainServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, Socket } from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { frugal, nodeWebSocket } from '../../src/client/node-socket.js'
import type { WebSocketClass, WebSocketLike } from '../../src/client/socket.js'

const OPEN_MS = 10_000

interface Pair {
  readonly port: number
  readonly client: WebSocketLike
  readonly server: WebSocket
  /** What the server was sent, binary frames as Buffers. */
  readonly received: (Buffer | string)[]
}

async function openPair(
  Impl: WebSocketClass = nodeWebSocket(),
  scheme: 'ws' | 'wss' = 'ws',
): Promise<Pair> {
  if (scheme === 'wss') {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0') // Nobody has signed the certificate.
    onTestFinished(() => void vi.unstubAllEnvs())
  }
  const pem = readFileSync(new URL('localhost.pem', import.meta.url))
  const server = scheme === 'ws' ? createPlainServer() : createTlsServer({ key: pem, cert: pem })
  const host = new WebSocketServer({ server })
  onTestFinished(() => {
    for (const one of host.clients) one.terminate()
    server.close()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const connected = once(host, 'connection')
  const client = new Impl(`${scheme}://127.0.0.1:${port}/`, ['any'])
  onTestFinished(() => client.terminate?.())
  const opened = new Promise<void>((resolve) => {
    client.onopen = () => resolve()
  })
  const [peer] = (await connected) as [WebSocket]
  const received: (Buffer | string)[] = []
  peer.on('message', (data: Buffer, isBinary) => received.push(isBinary ? data : String(data)))
  await opened
  return { port, client, server: peer, received }
}

const arrived = (received: readonly unknown[], count: number) =>
  vi.waitFor(() => expect(received.length).toBe(count), { timeout: OPEN_MS })

const SIZES = [0, 1, 125, 126, 4095, 4096, 4097, 65_535, 65_536, 200_001, 3_000_000]

type FrameData = Uint8Array | string

/** What the client is sent; binary frames as the very bytes it was given, not copied. */
function heardBy(client: WebSocketLike): FrameData[] {
  const heard: FrameData[] = []
  client.binaryType = 'nodebuffer'
  client.onmessage = ((event: { data: FrameData }) => heard.push(event.data)) as never
  return heard
}

/** Frames of all kinds of sizes, then of random ones, some of them text; a few in each turn. */
async function sendMany(rounds: number, send: (frame: FrameData) => void): Promise<FrameData[]> {
  const sent: FrameData[] = []
  for (let round = 0; round < rounds; round++) {
    const size = SIZES[round % 50] ?? randomInt(round % 3 === 0 ? 9000 : 150_000)
    const frame = round % 7 === 6 ? 'text '.repeat(size % 5000) : randomBytes(size)
    send(frame)
    sent.push(frame)
    if (round % 5 === 4) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return sent
}

function expectFrames(received: readonly FrameData[], sent: readonly FrameData[]): void {
  expect(received.length).toBe(sent.length)
  for (const [index, frame] of sent.entries()) {
    const got = received[index] as FrameData
    expect(typeof got).toBe(typeof frame)
    expect(Buffer.from(got).equals(Buffer.from(frame)), `frame ${index}`).toBe(true)
  }
}

test.each([
  ['masked natively', nodeWebSocket(), 'ws'],
  ['masked by ws', frugal(undefined), 'ws'],
  ['over TLS', nodeWebSocket(), 'wss'],
] as const)(
  'frames of every kind of length arrive as they were sent, in order: %s',
  async (_, Impl, scheme) => {
    const { client, received } = await openPair(Impl, scheme)
    const sent = await sendMany(40, (frame) => {
      const before = Buffer.from(frame)
      client.send(frame)
      expect(Buffer.from(frame).equals(before), 'the caller keeps its bytes').toBe(true)
    })
    await arrived(received, sent.length)
    expectFrames(received, sent)
  },
)

test.each(['ws', 'wss'] as const)(
  '%s: frames of any size and kind are written from the same few buffers',
  async (scheme) => {
    const { port, client, received } = await openPair(nodeWebSocket(), scheme)
    const write = vi.spyOn(Socket.prototype, 'write')
    onTestFinished(() => write.mockRestore())
    const sizes = [10, 200, 3000]
    for (let index = 0; index < 300; index++) {
      const frame = Buffer.alloc(sizes[index % 3] ?? 0, 'x')
      client.send(index % 2 === 0 ? frame : frame.toString())
      await new Promise((resolve) => setImmediate(resolve))
    }
    await arrived(received, 300)
    const ours = write.mock.calls.filter(
      (_, call) => (write.mock.contexts[call] as Socket).remotePort === port,
    )
    expect(ours.length).toBe(300)
    const buffers = new Set(ours.map(([chunk]) => (chunk as Uint8Array).buffer))
    expect(buffers.size).toBeLessThan(20)
  },
)

test('pings and pongs of ws go between our frames', async () => {
  const { client, server, received } = await openPair()
  const ping = (client as unknown as WebSocket).ping.bind(client)
  const heard: string[] = []
  server.on('ping', (data: Buffer) => heard.push(`ping ${data}`))
  server.on('pong', (data: Buffer) => heard.push(`pong ${data}`))
  const sent = await sendMany(100, (frame) => {
    client.send(frame)
    ping('of the client')
    server.ping('of the server')
  })
  await arrived(received, sent.length)
  await arrived(heard, 200)
  expectFrames(received, sent)
  expect([...new Set(heard)].sort()).toEqual(['ping of the client', 'pong of the server'])
})

test('what a terminated connection had queued is not seen on another', async () => {
  const stalled = await openPair()
  stalled.server.pause()
  for (let index = 0; index < 100; index++) stalled.client.send(Buffer.alloc(100_000, 1))
  const { client, received } = await openPair()
  stalled.client.terminate?.()
  stalled.client.send(Buffer.alloc(100_000, 2))
  const sent = await sendMany(100, (frame) => client.send(frame))
  await arrived(received, sent.length)
  expectFrames(received, sent)
})

test('text of every alphabet arrives as with ws, even if it is no well-formed Unicode', async () => {
  const { client, received } = await openPair()
  client.send('x'.repeat(4096)) // What an unwritten end would show.
  const texts = ['ж', 'ü', 'ش', '€', '😀', 'a\ud800b', 'aж'].flatMap((letter) =>
    [1, 2, 5, 33, 256, 1000].map((count) => letter.repeat(count)),
  )
  for (const text of texts) client.send(text)
  await arrived(received, texts.length + 1)
  expect(received.slice(1)).toEqual(texts.map((text) => Buffer.from(text).toString()))
})

test('what was received stays as it was, however much is received after it', async () => {
  const { client, server } = await openPair()
  const heard = heardBy(client)
  const sent = await sendMany(300, (frame) => server.send(frame))
  await arrived(heard, sent.length)
  expectFrames(heard, sent)
})

test('a client that is paused reads no further, and goes on where it was', async () => {
  const { client, server } = await openPair()
  const heard = heardBy(client)
  const paused = client as unknown as WebSocket
  server.send(Buffer.alloc(100_000, 1))
  await arrived(heard, 1)
  paused.pause()
  const sent = Array.from({ length: 300 }, (_, index) => Buffer.alloc(100_000, index))
  for (const frame of sent) server.send(frame)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(heard.length).toBeLessThan(30) // What was on its way in the process.
  expect(server.bufferedAmount).toBeGreaterThan(10_000_000)
  paused.resume()
  await arrived(heard, sent.length + 1)
  expectFrames(heard.slice(1), sent)
})

test('of a name that stands for several addresses all are tried, as ws does it', async () => {
  const host = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  onTestFinished(() => void host.close())
  await once(host, 'listening')
  const { port } = host.address() as AddressInfo
  host.on('connection', (server) => server.send(Buffer.alloc(50_000, 7)))
  const addresses = [
    { address: '::1', family: 6 }, // Nobody listens there.
    { address: '127.0.0.1', family: 4 },
  ]
  const lookup = vi.spyOn(dns, 'lookup').mockImplementation(((...args: unknown[]) => {
    const answer = args.at(-1) as (error: null, found: typeof addresses) => void
    process.nextTick(answer, null, addresses)
  }) as never)
  onTestFinished(() => lookup.mockRestore())
  const client = new (nodeWebSocket())(`ws://several.test:${port}/`, ['any'])
  onTestFinished(() => client.terminate?.())
  const heard = heardBy(client)
  await arrived(heard, 1)
  expect(heard[0]).toEqual(Buffer.alloc(50_000, 7))
  expect(lookup).toHaveBeenCalled()
})

test.each(['ws', 'wss'] as const)(
  '%s: a buffer is not used again while the peer does not read',
  async (scheme) => {
    const { client, server, received } = await openPair(nodeWebSocket(), scheme)
    server.pause()
    const sent = Array.from({ length: 300 }, (_, index) => Buffer.alloc(100_000, index))
    for (const frame of sent) {
      client.send(frame)
      await new Promise((resolve) => setImmediate(resolve)) // What could leave has left, and come back.
    }
    expect(client.bufferedAmount).toBeGreaterThan(10_000_000)
    server.resume()
    await arrived(received, sent.length)
    expectFrames(received, sent)
    expect(client.bufferedAmount).toBe(0)
  },
)

test('what is sent while it closes is dropped, as ws does it', async () => {
  const { client, server, received } = await openPair()
  const closed = once(server, 'close')
  client.send(Buffer.alloc(50_000, 1))
  client.close(1000)
  client.send(Buffer.alloc(50_000, 2))
  await closed
  expect(received.map((frame) => frame[0])).toEqual([1])
})

test('a URL that is none, and a server that is not there, end as with ws', async () => {
  const Impl = nodeWebSocket()
  expect(() => new Impl('nowhere', ['any'])).toThrow(SyntaxError)
  const client = new Impl('ws://127.0.0.1:1/', ['any'])
  expect(() => client.send(Buffer.alloc(5000))).toThrow(/CONNECTING/)
  const message = await new Promise((resolve) => {
    client.onerror = ((event: { message: string }) => resolve(event.message)) as never
  })
  expect(message).toContain('ECONNREFUSED')
})
