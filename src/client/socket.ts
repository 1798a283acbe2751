/**
 * One WebSocket, native where there is one, `ws` on Node 20.
 * Runs on: Node and browsers. Owns: the socket.
 */
import { ConnectionClosedError } from './errors.js'
import type { Frame } from './wire.js'

/** The part of the WHATWG WebSocket that is used; `ws` has it too. */
export interface WebSocketLike {
  binaryType: string
  readonly bufferedAmount: number
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  send(data: Frame): void
  close(code?: number, reason?: string): void
  /** `ws` only: ends the connection without waiting for the peer. */
  terminate?(): void
}

export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike

export interface SocketEvents {
  onOpen(): void
  onFrame(data: Uint8Array | string): void
  /** Called once, whether the socket had been open or not. */
  onClose(code: number, reason: string): void
}

export interface Socket {
  send(frame: Frame): void
  /** Bytes that send() took and the network has not. */
  readonly bufferedBytes: number
  /** Ends the connection; onClose() follows. */
  close(): void
  /** Gives the connection up at once: onClose() is called now, the peer may hear of it or not. */
  abandon(): void
}

const ABNORMAL = 1006
const NORMAL = 1000

/** The class that this platform has, or `ws`. Rejects when there is neither. */
export async function findWebSocket(): Promise<WebSocketClass> {
  const native = (globalThis as { WebSocket?: unknown }).WebSocket
  if (native !== undefined) return native as WebSocketClass
  try {
    return (await import('ws')).default as unknown as WebSocketClass
  } catch {
    throw new ConnectionClosedError('this platform has no WebSocket and `ws` is missing', false)
  }
}

export function openSocket(
  WebSocketImpl: WebSocketClass,
  url: string,
  subprotocol: string,
  events: SocketEvents,
): Socket {
  const socket = new WebSocketImpl(url, [subprotocol])
  // `ws` would copy every frame to make an ArrayBuffer of it.
  socket.binaryType = socket.terminate === undefined ? 'arraybuffer' : 'nodebuffer'
  let isOver = false
  const end = (code: number, reason: string) => {
    if (isOver) return
    isOver = true
    events.onClose(code, reason)
  }
  socket.onopen = () => {
    if (!isOver) events.onOpen()
  }
  socket.onmessage = ({ data }: { data: ArrayBuffer | Uint8Array | string }) => {
    if (!isOver) events.onFrame(data instanceof ArrayBuffer ? new Uint8Array(data) : data)
  }
  socket.onclose = ({ code, reason }: { code: number; reason: string }) => end(code, reason)
  socket.onerror = () => {} // A close event follows, and says what there is to say.
  return {
    send: (frame) => socket.send(frame),
    get bufferedBytes() {
      return socket.bufferedAmount
    },
    close: () => socket.close(NORMAL),
    abandon: () => {
      if (socket.terminate === undefined) socket.close()
      else socket.terminate()
      end(ABNORMAL, 'abandoned')
    },
  }
}
