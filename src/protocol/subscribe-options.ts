/**
 * The options of a subscribe, the same in both encodings: checked and made into where to start.
 * Runs on: the gateway. Owns: nothing; pure.
 */
import { Refusal, Reply } from '../errors.js'
import { CLIENT_ID_BYTES_MAX, CURSORS_MAX } from './limits.js'

export type SlowConsumerPolicy = 'drop_oldest' | 'disconnect'

/** Where a subscription begins: at live, or with entries that the log still holds. */
export type Start =
  | { readonly from: 'live' }
  | { readonly from: 'lastN'; readonly count: number }
  | { readonly from: 'seq'; readonly seq: number; readonly epoch: string | null }
  | { readonly from: 'time'; readonly timeMs: number }
  /** For patterns that resume: what comes next in each topic; other topics are new and start at their first entry. */
  | { readonly from: 'cursors'; readonly cursors: Readonly<Record<string, Cursor>> }

export interface Cursor {
  readonly epoch: string
  /** First seq not seen yet. */
  readonly seq: number
}

export interface SubscribeOptions {
  readonly start: Start
  /** undefined: the broker's default. */
  readonly policy: SlowConsumerPolicy | undefined
  readonly clientId: string | undefined
  /** JSON only: events may come as one frame with a list. */
  readonly batch: boolean
  /**
   * The ack says what comes next in each topic (`cursors`, at most CURSORS_MAX of them), and for a
   * pattern the epoch of every other topic comes before its first event: so that it can be resumed.
   */
  readonly epochs: boolean
  /** A CEL expression, not checked yet; undefined: all messages are wanted. */
  readonly filter: string | undefined
}

/**
 * Checks the fields of a subscribe; `nowMs` is what a duration in `since` counts back from.
 * Throws Refusal (BAD_REQUEST) that names the field and the rule.
 */
export function subscribeOptions(
  fields: Readonly<Record<string, unknown>>,
  isPattern: boolean,
  nowMs: number,
): SubscribeOptions {
  const policy = optional(fields, 'policy')
  if (policy !== undefined && policy !== 'drop_oldest' && policy !== 'disconnect') {
    throw bad('policy must be "drop_oldest" or "disconnect"')
  }
  const batch = optional(fields, 'batch') ?? false
  if (typeof batch !== 'boolean') throw bad('batch must be true or false')
  const epochs = optional(fields, 'epochs') ?? false
  if (typeof epochs !== 'boolean') throw bad('epochs must be true or false')
  const filter = optional(fields, 'filter')
  if (filter !== undefined && typeof filter !== 'string') throw bad('filter must be a string')
  return {
    start: startOf(fields, isPattern, nowMs),
    filter,
    policy,
    clientId: clientIdOf(fields),
    batch,
    epochs,
  }
}

/** Where a group begins: as a subscription, and `start`: "new" (default) or "earliest" in words. */
export function groupStartOf(fields: Readonly<Record<string, unknown>>, nowMs: number): Start {
  const start = optional(fields, 'start')
  if (start === undefined) return startOf(fields, false, nowMs)
  const others = ['last_n', 'from_seq', 'since'].filter(
    (name) => optional(fields, name) !== undefined,
  )
  if (others.length > 0) throw bad(`start and ${others[0]} exclude each other`)
  if (start === 'new') return { from: 'live' }
  if (start === 'earliest') return { from: 'seq', seq: 1, epoch: null }
  throw bad('start must be "new" or "earliest"')
}

/** The optional label of a subscriber. */
export function clientIdOf(fields: Readonly<Record<string, unknown>>): string | undefined {
  const clientId = optional(fields, 'client_id')
  if (clientId === undefined) return undefined
  if (typeof clientId !== 'string' || Buffer.byteLength(clientId) > CLIENT_ID_BYTES_MAX) {
    throw bad(`client_id must be a string of at most ${CLIENT_ID_BYTES_MAX} bytes`)
  }
  return clientId
}

function startOf(
  fields: Readonly<Record<string, unknown>>,
  isPattern: boolean,
  nowMs: number,
): Start {
  const lastN = optional(fields, 'last_n')
  const fromSeq = optional(fields, 'from_seq')
  const since = optional(fields, 'since')
  const cursors = optional(fields, 'cursors')
  const given = [lastN, fromSeq, since, cursors].filter((value) => value !== undefined)
  if (given.length > 1) {
    throw bad('last_n, from_seq, since and cursors exclude each other: give one of them at most')
  }
  const epoch = optional(fields, 'epoch')
  if (epoch !== undefined && fromSeq === undefined) throw bad('epoch needs from_seq beside it')

  if (lastN !== undefined) {
    const count = wholeNumber(lastN, 'last_n', 0)
    return count === 0 ? { from: 'live' } : { from: 'lastN', count }
  }
  if (fromSeq !== undefined) {
    if (isPattern) throw bad('from_seq needs a topic, a pattern takes cursors instead')
    if (epoch !== undefined && typeof epoch !== 'string') throw bad('epoch must be a string')
    return { from: 'seq', seq: wholeNumber(fromSeq, 'from_seq', 1), epoch: epoch ?? null }
  }
  if (since !== undefined) return { from: 'time', timeMs: sinceMs(since, nowMs) }
  if (cursors !== undefined) {
    if (!isPattern) throw bad('cursors needs a pattern, a topic takes from_seq and epoch instead')
    return { from: 'cursors', cursors: cursorsOf(cursors) }
  }
  return { from: 'live' }
}

function cursorsOf(value: unknown): Record<string, Cursor> {
  if (!isRecord(value)) throw bad('cursors must be a map of topic to {epoch, seq}')
  const entries = Object.entries(value)
  if (entries.length > CURSORS_MAX) {
    throw bad(`cursors must have at most ${CURSORS_MAX} topics, got ${entries.length}`)
  }
  return Object.fromEntries(
    entries.map(([topic, cursor]) => {
      if (!isRecord(cursor) || typeof cursor['epoch'] !== 'string') {
        throw bad('cursors must be a map of topic to {epoch, seq}')
      }
      return [topic, { epoch: cursor['epoch'], seq: wholeNumber(cursor['seq'], 'cursors.seq', 1) }]
    }),
  )
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

function sinceMs(since: unknown, nowMs: number): number {
  if (typeof since === 'string') {
    const duration = /^(\d{1,9})(ms|s|m|h)$/.exec(since)
    if (duration) return nowMs - Number(duration[1]) * (UNIT_MS[duration[2] as string] as number)
    // Date.parse() also takes forms that nobody meant as a time ("1"); ISO 8601 begins like this.
    const time = /^\d{4}-\d\d-\d\d/.test(since) ? Date.parse(since) : Number.NaN
    if (!Number.isNaN(time)) return time
  }
  throw bad('since must be an ISO 8601 time or a duration such as "30s" or "5m"')
}

function wholeNumber(value: unknown, field: string, min: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
    throw bad(`${field} must be a whole number of at least ${min}`)
  }
  return value
}

/** A field's value; null counts as absent. */
function optional(fields: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(fields, name) ? (fields[name] ?? undefined) : undefined
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function bad(message: string): Refusal {
  return new Refusal(Reply.badRequest, message)
}
