/**
 * What the burst command and its client process tell each other.
 * Runs on: both. Owns: the message types.
 *
 *   run → client   setup → burst
 *   client → run   ready, sent, done; failed at any time
 */
import type { Target } from '../load/plan.js'

export interface BurstPlan {
  readonly target: Target
  readonly messages: number
  /** They take the messages in turn. */
  readonly connections: number
  /** Whether each message asks for an ack. */
  readonly isAcked: boolean
}

export interface BurstCounts {
  /** Entries in the log of the topic. */
  readonly stored: number
  readonly acked: number
  readonly overloaded: number
  /** Refused with another code than OVERLOADED. */
  readonly refusedOtherwise: number
  readonly received: number
  /** Seqs that a GAP named. */
  readonly announced: number
  /** Seqs that were stored and neither received nor announced. */
  readonly unaccounted: number
  /** Acks whose seq is held by another message, or not accounted for. */
  readonly misplaced: number
  readonly repeated: number
  /** From the first byte until the last message was accounted for. */
  readonly tookMs: number
}

export type ToBurst =
  | { readonly type: 'setup'; readonly plan: BurstPlan }
  | { readonly type: 'burst' }
export type FromBurst =
  | { readonly type: 'ready' }
  | { readonly type: 'done'; readonly counts: BurstCounts }
  | { readonly type: 'failed'; readonly reason: string }
