/**
 * The entries of one MessagePack EVENTS frame, found but not decoded.
 * Runs on: Node and browsers. Owns: nothing; entries keep the frame they stand in.
 *
 *   [seq, ts, encoding, payload, id, headers]      the last two, and more behind them, may be missing
 *
 * A subscriber that looks at the payload only pays for the payload only: an entry is a place in the
 * frame, and what is asked of it is looked up there.
 */
import { NIL, readArray, readBin, type Span, skipValue } from '../protocol/msgpack.js'
import { ProtocolError } from './errors.js'
import type { RawMessage } from './message.js'

const UINT32 = 0xce
const FLOAT64 = 0xcb
const NO_ID = new Uint8Array(16)

const span: Span = { start: 0, length: 0 }

export class EventsFrame {
  readonly data: Uint8Array
  readonly view: DataView
  readonly topic: string
  readonly pattern: string | undefined
  /** Offset behind the entry that next() found last. */
  end: number

  /** The first entry stands at `start`. */
  constructor(data: Uint8Array, start: number, topic: string, pattern: string | undefined) {
    this.data = data
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength)
    this.topic = topic
    this.pattern = pattern
    this.end = start
  }

  /** The next entry. Throws ProtocolError when there is none. */
  next(): Entry {
    const { data, view, end: at } = this
    const { length } = data
    if (!readArray(data, at, length, span) || span.length < 4) throw notAnEntry()
    const elements = span.length
    const first = span.start
    const time = first + numberBytes(view, first)
    const encoding = time + numberBytes(view, time)
    if (!readBin(data, encoding + 1, length, span)) throw notAnEntry()
    let next = span.start + span.length
    if (elements > 4) {
      if (readBin(data, next, length, span)) next = span.start + span.length
      else if (data[next] === NIL) next++
      else throw notAnEntry()
    }
    for (let rest = elements - 5; rest > 0; rest--) {
      if (data[next] === NIL) next++
      else next = skipValue(data, next, length)
      if (next < 0) throw notAnEntry()
    }
    this.end = next
    return new Entry(this, at, numberAt(view, first))
  }
}

/** One message, where it stands. next() has measured it, so that nothing here can fail. */
class Entry implements RawMessage {
  readonly #frame: EventsFrame
  readonly #at: number
  readonly seq: number

  constructor(frame: EventsFrame, at: number, seq: number) {
    this.#frame = frame
    this.#at = at
    this.seq = seq
  }

  get topic(): string {
    return this.#frame.topic
  }

  get pattern(): string | undefined {
    return this.#frame.pattern
  }

  get timeMs(): number {
    return numberAt(this.#frame.view, this.#timeAt)
  }

  get encoding(): number {
    return this.#frame.data[this.#encodingAt] as number
  }

  get payload(): Uint8Array {
    return this.#bin(this.#encodingAt + 1)
  }

  get id(): Uint8Array {
    const at = this.#payloadEnd
    return this.#elements > 4 && this.#frame.data[at] !== NIL ? this.#bin(at) : NO_ID
  }

  get headers(): Uint8Array | undefined {
    if (this.#elements < 6) return undefined
    const { data } = this.#frame
    const at = skipValue(data, this.#payloadEnd, data.length)
    return data[at] === NIL ? undefined : data.subarray(at, skipValue(data, at, data.length))
  }

  get #elements(): number {
    readArray(this.#frame.data, this.#at, this.#frame.data.length, span)
    return span.length
  }

  get #timeAt(): number {
    readArray(this.#frame.data, this.#at, this.#frame.data.length, span)
    return span.start + numberBytes(this.#frame.view, span.start)
  }

  get #encodingAt(): number {
    const at = this.#timeAt
    return at + numberBytes(this.#frame.view, at)
  }

  get #payloadEnd(): number {
    readBin(this.#frame.data, this.#encodingAt + 1, this.#frame.data.length, span)
    return span.start + span.length
  }

  #bin(at: number): Uint8Array {
    const { data } = this.#frame
    readBin(data, at, data.length, span)
    return data.subarray(span.start, span.start + span.length)
  }
}

function numberAt(view: DataView, at: number): number {
  return view.getUint8(at) === UINT32 ? view.getUint32(at + 1) : view.getFloat64(at + 1)
}

/** Bytes of the number at `at`. Throws ProtocolError when there is none. */
function numberBytes(view: DataView, at: number): number {
  const mark = at < view.byteLength ? view.getUint8(at) : -1
  if (mark === UINT32 && at + 5 <= view.byteLength) return 5
  if (mark === FLOAT64 && at + 9 <= view.byteLength) return 9
  throw new ProtocolError(`seq and time must be uint32 or float64, got ${mark}`)
}

function notAnEntry(): ProtocolError {
  return new ProtocolError('the broker sent bytes that are no frame')
}
