/**
 * A message as a subscriber sees it.
 * Runs on: Node and browsers. Owns: a view of the frame it came in, until somebody reads it.
 *
 * Frozen; what costs time (payload, id, headers) is decoded when it is first asked for.
 */
import { decodeHeaders, decodePayload, decodeProperties, type PayloadCodec } from './codecs.js'

const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({})

/** How urgent a message is to a group of consumers with a backlog. */
export type Priority = 'high' | 'normal' | 'low'

/** What messages for a member of a group have in common that came in one frame. */
export interface Delivery {
  readonly group: string
  /** 1 for the first time that anybody of the group got them. */
  readonly attempt: number
  /** Until when they must be settled, by the broker's clock, ms since 1970. */
  readonly deadlineMs: number
}

/** Parts of a message as they came over the wire. */
export interface RawMessage {
  readonly topic: string
  /** The pattern that matched; undefined for a subscription to the topic itself. */
  readonly pattern: string | undefined
  readonly seq: number
  readonly timeMs: number
  readonly encoding: number
  /** Bytes, or for the JSON encoding of the connection the value itself. */
  readonly payload: Uint8Array | { readonly value: unknown }
  /** 16 bytes, or text. */
  readonly id: Uint8Array | string
  /** A MessagePack map, or the map itself. */
  readonly headers: Uint8Array | Readonly<Record<string, string>> | undefined
  /** A MessagePack map, or an object that has them among other fields. */
  readonly properties: Uint8Array | Readonly<Record<string, unknown>> | undefined
  /** Of a message that came to a member of a group. */
  readonly delivery?: Delivery
}

/**
 * A message as a subscriber gets it: frozen, its payload decoded when it is first asked for.
 *
 * Its bytes are a view of the frame it came in; to keep a message for long, keep its payload.
 * @example
 * for await (const message of client.subscribe<Order>('orders.*')) {
 *   console.log(message.topic, message.seq, message.payload.amount)
 * }
 */
export class Message<Payload = unknown> {
  /** The topic it was published to. */
  readonly topic: string
  /** The pattern that matched; undefined for a subscription to the topic itself. */
  readonly pattern: string | undefined
  /** Number of the message in its topic: 1, 2, 3 … without holes. */
  readonly seq: number
  /** The lifetime of the topic's log in which `seq` counts; with it a later process can resume. */
  readonly epoch: string
  /** When the broker stored it, ms since 1970. */
  readonly timeMs: number
  readonly #raw: RawMessage
  readonly #codec: PayloadCodec | undefined
  #payload: { readonly value: unknown } | undefined

  /** @internal */
  constructor(raw: RawMessage, epoch: string, codec?: PayloadCodec) {
    this.topic = raw.topic
    this.pattern = raw.pattern
    this.seq = raw.seq
    this.epoch = epoch
    this.timeMs = raw.timeMs
    this.#raw = raw
    this.#codec = codec
    Object.freeze(this)
  }

  /**
   * The decoded payload; the same value each time.
   * @throws InvalidPayloadError when the bytes are not what they claim to be.
   */
  get payload(): Payload {
    if (this.#payload === undefined) {
      const { encoding, payload } = this.#raw
      const isBytes = payload instanceof Uint8Array
      this.#payload = isBytes ? { value: decodePayload(encoding, payload, this.#codec) } : payload
    }
    return this.#payload.value as Payload
  }

  /** UUID of the message, lower-case. A publish that was sent again has the same one. */
  get id(): string {
    const { id } = this.#raw
    return typeof id === 'string' ? id : uuidText(id)
  }

  /**
   * What was published with it; empty if nothing was.
   * @throws InvalidPayloadError when the bytes are not what they claim to be.
   */
  get headers(): Readonly<Record<string, string>> {
    const { headers } = this.#raw
    if (headers === undefined) return NO_HEADERS
    const isBytes = headers instanceof Uint8Array
    return Object.freeze(isBytes ? decodeHeaders(headers) : headers)
  }

  /** What messages that belong together have in common; undefined if it has none. */
  get key(): string | undefined {
    return this.#property('key') as string | undefined
  }

  /** How urgent it is to a group of consumers with a backlog. */
  get priority(): Priority {
    return (this.#property('priority') as Priority | undefined) ?? 'normal'
  }

  /** How long after `timeMs` it expires; undefined if it does not of itself. */
  get ttlMs(): number | undefined {
    return this.#property('ttl_ms') as number | undefined
  }

  /** Where a reply to it goes: the requester's inbox; undefined if it asks for none. */
  get replyTo(): string | undefined {
    return this.#property('reply_to') as string | undefined
  }

  /** What a reply to it must carry; of a reply, that of its request. */
  get correlationId(): string | undefined {
    return this.#property('correlation_id') as string | undefined
  }

  #property(name: string): unknown {
    const { properties } = this.#raw
    if (properties === undefined) return undefined
    const values = properties instanceof Uint8Array ? decodeProperties(properties) : properties
    return values[name]
  }
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

function uuidText(bytes: Uint8Array): string {
  let text = ''
  for (let index = 0; index < bytes.length; index++) {
    if (index === 4 || index === 6 || index === 8 || index === 10) text += '-'
    text += HEX[bytes[index] as number]
  }
  return text
}
