/**
 * Entries as JSON text: the events of JSON subscribers, and the history of the HTTP door.
 * Runs on: the shard. Owns: the text of the time that was written last.
 *
 * A payload of encoding 1 is JSON text already and goes out byte for byte: it was checked when it
 * was stored. Encoding 0 is decoded; what is not exactly one standard value, or would grow out of
 * bounds, goes out as base64 like the raw bytes of encoding 2, and says so.
 */
import { ARRAY_OF_7, entryBody, entrySeq, entryTimeMs } from '../log/entry.js'
import { NIL, readBin, type Span, skipValue } from '../protocol/msgpack.js'
import { ID_BYTES, PAYLOAD_JSON } from '../protocol/msgpack-frames.js'
import * as text from '../protocol/payload-text.js'
import { isoTime } from '../protocol/server-frames.js'
import { UUID_TEXT_BYTES, writeUuidText } from '../protocol/uuid.js'

/** Where the parts of an entry stand. One is used again for every entry. */
export class EntryView {
  seq = 0
  timeMs = 0
  encoding = 0
  payloadStart = 0
  payloadEnd = 0
  idStart = 0
  /** Equal when there are no headers. */
  headersStart = 0
  headersEnd = 0
  /** 0 when there are no properties. */
  propertiesStart = 0
  propertiesEnd = 0
  readonly #span: Span = { start: 0, length: 0 }

  /** Reads the entry at `at`; it was checked when it was stored. */
  read(buffer: Buffer, at: number): void {
    this.seq = entrySeq(buffer, at)
    this.timeMs = entryTimeMs(buffer, at)
    const body = entryBody(buffer, at)
    this.encoding = buffer[body] as number
    readBin(buffer, body + 1, buffer.length, this.#span)
    this.payloadStart = this.#span.start
    this.payloadEnd = this.#span.start + this.#span.length
    this.idStart = this.payloadEnd + 2
    const headers = this.idStart + ID_BYTES
    this.headersStart = headers
    this.headersEnd = buffer[headers] === NIL ? headers : skipValue(buffer, headers, buffer.length)
    this.propertiesStart = 0
    this.propertiesEnd = 0
    if (buffer[at] === ARRAY_OF_7) {
      this.propertiesStart = this.headersEnd + (buffer[headers] === NIL ? 1 : 0)
      this.propertiesEnd = skipValue(buffer, this.propertiesStart, buffer.length)
    }
  }
}

/** A payload as it stands in JSON, with the mark of its encoding. */
function payloadText(buffer: Buffer, entry: EntryView, maxLength: number): string {
  // A private copy: msgpackr reads shared memory 12–20 times slower, and base64 needs one anyway.
  const bytes = Buffer.from(buffer.subarray(entry.payloadStart, entry.payloadEnd))
  return text.payloadText(bytes, entry.encoding, maxLength)
}

/** Headers and properties as fields of a message, a comma before each; or nothing. */
function fieldsText(buffer: Buffer, entry: EntryView): string {
  const headers = headersText(buffer, entry)
  return entry.propertiesStart === 0 ? headers : headers + propertiesText(buffer, entry)
}

/** The names are known and the values plain: what was published, by the same names. */
function propertiesText(buffer: Buffer, entry: EntryView): string {
  return text.propertiesText(
    Buffer.from(buffer.subarray(entry.propertiesStart, entry.propertiesEnd)),
  )
}

/** Headers as a JSON object with the comma and name before it, or nothing. */
function headersText(buffer: Buffer, entry: EntryView): string {
  if (entry.headersStart === entry.headersEnd) return ''
  return text.headersText(Buffer.from(buffer.subarray(entry.headersStart, entry.headersEnd)))
}

/**
 * Writes one event: head, id, payload, headers, properties, seq, time. `head` ends with the quote before the id.
 * Returns the offset behind it, or -1 when it does not fit before `end`.
 */
export function writeEvent(
  target: Buffer,
  at: number,
  end: number,
  head: Buffer,
  buffer: Buffer,
  entry: EntryView,
): number {
  const fields = fieldsText(buffer, entry)
  const time = timeEnd(entry.timeMs)
  const isText = entry.encoding === PAYLOAD_JSON
  const ends = PAYLOAD_KEY.length + SEQ_KEY.length + SEQ_DIGITS_MAX + time.length
  const fixed = head.length + UUID_TEXT_BYTES + Buffer.byteLength(fields) + ends
  const payloadRoom = end - at - fixed
  // Whether it grows out of bounds must not depend on what stands before it in the record.
  const payloadMax = target.length - EVENT_LENGTH_BYTES - fixed
  const payload = isText ? '' : payloadText(buffer, entry, payloadMax)
  const payloadLength = isText ? entry.payloadEnd - entry.payloadStart : Buffer.byteLength(payload)
  if (payloadLength > payloadRoom) return -1

  target.set(head, at)
  let next = writeUuidText(target, at + head.length, buffer, entry.idStart)
  next = writeBytes(target, next, PAYLOAD_KEY)
  if (isText) {
    target.set(buffer.subarray(entry.payloadStart, entry.payloadEnd), next)
    next += payloadLength
  } else {
    next += target.utf8Write(payload, next)
  }
  if (fields !== '') next += target.utf8Write(fields, next)
  next = writeBytes(target, next, SEQ_KEY)
  next = writeWholeNumber(target, next, entry.seq)
  return writeBytes(target, next, time)
}

const PAYLOAD_KEY = Buffer.from('","payload":')
const SEQ_KEY = Buffer.from('},"seq":')
/** Of a whole number below 2⁵³. */
const SEQ_DIGITS_MAX = 16
/** What the record of an event holds beside its text: its length. */
const EVENT_LENGTH_BYTES = 4

let timeMsOfEnd = Number.NaN
let lastTimeEnd: Uint8Array = new Uint8Array()

/** The end of an event, from its time on. Events of one millisecond have it in common. */
function timeEnd(timeMs: number): Uint8Array {
  if (timeMs !== timeMsOfEnd) {
    lastTimeEnd = Buffer.from(`,"ts":"${isoTime(timeMs)}"}`)
    timeMsOfEnd = timeMs
  }
  return lastTimeEnd
}

/** For a few bytes a loop is faster than set(). */
function writeBytes(target: Uint8Array, at: number, bytes: Uint8Array): number {
  for (let index = 0; index < bytes.length; index++) target[at + index] = bytes[index] as number
  return at + bytes.length
}

function writeWholeNumber(target: Uint8Array, at: number, value: number): number {
  let digits = 1
  for (let power = 10; power <= value; power *= 10) digits++
  let rest = value
  for (let index = at + digits - 1; index >= at; index--) {
    const tens = Math.floor(rest / 10)
    target[index] = 0x30 + (rest - tens * 10)
    rest = tens
  }
  return at + digits
}

/** One message of the history that the HTTP door answers with. */
export function historyText(buffer: Buffer, entry: EntryView, maxLength: number): string {
  const id = Buffer.alloc(UUID_TEXT_BYTES)
  writeUuidText(id, 0, buffer, entry.idStart)
  const payload = payloadText(buffer, entry, maxLength)
  const fields = fieldsText(buffer, entry)
  return `{"seq":${entry.seq},"ts":"${isoTime(entry.timeMs)}","id":"${id}","payload":${payload}${fields}}`
}
