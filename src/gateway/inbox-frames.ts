/**
 * Replies as the event frames that the owner of an inbox gets, with seq 0: they stand in no log.
 * Runs on: the front thread. Owns: random ids for replies that have none.
 */
import {
  NIL,
  readArray,
  readBin,
  type Span,
  skipValue,
  strBytes,
  writeArrayHead,
  writeBinHead,
  writeNumber,
} from '../protocol/msgpack.js'
import { ID_BYTES, Op } from '../protocol/msgpack-frames.js'
import { headersText, payloadText, propertiesText } from '../protocol/payload-text.js'
import { RandomIds } from '../protocol/random-ids.js'
import { isoTime } from '../protocol/server-frames.js'
import { UUID_TEXT_BYTES, writeUuidText } from '../protocol/uuid.js'
import { type Format, MSGPACK } from '../ring/record.js'

/** A MessagePack payload whose JSON would be longer goes to JSON clients as base64. */
const REPLY_TEXT_MAX = 1024 * 1024
/** Array head, seq, time, id, and nil for headers that are absent. */
const ENTRY_EXTRA_BYTES = 1 + 5 + 9 + 2 + ID_BYTES + 1
const EMPTY_MAP = 0x80
/** Op and heads of the two arrays. */
const FRAME_EXTRA_BYTES = 1 + 1 + 1 + 5

const ids = new RandomIds()
const span: Span = { start: 0, length: 0 }

/** Where the parts of one message stand; from and to are equal where a part is absent. */
interface Parts {
  encodingAt: number
  payloadFrom: number
  payloadTo: number
  idAt: number
  headersFrom: number
  headersTo: number
  propertiesFrom: number
  propertiesTo: number
  /** Behind the message. */
  end: number
}

/** The frames of these messages (MessagePack, back to back, checked), in the order they came. */
export function inboxFrames(
  format: Format,
  inbox: string,
  messages: Buffer,
  count: number,
  nowMs: number,
): Buffer[] {
  const parts: Parts[] = []
  let at = 0
  for (let index = 0; index < count; index++) {
    const message = partsOf(messages, at)
    parts.push(message)
    at = message.end
  }
  if (format === MSGPACK) return [eventsFrame(inbox, messages, parts, nowMs)]
  return parts.map((message) => jsonEvent(inbox, messages, message, nowMs))
}

function partsOf(bytes: Buffer, at: number): Parts {
  const { length } = bytes
  readArray(bytes, at, length, span)
  const elements = span.length
  const encodingAt = span.start
  readBin(bytes, encodingAt + 1, length, span)
  const payloadTo = span.start + span.length
  const parts: Parts = {
    encodingAt,
    payloadFrom: span.start,
    payloadTo,
    idAt: -1,
    headersFrom: 0,
    headersTo: 0,
    propertiesFrom: 0,
    propertiesTo: 0,
    end: payloadTo,
  }
  if (elements > 2) {
    if (bytes[parts.end] !== NIL) parts.idAt = parts.end + 2
    parts.end = parts.idAt < 0 ? parts.end + 1 : parts.idAt + ID_BYTES
  }
  if (elements > 3) {
    const after = skipValue(bytes, parts.end, length)
    if (bytes[parts.end] !== NIL) [parts.headersFrom, parts.headersTo] = [parts.end, after]
    parts.end = after
  }
  if (elements > 4) {
    const after = skipValue(bytes, parts.end, length)
    const mark = bytes[parts.end]
    const hasAny = mark !== NIL && mark !== EMPTY_MAP
    if (hasAny) [parts.propertiesFrom, parts.propertiesTo] = [parts.end, after]
    parts.end = after
  }
  return parts
}

/** `[34, inbox, nil, [entry, …]]`, entry = `[0, ts, encoding, payload, id, headers(, properties)]`. */
function eventsFrame(
  inbox: string,
  messages: Buffer,
  parts: readonly Parts[],
  nowMs: number,
): Buffer {
  const topic = strBytes(inbox)
  const extra = FRAME_EXTRA_BYTES + topic.length + parts.length * ENTRY_EXTRA_BYTES
  const frame = Buffer.allocUnsafe(extra + messages.length)
  frame[0] = 0x94
  frame[1] = Op.events
  let at = 2 + topic.copy(frame, 2)
  frame[at++] = NIL
  at = writeArrayHead(frame, at, parts.length)
  for (const part of parts) {
    const hasProperties = part.propertiesTo > part.propertiesFrom
    frame[at++] = hasProperties ? 0x97 : 0x96
    at = writeNumber(frame, at, 0)
    at = writeNumber(frame, at, nowMs)
    at += messages.copy(frame, at, part.encodingAt, part.payloadTo)
    at = writeBinHead(frame, at, ID_BYTES)
    if (part.idAt < 0) ids.writeTo(frame, at)
    else messages.copy(frame, at, part.idAt, part.idAt + ID_BYTES)
    at += ID_BYTES
    if (part.headersTo > part.headersFrom) {
      at += messages.copy(frame, at, part.headersFrom, part.headersTo)
    } else {
      frame[at++] = NIL
    }
    if (hasProperties) at += messages.copy(frame, at, part.propertiesFrom, part.propertiesTo)
  }
  return frame.subarray(0, at)
}

function jsonEvent(inbox: string, messages: Buffer, part: Parts, nowMs: number): Buffer {
  const payload = messages.subarray(part.payloadFrom, part.payloadTo)
  const members = [
    `"id":"${idText(messages, part.idAt)}"`,
    `,"payload":${payloadText(payload, messages[part.encodingAt] as number, REPLY_TEXT_MAX)}`,
  ]
  if (part.headersTo > part.headersFrom) {
    members.push(headersText(messages.subarray(part.headersFrom, part.headersTo)))
  }
  if (part.propertiesTo > part.propertiesFrom) {
    members.push(propertiesText(messages.subarray(part.propertiesFrom, part.propertiesTo)))
  }
  const message = `"message":{${members.join('')}}`
  const text = `{"type":"event","topic":"${inbox}",${message},"seq":0,"ts":"${isoTime(nowMs)}"}`
  return Buffer.from(text)
}

function idText(messages: Buffer, idAt: number): string {
  const id = idAt < 0 ? Buffer.alloc(ID_BYTES) : messages.subarray(idAt, idAt + ID_BYTES)
  if (idAt < 0) ids.writeTo(id, 0)
  const text = Buffer.alloc(UUID_TEXT_BYTES)
  writeUuidText(text, 0, id, 0)
  return text.latin1Slice()
}
