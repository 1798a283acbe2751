/**
 * Peers that are gone without a word. The clock is vitest's.
 * Runs on: the test thread.
 */
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { Heartbeat } from '../../src/gateway/heartbeat.js'
import { type Client, makeRig, type Rig, range } from './rig.js'

const INTERVAL_MS = 16_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(() => {
  vi.useRealTimers()
})

function beating(clients: number): { rig: Rig; heartbeat: Heartbeat; clients: Client[] } {
  const rig = makeRig()
  const heartbeat = new Heartbeat(rig.gateway, INTERVAL_MS)
  onTestFinished(() => heartbeat.stop())
  return { rig, heartbeat, clients: range(1, clients).map(() => rig.connect()) }
}

test('a peer that is silent for one interval is pinged, and closed after another', () => {
  const { rig, clients } = beating(1)
  const { socket } = clients[0] as Client
  clients[0]?.subscribe('a')
  vi.advanceTimersByTime(INTERVAL_MS)
  expect(socket.pings).toBe(0) // It was heard: it has only just come.
  vi.advanceTimersByTime(INTERVAL_MS)
  expect(socket.pings).toBe(1)
  expect(socket.closed).toBeUndefined()
  vi.advanceTimersByTime(INTERVAL_MS)
  expect(socket.closed).toEqual({ code: 4002, reason: 'heartbeat missed' })
  expect(rig.counters.get('heartbeatsMissed')).toBe(1)
  rig.settle()
  expect(rig.gateway.sessions.size).toBe(0)
  expect(rig.gateway.subscribing.total).toBe(0)
  vi.advanceTimersByTime(10 * INTERVAL_MS)
})

test.each<[string, (client: Client) => void]>([
  ['a frame', (client) => client.sendRaw('{"type":"ping"}')],
  ['a frame that is refused', (client) => client.sendRaw('{"type":"nonsense"}')],
  ['bytes that the socket took', (client) => client.drain()],
  [
    'a pong',
    (client) => {
      client.session.wasHeard = true // What the listener does.
    },
  ],
])('%s is a sign of life', (_sign, give) => {
  const { clients } = beating(1)
  const client = clients[0] as Client
  for (const _ of range(1, 9)) {
    vi.advanceTimersByTime(INTERVAL_MS)
    give(client)
  }
  expect(client.socket.closed).toBeUndefined()
  vi.advanceTimersByTime(2 * INTERVAL_MS) // Heard in the first, pinged in the second.
  give(client)
  vi.advanceTimersByTime(INTERVAL_MS)
  expect(client.socket.closed).toBeUndefined()
  expect(client.socket.pings).toBe(1)
})

test('many connections are pinged in parts, each once in an interval', () => {
  const { clients } = beating(160)
  vi.advanceTimersByTime(INTERVAL_MS)
  const pinged: number[] = []
  for (const _ of range(1, 16)) {
    const before = clients.filter(({ socket }) => socket.pings > 0).length
    vi.advanceTimersByTime(INTERVAL_MS / 16)
    pinged.push(clients.filter(({ socket }) => socket.pings > 0).length - before)
  }
  expect(pinged).toEqual(Array(16).fill(10))
})

test('a connection that closes by itself is forgotten', () => {
  const { rig, clients } = beating(2)
  vi.advanceTimersByTime(2 * INTERVAL_MS)
  clients[0]?.disconnect()
  vi.advanceTimersByTime(2 * INTERVAL_MS)
  expect(rig.counters.get('heartbeatsMissed')).toBe(1)
})

test('Heartbeat.stop() ends it', () => {
  const { heartbeat, clients } = beating(1)
  heartbeat.stop()
  vi.advanceTimersByTime(10 * INTERVAL_MS)
  expect(clients[0]?.socket.pings).toBe(0)
})
