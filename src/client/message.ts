/**
 * A message as a subscriber sees it.
 * Runs on: Node and browsers. Owns: a place in the frame it came in.
 *
 * What costs time (payload, id, headers) is decoded when it is first asked for. It has getters and no
 * fields of its own, so nobody can change it: Object.freeze() would cost 50 ns a message.
 */
import { decodeHeaders, decodePayload, decodeProperties, type PayloadCodec } from './codecs.js'

/** What #payload is until somebody asks for it; a payload may be undefined. */
const NOT_DECODED = Symbol('not decoded')
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

/** A frame with messages in it; `at` is the place of one of them, as the frame counts. */
export interface MessageSource {
  readonly topic: string
  /** The pattern that matched; undefined for a subscription to the topic itself. */
  readonly pattern: string | undefined
  /** Of messages that came to a member of a group. */
  readonly delivery?: Delivery | undefined
  timeMsAt(at: number): number
  encodingAt(at: number): number
  /** Bytes, or for the JSON encoding of the connection the value itself. */
  payloadAt(at: number): Uint8Array | { readonly value: unknown }
  /** 16 bytes, or text. */
  idAt(at: number): Uint8Array | string
  /** A MessagePack map, or the map itself. */
  headersAt(at: number): Uint8Array | Readonly<Record<string, string>> | undefined
  /** A MessagePack map, or an object that has them among other fields. */
  propertiesAt(at: number): Uint8Array | Readonly<Record<string, unknown>> | undefined
}

/**
 * A message as a subscriber gets it: read-only, its payload decoded when it is first asked for.
 *
 * Its bytes are a view of what it came in, up to 256 KiB; to keep a message for long, keep its payload, and
 * if that is raw bytes, a copy of them.
 * @example
 * for await (const message of client.subscribe<Order>('orders.*')) {
 *   console.log(message.topic, message.seq, message.payload.amount)
 * }
 */
export class Message<Payload = unknown> {
  readonly #source: MessageSource
  readonly #at: number
  readonly #seq: number
  readonly #epoch: string
  readonly #codec: PayloadCodec | undefined
  #payload: unknown = NOT_DECODED

  /** @internal */
  constructor(
    source: MessageSource,
    at: number,
    seq: number,
    epoch: string,
    codec: PayloadCodec | undefined,
  ) {
    this.#source = source
    this.#at = at
    this.#seq = seq
    this.#epoch = epoch
    this.#codec = codec
  }

  /** The topic it was published to. */
  get topic(): string {
    return this.#source.topic
  }

  /** The pattern that matched; undefined for a subscription to the topic itself. */
  get pattern(): string | undefined {
    return this.#source.pattern
  }

  /** Number of the message in its topic: 1, 2, 3 … without holes. */
  get seq(): number {
    return this.#seq
  }

  /** The lifetime of the topic's log in which `seq` counts; with it a later process can resume. */
  get epoch(): string {
    return this.#epoch
  }

  /** When the broker stored it, ms since 1970. */
  get timeMs(): number {
    return this.#source.timeMsAt(this.#at)
  }

  /**
   * The decoded payload; the same value each time.
   * @throws InvalidPayloadError when the bytes are not what they claim to be.
   */
  get payload(): Payload {
    if (this.#payload === NOT_DECODED) {
      const payload = this.#source.payloadAt(this.#at)
      if (payload instanceof Uint8Array) {
        const encoding = this.#source.encodingAt(this.#at)
        this.#payload = decodePayload(encoding, payload, this.#codec)
      } else {
        this.#payload = payload.value
      }
    }
    return this.#payload as Payload
  }

  /** UUID of the message, lower-case. A publish that was sent again has the same one. */
  get id(): string {
    const id = this.#source.idAt(this.#at)
    return typeof id === 'string' ? id : uuidText(id)
  }

  /**
   * What was published with it; empty if nothing was.
   * @throws InvalidPayloadError when the bytes are not what they claim to be.
   */
  get headers(): Readonly<Record<string, string>> {
    const headers = this.#source.headersAt(this.#at)
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
    const properties = this.#source.propertiesAt(this.#at)
    if (properties === undefined) return undefined
    const values = properties instanceof Uint8Array ? decodeProperties(properties) : properties
    return values[name]
  }

  /** For JSON.stringify(), and for console.log() on Node: where and when, without the payload. */
  toJSON(): Record<string, unknown> {
    const { topic, pattern, seq, epoch, timeMs } = this
    return { topic, pattern, seq, epoch, timeMs }
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): unknown {
    return this.toJSON()
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
