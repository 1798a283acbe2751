/**
 * What the coordinator tells the load processes, and what they answer.
 * Runs on: coordinator, publishers, subscribers. Owns: the message types between them.
 *
 *   coordinator → process   setup → start → (credit …) → drain (subscribers only)
 *   process → coordinator   ready, (progress …), published | received; failed at any time
 *
 * Times are those of clock.ts; lists are indexed by the publisher's number in the whole run.
 */

export type Encoding = 'msgpack' | 'json'

/** Open: messages/s of all publishers together. Closed: messages under way per publisher. */
export type Load =
  | { readonly kind: 'open'; readonly ratePerSecond: number }
  | { readonly kind: 'closed'; readonly window: number }

export interface LoadPlan {
  readonly encoding: Encoding
  readonly publishers: number
  readonly subscribers: number
  readonly topics: number
  readonly payloadBytes: number
  /** Messages per publish frame. */
  readonly batch: number
  /** JSON subscribers allow `events` frames. */
  readonly batchedEvents: boolean
  readonly load: Load
  /** Topics are `<prefix>.0`, `<prefix>.1` …; `bench` unless told. */
  readonly topicPrefix?: string
}

export interface Target {
  readonly host: string
  readonly port: number
}

export interface Schedule {
  readonly startMs: number
  /** Counted is what was meant to be sent (latency), or arrived (throughput), in [from, until). */
  readonly fromMs: number
  readonly untilMs: number
}

export interface Setup {
  readonly type: 'setup'
  readonly target: Target
  readonly plan: LoadPlan
  /** Which of the plan's publishers or subscribers this process plays. */
  readonly indexes: readonly number[]
}

export interface Start {
  readonly type: 'start'
  readonly schedule: Schedule
}

export type ToPublisher = Setup | Start | { readonly type: 'credit'; readonly delivered: number[] }
export type ToSubscriber = Setup | Start | { readonly type: 'drain'; readonly published: number[] }

export interface Published {
  readonly type: 'published'
  /** Messages sent since the start; 0 for publishers of other processes. */
  readonly counts: number[]
  readonly cpuShare: number
  /** Open loop: how late the schedule woke up, p99 in ms; 0 in a closed loop. */
  readonly lagP99Ms: number
  /** Open loop: messages that were due and waited because the server took no more bytes. */
  readonly heldBack: number
  /** Open loop: messages due in the run that the server had not taken long after it. */
  readonly unsent: number
}

export interface Received {
  readonly type: 'received'
  readonly delivered: number
  readonly received: number
  readonly expected: number
  readonly lost: number
  readonly repeated: number
  readonly outOfOrder: number
  readonly unexpected: number
  /** Messages that the broker said it dropped; they are among the lost. */
  readonly announced: number
  /** Messages that arrived before they were meant to be sent: a broken clock. */
  readonly early: number
  readonly cpuShare: number
  /** Latencies in µs, as hdr-histogram-js encodes them. */
  readonly latencies: string
}

export interface Failed {
  readonly type: 'failed'
  readonly reason: string
}

export type FromPublisher = { readonly type: 'ready' } | Published | Failed
export type FromSubscriber =
  | { readonly type: 'ready' }
  | { readonly type: 'progress'; readonly delivered: (number | null)[] }
  | Received
  | Failed
