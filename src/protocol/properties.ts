/**
 * The properties of a message: a map of a few known names, checked where it stands.
 * Runs on: the gateway. Owns: nothing; one reader is used again for every message.
 *
 * The map is stored as it came and never decoded here, so what is checked is what subscribers and the
 * shard (log/entry-properties.ts) will find. JSON publishers give the same names as fields of their
 * message; json-frames.ts makes the map and has it checked here too, so there is one set of rules.
 */
import { MALFORMED, NIL, readMap, readStr, type Span, skipValue } from './msgpack.js'

const PRIORITIES = ['high', 'normal', 'low'] as const
const KEY_BYTES_MAX = 255
const TTL_MS_MAX = 2 ** 31 - 1
const CORRELATION_ID_BYTES_MAX = 128
const REPLY_TO_BYTES_MAX = 255
const INBOX_PREFIX = '$inbox.'
/** The last moment of the year 9999: beyond it there is no ISO 8601 text of four digits. */
const TIME_MS_MAX = 253_402_300_799_999

/** Every name, in the order of their bits. */
export const PROPERTY_NAMES = [
  'key',
  'priority',
  'ttl_ms',
  'delay_ms',
  'deliver_at',
  'reply_to',
  'correlation_id',
] as const
type PropertyName = (typeof PROPERTY_NAMES)[number]

const REPLY_TO = bitOf('reply_to')
const DELAYS = bitOf('delay_ms') | bitOf('deliver_at')

export class PropertiesReader {
  /** When read() returned MALFORMED: which field, and the rule. */
  problem = ''
  /** True when the map read last had any property. */
  hasAny = false
  /** True when the map read last asks for a later delivery. */
  isDelayed = false
  /** True when the map read last asks for replies. */
  isRequest = false
  readonly #span: Span = { start: 0, length: 0 }

  /**
   * Checks the map or nil at `at`; returns the offset behind it, or MALFORMED. `where` stands before
   * the names in what is said of them.
   */
  read(bytes: Uint8Array, at: number, end: number, where: () => string): number {
    this.hasAny = false
    this.isDelayed = false
    this.isRequest = false
    if (at < end && bytes[at] === NIL) return at + 1
    const span = this.#span
    if (!readMap(bytes, at, end, span)) return this.#bad(`${where()} must be a map or nil`)
    const pairs = span.length
    let next = span.start
    let seen = 0
    for (let pair = 0; pair < pairs; pair++) {
      if (!readStr(bytes, next, end, span))
        return this.#bad(`${where()} must have strings as names`)
      const name = textOf(bytes, span)
      const index = (PROPERTY_NAMES as readonly string[]).indexOf(name)
      if (index < 0) return this.#bad(`${where()} has the unknown name ${JSON.stringify(name)}`)
      const bit = 1 << index
      if ((seen & bit) !== 0) return this.#bad(`${where()} has ${name} twice`)
      seen |= bit
      const value = span.start + span.length
      const rule = this.#ruleBroken(name as PropertyName, bytes, value, end)
      if (rule !== undefined) return this.#bad(`${where()}.${name} must be ${rule}`)
      next = skipValue(bytes, value, end)
    }
    if ((seen & DELAYS) === DELAYS) {
      return this.#bad(`${where()} must not have both delay_ms and deliver_at`)
    }
    this.hasAny = seen !== 0
    this.isDelayed = (seen & DELAYS) !== 0
    this.isRequest = (seen & REPLY_TO) !== 0
    return next
  }

  /** What the value must be and is not; undefined when it is. */
  #ruleBroken(name: PropertyName, bytes: Uint8Array, at: number, end: number): string | undefined {
    switch (name) {
      case 'key':
        if (this.#isText(bytes, at, end, 1, KEY_BYTES_MAX)) return undefined
        return `a string of 1 to ${KEY_BYTES_MAX} bytes`
      case 'priority': {
        const isText = this.#isText(bytes, at, end, 3, 6)
        const isKnown =
          isText && (PRIORITIES as readonly string[]).includes(textOf(bytes, this.#span))
        return isKnown ? undefined : '"high", "normal" or "low"'
      }
      case 'ttl_ms':
        return wholeRule(bytes, at, end, 1, TTL_MS_MAX)
      case 'delay_ms':
        return wholeRule(bytes, at, end, 0, TTL_MS_MAX)
      case 'deliver_at':
        if (wholeRule(bytes, at, end, 0, TIME_MS_MAX) === undefined) return undefined
        return 'a time in ms since 1970, a whole number; in JSON also an ISO 8601 time'
      case 'reply_to': {
        const isText = this.#isText(bytes, at, end, INBOX_PREFIX.length + 1, REPLY_TO_BYTES_MAX)
        const isInbox = isText && textOf(bytes, this.#span).startsWith(INBOX_PREFIX)
        return isInbox ? undefined : `a topic that begins with ${INBOX_PREFIX}`
      }
      case 'correlation_id':
        if (this.#isText(bytes, at, end, 1, CORRELATION_ID_BYTES_MAX)) return undefined
        return `a string of 1 to ${CORRELATION_ID_BYTES_MAX} bytes`
    }
  }

  /** Whether a string of so many bytes stands here; #span is where. */
  #isText(bytes: Uint8Array, at: number, end: number, min: number, max: number): boolean {
    const span = this.#span
    if (!readStr(bytes, at, end, span) || span.length < min || span.length > max) return false
    return isUtf8Text(bytes, span)
  }

  #bad(problem: string): typeof MALFORMED {
    this.problem = problem
    return MALFORMED
  }
}

function wholeRule(
  bytes: Uint8Array,
  at: number,
  end: number,
  min: number,
  max: number,
): string | undefined {
  const value = readWholeNumber(bytes, at, end)
  return value >= min && value <= max ? undefined : `a whole number from ${min} to ${max}`
}

/** The whole number at `at` whatever its width, float64 and float32 included; NaN when it is none. */
export function readWholeNumber(bytes: Uint8Array, at: number, end: number): number {
  const next = skipValue(bytes, at, end)
  if (next === MALFORMED) return Number.NaN
  const mark = bytes[at] as number
  if (mark <= 0x7f) return mark
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, next - at)
  let value = Number.NaN
  if (mark === 0xca) value = view.getFloat32(1)
  else if (mark === 0xcb) value = view.getFloat64(1)
  else if (mark === 0xcc) value = view.getUint8(1)
  else if (mark === 0xcd) value = view.getUint16(1)
  else if (mark === 0xce) value = view.getUint32(1)
  else if (mark === 0xcf || mark === 0xd3)
    value = Number(view.getBigUint64(1)) // d3 < 0: out of bounds.
  else if (mark === 0xd0) value = view.getInt8(1)
  else if (mark === 0xd1) value = view.getInt16(1)
  else if (mark === 0xd2) value = view.getInt32(1)
  return Number.isSafeInteger(value) ? value : Number.NaN
}

function bitOf(name: PropertyName): number {
  return 1 << PROPERTY_NAMES.indexOf(name)
}

function textOf(bytes: Uint8Array, { start, length }: Span): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString()
}

/** Whether the bytes are UTF-8: JSON subscribers get the text, and it must be the same for everybody. */
function isUtf8Text(bytes: Uint8Array, { start, length }: Span): boolean {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + start, length)
  return Buffer.from(view.toString()).equals(view)
}
