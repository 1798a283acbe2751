/**
 * A Socket.IO server with one room per topic.
 * Runs on: a process of its own. Owns: its server and sockets.
 *
 * Configured as «Performance tuning» of its documentation says: WebSocket only, the native add-on
 * of `ws`, the MessagePack parser, no compression.
 */
import { createServer } from 'node:http'
import { importPeer } from '../peers/folder.js'

/** What of the package is used here. */
interface ServerModule {
  readonly Server: new (http: object, options: object) => IoServer
}

interface IoServer {
  on(event: 'connection', listener: (socket: IoSocket) => void): void
  to(room: string): { emit(event: 'message', payload: Buffer): void }
}

interface IoSocket {
  on(event: 'publish', listener: (topic: string, payload: Buffer) => void): void
  on(event: 'subscribe', listener: (topic: string, done: () => void) => void): void
  join(room: string): void
}

const { Server } = await importPeer<ServerModule>('socket.io')
const { default: parser } = await importPeer<{ default: unknown }>('socket.io-msgpack-parser')
const http = createServer((_, response) => response.end('{"status":"ok"}'))
const io = new Server(http, {
  transports: ['websocket'],
  perMessageDeflate: false,
  serveClient: false,
  parser,
})

io.on('connection', (socket) => {
  socket.on('publish', (topic, payload) => io.to(topic).emit('message', payload))
  socket.on('subscribe', (topic, done) => {
    socket.join(topic)
    done()
  })
})

http.listen(0, '127.0.0.1', () => {
  const address = http.address()
  const port = typeof address === 'object' ? address?.port : undefined
  console.log(JSON.stringify({ msg: 'socket.io listening', port }))
})

process.once('SIGTERM', () => process.exit(0))
