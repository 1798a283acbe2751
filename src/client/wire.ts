/**
 * What a client says and hears, whatever the encoding of the connection.
 * Runs on: Node and browsers. Owns: nothing; msgpack-wire.ts and json-wire.ts are the two encodings.
 */
import type { RawMessage } from './message.js'

/** Answers and events, in the order they stand in a frame. */
export interface WireSink {
  onAck(requestId: number, result: AckResult): void
  onMessage(message: RawMessage): void
  /** requestId is undefined for refusals of publishes that wanted no ack. */
  onError(requestId: number | undefined, error: WireError): void
  onPong(): void
  onInfo(info: WireInfo): void
}

export interface AckResult {
  readonly epoch?: string
  readonly seq?: number | null
  /** Of a single message: it had been stored before, as `seq`. */
  readonly duplicate?: boolean
  /** Of a batch: which had been, by position, and as what. */
  readonly duplicates?: readonly (readonly [index: number, seq: number | null])[]
  /** The messages are kept for later. */
  readonly scheduled?: boolean
  readonly deliver_at?: number
  readonly first_seq?: number
  readonly count?: number
  readonly recovered?: boolean
  /** Of a subscribe: what comes next in each topic that there is. */
  readonly cursors?: Readonly<Record<string, Cursor>>
}

export interface Cursor {
  readonly epoch: string
  readonly seq: number
}

export interface WireError {
  readonly code: string
  readonly message: string
  readonly retryable: boolean
}

export interface WireInfo {
  readonly code: string
  readonly topic: string | undefined
  readonly details: Readonly<Record<string, unknown>>
}

/** One message to publish, its payload encoded. */
export interface OutgoingMessage {
  readonly encoding: 0 | 1 | 2
  readonly payload: Uint8Array
  /** 16 bytes; undefined: the broker gives one. */
  readonly id: Uint8Array | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
  /** By their names on the wire (properties.ts); undefined: none. */
  readonly properties: Readonly<Record<string, unknown>> | undefined
}

/** Messages for one topic that leave in one frame. */
export interface OutgoingBatch {
  readonly count: number
  /** Bytes collected so far, about as many as the frame will have. */
  readonly bytes: number
  add(message: OutgoingMessage): void
  /** The frame; requestId undefined: no ack is wanted. The batch can be framed again after that. */
  frame(requestId: number | undefined): Uint8Array | string
  /** Some of the messages, by position, as a batch of their own. */
  pick(positions: readonly number[]): OutgoingBatch
}

export interface Wire {
  readonly subprotocol: string
  newBatch(topic: string): OutgoingBatch
  subscribe(requestId: number, text: string, options: Readonly<Record<string, unknown>>): Frame
  unsubscribe(requestId: number, text: string): Frame
  ping(): Frame
  /** Takes a frame apart. Throws ProtocolError when it is none. */
  receive(data: Uint8Array | string, sink: WireSink): void
}

export type Frame = Uint8Array | string
