/**
 * What the session tells the two ends of a comparison, and what they answer.
 * Runs on: session.ts and the end processes. Owns: the message types, and the payload's layout.
 *
 *   session → end   setup → (run → [publishers: credit …] → drain [subscribers]) repeated
 *   end → session   ready, (progress …, published | received) repeated; failed at any time
 *
 *   payload  [ due u32, µs since the run's start | publisher u32 | number u32 | run u32 | filler ]
 *
 * Little-endian. The run's number tells late messages of an earlier run from those of this one.
 */
import type { Load, Schedule, Target } from '../load/plan.js'
import type { LinkName } from './link.js'

export const PAYLOAD_FACTS_BYTES = 16

/** Who is connected. Publisher i and subscriber i use topic i modulo `topics`. */
export interface Shape {
  readonly publishers: number
  readonly subscribers: number
  readonly topics: number
  readonly payloadBytes: number
}

export interface Setup {
  readonly type: 'setup'
  readonly link: LinkName
  readonly target: Target
  readonly shape: Shape
}

export interface Run {
  readonly type: 'run'
  readonly run: number
  readonly load: Load
  readonly schedule: Schedule
}

export type ToPublisher =
  | Setup
  | Run
  | { readonly type: 'credit'; readonly run: number; readonly delivered: readonly number[] }
export type ToSubscriber =
  | Setup
  | Run
  | { readonly type: 'drain'; readonly published: readonly number[] }

export interface Published {
  readonly type: 'published'
  readonly counts: readonly number[]
  readonly cpuShare: number
  /** Open loop: how late the schedule woke up, p99; 0 in a closed loop. */
  readonly lagP99Ms: number
  /** Open loop: given up because a subscriber was too far behind. */
  readonly isOverrun: boolean
}

export interface Received {
  readonly type: 'received'
  readonly deliveredPerSecond: number
  readonly received: number
  readonly expected: number
  readonly lost: number
  readonly repeated: number
  readonly outOfOrder: number
  /** Among the lost: those that the library said it lost. */
  readonly announced: number
  readonly cpuShare: number
  /** Open loop: latencies in µs, as hdr-histogram-js encodes them. */
  readonly latencies: string
}

export interface Progress {
  readonly type: 'progress'
  readonly run: number
  readonly delivered: readonly number[]
}

interface Ready {
  readonly type: 'ready'
}

interface Failed {
  readonly type: 'failed'
  readonly reason: string
}

export type FromEnd = Ready | Failed | Progress | Published | Received

export function topicOf({ topics }: Shape, index: number): string {
  return `bench.${index % topics}`
}
