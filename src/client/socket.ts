/**
 * One WebSocket: `ws` on Node, elsewhere what the platform has.
 * Runs on: Node and browsers. Owns: the socket.
 */
import { ConnectionClosedError } from './errors.js'
import type { Frame } from './wire.js'

/** The part of the WHATWG WebSocket that the SDK uses; browsers', Node's and `ws` have it. */
export interface WebSocketLike {
  /** Set to `arraybuffer`, or for `ws` to `nodebuffer`. */
  binaryType: string
  /** Bytes that send() took and the network has not. */
  readonly bufferedAmount: number
  /** Called when the handshake is done. */
  onopen: ((event: never) => void) | null
  /** Called with each frame, as `event.data`. */
  onmessage: ((event: never) => void) | null
  /** Called once at the end, with `event.code` and `event.reason`. */
  onclose: ((event: never) => void) | null
  /** Called before onclose, with `event.message` if the platform says why. */
  onerror: ((event: never) => void) | null
  /** Sends a binary frame or a text frame. */
  send(data: Uint8Array | string): void
  /** Begins the closing handshake. */
  close(code?: number, reason?: string): void
  /** `ws` only: ends the connection without waiting for the peer. */
  terminate?(): void
}

/** A WebSocket constructor, for `ConnectOptions.WebSocket`. */
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
  bufferedBytes(): number
  /** Settles when the connection is really gone. */
  readonly gone: Promise<void>
  /** Ends the connection after what was sent; onClose() follows. A peer that does not answer is left. */
  close(): void
  /** Gives the connection up at once: onClose() is called now, the peer may hear of it or not. */
  abandon(reason: string): void
}

const ABNORMAL = 1006
const NORMAL = 1000
/** How long the peer has to answer a close: a frozen one never does. */
const CLOSE_GRACE_MS = 1000

/** The class to use here. Rejects when there is none. */
export async function findWebSocket(): Promise<WebSocketClass> {
  const native = (globalThis as { WebSocket?: unknown }).WebSocket
  // Node has one since version 22, but a publish takes three times as long with it.
  if (native !== undefined && !isNode()) return native as WebSocketClass
  try {
    return (await import('./node-socket.js')).nodeWebSocket()
  } catch {
    if (native !== undefined) return native as WebSocketClass
    throw new ConnectionClosedError('this platform has no WebSocket and `ws` is missing', false)
  }
}

/** Bun and Deno say that they are Node, too; their own WebSockets are native code. */
function isNode(): boolean {
  const { process } = globalThis as { process?: { versions?: Record<string, string | undefined> } }
  const versions = process?.versions
  return versions?.['node'] !== undefined && !('bun' in versions) && !('deno' in versions)
}

/** Begins to connect. Throws what the class throws for a URL that is none. */
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
  let why = ''
  let grace: ReturnType<typeof setTimeout> | undefined
  let settleGone: () => void = () => {}
  const gone = new Promise<void>((resolve) => {
    settleGone = resolve
  })
  const end = (code: number, reason: string) => {
    if (isOver) return
    isOver = true
    socket.onopen = null
    socket.onmessage = null
    events.onClose(code, reason)
  }
  socket.onopen = () => {
    if (!isOver) events.onOpen()
  }
  socket.onmessage = ({ data }: { data: ArrayBuffer | Uint8Array | string }) => {
    if (!isOver) events.onFrame(data instanceof ArrayBuffer ? new Uint8Array(data) : data)
  }
  socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
    clearTimeout(grace)
    settleGone()
    end(code, reason === '' ? why : reason)
  }
  // A close event follows. `ws` says here why there is no connection, browsers tell nobody.
  socket.onerror = ({ message }: { message?: string }) => {
    why = message ?? ''
  }
  return {
    gone,
    send: (frame) => socket.send(frame),
    bufferedBytes: () => socket.bufferedAmount,
    close: () => {
      if (isOver) return
      socket.close(NORMAL)
      grace ??= setTimeout(() => {
        socket.terminate?.()
        settleGone()
      }, CLOSE_GRACE_MS)
    },
    abandon: (reason) => {
      if (socket.terminate === undefined) socket.close()
      else socket.terminate()
      settleGone()
      end(ABNORMAL, reason)
    },
  }
}
