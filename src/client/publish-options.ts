/**
 * What a caller says of a message to publish beside its payload, and hears of a batch.
 * Runs on: Node and browsers. Owns: nothing.
 */
import type { Priority } from './message.js'

/** What goes with a message beside its payload. */
export interface PublishOptions {
  /** At most 32, names and values together at most 8192 bytes. */
  readonly headers?: Readonly<Record<string, string>>
  /** A UUID; a new random one if absent. */
  readonly id?: string
  /** What messages that belong together have in common: 1 to 255 bytes. */
  readonly key?: string
  /** How urgent it is to a group of consumers with a backlog; `normal` if absent. */
  readonly priority?: Priority
  /** It expires so long after the broker has stored it; never of itself if absent. */
  readonly ttlMs?: number
  /** The broker keeps it so long before it stores and delivers it. */
  readonly delayMs?: number
  /** The same as a time, a Date or ms since 1970; instead of `delayMs`. */
  readonly deliverAt?: Date | number
  /** Where replies to it go: an inbox. request() sees to this by itself. */
  readonly replyTo?: string
  /** Of a reply sent by hand, to `replyTo` of a request: the request's; at most 128 bytes. */
  readonly correlationId?: string
}

/** Where the messages of a batch stand: one after the other, nothing between them. */
export interface BatchResult {
  /** Number of the first message in the topic. */
  readonly firstSeq: number
  /** Number of the last one. */
  readonly lastSeq: number
  /** The lifetime of the topic's log in which the seqs count. */
  readonly epoch: string
}
