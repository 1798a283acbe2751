/**
 * What a subscriber makes of an incoming message: facts, gaps, acks, errors.
 * Runs on: subscriber processes. Owns: nothing but a cursor.
 *
 * Understands the broker's frames and, because the control forwards what it gets, publish frames
 * too.
 *   MessagePack   33 ACK · 34 EVENTS · 35 ERROR · 37 INFO · 1 PUBLISH; several arrays back to back
 *   JSON          ack · event · events · error · info · publish · publish_batch
 * JSON events in the form that the broker's own text has are read without a parser; any other
 * spelling (other key order, white space) goes through JSON.parse and is counted just the same.
 */
import { BINARY_FACTS_BYTES, type FactsSink, readParsedFacts, tryReadJsonFacts } from './facts.js'
import { MsgpackCursor } from './msgpack.js'

export interface DecodeSink extends FactsSink {
  ack(requestId: string): void
  /** The broker announces that it skipped `dropped` messages for this subscriber. */
  gap(dropped: number): void
  refused(text: string): void
}

export interface Decoder {
  decode(buffer: Buffer, start: number, end: number): void
}

const Op = { publish: 1, ack: 33, events: 34, error: 35, info: 37 } as const
const Encoding = { msgpack: 0, json: 1, raw: 2 } as const

export class MsgpackDecoder implements Decoder {
  readonly #sink: DecodeSink
  readonly #cursor = new MsgpackCursor()

  constructor(sink: DecodeSink) {
    this.#sink = sink
  }

  decode(buffer: Buffer, start: number, end: number): void {
    const cursor = this.#cursor
    cursor.attach(buffer, start, end)
    while (cursor.at < end) this.#array(cursor)
  }

  #array(cursor: MsgpackCursor): void {
    const elements = cursor.arrayLength()
    const op = cursor.number()
    let read = 1
    if (op === Op.events || op === Op.publish) {
      cursor.skip() // Topic, or the request id of a publish.
      cursor.skip() // Subscription, or the topic of a publish.
      const entries = cursor.arrayLength()
      const before = op === Op.events ? 2 : 0 // The entry's seq and time.
      for (let i = 0; i < entries; i++) this.#entry(cursor, before)
      read = 4
    } else if (op === Op.ack) {
      this.#sink.ack(cursor.text())
      read = 2
    } else if (op === Op.error) {
      cursor.skip()
      this.#sink.refused(`${cursor.text()} ${cursor.text()}`)
      read = 4
    } else if (op === Op.info) {
      this.#info(cursor)
      read = 4
    }
    for (; read < elements; read++) cursor.skip()
  }

  /** `[(seq, time,) encoding, payload, …]`. */
  #entry(cursor: MsgpackCursor, before: number): void {
    const elements = cursor.arrayLength()
    for (let i = 0; i < before; i++) cursor.skip()
    const encoding = cursor.number()
    const start = cursor.bytesStart()
    if (encoding === Encoding.json) this.#jsonPayload(cursor, start)
    else if (cursor.at - start < BINARY_FACTS_BYTES) throw new Error('payload without facts')
    else {
      const view = cursor.view
      this.#sink.message(
        view.getFloat64(start),
        view.getUint32(start + 8),
        view.getUint32(start + 12),
      )
    }
    for (let i = before + 2; i < elements; i++) cursor.skip()
  }

  #jsonPayload(cursor: MsgpackCursor, start: number): void {
    if (tryReadJsonFacts(cursor.bytes, start, cursor.at, this.#sink)) return
    readParsedFacts(JSON.parse(cursor.bytes.toString('utf8', start, cursor.at)), this.#sink)
  }

  #info(cursor: MsgpackCursor): void {
    const code = cursor.text()
    cursor.skip()
    const pairs = cursor.mapLength()
    for (let i = 0; i < pairs; i++) {
      if (cursor.text() === 'dropped' && code === 'GAP') this.#sink.gap(cursor.number())
      else cursor.skip()
    }
  }
}

const EVENT = Buffer.from('{"type":"event"')
const EVENTS = Buffer.from('{"type":"events"')
const PUBLISH = Buffer.from('{"type":"publish"')
const PUBLISH_BATCH = Buffer.from('{"type":"publish_batch"')
const PAYLOAD = Buffer.from('"payload":{"t":')
const PAYLOAD_BRACE_AT = '"payload":'.length

export class JsonDecoder implements Decoder {
  readonly #sink: DecodeSink

  constructor(sink: DecodeSink) {
    this.#sink = sink
  }

  decode(buffer: Buffer, start: number, end: number): void {
    let read = 0
    if (begins(buffer, start, EVENT) || begins(buffer, start, PUBLISH)) {
      read = this.#scan(buffer, start, end, 1)
    } else if (begins(buffer, start, EVENTS) || begins(buffer, start, PUBLISH_BATCH)) {
      read = this.#scan(buffer, start, end, Number.POSITIVE_INFINITY)
    }
    if (read === 0) this.#parse(buffer.toString('utf8', start, end))
  }

  /** Reads up to `most` events and returns how many. Throws if only some of them have our form. */
  #scan(buffer: Buffer, start: number, end: number, most: number): number {
    let read = 0
    let at = start
    while (read < most) {
      const found = indexOf(buffer, PAYLOAD, at, end)
      if (found === -1) break
      if (!tryReadJsonFacts(buffer, found + PAYLOAD_BRACE_AT, end, this.#sink)) {
        if (read > 0) throw new Error('one frame spells its payloads in two ways')
        break
      }
      read++
      at = found + PAYLOAD.length
    }
    return read
  }

  #parse(text: string): void {
    const frame = JSON.parse(text) as JsonFrame
    switch (frame.type) {
      case 'event':
      case 'publish':
        readParsedFacts(frame.message?.payload, this.#sink)
        break
      case 'events':
      case 'publish_batch':
        for (const event of frame.events ?? frame.messages ?? []) {
          readParsedFacts(event.message ? event.message.payload : event.payload, this.#sink)
        }
        break
      case 'ack':
        this.#sink.ack(frame.request_id ?? '')
        break
      case 'error':
        this.#sink.refused(`${frame.error?.code} ${frame.error?.message}`)
        break
      case 'info':
        if (frame.code === 'GAP') this.#sink.gap(frame.dropped ?? 0)
        break
      default:
    }
  }
}

interface JsonFrame {
  readonly type?: string
  readonly request_id?: string
  readonly message?: { readonly payload: unknown }
  readonly events?: readonly JsonEvent[]
  readonly messages?: readonly JsonEvent[]
  readonly error?: { readonly code: string; readonly message: string }
  readonly code?: string
  readonly dropped?: number
}

interface JsonEvent {
  readonly message?: { readonly payload: unknown }
  readonly payload?: unknown
}

function begins(buffer: Buffer, start: number, prefix: Buffer): boolean {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (buffer[start + i] !== prefix[i]) return false
  }
  return true
}

/** Like `buffer.indexOf`, but it stops at `end` and makes no slice. */
function indexOf(buffer: Buffer, wanted: Buffer, from: number, end: number): number {
  const last = end - wanted.length
  for (let at = from; at <= last; at++) {
    if (buffer[at] === 34 && begins(buffer, at, wanted)) return at
  }
  return -1
}
