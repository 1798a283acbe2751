/**
 * Publishes in JSON as nearly all of them look, read where they stand: every name once and spelt plainly,
 * messages of a payload and perhaps an id.
 * Runs on: the gateway. Owns: what it read last, valid for as long as the frame is.
 *
 * What it does not take (other fields, escapes, whatever is wrong) json-frames.ts reads, which makes a
 * value of everything and says what is wrong with it. What both take, both read alike.
 */
import type { JsonMessage } from './json-frames.js'
import {
  byteAt,
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COMMA,
  hasBytes,
  NO_VALUE,
  OPEN_ARRAY,
  OPEN_OBJECT,
  scanColon,
  scanPlainString,
  scanSpace,
  scanValue,
} from './json-scan.js'
import { type FrameLimits, REQUEST_ID_BYTES_MAX } from './limits.js'
import { readUuidText, UUID_TEXT_BYTES } from './uuid.js'

const TYPE = Buffer.from('"type"')
const TOPIC = Buffer.from('"topic"')
const REQUEST_ID = Buffer.from('"request_id"')
const MESSAGE = Buffer.from('"message"')
const MESSAGES = Buffer.from('"messages"')
const PUBLISH = Buffer.from('"publish"')
const PUBLISH_BATCH = Buffer.from('"publish_batch"')
const PAYLOAD = Buffer.from('"payload"')
const ID = Buffer.from('"id"')

export class JsonPublishReader {
  type: 'publish' | 'publish_batch' | undefined
  /** Bytes of the topic; length -1: none was found. */
  topicStart = 0
  topicLength = -1
  /** The request id as JSON text, to be echoed as it is; length 0: none. */
  requestStart = 0
  requestLength = 0
  messages: JsonMessage[] = []
  /** Which of the two fields they stood in. */
  #found: 'publish' | 'publish_batch' | undefined
  readonly #limits: FrameLimits

  constructor(limits: FrameLimits) {
    this.#limits = limits
  }

  /** Reads a frame, which must be UTF-8. False when it is none of these, and nothing is known of it. */
  read(text: Uint8Array): boolean {
    if (this.#readFrame(text)) return true
    this.messages = []
    return false
  }

  #readFrame(text: Uint8Array): boolean {
    this.type = undefined
    this.topicLength = -1
    this.requestLength = 0
    this.messages = []
    this.#found = undefined
    let next = scanSpace(text, 0)
    if (byteAt(text, next) !== OPEN_OBJECT) return false
    do {
      next = this.#readMember(text, scanSpace(text, next + 1))
      if (next === NO_VALUE) return false
      next = scanSpace(text, next)
    } while (byteAt(text, next) === COMMA)
    if (byteAt(text, next) !== CLOSE_OBJECT || scanSpace(text, next + 1) !== text.length)
      return false
    return this.topicLength >= 0 && this.type !== undefined && this.type === this.#found
  }

  /** Behind the member whose name begins at `at`, or NO_VALUE. */
  #readMember(text: Uint8Array, at: number): number {
    if (hasBytes(text, at, TYPE)) return this.#readType(text, scanColon(text, at + TYPE.length))
    if (hasBytes(text, at, TOPIC)) return this.#readTopic(text, scanColon(text, at + TOPIC.length))
    if (hasBytes(text, at, MESSAGE)) {
      if (this.#found !== undefined) return NO_VALUE
      this.#found = 'publish'
      return this.#readMessage(text, scanColon(text, at + MESSAGE.length))
    }
    if (hasBytes(text, at, REQUEST_ID)) {
      return this.#readRequestId(text, scanColon(text, at + REQUEST_ID.length))
    }
    if (!hasBytes(text, at, MESSAGES) || this.#found !== undefined) return NO_VALUE
    this.#found = 'publish_batch'
    return this.#readMessages(text, scanColon(text, at + MESSAGES.length))
  }

  #readType(text: Uint8Array, at: number): number {
    if (this.type !== undefined) return NO_VALUE
    if (hasBytes(text, at, PUBLISH)) {
      this.type = 'publish'
      return at + PUBLISH.length
    }
    if (!hasBytes(text, at, PUBLISH_BATCH)) return NO_VALUE
    this.type = 'publish_batch'
    return at + PUBLISH_BATCH.length
  }

  #readTopic(text: Uint8Array, at: number): number {
    const end = scanPlainString(text, at)
    if (end === NO_VALUE || this.topicLength >= 0) return NO_VALUE
    this.topicStart = at + 1
    this.topicLength = end - at - 2
    return end
  }

  #readRequestId(text: Uint8Array, at: number): number {
    const end = scanPlainString(text, at)
    if (end === NO_VALUE || this.requestLength > 0) return NO_VALUE
    if (end - at - 2 > REQUEST_ID_BYTES_MAX) return NO_VALUE
    this.requestStart = at
    this.requestLength = end - at
    return end
  }

  #readMessages(text: Uint8Array, at: number): number {
    if (byteAt(text, at) !== OPEN_ARRAY) return NO_VALUE
    let next = at
    do {
      if (this.messages.length === this.#limits.maxBatchMessages) return NO_VALUE
      next = this.#readMessage(text, scanSpace(text, next + 1))
      if (next === NO_VALUE) return NO_VALUE
      next = scanSpace(text, next)
    } while (byteAt(text, next) === COMMA)
    return byteAt(text, next) === CLOSE_ARRAY ? next + 1 : NO_VALUE
  }

  #readMessage(text: Uint8Array, at: number): number {
    if (byteAt(text, at) !== OPEN_OBJECT) return NO_VALUE
    let payloadStart = NO_VALUE
    let payloadEnd = NO_VALUE
    let id: Buffer | undefined
    let next = at
    do {
      next = scanSpace(text, next + 1)
      if (hasBytes(text, next, PAYLOAD) && payloadStart === NO_VALUE) {
        payloadStart = scanColon(text, next + PAYLOAD.length)
        payloadEnd = scanValue(text, payloadStart)
        next = payloadEnd
      } else if (hasBytes(text, next, ID) && id === undefined) {
        const start = scanColon(text, next + ID.length)
        next = scanPlainString(text, start)
        if (next - start !== UUID_TEXT_BYTES + 2) return NO_VALUE
        id = readUuidText(text, start + 1)
        if (id === undefined) return NO_VALUE
      } else {
        return NO_VALUE
      }
      if (next === NO_VALUE) return NO_VALUE
      next = scanSpace(text, next)
    } while (byteAt(text, next) === COMMA)
    if (byteAt(text, next) !== CLOSE_OBJECT || payloadStart === NO_VALUE) return NO_VALUE
    if (payloadEnd - payloadStart > this.#limits.maxPayloadBytes) return NO_VALUE
    this.messages.push({
      payload: text.subarray(payloadStart, payloadEnd),
      id,
      headers: undefined,
      properties: undefined,
      isDelayed: false,
      isRequest: false,
    })
    return next + 1
  }
}
