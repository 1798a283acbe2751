/** Peers that are gone without a word are found; peers that are only quiet are left alone. */
import { connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { type Json, JsonClient, MsgpackClient, sleep, startBroker, waitUntil } from './harness.js'

const INTERVAL_MS = 100
const ENV = { HEARTBEAT_INTERVAL_MS: String(INTERVAL_MS) }

/** A peer that speaks WebSocket by hand, and so answers no ping. */
class SilentPeer {
  readonly socket: Socket
  received = Buffer.alloc(0)
  endedAt = 0

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk])
    })
    socket.on('end', () => {
      this.endedAt = performance.now()
    })
    onTestFinished(() => void socket.destroy())
  }

  static async connect(port: number): Promise<SilentPeer> {
    // Half open: its own end stays as it is when the broker closes.
    const peer = new SilentPeer(connect({ port, host: '127.0.0.1', allowHalfOpen: true }))
    peer.socket.write(
      'GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    await waitUntil(() => peer.received.includes('\r\n\r\n'))
    return peer
  }

  /** Sends text in a frame; its mask is zero, so that it goes as it is. */
  send(text: string): void {
    this.socket.write(
      Buffer.concat([Buffer.of(0x81, 0x80 | text.length, 0, 0, 0, 0), Buffer.from(text)]),
    )
  }

  /** Opcode and content of the frames that came after the upgrade; all of them are short. */
  get frames(): [number, Buffer][] {
    const frames: [number, Buffer][] = []
    let at = this.received.indexOf('\r\n\r\n') + 4
    while (at < this.received.length) {
      const mark = this.received[at + 1] as number
      const start = at + (mark === 126 ? 4 : 2)
      const length = mark === 126 ? this.received.readUInt16BE(at + 2) : mark
      frames.push([
        (this.received[at] as number) & 0x0f,
        this.received.subarray(start, start + length),
      ])
      at = start + length
    }
    return frames
  }
}

const TEXT = 1
const CLOSE = 8
const PING = 9

test('a peer that goes silent is pinged, closed with 4002, and its subscriptions are gone from /stats', async () => {
  const { broker, http } = await startBroker(ENV)
  const peer = await SilentPeer.connect(broker.port)
  peer.send('{"type":"subscribe","topic":"t"}')
  peer.send('{"type":"subscribe","topic":"a.*"}')
  await waitUntil(() => peer.frames.filter(([opcode]) => opcode === TEXT).length === 2)
  const silentSince = performance.now()
  expect((await http('GET', '/stats')).body).toMatchObject({
    connections: 1,
    subscribers: 2,
    topics: { t: { subscribers: 1 } },
  })
  await waitUntil(() => peer.endedAt > 0)
  const afterMs = peer.endedAt - silentSince
  expect(afterMs).toBeGreaterThan(INTERVAL_MS)
  expect(afterMs).toBeLessThan(50 * INTERVAL_MS) // 2 to 3 of them on a machine that is not busy.
  const opcodes = peer.frames.map(([opcode]) => opcode)
  expect(opcodes).toEqual([TEXT, TEXT, PING, CLOSE])
  const [, reason] = peer.frames.at(-1) as [number, Buffer]
  expect([reason.readUInt16BE(0), reason.subarray(2).toString()]).toEqual([
    4002,
    'heartbeat missed',
  ])
  expect((await http('GET', '/stats')).body).toMatchObject({
    connections: 0,
    subscribers: 0,
    topics: { t: { subscribers: 0 } },
    gateway: { heartbeatsMissed: 1, connectionsClosed: 1 },
  })
  expect(broker.gateway.fanOut.feedCount).toBe(0)
})

test('clients that answer pings stay, in both encodings, however quiet they are', async () => {
  const { http, wsUrl } = await startBroker(ENV)
  const json = await JsonClient.connect(wsUrl)
  const msgpack = await MsgpackClient.connect(wsUrl)
  let pings = 0
  for (const { socket } of [json, msgpack]) socket.on('ping', () => pings++)
  await json.ask({ type: 'subscribe', topic: 't' })
  await sleep(10 * INTERVAL_MS)
  expect([json.closed, msgpack.closed]).toEqual([undefined, undefined])
  expect(pings).toBeGreaterThanOrEqual(4)
  await msgpack.ask(1, 't', [[1, Buffer.from('1')]])
  await waitUntil(() => json.events.length === 1)
  const { gateway } = (await http('GET', '/stats')).body as { gateway: Json }
  expect(gateway['heartbeatsMissed']).toBe(0)
})

test('a peer that sends frames is not pinged, and its own pings are answered', async () => {
  const { broker, wsUrl } = await startBroker(ENV)
  const talker = await SilentPeer.connect(broker.port)
  for (let n = 0; n < 20; n++) {
    talker.send('{"type":"ping"}')
    await sleep(INTERVAL_MS / 2)
  }
  expect(talker.frames.map(([opcode]) => opcode)).toEqual(Array(20).fill(TEXT))
  expect(talker.endedAt).toBe(0)
  const pinger = await JsonClient.connect(wsUrl)
  let pongs = 0
  pinger.socket.on('pong', () => pongs++)
  pinger.socket.ping()
  await waitUntil(() => pongs === 1)
})

test('a hundred silent peers are all found, and nothing of them is left', async () => {
  const { broker, http } = await startBroker(ENV)
  const peers = await Promise.all(
    Array.from({ length: 100 }, () => SilentPeer.connect(broker.port)),
  )
  for (const peer of peers) peer.send('{"type":"subscribe","topic":"t"}')
  await waitUntil(() => peers.every(({ endedAt }) => endedAt > 0))
  expect((await http('GET', '/health')).body).toMatchObject({ connections: 0, subscribers: 0 })
  expect(broker.gateway.sessions.size).toBe(0)
})
