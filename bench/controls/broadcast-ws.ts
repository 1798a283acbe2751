/**
 * Broadcast on the `ws` package: what one writes first.
 * Runs on: a process of its own. Owns: its server and sockets.
 *
 * The frames are those of broadcast-uws.ts. As the package's documentation advises: no compression,
 * and bufferutil beside it.
 */
import { createServer } from 'node:http'
import { importPeer } from '../peers/folder.js'

const SUBSCRIBE = 1

/** What of the package is used here. */
interface WsModule {
  readonly default: { readonly WebSocketServer: new (options: object) => WsServer }
}

interface WsServer {
  on(event: 'connection', listener: (socket: WsSocket) => void): void
}

interface WsSocket {
  on(event: 'message', listener: (frame: Buffer) => void): void
  on(event: 'close' | 'error', listener: () => void): void
  send(frame: Buffer): void
}

const { WebSocketServer } = (await importPeer<WsModule>('ws')).default

const audiences = new Map<string, Set<WsSocket>>()
const http = createServer((_, response) => response.end('{"status":"ok"}'))
const server = new WebSocketServer({ server: http, perMessageDeflate: false })

server.on('connection', (socket) => {
  socket.on('error', () => {}) // `close` follows.
  socket.on('close', () => {
    for (const audience of audiences.values()) audience.delete(socket)
  })
  socket.on('message', (frame: Buffer) => {
    const topic = frame.toString('latin1', 2, 2 + (frame[1] ?? 0))
    if (frame[0] === SUBSCRIBE) {
      audienceOf(topic).add(socket)
      socket.send(Buffer.alloc(0))
      return
    }
    for (const subscriber of audienceOf(topic)) subscriber.send(frame)
  })
})

function audienceOf(topic: string): Set<WsSocket> {
  let audience = audiences.get(topic)
  if (!audience) {
    audience = new Set()
    audiences.set(topic, audience)
  }
  return audience
}

http.listen(0, '127.0.0.1', () => {
  const address = http.address()
  const port = typeof address === 'object' ? address?.port : undefined
  console.log(JSON.stringify({ msg: 'ws listening', port }))
})

process.once('SIGTERM', () => process.exit(0))
