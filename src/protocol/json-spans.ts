/**
 * Where a value stands in JSON text that JSON.parse() has already accepted.
 * Runs on: the gateway. Owns: nothing; pure.
 *
 * A payload is stored as the bytes the client sent: to decode and encode it again would cost time
 * and lose digits (12345678901234567890 would come out as 12345678901234567000). The text is known
 * to be well formed, so these steps need no checks beyond strings and depth.
 */
const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const CLOSE_ARRAY = 0x5d
const CLOSE_OBJECT = 0x7d

/** Bytes [start, end) of the text. */
export interface TextSpan {
  readonly start: number
  readonly end: number
}

/**
 * The value of a member of the object at `at`. Of several with one name the last counts, as in
 * JSON.parse(), and a name may be spelt with escapes: what was checked there is what is taken here.
 */
export function memberSpan(text: Buffer, at: number, name: string): TextSpan | undefined {
  let found: TextSpan | undefined
  let next = skipSpace(text, at) + 1
  for (;;) {
    next = skipSpace(text, next)
    if (text[next] === CLOSE_OBJECT) return found
    const nameEnd = skipString(text, next)
    const isWanted = isName(text, next, nameEnd, name)
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1) // Over the colon.
    const end = skipJsonValue(text, start)
    if (isWanted) found = { start, end }
    next = skipSpace(text, end)
    if (text[next] === COMMA) next++
  }
}

/** The elements of the array at `at`. */
export function elementSpans(text: Buffer, at: number): TextSpan[] {
  const spans: TextSpan[] = []
  let next = skipSpace(text, at) + 1
  for (;;) {
    next = skipSpace(text, next)
    if (text[next] === CLOSE_ARRAY) return spans
    const end = skipJsonValue(text, next)
    spans.push({ start: next, end })
    next = skipSpace(text, end)
    if (text[next] === COMMA) next++
  }
}

/** Whether the string at [start, end), quotes included, is this ASCII name. */
function isName(text: Buffer, start: number, end: number, name: string): boolean {
  const length = end - start - 2
  if (length <= name.length) {
    return length === name.length && text.latin1Slice(start + 1, end - 1) === name
  }
  const spelt = text.subarray(start, end) // Escapes only make a name longer.
  return spelt.includes(BACKSLASH) && JSON.parse(spelt.utf8Slice(0, spelt.length)) === name
}

function skipJsonValue(text: Buffer, at: number): number {
  const mark = text[at]
  if (mark === QUOTE) return skipString(text, at)
  if (mark !== 0x7b && mark !== 0x5b) return skipScalar(text, at)
  let depth = 0
  let next = at
  for (;;) {
    const byte = text[next] as number
    if (byte === QUOTE) {
      next = skipString(text, next)
      continue
    }
    next++
    if (byte === 0x7b || byte === 0x5b) depth++
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth--
      if (depth === 0) return next
    } else if (next > text.length) return next // Not reached on text that was parsed.
  }
}

/** Behind the string whose opening quote is at `at`. */
function skipString(text: Buffer, at: number): number {
  let next = at + 1
  while (next < text.length) {
    const byte = text[next] as number
    if (byte === QUOTE) return next + 1
    next += byte === BACKSLASH ? 2 : 1
  }
  return next
}

function skipScalar(text: Buffer, at: number): number {
  let next = at
  while (next < text.length) {
    const byte = text[next] as number
    if (byte === COMMA || byte === CLOSE_ARRAY || byte === CLOSE_OBJECT || isSpace(byte)) break
    next++
  }
  return next
}

function skipSpace(text: Buffer, at: number): number {
  let next = at
  while (isSpace(text[next] as number)) next++
  return next
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}
