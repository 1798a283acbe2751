/**
 * What a client says and hears, whatever the encoding of the connection.
 * Runs on: Node and browsers. Owns: nothing; msgpack-wire.ts and json-wire.ts are the two encodings.
 */
import type { MessageSource } from './message.js'

/** Answers and events, in the order they stand in a frame. */
export interface WireSink {
  onAck(requestId: number, result: AckResult): void
  /** Who gets the messages of this topic or pattern; asked once for all that a frame has of it. */
  receiverOf(text: string): MessageReceiver | undefined
  /** requestId is undefined for refusals of publishes that wanted no ack. */
  onError(requestId: number | undefined, error: WireError): void
  onPong(): void
  onInfo(info: WireInfo): void
}

export interface MessageReceiver {
  /** One message: its place in the frame, and its seq. */
  onMessage(source: MessageSource, at: number, seq: number): void
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
  /** Of a subscribe to `$inbox`: the name of the inbox. */
  readonly inbox?: string
  /** Of a subscribe: what comes next in each topic that there is. */
  readonly cursors?: Readonly<Record<string, Cursor>>
  /** Of a join: everything up to here is settled. */
  readonly ack_floor?: number
  /** Of a join: there was no such group before. */
  readonly created?: boolean
  /** Of a join: what the group does, by the names of the wire. */
  readonly options?: Readonly<Record<string, unknown>>
}

/** How a member settles a message, keeps it for longer, or gives it back. */
export type SettleOp = 'ack' | 'nack' | 'term' | 'working' | 'release'

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

export type Headers = Readonly<Record<string, string>>

/** By their names on the wire (properties.ts). */
export type Properties = Readonly<Record<string, unknown>>

/** One message to publish, its payload encoded. */
export interface OutgoingMessage {
  readonly encoding: 0 | 1 | 2
  readonly payload: Uint8Array
  /** 16 bytes; undefined: the broker gives one. */
  readonly id: Uint8Array | undefined
  readonly headers: Headers | undefined
  readonly properties: Properties | undefined
}

/** Messages for one topic that leave in one frame. */
export interface OutgoingBatch {
  readonly count: number
  /** Bytes collected so far, about as many as the frame will have. */
  readonly bytes: number
  /** Copies one message, its payload encoded. The id has 16 bytes; undefined: the broker gives one. */
  add(
    encoding: 0 | 1 | 2,
    payload: Uint8Array,
    id: Uint8Array | undefined,
    headers: Headers | undefined,
    properties: Properties | undefined,
  ): void
  /** The frame; requestId undefined: no ack is wanted. The batch can be framed again after that. */
  frame(requestId: number | undefined): Uint8Array | string
  /** Some of the messages, by position in rising order, as a batch of their own. */
  pick(positions: readonly number[]): OutgoingBatch
  /** The batch is not used again, and nobody reads its frames any more: their bytes may be. */
  release(): void
}

export interface Wire {
  readonly subprotocol: string
  /** With room for so many bytes at first. */
  newBatch(topic: string, bytes: number): OutgoingBatch
  subscribe(requestId: number, text: string, options: Readonly<Record<string, unknown>>): Frame
  /** With a group: leaves it. */
  unsubscribe(requestId: number, text: string, group?: string): Frame
  /** `ranges` are first, last, first, last … */
  settle(
    op: SettleOp,
    requestId: number,
    topic: string,
    group: string,
    ranges: readonly number[],
    details: Readonly<Record<string, unknown>> | undefined,
  ): Frame
  /** The broker gives this member nothing more, or goes on. No answer is wanted. */
  flow(op: 'pause' | 'resume', topic: string, group: string): Frame
  /** Cancels what waits under this message id, a UUID. */
  cancel(requestId: number, topic: string, id: string): Frame
  ping(): Frame
  /** Takes a frame apart. Throws ProtocolError when it is none. */
  receive(data: Uint8Array | string, sink: WireSink): void
}

export type Frame = Uint8Array | string

/** Ranges as the broker takes them: a range of one is its seq. */
export function seqsOf(ranges: readonly number[]): (number | readonly [number, number])[] {
  const seqs: (number | readonly [number, number])[] = []
  for (let at = 0; at < ranges.length; at += 2) {
    const [first, last] = [ranges[at] as number, ranges[at + 1] as number]
    seqs.push(first === last ? first : [first, last])
  }
  return seqs
}

/** Who gets messages for a member of a group; topics and patterns have no white space, so it is no other's. */
export function membershipKey(topic: string, group: string): string {
  return `${topic} ${group}`
}
