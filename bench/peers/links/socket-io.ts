/**
 * Socket.IO through its own client: WebSocket transport only, and its MessagePack parser, since the
 * default one sends a binary payload as two frames (socket.io, «Performance tuning»).
 * Runs on: the end processes. Owns: one connection.
 */
import type { Target } from '../../load/plan.js'
import { importPeer } from '../folder.js'
import type { Link } from '../link.js'

/** What of the package is used here. */
interface ClientModule {
  io(url: string, options: object): ClientSocket
}

interface ClientSocket {
  on(event: 'connect' | 'connect_error' | 'disconnect', listener: (why: unknown) => void): void
  on(event: 'message', listener: (payload: Uint8Array) => void): void
  emit(event: 'publish', topic: string, payload: Buffer): void
  emitWithAck(event: 'subscribe', topic: string): Promise<unknown>
  disconnect(): void
}

export async function open({ host, port }: Target): Promise<Link> {
  const { io } = await importPeer<ClientModule>('socket.io-client')
  const { default: parser } = await importPeer<{ default: unknown }>('socket.io-msgpack-parser')
  const socket = io(`http://${host}:${port}`, {
    transports: ['websocket'],
    reconnection: false,
    perMessageDeflate: false,
    forceNew: true,
    parser,
  })
  let isClosed = false
  await new Promise<void>((resolve, reject) => {
    socket.on('connect', () => resolve())
    socket.on('connect_error', (why) => reject(new Error(`Socket.IO: ${why}`)))
  })
  socket.on('disconnect', (why) => {
    if (!isClosed) throw new Error(`Socket.IO broke the connection: ${why}`)
  })
  return {
    publish: (topic, payload) => {
      socket.emit('publish', topic, payload)
      return true
    },
    room: async () => {},
    subscribe: async (topic, onMessage) => {
      socket.on('message', onMessage)
      await socket.emitWithAck('subscribe', topic)
    },
    lost: () => 0,
    close: async () => {
      isClosed = true
      socket.disconnect()
    },
  }
}
