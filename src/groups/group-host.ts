/**
 * What a consumer group and the shard that it lives in say to each other.
 * Runs on: the shard. Owns: nothing.
 */
import type { Group } from './group.js'
import type { Priority } from './lineup.js'
import type { Member } from './member.js'

/** What dispatch() came to: nothing is left to give; there is no outbound room; or go on in the next batch. */
export const Dispatched = { done: 0, noRoom: 1, more: 2 } as const
export type Dispatched = (typeof Dispatched)[keyof typeof Dispatched]

/** deliver() found no outbound room. */
export const NO_ROOM = -1

/** How a member settles what it has, as the numbers of ring records (protocol/settle.ts). */
export const Settle = { ack: 1, nack: 2, term: 3, working: 4, release: 7 } as const
export type SettleKind = (typeof Settle)[keyof typeof Settle]

export interface FailedAttempt {
  readonly atMs: number
  readonly member: string
  readonly error: string
}

/** What is known of a message that is given up. */
export interface DeadLetter {
  readonly seq: number
  readonly reason: 'max_deliver' | 'term' | 'expired'
  readonly attempts: number
  readonly failures: readonly FailedAttempt[]
}

/** Entries on their way to one member. */
export interface Delivery {
  readonly member: Member
  readonly first: number
  /** At most up to here. */
  readonly last: number
  readonly attempt: number
  readonly dueMs: number
}

/** What the group needs of a log. */
export interface GroupLog {
  readonly firstSeq: number
  readonly lastSeq: number
  /** The last seq that was dropped before it had expired; what was dropped behind it had. */
  readonly lostTo: number
  /** The last seq of a run that stands in one piece, as TopicLog.runFrom(). */
  runFrom(seq: number, lastSeq: number, maxBytes: number): number
  offsetOf(seq: number): number
  endOf(seq: number): number
}

/** What an entry says that a group cares for. */
export interface Class {
  /** Settled without a delivery: it does not match the group's filter. */
  readonly isSkipped: boolean
  /** Hash of its key, or 0. */
  readonly key: number
  readonly priority: Priority
}

/** What the group needs of the shard. */
export interface GroupHost {
  readonly nowMs: number
  /** Number of the batch that runs now. */
  readonly batch: number
  /** The last batch with deliveries that was made visible. */
  readonly committedBatch: number
  readonly random: () => number
  /** True when entries of the topic may have properties or expire, so that each has to be looked at. */
  hasProperties(group: Group): boolean
  /** False when filters have had their share of this batch. */
  readonly mayClassify: boolean
  isExpired(group: Group, seq: number): boolean
  classify(group: Group, seq: number): Class
  /** Sends entries. Returns the last one sent, or NO_ROOM. */
  deliver(group: Group, delivery: Delivery): number
  /** Puts a copy with the dead letters. False when there is no room now. */
  bury(group: Group, slot: number, letter: DeadLetter): boolean
  /** tick() is wanted at this time, or before. */
  dueAt(dueMs: number): void
  /** The log dropped so many more before the group was done with them: see GroupRecord.loss. */
  lost(group: Group, count: number): void
}
