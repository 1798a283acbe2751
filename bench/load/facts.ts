/**
 * What every payload says about itself, written by publishers and checked by subscribers.
 * Runs on: publishers and subscribers. Owns: nothing.
 *
 *   binary  [ time f64 | stream u32 | number u32 | filler … ]     big-endian
 *   JSON    {"t":1000002345678901,"p":10007,"n":1000000042,"x":"filler"}
 *
 * Time is the intended send time of clock.ts in ms; number counts the stream's messages
 * (topics.ts) from 0.
 * In JSON each value carries a constant (below) that fixes its digits: so a message is a template
 * with 30 digits replaced, and the subscriber reads them at known offsets. JSON time is in whole
 * µs.
 */

export const BINARY_FACTS_BYTES = 16
/** The shortest JSON payload: one with an empty filler. */
export const JSON_FACTS_BYTES = jsonFacts(0).length

const TIME_BASE = 1e15
const STREAM_BASE = 1e4
const NUMBER_BASE = 1e9
const TIME_DIGITS = 16
const STREAM_DIGITS = 5
const NUMBER_DIGITS = 10
const TIME_AT = '{"t":'.length
const STREAM_AT = TIME_AT + TIME_DIGITS + ',"p":'.length
const NUMBER_AT = STREAM_AT + STREAM_DIGITS + ',"n":'.length

export interface FactsSink {
  /** One message arrived. */
  message(timeMs: number, stream: number, number: number): void
}

/** A JSON payload of stream `p` with `fillerBytes` of filler; time and number are set later. */
export function jsonPayload(stream: number, payloadBytes: number): string {
  return jsonFacts(stream, 'x'.repeat(Math.max(0, payloadBytes - JSON_FACTS_BYTES)))
}

function jsonFacts(stream: number, filler = ''): string {
  return JSON.stringify({ t: 1e15, p: 1e4 + stream, n: 1e9, x: filler })
}

/** `at` is where the payload's opening brace stands. */
export function setJsonTime(bytes: Buffer, at: number, timeMs: number): void {
  writeDigits(bytes, at + TIME_AT, TIME_DIGITS, TIME_BASE + Math.round(timeMs * 1e3))
}

export function setJsonNumber(bytes: Buffer, at: number, number: number): void {
  writeDigits(bytes, at + NUMBER_AT, NUMBER_DIGITS, NUMBER_BASE + number)
}

/** Reads a payload of exactly the layout above. Returns false, and tells nothing, for any other. */
export function tryReadJsonFacts(bytes: Buffer, at: number, end: number, sink: FactsSink): boolean {
  if (at + JSON_FACTS_BYTES > end) return false
  const time = readDigits(bytes, at + TIME_AT, TIME_DIGITS)
  const stream = readDigits(bytes, at + STREAM_AT, STREAM_DIGITS)
  const number = readDigits(bytes, at + NUMBER_AT, NUMBER_DIGITS)
  if (time < TIME_BASE || stream < STREAM_BASE || number < NUMBER_BASE) return false
  sink.message((time - TIME_BASE) / 1e3, stream - STREAM_BASE, number - NUMBER_BASE)
  return true
}

/** Reads a payload that some JSON parser made. Throws for one that is not ours. */
export function readParsedFacts(payload: unknown, sink: FactsSink): void {
  const { t, p, n } = payload as Record<string, unknown>
  if (typeof t !== 'number' || typeof p !== 'number' || typeof n !== 'number') {
    throw new Error(`not a payload of this benchmark: ${JSON.stringify(payload)}`)
  }
  sink.message((t - TIME_BASE) / 1e3, p - STREAM_BASE, n - NUMBER_BASE)
}

function writeDigits(bytes: Buffer, at: number, digits: number, value: number): void {
  let rest = value
  for (let i = at + digits - 1; i >= at; i--) {
    const tenth = Math.floor(rest / 10)
    bytes[i] = 48 + rest - tenth * 10
    rest = tenth
  }
}

/** The number of `digits` digits at `at`, which a comma must follow; -1 if it is not so. */
function readDigits(bytes: Buffer, at: number, digits: number): number {
  let value = 0
  for (let i = at; i < at + digits; i++) {
    const digit = (bytes[i] as number) - 48
    if (digit < 0 || digit > 9) return -1
    value = value * 10 + digit
  }
  return bytes[at + digits] === 44 ? value : -1
}
