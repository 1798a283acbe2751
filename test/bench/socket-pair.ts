/**
 * The generator's client with the `ws` package on the other side, so that nothing here is checked against
 * itself.
 * Runs on: the test thread. Owns: nothing; both ends are closed when the test is over.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { WebSocketClient, type WebSocketOptions } from '../../bench/load/websocket.js'

const PROTOCOL = 'ringcast.v1.msgpack'

export async function connected(
  overrides: Partial<WebSocketOptions> = {},
  serverProtocol = PROTOCOL,
) {
  const server = new WebSocketServer({
    host: '127.0.0.1',
    port: 0,
    handleProtocols: () => serverProtocol,
    perMessageDeflate: false,
  })
  onTestFinished(() => {
    for (const peer of server.clients) peer.terminate()
    server.close()
  })
  await once(server, 'listening')
  const peerReady = once(server, 'connection') as Promise<[WebSocket]>
  const messages: { payload: Buffer; isBinary: boolean }[] = []
  const lost: string[] = []
  const client = new WebSocketClient({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    path: '/ws',
    protocol: PROTOCOL,
    sendBytes: 256 * 1024,
    receiveBytes: 4096,
    onMessage: (bytes, start, end, isBinary) =>
      messages.push({ payload: Buffer.from(bytes.subarray(start, end)), isBinary }),
    onLost: (reason) => lost.push(reason),
    ...overrides,
  })
  onTestFinished(() => client.close())
  await client.opened()
  const [peer] = await peerReady
  return { client, peer, messages, lost }
}
