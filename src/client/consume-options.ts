/**
 * What a consumer can be told, and how that is said to the broker.
 * Runs on: Node and browsers. Owns: nothing; pure. The broker checks what is the group's.
 */
import type { ConsumedMessage } from './consumed-message.js'

/** What a handler of a consumer gets beside the message. */
export interface ConsumeContext {
  /** Aborted when the handler has taken longer than `timeoutMs`. */
  readonly signal: AbortSignal
}

/**
 * Handles one message of a consumer group. When it returns, or its promise resolves, the message is
 * acked. When it throws, or its promise rejects, the message comes again when the group's backoff says;
 * NonRetryableError and RetryLaterError say otherwise.
 * @example
 * const bill: ConsumeHandler<Order> = async ({ payload, attempt }, { signal }) => {
 *   await fetch(url, { method: 'POST', body: JSON.stringify(payload), signal })
 * }
 */
export type ConsumeHandler<Payload> = (
  message: ConsumedMessage<Payload>,
  context: ConsumeContext,
) => unknown

/** Delays between the attempts of a message: the last one repeats; or they grow, up to a cap. */
export type GroupBackoff =
  | readonly number[]
  | {
      /** First delay, ms. Default 1000. */
      readonly baseMs?: number
      /** How much longer each delay is than the one before. Default 2. */
      readonly factor?: number
      /** Longest delay, ms. Default 60 000. */
      readonly capMs?: number
      /** Part of the delay that is left to chance, 0 to 1. Default 0.2. */
      readonly jitter?: number
    }

/** What a group does. Whoever joins it first decides; later ones must say the same, or nothing. */
export interface GroupOptions {
  /** How long a member has to settle a message before it goes to another, ms. Default 30 000. */
  readonly ackWaitMs?: number
  /** Attempts after which a message goes to the dead letters. Default 5. */
  readonly maxDeliver?: number
  /** Messages that the whole group may have taken and not settled. Default 8192. */
  readonly window?: number
  /** Delays between attempts. Default 1 s, doubled each time up to 1 min, with jitter. */
  readonly backoff?: GroupBackoff
  /** `'key'`: messages of one key go to one member, one after the other. Default `'none'`. */
  readonly ordered?: 'none' | 'key'
  /** Only messages for which this CEL expression holds; the others count as settled. */
  readonly filter?: string
  /** Messages that expire before they are settled go to the dead letters, too. Default false. */
  readonly deadLetterExpired?: boolean
  /** A group without members is deleted after this, ms. Default one day. */
  readonly expireAfterMs?: number
}

/** How a group is consumed: what the group does, where it begins, and what this member does. */
export interface ConsumeOptions extends GroupOptions {
  /** Where a group begins that is not there yet: with what comes (the default), or with all there is. */
  readonly start?: 'new' | 'earliest'
  /** Instead of `start`: with the newest N messages. */
  readonly lastN?: number
  /** Instead of `start`: with messages since a time: ISO 8601, or a duration such as "30s", "5m". */
  readonly since?: string
  /** Instead of `start`: with this seq. */
  readonly fromSeq?: number
  /** With `fromSeq`: the epoch in which it counts. */
  readonly epoch?: string
  /** Label of this member in the broker's stats and dead letters, at most 128 bytes. */
  readonly clientId?: string
  /** Handlers running at once. Default 1. */
  readonly concurrency?: number
  /**
   * Messages that the broker gives this member before it has settled others. What one member has, no
   * other gets: with slow handlers choose little more than `concurrency`. Default 256.
   */
  readonly maxInFlight?: number
  /** A handler that takes longer has failed; ms. Default: no bound. */
  readonly timeoutMs?: number
  /** Tells the broker in time that messages held here are being worked on. Default true. */
  readonly extend?: boolean
  /** `'manual'`: a handler that returns settles nothing; it calls ack() itself. Default `'auto'`. */
  readonly ack?: 'auto' | 'manual'
}

type Fields = Readonly<Record<string, unknown>>

/** What of it is the group's, by the names of the wire; empty when nothing is given. */
export function groupFields(options: GroupOptions): Fields {
  const { backoff } = options
  return defined({
    ack_wait_ms: options.ackWaitMs,
    max_deliver: options.maxDeliver,
    window: options.window,
    backoff: backoff === undefined ? undefined : backoffFields(backoff),
    ordered: options.ordered,
    filter: options.filter,
    dead_letter_expired: options.deadLetterExpired,
    expire_after_ms: options.expireAfterMs,
  })
}

/** What of it is this member's. */
export function memberFields(options: ConsumeOptions): Fields {
  return defined({ client_id: options.clientId, max_in_flight: options.maxInFlight })
}

/** Where a group begins that is not there yet. */
export function startFields(options: ConsumeOptions): Fields {
  const { start, lastN, since, fromSeq, epoch } = options
  return defined({ start, last_n: lastN, since, from_seq: fromSeq, epoch })
}

function backoffFields(backoff: GroupBackoff): unknown {
  if (Array.isArray(backoff)) return backoff
  const { baseMs, factor, capMs, jitter } = backoff as Exclude<GroupBackoff, readonly number[]>
  return defined({ base_ms: baseMs, factor, cap_ms: capMs, jitter })
}

function defined(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
