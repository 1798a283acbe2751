/**
 * Client frames in JSON: parsed, checked, and made into what the MessagePack side has as bytes.
 * Runs on: the gateway (WebSocket frames and HTTP bodies). Owns: nothing; pure.
 */
import assert from 'node:assert'
import { Packr } from 'msgpackr'
import { Refusal, Reply } from '../errors.js'
import { elementSpans, memberSpan, type TextSpan } from './json-spans.js'
import { type FrameLimits, HEADERS_BYTES_MAX, HEADERS_MAX, REQUEST_ID_BYTES_MAX } from './limits.js'
import { binHeadBytes, MALFORMED, NIL, writeBinHead } from './msgpack.js'
import { ID_BYTES, MIXED_DELAYS, PAYLOAD_JSON } from './msgpack-frames.js'
import { PROPERTY_NAMES, PropertiesReader } from './properties.js'
import { isMemberOp, type MemberOp } from './settle.js'
import { isRecord } from './subscribe-options.js'
import { isUuid, uuidBytes } from './uuid.js'

export type JsonRequest =
  | {
      readonly type: 'subscribe' | 'unsubscribe' | MemberOp
      readonly topic: string
      readonly fields: Fields
    }
  | {
      readonly type: 'publish' | 'publish_batch'
      readonly topic: string
      readonly messages: readonly JsonMessage[]
    }
  | { readonly type: 'cancel'; readonly topic: string; readonly id: Uint8Array }
  | { readonly type: 'ping' }

type Fields = Readonly<Record<string, unknown>>

export interface JsonMessage {
  /** The payload as JSON text. */
  readonly payload: Uint8Array
  readonly id: Uint8Array | undefined
  /** Headers as a MessagePack map. */
  readonly headers: Uint8Array | undefined
  /** Properties as a MessagePack map; undefined when there are none. */
  readonly properties: Uint8Array | undefined
  /** Whether they ask for a later delivery. */
  readonly isDelayed: boolean
  /** Whether they ask for replies. */
  readonly isRequest: boolean
}

const packr = new Packr({ useRecords: false, variableMapSize: true })

/** The frame as a value. Throws Refusal when it is not a JSON object. */
export function parseJsonFrame(text: Buffer): Fields {
  let frame: unknown
  try {
    frame = JSON.parse(text.utf8Slice(0, text.length))
  } catch {
    throw bad('the frame must be JSON')
  }
  if (!isRecord(frame)) throw bad('the frame must be a JSON object')
  return frame
}

/** `request_id` as JSON text to echo, or undefined when there is none. */
export function requestIdOf(frame: Fields): string | undefined {
  const id = frame['request_id']
  if (id === undefined || id === null) return undefined
  if (typeof id !== 'string') throw bad('request_id must be a string')
  const bytes = Buffer.byteLength(id)
  if (bytes > REQUEST_ID_BYTES_MAX) {
    throw bad(`request_id must have at most ${REQUEST_ID_BYTES_MAX} bytes, got ${bytes}`)
  }
  return JSON.stringify(id)
}

/** Checks the frame; `text` is what it was parsed from. Throws Refusal naming field and rule. */
export function jsonRequest(frame: Fields, text: Buffer, limits: FrameLimits): JsonRequest {
  const { type } = frame
  if (type === 'ping') return { type }
  if (
    type !== 'publish' &&
    type !== 'publish_batch' &&
    type !== 'subscribe' &&
    type !== 'unsubscribe' &&
    type !== 'cancel' &&
    !isMemberOp(type)
  ) {
    throw bad(
      typeof type === 'string'
        ? `type ${JSON.stringify(type.slice(0, 40))} is unknown`
        : 'type must be a string',
    )
  }
  const topic = frame['topic']
  if (typeof topic !== 'string') throw bad('topic must be a string')
  if (type === 'publish' || type === 'publish_batch') {
    return { type, topic, messages: jsonMessages(frame, text, type, limits) }
  }
  if (type === 'cancel') {
    const { id } = frame
    if (typeof id !== 'string' || !isUuid(id)) throw bad('id must be a valid UUID')
    return { type, topic, id: uuidBytes(id) }
  }
  return { type, topic, fields: frame }
}

/** The messages of a publish: one in `message`, or several in `messages`. */
export function jsonMessages(
  frame: Fields,
  text: Buffer,
  type: 'publish' | 'publish_batch',
  limits: FrameLimits,
): JsonMessage[] {
  if (type === 'publish') {
    const { message } = frame
    const at = isRecord(message) ? spanOf(text, 0, 'message').start : 0
    return [jsonMessage(message, 'message', text, at, limits)]
  }
  const messages = frame['messages']
  if (!Array.isArray(messages)) throw bad('messages must be an array')
  if (messages.length === 0) throw bad('messages must not be empty')
  const { maxBatchMessages } = limits
  if (messages.length > maxBatchMessages) {
    throw bad(`messages must have at most ${maxBatchMessages} elements, got ${messages.length}`)
  }
  const spans = elementSpans(text, spanOf(text, 0, 'messages').start)
  const checked = messages.map((message, index) =>
    jsonMessage(message, `messages[${index}]`, text, (spans[index] as TextSpan).start, limits),
  )
  if (checked.some(({ isDelayed }) => isDelayed !== checked[0]?.isDelayed)) throw bad(MIXED_DELAYS)
  return checked
}

/** Checks one message; its object begins at `at` of the text. */
function jsonMessage(
  message: unknown,
  field: string,
  text: Buffer,
  at: number,
  limits: FrameLimits,
): JsonMessage {
  if (!isRecord(message)) throw bad(`${field} must be an object`)
  if (!Object.hasOwn(message, 'payload')) throw bad(`${field}.payload is required`)
  const { id, headers } = message
  const hasId = id !== undefined && id !== null
  if (hasId && (typeof id !== 'string' || !isUuid(id))) {
    throw bad(`${field}.id must be a valid UUID`)
  }
  const where = spanOf(text, at, 'payload')
  const payload = text.subarray(where.start, where.end)
  if (payload.length > limits.maxPayloadBytes) {
    throw new Refusal(
      Reply.payloadTooLarge,
      `${field}.payload has ${payload.length} bytes, at most ${limits.maxPayloadBytes} are allowed`,
    )
  }
  const properties = propertiesBytes(message, field)
  return {
    payload,
    id: hasId ? uuidBytes(id as string) : undefined,
    headers: headersBytes(headers, field),
    properties,
    isDelayed: properties !== undefined && propertiesReader.isDelayed,
    isRequest: properties !== undefined && propertiesReader.isRequest,
  }
}

const propertiesReader = new PropertiesReader()

/** The fields of a message that are properties, as the map a MessagePack client would have sent. */
function propertiesBytes(message: Fields, field: string): Uint8Array | undefined {
  let properties: Record<string, unknown> | undefined
  for (const name of PROPERTY_NAMES) {
    const value = message[name]
    if (value === undefined || value === null || !Object.hasOwn(message, name)) continue
    properties ??= {}
    properties[name] = name === 'deliver_at' ? timeOf(value) : value
  }
  if (properties === undefined) return undefined
  const bytes = packr.pack(properties)
  if (propertiesReader.read(bytes, 0, bytes.length, () => field) === MALFORMED) {
    throw bad(propertiesReader.problem)
  }
  return bytes
}

/** An ISO 8601 time with a date as ms since 1970; everything else as it is. */
function timeOf(value: unknown): unknown {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\d/.test(value)) return value
  const timeMs = Date.parse(value)
  return Number.isNaN(timeMs) ? value : timeMs
}

/** Where a member stands that JSON.parse() has found in the object at `at`. */
function spanOf(text: Buffer, at: number, name: string): TextSpan {
  const span = memberSpan(text, at, name)
  if (span === undefined) assert.fail(`name=${name}, length=${text.length}`)
  return span
}

function headersBytes(headers: unknown, field: string): Uint8Array | undefined {
  if (headers === undefined || headers === null) return undefined
  if (!isRecord(headers)) throw bad(`${field}.headers must be an object`)
  const entries = Object.entries(headers)
  if (entries.length > HEADERS_MAX) {
    throw bad(`${field}.headers must have at most ${HEADERS_MAX} names, got ${entries.length}`)
  }
  if (entries.some(([, value]) => typeof value !== 'string')) {
    throw bad(`${field}.headers must map strings to strings`)
  }
  const bytes = packr.pack(new Map(entries)) // A Map: "__proto__" is a name like any other.
  if (bytes.length > HEADERS_BYTES_MAX) {
    throw bad(`${field}.headers must have at most ${HEADERS_BYTES_MAX} bytes, got ${bytes.length}`)
  }
  return bytes
}

/** How many of them ask for replies. */
export function requestsIn(messages: readonly JsonMessage[]): number {
  let requests = 0
  for (const { isRequest } of messages) if (isRequest) requests++
  return requests
}

/** Bytes that writeMessages() takes. */
export function messagesBytes(messages: readonly JsonMessage[]): number {
  let bytes = 0
  for (const { payload, id, headers, properties } of messages) {
    bytes += 2 + binHeadBytes(payload.length) + payload.length
    bytes += id === undefined ? 1 : 2 + ID_BYTES
    bytes += headers === undefined ? 1 : headers.length
    if (properties !== undefined) bytes += properties.length
  }
  return bytes
}

/** Writes the messages as MessagePack `[encoding, payload, id, headers, properties]`, back to back. */
export function writeMessages(
  target: Uint8Array,
  at: number,
  messages: readonly JsonMessage[],
): number {
  let next = at
  for (const { payload, id, headers, properties } of messages) {
    target[next++] = properties === undefined ? 0x94 : 0x95
    target[next++] = PAYLOAD_JSON
    next = writeBinHead(target, next, payload.length)
    target.set(payload, next)
    next += payload.length
    if (id === undefined) {
      target[next++] = NIL
    } else {
      next = writeBinHead(target, next, ID_BYTES)
      target.set(id, next)
      next += ID_BYTES
    }
    if (headers === undefined) {
      target[next++] = NIL
    } else {
      target.set(headers, next)
      next += headers.length
    }
    if (properties !== undefined) {
      target.set(properties, next)
      next += properties.length
    }
  }
  return next
}

function bad(message: string): Refusal {
  return new Refusal(Reply.badRequest, message)
}
