/**
 * What the coordinator tells the load processes, and what they answer.
 * Runs on: coordinator, publishers, subscribers. Owns: the message types between them.
 *
 *   coordinator → process   setup → start → (credit …) → drain (subscribers only)
 *   process → coordinator   ready, (progress …), (sent | second …), published | received; failed at
 *                           any time
 *
 * Times are those of clock.ts; lists are indexed by the stream's number (topics.ts) in the whole run.
 */

import type { ThreadReading } from '../../src/telemetry/thread-timings.js'

export type Encoding = 'msgpack' | 'json'

/**
 * Open: messages/s of all publishers together, reached in a line from 0 over `rampMs` (none unless
 * told). Closed: messages under way per publisher.
 */
export type Load =
  | { readonly kind: 'open'; readonly ratePerSecond: number; readonly rampMs?: number }
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
  /** In several groups topics are `<prefix>.<group>.<n>`; one group unless told. */
  readonly topicGroups?: number
  /** Beside `subscribers`: each hears a whole group, by a pattern. None unless told. */
  readonly patternSubscribers?: number
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

export type ToPublisher =
  | Setup
  | Start
  | { readonly type: 'credit'; readonly delivered: (number | null)[] }
export type ToSubscriber = Setup | Start | { readonly type: 'drain'; readonly published: number[] }

export interface Published {
  readonly type: 'published'
  /** Messages sent since the start; 0 for streams of other processes. */
  readonly counts: number[]
  readonly cpuShare: number
  /** Open loop: how late frames left, p99 in ms, whoever's fault it was; 0 in a closed loop. */
  readonly lagP99Ms: number
  /** The part of it in which the generator was at work, and did not wait for a core: p99 in ms. */
  readonly ownLagP99Ms: number
  readonly timings: ThreadReading
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
  readonly timings: ThreadReading
  /** Latencies in µs, as hdr-histogram-js encodes them. */
  readonly latencies: string
}

export interface Failed {
  readonly type: 'failed'
  readonly reason: string
}

export interface Ready {
  readonly type: 'ready'
  /** As os.getPriority() has it: −10 where the process could be put before others, else mostly 0. */
  readonly priority: number
}

/** One second of a publisher process is over. Seconds count from the measured time: −1 is warm-up. */
export interface Sent {
  readonly type: 'sent'
  readonly second: number
  /** Since the start. */
  readonly messages: number
  readonly timings: ThreadReading
}

/** What arrived in one second at a subscriber process. */
export interface Second {
  readonly type: 'second'
  readonly second: number
  readonly delivered: number
  readonly maxUs: number
  /** Latencies, as coarse-histogram.ts packs them. */
  readonly buckets: number[]
  readonly timings: ThreadReading
}

export type FromPublisher = Ready | Sent | Published | Failed
export type FromSubscriber =
  | Ready
  | Second
  | { readonly type: 'progress'; readonly delivered: (number | null)[] }
  | Received
  | Failed
