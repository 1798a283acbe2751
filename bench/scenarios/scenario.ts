/**
 * What a scenario file says.
 * Runs on: the benchmark's main process. Owns: the type, and what most scenarios share.
 */
import type { CompanionSpec } from '../companions/companion.js'
import type { SystemName } from '../compare-systems.js'
import type { LoadPlan } from '../load/plan.js'

export interface Scenario {
  readonly name: string
  /** What a reader learns from the result; one line. */
  readonly question: string
  readonly plan: LoadPlan
  /** The broker's environment beyond HOST and PORT. */
  readonly brokerEnv: Readonly<Record<string, string>>
  readonly publisherProcesses?: number
  readonly subscriberProcesses?: number
  /** What goes on beside the load, in a process of its own. */
  readonly companion?: CompanionSpec
  /** The systems that can do this; all unless told. */
  readonly systems?: readonly SystemName[]
}

/** One publisher, one subscriber, 128-byte payloads, one message per frame. */
export const ONE_TO_ONE = {
  encoding: 'msgpack',
  publishers: 1,
  subscribers: 1,
  topics: 1,
  payloadBytes: 128,
  batch: 1,
  batchedEvents: false,
  load: { kind: 'closed', window: 16_384 },
} as const satisfies LoadPlan

/**
 * For closed loops: history and queue of 65,536 messages, at least twice the window, so that the
 * broker has no cause to drop anything and a loss is a fault.
 */
export const ROOM_FOR_THE_WINDOW = {
  TOPIC_HISTORY_SIZE: '65536',
  SUBSCRIBER_QUEUE_SIZE: '65536',
} as const
