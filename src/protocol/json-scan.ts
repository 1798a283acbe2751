/**
 * Where JSON values end, for text that nobody has parsed: exactly what JSON.parse() accepts, down to a
 * bounded depth.
 * Runs on: the gateway. Owns: nothing; pure.
 *
 * Grammar: RFC 8259. Bytes of 0x80 and above are taken as they are within strings: whoever calls has
 * UTF-8, or has it checked.
 */

/** Where a value ends that is none, or is too deep to say: behind every text, so nothing is found there. */
export const NO_VALUE = 2 ** 30
/** Arrays and objects within each other. JSON.parse() goes deeper, so what is deeper is left to it. */
export const SCAN_DEPTH_MAX = 31

const QUOTE = 0x22
export const COMMA = 0x2c
const COLON = 0x3a
export const OPEN_ARRAY = 0x5b
export const CLOSE_ARRAY = 0x5d
export const OPEN_OBJECT = 0x7b
export const CLOSE_OBJECT = 0x7d
const BACKSLASH = 0x5c
const MINUS = 0x2d
const PLUS = 0x2b
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const LOWER_E = 0x65
const LOWER_U = 0x75

/** 1 for bytes that end a run of plain characters in a string. */
const ENDS_RUN = new Uint8Array(256)
ENDS_RUN.fill(1, 0, 0x20)
ENDS_RUN[QUOTE] = 1
ENDS_RUN[BACKSLASH] = 1

const IS_ESCAPE = byteSet('"\\/bfnrt')
const IS_HEX = byteSet('0123456789abcdefABCDEF')
const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')
const NULL = Buffer.from('null')

/**
 * The byte at `at`, or 0 behind the end. One read beyond the end of an array slows the code that does it
 * down for good, and that would be within the power of any client.
 */
export function byteAt(text: Uint8Array, at: number): number {
  return at < text.length ? (text[at] as number) : 0
}

/** Behind white space. */
export function scanSpace(text: Uint8Array, at: number): number {
  let next = at
  for (;;) {
    const byte = byteAt(text, next)
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return next
    next++
  }
}

/** Behind the string at `at` if there are no escapes in it, or NO_VALUE. */
export function scanPlainString(text: Uint8Array, at: number): number {
  if (byteAt(text, at) !== QUOTE) return NO_VALUE
  const end = scanRun(text, at + 1)
  return byteAt(text, end) === QUOTE ? end + 1 : NO_VALUE
}

/** Where plain characters end, or the text does. */
function scanRun(text: Uint8Array, at: number): number {
  const { length } = text
  let next = at
  while (next < length && ENDS_RUN[text[next] as number] === 0) next++
  return next
}

/** Behind the string whose opening quote is at `at`, or NO_VALUE. */
function scanString(text: Uint8Array, at: number): number {
  let next = at + 1
  for (;;) {
    next = scanRun(text, next)
    const byte = byteAt(text, next)
    if (byte === QUOTE) return next + 1
    if (byte !== BACKSLASH) return NO_VALUE // The text ends, or a control character is not escaped.
    const escaped = byteAt(text, next + 1)
    if (IS_ESCAPE[escaped] === 1) {
      next += 2
    } else if (escaped === LOWER_U && areHex(text, next + 2)) {
      next += 6
    } else {
      return NO_VALUE
    }
  }
}

/** Behind the value that begins at `at`, or NO_VALUE. */
export function scanValue(text: Uint8Array, at: number): number {
  /** Which of the containers around are objects: a bit each, the innermost the lowest. */
  let objects = 0
  let depth = 0
  let next = at
  for (;;) {
    const byte = byteAt(text, next)
    if (byte === QUOTE) {
      next = scanString(text, next)
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      const isObject = byte === OPEN_OBJECT
      next = scanSpace(text, next + 1)
      if (byteAt(text, next) === (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) {
        next++
      } else {
        if (depth === SCAN_DEPTH_MAX) return NO_VALUE
        depth++
        objects = (objects << 1) | (isObject ? 1 : 0)
        if (isObject) next = scanName(text, next)
        if (next === NO_VALUE) return NO_VALUE
        continue
      }
    } else {
      next = scanScalar(text, next)
    }
    if (next === NO_VALUE) return NO_VALUE
    // A value has ended, and with it perhaps what is around it.
    while (depth > 0) {
      next = scanSpace(text, next)
      const isObject = (objects & 1) === 1
      const end = byteAt(text, next++)
      if (end === COMMA) {
        next = scanSpace(text, next)
        if (isObject) next = scanName(text, next)
        break
      }
      if (end !== (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) return NO_VALUE
      depth--
      objects >>>= 1
      if (depth === 0) return next
    }
    if (depth === 0 || next === NO_VALUE) return next
  }
}

/** From a member's name to its value, or NO_VALUE. */
function scanName(text: Uint8Array, at: number): number {
  if (byteAt(text, at) !== QUOTE) return NO_VALUE
  const end = scanString(text, at)
  return end === NO_VALUE ? NO_VALUE : scanColon(text, end)
}

/** From behind a member's name to its value, or NO_VALUE. */
export function scanColon(text: Uint8Array, at: number): number {
  const colon = scanSpace(text, at)
  return byteAt(text, colon) === COLON ? scanSpace(text, colon + 1) : NO_VALUE
}

function scanScalar(text: Uint8Array, at: number): number {
  switch (byteAt(text, at)) {
    case TRUE[0]:
      return scanWord(text, at, TRUE)
    case FALSE[0]:
      return scanWord(text, at, FALSE)
    case NULL[0]:
      return scanWord(text, at, NULL)
    default:
      return scanNumber(text, at)
  }
}

function scanWord(text: Uint8Array, at: number, word: Uint8Array): number {
  return hasBytes(text, at, word) ? at + word.length : NO_VALUE
}

function scanNumber(text: Uint8Array, at: number): number {
  let next = byteAt(text, at) === MINUS ? at + 1 : at
  // A zero stands alone before the point.
  next = byteAt(text, next) === ZERO ? next + 1 : scanDigits(text, next)
  if (next !== NO_VALUE && byteAt(text, next) === DOT) next = scanDigits(text, next + 1)
  if (next === NO_VALUE || (byteAt(text, next) | 0x20) !== LOWER_E) return next
  next++
  if (byteAt(text, next) === PLUS || byteAt(text, next) === MINUS) next++
  return scanDigits(text, next)
}

/** Behind one digit at least, or NO_VALUE. */
function scanDigits(text: Uint8Array, at: number): number {
  let next = at
  while (byteAt(text, next) >= ZERO && byteAt(text, next) <= NINE) next++
  return next === at ? NO_VALUE : next
}

function areHex(text: Uint8Array, at: number): boolean {
  for (let index = at; index < at + 4; index++) {
    if (IS_HEX[byteAt(text, index)] !== 1) return false
  }
  return true
}

/** Whether these bytes stand at `at`. */
export function hasBytes(text: Uint8Array, at: number, bytes: Uint8Array): boolean {
  for (let index = 0; index < bytes.length; index++) {
    if (byteAt(text, at + index) !== bytes[index]) return false
  }
  return true
}

function byteSet(characters: string): Uint8Array {
  const set = new Uint8Array(256)
  for (const byte of Buffer.from(characters)) set[byte] = 1
  return set
}
