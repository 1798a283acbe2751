/**
 * A connection that comes back: one socket after the other.
 * Runs on: Node and browsers. Owns: the socket, the timers of trying, of waiting and of the heartbeat.
 *
 *   connect() ──► trying ──► open ──► lost ──► onLost(); whoever owns us calls retry() or close()
 *                   │ no handshake in time       ▲
 *                   └────────────────────────────┘ ◄── silence for two heartbeats
 */
import { Backoff } from './backoff.js'
import { openSocket, type Socket, type WebSocketClass } from './socket.js'
import type { Frame } from './wire.js'

export interface ConnectionOptions {
  readonly url: string
  readonly subprotocol: string
  readonly WebSocket: WebSocketClass
  /** How long one try may take. */
  readonly attemptTimeoutMs: number
  readonly heartbeatMs: number
  readonly reconnectBaseMs: number
  readonly reconnectMaxMs: number
}

export interface ConnectionEvents {
  onOpen(): void
  onFrame(data: Uint8Array | string): void
  /** The connection is gone, or a try failed. */
  onLost(code: number, reason: string): void
  /** The other side has been silent for a while. */
  onSilence(): void
}

/** Per heartbeat: how often we look whether something was heard. */
const LOOKS = 2
/** Looks without a sound after which the connection is given up: two heartbeats. */
const SILENT_LOOKS_MAX = 2 * LOOKS
/** The close code of a connection that there never was. */
const NEVER_OPENED = 1006
/** No slot that a broker gives is later than this. */
const SLOT_MS_MAX = 5 * 60_000

/**
 * What those who send need of it. They get the connection itself and no object with getters that ask it:
 * V8 keeps those as dictionaries, and would look up by name what every message asks for.
 */
export type Line = Pick<Connection, 'isOpen' | 'bufferedBytes' | 'send'>

export class Connection {
  readonly #options: ConnectionOptions
  readonly #events: ConnectionEvents
  readonly #backoff: Backoff
  #socket: Socket | undefined
  #isOpen = false
  #isClosed = false
  #openedAtMs = 0
  #slotMs: number | undefined
  /** Of the try under way, or of the wait for the next one. */
  #timer: ReturnType<typeof setTimeout> | undefined
  #heartbeat: ReturnType<typeof setInterval> | undefined
  /** Looks since something was heard. Not a time: a process that slept has not listened either. */
  #silentLooks = 0

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options
    this.#events = events
    const { reconnectBaseMs: baseMs, reconnectMaxMs: maxMs } = options
    this.#backoff = new Backoff({ baseMs, maxMs })
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Bytes that send() took and the network has not. */
  get bufferedBytes(): number {
    return this.#isOpen ? (this.#socket?.bufferedBytes() ?? 0) : 0
  }

  /** Tries once. Throws when the URL is none. */
  connect(): void {
    const { WebSocket, url, subprotocol, attemptTimeoutMs } = this.#options
    const socket = openSocket(WebSocket, url, subprotocol, {
      onOpen: () => this.#onOpen(),
      onFrame: (data) => {
        this.#silentLooks = 0
        this.#events.onFrame(data)
      },
      onClose: (code, reason) => {
        if (this.#socket === socket) this.#onClose(code, reason)
      },
    })
    this.#socket = socket
    const text = `no handshake within ${attemptTimeoutMs} ms`
    this.#timer = setTimeout(() => socket.abandon(text), attemptTimeoutMs)
  }

  /** Tries again: at the slot that the broker gave, or when the backoff says. */
  retry(): void {
    if (this.#isClosed) return
    // The broker's slot counts once; it spreads the clients better than chance does.
    const delayMs = this.#slotMs ?? this.#backoff.next()
    this.#slotMs = undefined
    this.#timer = setTimeout(() => {
      try {
        this.connect()
      } catch (error) {
        this.#events.onLost(NEVER_OPENED, String(error))
      }
    }, delayMs)
  }

  /** The broker is going away, and said when to come back. */
  setSlot(ms: number): void {
    if (ms >= 0) this.#slotMs = Math.min(ms, SLOT_MS_MAX)
  }

  send(frame: Frame): void {
    if (this.#isOpen) this.#socket?.send(frame)
  }

  /** Gives the socket up at once; onLost() is called now. */
  abandon(reason: string): void {
    this.#socket?.abandon(reason)
  }

  /** Ends it for good; no event follows. Resolves when the socket is gone. */
  close(): Promise<void> {
    this.#isClosed = true
    this.#isOpen = false
    clearTimeout(this.#timer)
    clearInterval(this.#heartbeat)
    this.#socket?.close()
    return this.#socket?.gone ?? Promise.resolve()
  }

  #onOpen(): void {
    if (this.#isClosed) return
    clearTimeout(this.#timer)
    this.#isOpen = true
    this.#openedAtMs = performance.now()
    this.#silentLooks = 0
    this.#heartbeat = setInterval(() => this.#look(), this.#options.heartbeatMs / LOOKS)
    this.#events.onOpen()
  }

  #onClose(code: number, reason: string): void {
    clearTimeout(this.#timer)
    clearInterval(this.#heartbeat)
    if (this.#isOpen) this.#backoff.wasOpenFor(performance.now() - this.#openedAtMs)
    this.#isOpen = false
    if (!this.#isClosed) this.#events.onLost(code, reason)
  }

  #look(): void {
    this.#silentLooks++
    if (this.#silentLooks > SILENT_LOOKS_MAX) this.abandon('the broker is silent')
    else if (this.#silentLooks > 1) this.#events.onSilence()
  }
}
