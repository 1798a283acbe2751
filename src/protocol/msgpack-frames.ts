/**
 * Client frames in MessagePack: what PUBLISH, SUBSCRIBE, UNSUBSCRIBE and PING look like in bytes.
 * Runs on: the gateway. Owns: nothing; one reader is used again for every frame.
 *
 * A binary frame holds arrays back to back. Payloads are measured, never decoded. Everything a
 * publish must satisfy is checked here, once; the shard trusts what it gets.
 */
import { Reply, type ReplyCode } from '../errors.js'
import { type FrameLimits, HEADERS_BYTES_MAX, HEADERS_MAX, REQUEST_ID_BYTES_MAX } from './limits.js'
import {
  MALFORMED,
  NIL,
  readArray,
  readBin,
  readMap,
  readStr,
  type Span,
  skipStandardValue,
  skipValue,
} from './msgpack.js'
import { PropertiesReader } from './properties.js'

export const Op = {
  publish: 1,
  subscribe: 2,
  unsubscribe: 3,
  ping: 4,
  groupAck: 5,
  groupNack: 6,
  groupTerm: 7,
  groupWorking: 8,
  groupPause: 9,
  groupResume: 10,
  groupRelease: 11,
  cancel: 12,
  ack: 33,
  events: 34,
  error: 35,
  pong: 36,
  info: 37,
  deliver: 38,
} as const

type MemberFrame = readonly [name: string, leastElements: number, mostElements: number]
/** From Op.groupAck on. */
const MEMBER_FRAMES: readonly MemberFrame[] = [
  ['ACK', 5, 5],
  ['NACK', 5, 6],
  ['TERM', 5, 6],
  ['WORKING', 5, 5],
  ['PAUSE', 4, 4],
  ['RESUME', 4, 4],
  ['RELEASE', 5, 5],
]

export const ID_BYTES = 16
/** A batch is one thing: its messages are stored now, or all of them are kept for later. */
export const MIXED_DELAYS =
  'messages of one batch must all have delay_ms or deliver_at, or none of them'
/** Encodings of a payload. */
export const PAYLOAD_MSGPACK = 0
export const PAYLOAD_JSON = 1
const PAYLOAD_RAW = 2
/** In place of the byte behind the end: c1, the one mark that MessagePack never uses. */
const NOTHING = 0xc1

export class MsgpackFrameReader {
  op = 0
  /** The request id as a MessagePack value, to be echoed as it is; length 0: none. */
  requestStart = 0
  requestLength = 0
  /** Bytes of the topic or pattern. */
  topicStart = 0
  topicLength = 0
  /** The messages of a publish, back to back. */
  messagesStart = 0
  messagesEnd = 0
  count = 0
  /** Whether one of them says that its payload is JSON text. */
  claimsJson = false
  /** Whether any of them has properties, and how many of them are to be delivered later. */
  hasProperties = false
  delayed = 0
  /** How many of them ask for replies. */
  requests = 0
  /** Of what a member of a group says: the group's name, and which seqs; length 0: none. */
  groupStart = 0
  groupLength = 0
  seqsStart = 0
  seqsLength = 0
  /** The message id of a CANCEL. */
  idStart = 0
  /** The options map of a subscribe, or the details of what a member says; length 0: none. */
  optionsStart = 0
  optionsLength = 0
  /** Offset behind the array, or the end of the frame when its end cannot be found. */
  next = 0
  /** When read() returned false: which refusal, and why. */
  reply: ReplyCode = Reply.badRequest
  problem = ''
  /** When read() returned false: whether these bytes are no frame at all, or one with a bad field. */
  isMalformed = false

  readonly #limits: FrameLimits
  readonly #span: Span = { start: 0, length: 0 }
  readonly #properties = new PropertiesReader()

  constructor(limits: FrameLimits) {
    this.#limits = limits
  }

  /** Reads the array at `at`. False when it is refused: see reply and problem; go on at `next`. */
  read(bytes: Uint8Array, at: number, end: number): boolean {
    this.requestLength = 0
    this.topicLength = 0
    this.op = 0
    if (this.#readArray(bytes, at, end)) return true
    const after = skipValue(bytes, at, end)
    this.isMalformed = after === MALFORMED || this.op === 0
    this.next = after === MALFORMED ? end : after
    return false
  }

  #readArray(bytes: Uint8Array, at: number, end: number): boolean {
    const span = this.#span
    if (!readArray(bytes, at, end, span)) return this.#refuse('a frame must be an array')
    const elements = span.length
    const op = span.start < end ? (bytes[span.start] as number) : NOTHING
    if (elements === 0 || op > 0x7f) {
      return this.#refuse('the first element must be the op, a small whole number')
    }
    let next = span.start + 1
    if (op >= Op.publish && op <= Op.cancel) this.op = op
    if (op === Op.publish) {
      if (elements !== 4) return this.#refuse('PUBLISH must have 4 elements')
    } else if (op === Op.subscribe) {
      if (elements !== 3 && elements !== 4)
        return this.#refuse('SUBSCRIBE must have 3 or 4 elements')
    } else if (op === Op.unsubscribe) {
      if (elements !== 3 && elements !== 4)
        return this.#refuse('UNSUBSCRIBE must have 3 or 4 elements')
    } else if (op === Op.ping) {
      if (elements > 2) return this.#refuse('PING must have 1 or 2 elements')
    } else if (op > Op.ping && op <= Op.groupRelease) {
      const [name, least, most] = MEMBER_FRAMES[op - Op.groupAck] as MemberFrame
      if (elements < least || elements > most) {
        return this.#refuse(
          `${name} must have ${least === most ? least : `${least} or ${most}`} elements`,
        )
      }
    } else if (op === Op.cancel) {
      if (elements !== 4) return this.#refuse('CANCEL must have 4 elements')
    } else {
      return this.#refuse(`op ${op} is unknown`)
    }
    if (elements > 1) {
      next = this.#readRequestId(bytes, next, end)
      if (next === MALFORMED) return false
    }
    if (op === Op.ping) return this.#end(next)

    if (!readStr(bytes, next, end, span)) return this.#refuse('topic must be a string')
    this.topicStart = span.start
    this.topicLength = span.length
    next = span.start + span.length
    if (op === Op.publish) return this.#readMessages(bytes, next, end)
    this.optionsStart = next
    this.optionsLength = 0
    if (op === Op.cancel) {
      if (!readBin(bytes, next, end, span) || span.length !== ID_BYTES) {
        return this.#refuse(`id must be a bin of ${ID_BYTES} bytes`)
      }
      this.idStart = span.start
      return this.#end(span.start + ID_BYTES)
    }
    if (op <= Op.unsubscribe) {
      return elements === 3 ? this.#end(next) : this.#readOptions(bytes, next, end)
    }
    return this.#readMember(bytes, next, end, elements)
  }

  /** What a member says after the topic: `group`, then perhaps seqs, then perhaps details. */
  #readMember(bytes: Uint8Array, at: number, end: number, elements: number): boolean {
    const span = this.#span
    if (!readStr(bytes, at, end, span)) return this.#refuse('group must be a string')
    this.groupStart = span.start
    this.groupLength = span.length
    this.seqsStart = span.start + span.length
    this.seqsLength = 0
    if (elements === 4) return this.#end(this.seqsStart)
    const next = skipStandardValue(bytes, this.seqsStart, end)
    if (next === MALFORMED) {
      return this.#refuse('seqs is cut short, nested too deep or has an extension type')
    }
    this.seqsLength = next - this.seqsStart
    this.optionsStart = next
    return elements === 5 ? this.#end(next) : this.#readOptions(bytes, next, end)
  }

  #readOptions(bytes: Uint8Array, next: number, end: number): boolean {
    const span = this.#span
    if (next < end && bytes[next] === NIL) return this.#end(next + 1)
    if (!readMap(bytes, next, end, span)) return this.#refuse('options must be a map or nil')
    const after = skipStandardValue(bytes, next, end)
    if (after === MALFORMED) {
      return this.#refuse('options is cut short, nested too deep or has an extension type')
    }
    this.optionsLength = after - next
    return this.#end(after)
  }

  #readRequestId(bytes: Uint8Array, at: number, end: number): number {
    const mark = at < end ? (bytes[at] as number) : NOTHING
    if (mark === NIL) return at + 1
    const span = this.#span
    if (mark <= 0x7f || (mark >= 0xca && mark <= 0xd3) || mark >= 0xe0) {
      const after = skipValue(bytes, at, end)
      if (after === MALFORMED) return this.#malformed('request_id is cut short')
      this.requestStart = at
      this.requestLength = after - at
      return after
    }
    if (!readStr(bytes, at, end, span)) {
      return this.#malformed('request_id must be a string, a number or nil')
    }
    if (span.length > REQUEST_ID_BYTES_MAX) {
      return this.#malformed(
        `request_id must have at most ${REQUEST_ID_BYTES_MAX} bytes, got ${span.length}`,
      )
    }
    this.requestStart = at
    this.requestLength = span.start + span.length - at
    return span.start + span.length
  }

  #readMessages(bytes: Uint8Array, at: number, end: number): boolean {
    const span = this.#span
    if (!readArray(bytes, at, end, span)) return this.#refuse('messages must be an array')
    const count = span.length
    if (count === 0) return this.#refuse('messages must not be empty')
    const { maxBatchMessages, maxPayloadBytes } = this.#limits
    if (count > maxBatchMessages) {
      return this.#refuse(`messages must have at most ${maxBatchMessages} elements, got ${count}`)
    }
    this.messagesStart = span.start
    this.hasProperties = false
    this.delayed = 0
    this.requests = 0
    this.claimsJson = false
    let next = span.start
    for (let index = 0; index < count; index++) {
      if (!readArray(bytes, next, end, span) || span.length < 2 || span.length > 5) {
        return this.#refuse(`messages[${index}] must be an array of 2 to 5 elements`)
      }
      const elements = span.length
      next = span.start
      const encoding = next < end ? (bytes[next] as number) : NOTHING
      if (encoding > PAYLOAD_RAW) {
        return this.#refuse(`messages[${index}].encoding must be 0, 1 or 2`)
      }
      if (encoding === PAYLOAD_JSON) this.claimsJson = true
      if (!readBin(bytes, next + 1, end, span)) {
        return this.#refuse(`messages[${index}].payload must be a bin`)
      }
      if (span.length > maxPayloadBytes) {
        this.reply = Reply.payloadTooLarge
        this.problem = `messages[${index}].payload has ${span.length} bytes, at most ${maxPayloadBytes} are allowed`
        return false
      }
      next = span.start + span.length
      if (elements >= 3) {
        next = this.#readId(bytes, next, end, index)
        if (next === MALFORMED) return false
      }
      if (elements >= 4) {
        next = this.#readHeaders(bytes, next, end, index)
        if (next === MALFORMED) return false
      }
      if (elements === 5) {
        next = this.#readProperties(bytes, next, end, index)
        if (next === MALFORMED) return false
      }
    }
    if (this.delayed !== 0 && this.delayed !== count) return this.#refuse(MIXED_DELAYS)
    this.messagesEnd = next
    this.count = count
    return this.#end(next)
  }

  #readId(bytes: Uint8Array, at: number, end: number, index: number): number {
    const span = this.#span
    if (at < end && bytes[at] === NIL) return at + 1
    if (!readBin(bytes, at, end, span) || span.length !== ID_BYTES) {
      return this.#malformed(
        `messages[${index}].id must be a valid UUID: a bin of 16 bytes, or nil`,
      )
    }
    return span.start + span.length
  }

  #readHeaders(bytes: Uint8Array, at: number, end: number, index: number): number {
    const span = this.#span
    if (at < end && bytes[at] === NIL) return at + 1
    if (!readMap(bytes, at, end, span)) {
      return this.#malformed(`messages[${index}].headers must be a map or nil`)
    }
    const pairs = span.length
    if (pairs > HEADERS_MAX) {
      return this.#malformed(
        `messages[${index}].headers must have at most ${HEADERS_MAX} names, got ${pairs}`,
      )
    }
    let next = span.start
    for (let text = 0; text < pairs * 2; text++) {
      if (!readStr(bytes, next, end, span)) {
        return this.#malformed(`messages[${index}].headers must map strings to strings`)
      }
      next = span.start + span.length
    }
    if (next - at > HEADERS_BYTES_MAX) {
      return this.#malformed(
        `messages[${index}].headers must have at most ${HEADERS_BYTES_MAX} bytes, got ${next - at}`,
      )
    }
    return next
  }

  #readProperties(bytes: Uint8Array, at: number, end: number, index: number): number {
    const properties = this.#properties
    const next = properties.read(bytes, at, end, () => `messages[${index}].properties`)
    if (next === MALFORMED) return this.#malformed(properties.problem)
    if (properties.hasAny) this.hasProperties = true
    if (properties.isDelayed) this.delayed++
    if (properties.isRequest) this.requests++
    return next
  }

  #end(next: number): true {
    this.next = next
    return true
  }

  #refuse(problem: string): false {
    this.reply = Reply.badRequest
    this.problem = problem
    return false
  }

  #malformed(problem: string): typeof MALFORMED {
    this.#refuse(problem)
    return MALFORMED
  }
}
