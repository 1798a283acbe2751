/**
 * The entries of one MessagePack EVENTS frame, found but not decoded.
 * Runs on: Node and browsers. Owns: nothing; a message keeps the frame it stands in.
 *
 *   [seq, ts, encoding, payload, id, headers, properties]      the last three may be missing
 *
 * A message is a place in the frame, and what is asked of it is looked up there: who reads the payload
 * alone pays for the payload alone.
 */
import { NIL, readArray, readBin, type Span, skipValue } from '../protocol/msgpack.js'
import { ProtocolError } from './errors.js'
import type { Delivery, MessageSource } from './message.js'

const UINT32 = 0xce
const FLOAT64 = 0xcb
const NO_ID = new Uint8Array(16)

const span: Span = { start: 0, length: 0 }

export class EventsFrame implements MessageSource {
  readonly topic: string
  readonly pattern: string | undefined
  readonly delivery: Delivery | undefined
  /** Of the entry that next() found: where it stands, and its seq. */
  at = 0
  seq = 0
  /** Offset behind that entry. */
  end: number
  readonly #data: Uint8Array
  readonly #view: DataView
  /** What the frame stands in, and where: views of it are made from these, see #cut(). */
  readonly #buffer: ArrayBufferLike
  readonly #offset: number
  /** Where the encoding of one entry stands: mostly who reads a payload reads that of the newest entry. */
  #knownAt = -1
  #knownEncoding = 0

  /** The first entry stands at `start`. */
  constructor(
    data: Uint8Array,
    start: number,
    topic: string,
    pattern: string | undefined,
    delivery: Delivery | undefined,
  ) {
    this.#data = data
    this.#buffer = data.buffer
    this.#offset = data.byteOffset
    this.#view = new DataView(this.#buffer, this.#offset, data.length)
    this.topic = topic
    this.pattern = pattern
    this.delivery = delivery
    this.end = start
  }

  /** Steps to the next entry and measures it, so that nothing below can fail. Throws ProtocolError. */
  next(): void {
    const data = this.#data
    const view = this.#view
    const { length } = data
    this.at = this.end
    if (!readArray(data, this.at, length, span) || span.length < 4) throw notAnEntry()
    const elements = span.length
    const seq = span.start
    const time = seq + numberBytes(data, seq, length)
    const encoding = time + numberBytes(data, time, length)
    if (!readBin(data, encoding + 1, length, span)) throw notAnEntry()
    let next = span.start + span.length
    if (elements > 4) {
      if (readBin(data, next, length, span)) next = span.start + span.length
      else if (data[next] === NIL) next++
      else throw notAnEntry()
    }
    for (let rest = elements - 5; rest > 0; rest--) {
      next = data[next] === NIL ? next + 1 : skipValue(data, next, length)
      if (next < 0) throw notAnEntry()
    }
    this.#knownAt = this.at
    this.#knownEncoding = encoding
    this.seq = numberAt(view, seq)
    this.end = next
  }

  timeMsAt(at: number): number {
    return numberAt(this.#view, this.#timeOf(at))
  }

  encodingAt(at: number): number {
    return this.#data[this.#encodingOf(at)] as number
  }

  payloadAt(at: number): Uint8Array {
    return this.#bin(this.#encodingOf(at) + 1)
  }

  idAt(at: number): Uint8Array {
    const id = this.#payloadEnd(at)
    return this.#elements(at) > 4 && this.#data[id] !== NIL ? this.#bin(id) : NO_ID
  }

  headersAt(at: number): Uint8Array | undefined {
    if (this.#elements(at) < 6) return undefined
    const data = this.#data
    const start = skipValue(data, this.#payloadEnd(at), data.length)
    return data[start] === NIL ? undefined : this.#cut(start, skipValue(data, start, data.length))
  }

  propertiesAt(at: number): Uint8Array | undefined {
    if (this.#elements(at) < 7) return undefined
    const data = this.#data
    const headers = skipValue(data, this.#payloadEnd(at), data.length)
    const start = data[headers] === NIL ? headers + 1 : skipValue(data, headers, data.length)
    return data[start] === NIL ? undefined : this.#cut(start, skipValue(data, start, data.length))
  }

  #elements(at: number): number {
    readArray(this.#data, at, this.#data.length, span)
    return span.length
  }

  #timeOf(at: number): number {
    readArray(this.#data, at, this.#data.length, span)
    return span.start + numberBytes(this.#data, span.start, this.#data.length)
  }

  #encodingOf(at: number): number {
    if (at === this.#knownAt) return this.#knownEncoding
    const time = this.#timeOf(at)
    return time + numberBytes(this.#data, time, this.#data.length)
  }

  #payloadEnd(at: number): number {
    readBin(this.#data, this.#encodingOf(at) + 1, this.#data.length, span)
    return span.start + span.length
  }

  #bin(at: number): Uint8Array {
    readBin(this.#data, at, this.#data.length, span)
    return this.#cut(span.start, span.start + span.length)
  }

  /** subarray() asks for `buffer` and `byteOffset` each time, and on Node makes a Buffer: 3 times as slow. */
  #cut(start: number, end: number): Uint8Array {
    return new Uint8Array(this.#buffer, this.#offset + start, end - start)
  }
}

function numberAt(view: DataView, at: number): number {
  return view.getUint8(at) === UINT32 ? view.getUint32(at + 1) : view.getFloat64(at + 1)
}

/** Bytes of the number at `at`. Throws ProtocolError when there is none. */
function numberBytes(data: Uint8Array, at: number, end: number): number {
  const mark = at < end ? data[at] : undefined
  if (mark === UINT32 && at + 5 <= end) return 5
  if (mark === FLOAT64 && at + 9 <= end) return 9
  throw new ProtocolError(`seq and time must be uint32 or float64, got ${mark}`)
}

function notAnEntry(): ProtocolError {
  return new ProtocolError('the broker sent bytes that are no frame')
}
