/**
 * One client's connection: what it speaks, what it subscribes to, what it is owed.
 * Runs on: the front thread. Owns: its subscriptions, and the frames of the current turn.
 */
import { type Format, MSGPACK } from '../ring/record.js'
import type { Membership } from './members.js'
import type { Lag, Subscription } from './subscription.js'

/** What a session needs of a socket; a uWebSockets.js WebSocket is one. */
export interface Socket {
  /** 1 sent, 0 buffered, 2 dropped: the limit of buffered bytes was reached. */
  send(message: Uint8Array, isBinary: boolean): number
  getBufferedAmount(): number
  /** Closes with a code; the close handler runs before this returns. */
  end(code: number, reason: string): void
  /** Closes at once, without a word. */
  close(): void
  ping(): number
  cork(callback: () => void): unknown
}

export class Session {
  readonly id: number
  readonly socket: Socket
  readonly format: Format
  isOpen = true
  /** By topic or pattern. Made when there is a first one: most of 10 000 idle connections have none. */
  subscriptions: Map<string, Subscription> | undefined
  /** By topic and group, see members.ts. */
  memberships: Map<string, Membership> | undefined
  /** Where replies to it go; made when it first asks for one. */
  inbox: string | undefined
  /** Publish requests that wait for their ack. */
  inFlight = 0
  malformedInRow = 0
  /** True while more is buffered than the high-water mark: LIVE subscriptions turn PULLING. */
  isCongested = false
  /** Any sign of life since the last heartbeat. */
  wasHeard = true
  /** Subscriptions that wait for their next chunks, and the one that has asked for them. */
  lags: Lag[] | undefined
  pulling: Lag | undefined
  /** Frames of this turn, sent together at its end. */
  outbox: Uint8Array[] | undefined
  outboxBytes = 0

  constructor(id: number, socket: Socket, format: Format) {
    this.id = id
    this.socket = socket
    this.format = format
  }

  get isBinary(): boolean {
    return this.format === MSGPACK
  }
}
