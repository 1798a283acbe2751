import { once } from 'node:events'
import { expect, test } from 'vitest'
import { NO_ROOM, type WebSocketClient } from '../../bench/load/websocket.js'
import { clientHeaderBytes, Opcode, writeClientHeader } from '../../src/protocol/client-frame.js'
import { connected } from './socket-pair.js'

function append(client: WebSocketClient, payload: Buffer): boolean {
  const header = clientHeaderBytes(payload.length)
  const at = client.reserve(header + payload.length)
  if (at === NO_ROOM) return false
  writeClientHeader(client.sendBuffer, at, Opcode.binary, payload.length)
  client.sendBuffer.set(payload, at + header)
  return true
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2))
}

test('WebSocketClient sends frames of every header size that ws reads in order', async () => {
  const { client, peer } = await connected()
  const got: Buffer[] = []
  peer.on('message', (data: Buffer) => got.push(data))
  const payloads = [0, 1, 125, 126, 65_535, 65_536, 7].map((n, i) => Buffer.alloc(n, i + 1))
  for (const payload of payloads) expect(append(client, payload)).toBe(true)
  client.flush()
  await until(() => got.length === payloads.length)
  expect(got.map((b) => b.length)).toEqual(payloads.map((b) => b.length))
  expect(got.every((bytes, i) => bytes.equals(payloads[i] as Buffer))).toBe(true)
})

test('WebSocketClient receives what ws sends, text and binary, small and large', async () => {
  const { peer, messages } = await connected()
  const payloads = [0, 5, 200, 70_000, 300_000, 3].map((n, i) => Buffer.alloc(n, i + 65))
  for (const [i, payload] of payloads.entries()) peer.send(payload, { binary: i % 2 === 0 })
  await until(() => messages.length === payloads.length)
  messages.forEach(({ payload, isBinary }, i) => {
    expect(payload.equals(payloads[i] as Buffer)).toBe(true)
    expect(isBinary).toBe(i % 2 === 0)
  })
})

test('WebSocketClient.reserve() refuses while the peer reads nothing, and loses none', async () => {
  let writable = 0
  const { client, peer } = await connected({ onWritable: () => writable++ })
  peer.pause()
  const payload = Buffer.alloc(1000)
  let sent = 0
  const fill = () => {
    while (!client.isBlocked) {
      payload.writeUInt32BE(sent)
      if (append(client, payload)) sent++
      else client.flush()
    }
  }
  fill()
  expect(client.reserve(10)).toBe(NO_ROOM)
  expect(sent).toBeGreaterThan(1000)

  const numbers: number[] = []
  peer.on('message', (data: Buffer) => numbers.push(data.readUInt32BE()))
  peer.resume()
  await until(() => writable > 0)
  fill()
  client.flush()
  await until(() => numbers.length === sent)
  expect(numbers.every((number, i) => number === i)).toBe(true)
})

test('WebSocketClient does not overwrite what an earlier flush of the turn left', async () => {
  // The first flush is taken at once and its callback is still to come when the second one blocks.
  const { client, peer } = await connected()
  const numbers: number[] = []
  peer.on('message', (data: Buffer) => numbers.push(data.readUInt32BE()))
  const payload = Buffer.alloc(60_000)
  let sent = 0
  for (let turn = 0; turn < 300; turn++) {
    for (let flush = 0; flush < 4; flush++) {
      payload.writeUInt32BE(sent)
      if (append(client, payload)) sent++
      client.flush()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  await until(() => numbers.length === sent)
  expect(numbers.every((number, i) => number === i)).toBe(true)
})

test('WebSocketClient answers a ping with its payload', async () => {
  const { peer } = await connected()
  const pong = once(peer, 'pong') as Promise<[Buffer]>
  peer.ping('hello')
  expect(String((await pong)[0])).toBe('hello')
})

test('WebSocketClient reports a close by the server with its code, once', async () => {
  const { peer, lost } = await connected()
  peer.close(4008, 'too slow')
  await until(() => lost.length > 0)
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(lost).toEqual(['closed by the server: code=4008 too slow'])
})

test('WebSocketClient.opened() rejects when the server chose another protocol', async () => {
  await expect(connected({}, 'other')).rejects.toThrow(/wrong protocol/)
})
