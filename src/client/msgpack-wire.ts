/**
 * The MessagePack encoding of a connection, as a client sees it.
 * Runs on: Node and browsers. Owns: nothing; batches own the bytes they collect.
 *
 * Events are measured, not decoded: a message keeps views of its frame.
 */
import { Packr, Unpackr } from 'msgpackr'
import { NIL, readArray, readStr, type Span, skipValue } from '../protocol/msgpack.js'
import { Buffers } from './buffers.js'
import { ProtocolError } from './errors.js'
import { EventsFrame } from './events-frame.js'
import type { Delivery } from './message.js'
import { uuidBytes } from './uuid.js'
import {
  type AckResult,
  type Frame,
  type Headers,
  membershipKey,
  type OutgoingBatch,
  type Properties,
  seqsOf,
  type Wire,
  type WireSink,
} from './wire.js'

const UINT32 = 0xce
const PUBLISH = 1
const SUBSCRIBE = 2
const UNSUBSCRIBE = 3
const PING = 4
const SETTLE = { ack: 5, nack: 6, term: 7, working: 8, release: 11 } as const
const PAUSE = 9
const RESUME = 10
const CANCEL = 12
const ACK = 33
const EVENTS = 34
const ERROR = 35
const PONG = 36
const INFO = 37
const DELIVER = 38

/** Array of 4, op, request id as uint32, and the array of messages with a 32-bit count. */
const HEAD_BYTES_MAX = 2 + 5 + 5
/** Array of 4, encoding, head of the payload, id, and nil. */
const MESSAGE_EXTRA_BYTES_MAX = 2 + 5 + 18 + 1
/** Of a batch that begins: most do not stay at one message. */
const BATCH_BYTES_MIN = 1024
const RELEASED = new Uint8Array(0)

const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })
const decoder = new TextDecoder()

export function msgpackWire(): Wire {
  const buffers = new Buffers(BATCH_BYTES_MIN)
  return {
    subprotocol: 'ringcast.v1.msgpack',
    newBatch: (topic, bytes) => new MsgpackBatch(packr.pack(topic).slice(), bytes, buffers),
    subscribe: (requestId, text, options) => packed([SUBSCRIBE, requestId, text, options]),
    unsubscribe: (requestId, text, group) =>
      packed([UNSUBSCRIBE, requestId, text, ...(group === undefined ? [] : [{ group }])]),
    settle: (op, requestId, topic, group, ranges, details) => {
      const more = details === undefined ? [] : [details]
      return packed([SETTLE[op], requestId, topic, group, seqsOf(ranges), ...more])
    },
    flow: (op, topic, group) => packed([op === 'pause' ? PAUSE : RESUME, null, topic, group]),
    cancel: (requestId, topic, id) => packed([CANCEL, requestId, topic, uuidBytes(id)]),
    ping: () => packed([PING, null]),
    receive,
  }
}

function packed(frame: unknown): Frame {
  return packr.pack(frame).slice() // msgpackr hands out views of a buffer it uses again.
}

/** Room for the head is left free at the front; what the head says is known only at the end. */
class MsgpackBatch implements OutgoingBatch {
  count = 0
  readonly #topic: Uint8Array
  readonly #bodyStart: number
  readonly #buffers: Buffers
  #buffer: Uint8Array
  #end: number

  constructor(topic: Uint8Array, bytes: number, buffers: Buffers) {
    this.#topic = topic
    this.#bodyStart = HEAD_BYTES_MAX + topic.length
    this.#buffers = buffers
    this.#buffer = buffers.take(this.#bodyStart + bytes)
    this.#end = this.#bodyStart
  }

  get bytes(): number {
    return this.#end - this.#bodyStart
  }

  add(
    encoding: number,
    payload: Uint8Array,
    id: Uint8Array | undefined,
    headers: Headers | undefined,
    properties: Properties | undefined,
  ): void {
    const meta = headers === undefined ? undefined : packr.pack(headers).slice()
    const extra = properties === undefined ? undefined : packr.pack(properties)
    const more = (meta?.length ?? 0) + (extra?.length ?? 0)
    this.#reserve(MESSAGE_EXTRA_BYTES_MAX + payload.length + more)
    const buffer = this.#buffer
    let at = this.#end
    const elements = extra !== undefined ? 5 : meta !== undefined ? 4 : id !== undefined ? 3 : 2
    buffer[at++] = 0x90 | elements
    buffer[at++] = encoding
    at = writeBin(buffer, at, payload)
    if (elements >= 3) {
      if (id === undefined) buffer[at++] = NIL
      else at = writeBin(buffer, at, id)
    }
    if (meta !== undefined) {
      buffer.set(meta, at)
      at += meta.length
    } else if (extra !== undefined) {
      buffer[at++] = NIL
    }
    if (extra !== undefined) {
      buffer.set(extra, at)
      at += extra.length
    }
    this.#end = at
    this.count++
  }

  frame(requestId: number | undefined): Uint8Array {
    const start = this.#bodyStart - this.#topic.length - 5 - (requestId === undefined ? 1 : 5) - 2
    const buffer = this.#buffer
    const view = new DataView(buffer.buffer, buffer.byteOffset)
    buffer[start] = 0x94
    buffer[start + 1] = PUBLISH
    let at = start + 2
    if (requestId === undefined) {
      buffer[at++] = NIL
    } else {
      buffer[at] = UINT32
      view.setUint32(at + 1, requestId)
      at += 5
    }
    buffer.set(this.#topic, at)
    at += this.#topic.length
    buffer[at] = 0xdd
    view.setUint32(at + 1, this.count)
    return buffer.subarray(start, this.#end)
  }

  pick(positions: readonly number[]): OutgoingBatch {
    const batch = new MsgpackBatch(this.#topic, 0, this.#buffers)
    let position = 0
    let at = this.#bodyStart
    for (const wanted of positions) {
      for (; position < wanted; position++) at = skipValue(this.#buffer, at, this.#end)
      batch.#append(this.#buffer.subarray(at, skipValue(this.#buffer, at, this.#end)))
    }
    return batch
  }

  release(): void {
    this.#buffers.giveBack(this.#buffer)
    this.#buffer = RELEASED
  }

  #append(message: Uint8Array): void {
    this.#reserve(message.length)
    this.#buffer.set(message, this.#end)
    this.#end += message.length
    this.count++
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes
    if (needed <= this.#buffer.length) return
    const larger = this.#buffers.take(needed)
    larger.set(this.#buffer.subarray(0, this.#end))
    this.#buffers.giveBack(this.#buffer)
    this.#buffer = larger
  }
}

function writeBin(target: Uint8Array, at: number, bytes: Uint8Array): number {
  const { length } = bytes
  let next = at
  if (length <= 0xff) {
    target[next++] = 0xc4
  } else if (length <= 0xffff) {
    target[next++] = 0xc5
    target[next++] = length >>> 8
  } else {
    target[next++] = 0xc6
    target[next++] = length >>> 24
    target[next++] = (length >>> 16) & 0xff
    target[next++] = (length >>> 8) & 0xff
  }
  target[next++] = length & 0xff
  target.set(bytes, next)
  return next + length
}

const span: Span = { start: 0, length: 0 }

function receive(data: Uint8Array | string, sink: WireSink): void {
  if (typeof data === 'string') throw new ProtocolError('got a text frame, expected binary')
  let at = 0
  while (at < data.length) {
    if (!readArray(data, at, data.length, span) || span.length < 2) throw notAFrame()
    const op = data[span.start] as number
    if (op === EVENTS && span.length >= 4) {
      const more = span.length - 4
      at = skipValues(data, receiveEvents(data, span.start + 1, sink), more)
      continue
    }
    if (op === DELIVER && span.length >= 6) {
      const more = span.length - 6
      at = skipValues(data, receiveDelivery(data, span.start + 1, sink), more)
      continue
    }
    const end = skipValue(data, at, data.length)
    if (end < 0) throw notAFrame()
    receiveOther(op, unpackr.unpack(data.subarray(at, end)), sink)
    at = end
  }
}

function receiveOther(op: number, frame: unknown[], sink: WireSink): void {
  const [, first, second, third, fourth] = frame
  if (op === ACK) {
    sink.onAck(first as number, third as AckResult)
  } else if (op === ERROR) {
    const requestId = typeof first === 'number' ? first : undefined
    const [code, message, retryable] = [second as string, third as string, fourth === true]
    sink.onError(requestId, { code, message, retryable })
  } else if (op === PONG) {
    sink.onPong()
  } else if (op === INFO) {
    const topic = typeof second === 'string' ? second : undefined
    sink.onInfo({ code: first as string, topic, details: third as Record<string, unknown> })
  }
  // Other ops are newer than we are; they are passed over.
}

/** `[34, topic, pattern or nil, [entry, …]]`, from the topic on; returns the offset behind it. */
function receiveEvents(data: Uint8Array, at: number, sink: WireSink): number {
  const end = data.length
  if (!readStr(data, at, end, span)) throw notAFrame()
  const topic = text(data, span)
  let next = span.start + span.length
  let pattern: string | undefined
  if (data[next] === NIL) {
    next++
  } else {
    if (!readStr(data, next, end, span)) throw notAFrame()
    pattern = text(data, span)
    next = span.start + span.length
  }
  return receiveEntries(data, next, sink, topic, pattern, undefined)
}

/** `[38, topic, group, attempt, deadline, [entry, …]]`, from the topic on; returns the offset behind it. */
function receiveDelivery(data: Uint8Array, at: number, sink: WireSink): number {
  const end = data.length
  if (!readStr(data, at, end, span)) throw notAFrame()
  const topic = text(data, span)
  if (!readStr(data, span.start + span.length, end, span)) throw notAFrame()
  const group = groupText(data, span)
  const attemptAt = span.start + span.length
  const deadlineAt = skipValue(data, attemptAt, end)
  const next = deadlineAt < 0 ? -1 : skipValue(data, deadlineAt, end)
  if (next < 0) throw notAFrame()
  const attempt = unpackr.unpack(data.subarray(attemptAt, deadlineAt)) as number
  const deadlineMs = unpackr.unpack(data.subarray(deadlineAt, next)) as number
  const delivery: Delivery = { group, attempt, deadlineMs }
  return receiveEntries(data, next, sink, topic, undefined, delivery)
}

function receiveEntries(
  data: Uint8Array,
  at: number,
  sink: WireSink,
  topic: string,
  pattern: string | undefined,
  delivery: Delivery | undefined,
): number {
  const end = data.length
  if (!readArray(data, at, end, span)) throw notAFrame()
  const count = span.length
  const frame = new EventsFrame(data, span.start, topic, pattern, delivery)
  const key = delivery === undefined ? (pattern ?? topic) : membershipKey(topic, delivery.group)
  const receiver = sink.receiverOf(key)
  for (let index = 0; index < count; index++) {
    frame.next()
    receiver?.onMessage(frame, frame.at, frame.seq)
  }
  return frame.end
}

/** Elements that a newer broker may send, and that we do not know. */
function skipValues(data: Uint8Array, at: number, count: number): number {
  let next = at
  for (let index = 0; index < count; index++) {
    next = skipValue(data, next, data.length)
    if (next < 0) throw notAFrame()
  }
  return next
}

/** Topics and groups repeat, so the last one is kept. */
const text = rememberingText()
const groupText = rememberingText()

function rememberingText(): (data: Uint8Array, span: Span) => string {
  let lastText = ''
  let lastBytes: Uint8Array = new Uint8Array(0)
  return (data, { start, length }) => {
    if (length === lastBytes.length) {
      let index = 0
      while (index < length && data[start + index] === lastBytes[index]) index++
      if (index === length) return lastText
    }
    lastBytes = data.slice(start, start + length)
    lastText = decoder.decode(lastBytes)
    return lastText
  }
}

function notAFrame(): ProtocolError {
  return new ProtocolError('the broker sent bytes that are no frame')
}
