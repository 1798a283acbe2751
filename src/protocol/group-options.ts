/**
 * The options of a consumer group, the same in both encodings and by HTTP: checked, with defaults.
 * Runs on: the gateway; the shard keeps the text. Owns: nothing; pure.
 */
import { Refusal, Reply } from '../errors.js'

const GROUP_NAME_BYTES_MAX = 128
/** A list of delays has at most so many. */
const BACKOFF_STEPS_MAX = 16
/** Of the filter in JSON, escapes included: all options of a group have to fit its slot (groups/layout.ts). */
const FILTER_JSON_BYTES_MAX = 1200
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Delays between attempts: a list whose last one repeats, or base × factor^n up to a cap. */
export type Backoff =
  | readonly number[]
  | {
      readonly base_ms: number
      readonly factor: number
      readonly cap_ms: number
      /** 0: exactly the delay; 1: anything between 0 and the delay. */
      readonly jitter: number
    }

/** As they travel and as the shard keeps them. */
export interface GroupOptions {
  /** How long a member has to settle a message. */
  readonly ack_wait_ms: number
  /** Attempts after which a message goes to the dead letters. */
  readonly max_deliver: number
  /** Messages that a member may have unsettled, unless it asks for another number. */
  readonly max_in_flight: number
  /** Messages that the whole group may have taken and not settled. */
  readonly window: number
  readonly backoff: Backoff
  /** "key": messages of one key go to one member, one after the other. */
  readonly ordered: 'none' | 'key'
  /** Messages that expire before they are settled go to the dead letters too. */
  readonly dead_letter_expired: boolean
  /** CEL; what does not match is settled without a delivery. Empty: everything matches. */
  readonly filter: string
  /** A group without members is deleted after this, whatever it has under way. */
  readonly expire_after_ms: number
}

export const GROUP_DEFAULTS: GroupOptions = {
  ack_wait_ms: 30_000,
  max_deliver: 5,
  max_in_flight: 256,
  window: 8192,
  backoff: { base_ms: 1000, factor: 2, cap_ms: 60_000, jitter: 0.2 },
  ordered: 'none',
  dead_letter_expired: false,
  filter: '',
  expire_after_ms: DAY_MS,
}

type Fields = Readonly<Record<string, unknown>>

const WHOLE: Readonly<Record<string, readonly [min: number, max: number]>> = {
  ack_wait_ms: [10, DAY_MS],
  max_deliver: [1, 10_000],
  max_in_flight: [1, 65_536],
  window: [1, 65_536],
  expire_after_ms: [1000, 365 * DAY_MS],
}

/** The group's name, or undefined when the fields ask for no group. Throws Refusal. */
export function groupNameOf(fields: Fields): string | undefined {
  const group = present(fields, 'group')
  return group === undefined ? undefined : checkedGroupName(group, 'group')
}

export function checkedGroupName(name: unknown, field: string): string {
  const isName =
    typeof name === 'string' &&
    name.length > 0 &&
    Buffer.byteLength(name) <= GROUP_NAME_BYTES_MAX &&
    !/[\s\p{Cc}/*#]/u.test(name)
  if (isName) return name
  throw bad(
    `${field} must be a string of 1 to ${GROUP_NAME_BYTES_MAX} bytes without white space, control characters, /, * and #`,
  )
}

/** The options that the fields give; those that are absent are absent. Throws Refusal naming field and rule. */
export function givenGroupOptions(fields: Fields): Partial<GroupOptions> {
  const given: Record<string, unknown> = {}
  for (const [name, [min, max]] of Object.entries(WHOLE)) {
    const value = present(fields, name)
    if (value === undefined) continue
    given[name] = whole(value, name, min, max)
  }
  const backoff = present(fields, 'backoff')
  if (backoff !== undefined) given['backoff'] = backoffOf(backoff)
  const ordered = present(fields, 'ordered')
  if (ordered !== undefined) {
    if (ordered !== 'none' && ordered !== 'key') throw bad('ordered must be "none" or "key"')
    given['ordered'] = ordered
  }
  const filter = present(fields, 'filter')
  if (filter !== undefined) {
    if (typeof filter !== 'string') throw bad('filter must be a string')
    const bytes = Buffer.byteLength(JSON.stringify(filter))
    if (bytes > FILTER_JSON_BYTES_MAX) {
      throw bad(
        `filter of a group must have at most ${FILTER_JSON_BYTES_MAX} bytes as JSON, got ${bytes}`,
      )
    }
    given['filter'] = filter
  }
  const deadLetterExpired = present(fields, 'dead_letter_expired')
  if (deadLetterExpired !== undefined) {
    if (typeof deadLetterExpired !== 'boolean') {
      throw bad('dead_letter_expired must be true or false')
    }
    given['dead_letter_expired'] = deadLetterExpired
  }
  return given
}

function backoffOf(value: unknown): Backoff {
  if (Array.isArray(value)) {
    if (value.length === 0 || value.length > BACKOFF_STEPS_MAX) {
      throw bad(`backoff must have 1 to ${BACKOFF_STEPS_MAX} delays`)
    }
    return value.map((delay, index) => whole(delay, `backoff[${index}]`, 0, DAY_MS))
  }
  if (typeof value !== 'object' || value === null) {
    throw bad('backoff must be a list of delays in ms, or {base_ms, factor, cap_ms, jitter}')
  }
  const fields = value as Fields
  const defaults = GROUP_DEFAULTS.backoff as Exclude<Backoff, readonly number[]>
  const number = (name: 'factor' | 'jitter', min: number, max: number) => {
    const given = present(fields, name) ?? defaults[name]
    if (typeof given !== 'number' || !(given >= min && given <= max)) {
      throw bad(`backoff.${name} must be a number of ${min} to ${max}`)
    }
    return given
  }
  return {
    base_ms: whole(present(fields, 'base_ms') ?? defaults.base_ms, 'backoff.base_ms', 0, DAY_MS),
    factor: number('factor', 1, 100),
    cap_ms: whole(present(fields, 'cap_ms') ?? defaults.cap_ms, 'backoff.cap_ms', 0, DAY_MS),
    jitter: number('jitter', 0, 1),
  }
}

/** The delay before attempt `attempt` + 1, ms; `random` in [0, 1). */
export function backoffDelayMs(backoff: Backoff, attempt: number, random: number): number {
  if (Array.isArray(backoff)) {
    return backoff[Math.min(attempt, backoff.length) - 1] as number
  }
  const { base_ms, factor, cap_ms, jitter } = backoff as Exclude<Backoff, readonly number[]>
  const delay = Math.min(cap_ms, base_ms * factor ** Math.min(attempt - 1, 64))
  return Math.round(delay * (1 - jitter * random))
}

function whole(value: unknown, field: string, min: number, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
    return value
  }
  throw bad(`${field} must be a whole number of ${min} to ${max}`)
}

/** A field's value; null counts as absent. */
function present(fields: Fields, name: string): unknown {
  return Object.hasOwn(fields, name) ? (fields[name] ?? undefined) : undefined
}

function bad(message: string): Refusal {
  return new Refusal(Reply.badRequest, message)
}
