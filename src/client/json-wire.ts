/**
 * The JSON encoding of a connection, as a client sees it.
 * Runs on: Node and browsers. Owns: nothing.
 */
import { ProtocolError } from './errors.js'
import type { Delivery, MessageSource } from './message.js'
import {
  type Headers,
  membershipKey,
  type OutgoingBatch,
  type Properties,
  seqsOf,
  type Wire,
  type WireSink,
} from './wire.js'

const decoder = new TextDecoder()

export function jsonWire(): Wire {
  return {
    subprotocol: 'ringcast.v1.json',
    newBatch: (topic) => new JsonBatch(topic),
    subscribe: (requestId, topic, options) =>
      JSON.stringify({
        type: 'subscribe',
        request_id: String(requestId),
        topic,
        batch: true,
        ...options,
      }),
    unsubscribe: (requestId, topic, group) =>
      JSON.stringify({ type: 'unsubscribe', request_id: String(requestId), topic, group }),
    settle: (type, requestId, topic, group, ranges, details) =>
      JSON.stringify({
        type,
        request_id: String(requestId),
        topic,
        group,
        seqs: seqsOf(ranges),
        ...details,
      }),
    flow: (type, topic, group) => JSON.stringify({ type, topic, group }),
    cancel: (requestId, topic, id) =>
      JSON.stringify({ type: 'cancel', request_id: String(requestId), topic, id }),
    ping: () => '{"type":"ping"}',
    receive,
  }
}

class JsonBatch implements OutgoingBatch {
  readonly #topic: string
  /** Each message as JSON text. */
  readonly #messages: string[] = []
  #bytes = 0

  constructor(topic: string) {
    this.#topic = topic
  }

  get count(): number {
    return this.#messages.length
  }

  get bytes(): number {
    return this.#bytes
  }

  add(
    encoding: number,
    payload: Uint8Array,
    id: Uint8Array | undefined,
    headers: Headers | undefined,
    properties: Properties | undefined,
  ): void {
    if (encoding !== 1) throw new TypeError('a JSON connection takes JSON payloads only')
    const idText = id === undefined ? '' : `"id":"${uuid(id)}",`
    const headersText = headers === undefined ? '' : `,"headers":${JSON.stringify(headers)}`
    const more = properties === undefined ? '' : `,${JSON.stringify(properties).slice(1, -1)}`
    const text = `{${idText}"payload":${decoder.decode(payload)}${headersText}${more}}`
    this.#append(text)
  }

  #append(text: string): void {
    this.#messages.push(text)
    this.#bytes += text.length
  }

  frame(requestId: number | undefined): string {
    const id = requestId === undefined ? '' : `,"request_id":"${requestId}"`
    const head = `"topic":${JSON.stringify(this.#topic)}${id}`
    if (this.#messages.length === 1) {
      return `{"type":"publish",${head},"message":${this.#messages[0]}}`
    }
    return `{"type":"publish_batch",${head},"messages":[${this.#messages.join(',')}]}`
  }

  pick(positions: readonly number[]): OutgoingBatch {
    const batch = new JsonBatch(this.#topic)
    for (const position of positions) batch.#append(this.#messages[position] as string)
    return batch
  }

  release(): void {}
}

function uuid(bytes: Uint8Array): string {
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

interface JsonEvent {
  readonly topic: string
  readonly message: {
    readonly id: string
    readonly payload: unknown
    readonly encoding?: string
    readonly headers?: Readonly<Record<string, string>>
    readonly [property: string]: unknown
  }
  readonly seq: number
  readonly ts: string
  /** For a member of a group. */
  readonly group?: string
  readonly attempt?: number
  readonly deadline?: string
}

function receive(data: Uint8Array | string, sink: WireSink): void {
  if (typeof data !== 'string') throw new ProtocolError('got a binary frame, expected text')
  let frame: Record<string, unknown>
  try {
    frame = JSON.parse(data) as Record<string, unknown>
  } catch (cause) {
    throw new ProtocolError('the broker sent text that is no JSON', { cause })
  }
  const requestId = frame['request_id'] === undefined ? undefined : Number(frame['request_id'])
  const pattern = frame['subscription'] as string | undefined
  switch (frame['type']) {
    case 'event':
      receiveEvent(frame as unknown as JsonEvent, pattern, sink)
      return
    case 'events':
      for (const event of frame['events'] as JsonEvent[]) receiveEvent(event, pattern, sink)
      return
    case 'ack':
      if (requestId !== undefined) sink.onAck(requestId, frame)
      return
    case 'error':
      sink.onError(
        requestId,
        frame['error'] as { code: string; message: string; retryable: boolean },
      )
      return
    case 'pong':
      sink.onPong()
      return
    case 'info': {
      const { type: _type, ts: _ts, code, topic, ...details } = frame
      sink.onInfo({ code: code as string, topic: topic as string | undefined, details })
      return
    }
    default:
    // Newer than we are; passed over.
  }
}

function receiveEvent(event: JsonEvent, pattern: string | undefined, sink: WireSink): void {
  const { topic, group, seq } = event
  const key = group === undefined ? (pattern ?? topic) : membershipKey(topic, group)
  sink.receiverOf(key)?.onMessage(new EventSource(event, pattern), 0, seq)
}

/** An event with the one message in it, decoded already. */
class EventSource implements MessageSource {
  readonly topic: string
  readonly pattern: string | undefined
  readonly #event: JsonEvent

  constructor(event: JsonEvent, pattern: string | undefined) {
    this.topic = event.topic
    this.pattern = pattern
    this.#event = event
  }

  get delivery(): Delivery | undefined {
    const { group, attempt = 1, deadline = '' } = this.#event
    if (group === undefined) return undefined
    return { group, attempt, deadlineMs: Date.parse(deadline) }
  }

  get #isBytes(): boolean {
    return this.#event.message.encoding === 'base64'
  }

  timeMsAt(): number {
    return Date.parse(this.#event.ts)
  }

  encodingAt(): number {
    return this.#isBytes ? 2 : 1
  }

  payloadAt(): Uint8Array | { readonly value: unknown } {
    const { payload } = this.#event.message
    return this.#isBytes ? fromBase64(payload as string) : { value: payload }
  }

  idAt(): string {
    return this.#event.message.id
  }

  headersAt(): Readonly<Record<string, string>> | undefined {
    return this.#event.message.headers
  }

  propertiesAt(): Readonly<Record<string, unknown>> {
    return this.#event.message
  }
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}
