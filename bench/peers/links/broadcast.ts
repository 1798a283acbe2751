/**
 * The `ws` package as a client of the two bare broadcast servers (bench/controls/broadcast-*.ts).
 * Runs on: the end processes. Owns: one connection.
 *
 * As the documentation of `ws` advises: no compression, and bufferutil beside it.
 */
import type { Target } from '../../load/plan.js'
import { importPeer } from '../folder.js'
import type { Link, OnPayload } from '../link.js'

const SUBSCRIBE = 1
const PUBLISH = 2

/** What of the package is used here. */
interface WsModule {
  readonly default: new (url: string, options: object) => WsClient
}

interface WsClient {
  on(event: 'message', listener: (data: Buffer) => void): void
  on(event: 'open', listener: () => void): void
  on(event: 'close' | 'error', listener: (reason: unknown) => void): void
  once(event: 'message' | 'open', listener: () => void): void
  send(data: Buffer): void
  close(): void
}

export async function open({ host, port }: Target): Promise<Link> {
  const { default: WebSocket } = await importPeer<WsModule>('ws')
  const socket = new WebSocket(`ws://${host}:${port}/`, { perMessageDeflate: false })
  let isClosed = false
  const opened = new Promise<void>((resolve) => socket.once('open', resolve))
  for (const event of ['error', 'close'] as const) {
    socket.on(event, (reason) => {
      if (!isClosed) throw new Error(`the server broke the connection: ${reason}`)
    })
  }
  await opened
  const heads = new Map<string, Buffer>()
  const headOf = (topic: string) => {
    let head = heads.get(topic)
    if (!head) {
      head = frameHead(PUBLISH, topic)
      heads.set(topic, head)
    }
    return head
  }
  return {
    publish: (topic, payload) => {
      socket.send(Buffer.concat([headOf(topic), payload]))
      return true
    },
    room: async () => {},
    subscribe: (topic, onMessage) => subscribe(socket, topic, onMessage),
    lost: () => 0,
    close: async () => {
      isClosed = true
      socket.close()
    },
  }
}

/** The server answers a subscription with an empty frame. */
function subscribe(socket: WsClient, topic: string, onMessage: OnPayload): Promise<void> {
  return new Promise((resolve) => {
    socket.on('message', (frame) => {
      if (frame.length === 0) resolve()
      else onMessage(frame.subarray(2 + (frame[1] ?? 0)))
    })
    socket.send(frameHead(SUBSCRIBE, topic))
  })
}

function frameHead(op: number, topic: string): Buffer {
  return Buffer.concat([Buffer.of(op, topic.length), Buffer.from(topic, 'latin1')])
}
