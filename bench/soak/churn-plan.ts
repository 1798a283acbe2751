/**
 * What the soak run and its churn process tell each other.
 * Runs on: both. Owns: the message types.
 *
 *   run → churn   start → stop
 *   churn → run   ready, done; failed at any time
 */
import type { Target } from '../load/plan.js'

export interface ChurnPlan {
  readonly target: Target
  readonly seed: number
  /** Connections that begin per second. */
  readonly livesPerSecond: number
  /** Topics that are created, and deleted, per second. */
  readonly topicsPerSecond: number
  /** Topics `<prefix>.<n>` that others publish to all the time. */
  readonly stablePrefix: string
  readonly stableTopics: number
}

export interface ChurnCounts {
  connections: number
  /** Ended by destroying the TCP socket; the others by a close frame. */
  destroyed: number
  subscribes: number
  unsubscribes: number
  publishes: number
  events: number
  topicsCreated: number
  topicsDeleted: number
  /** Lives that ended otherwise than they should, and refusals that nothing explains. */
  failures: number
  /** The first of them. */
  readonly reasons: string[]
}

export type ToChurn =
  | { readonly type: 'start'; readonly plan: ChurnPlan }
  | { readonly type: 'stop' }
export type FromChurn =
  | { readonly type: 'ready' }
  | { readonly type: 'done'; readonly counts: ChurnCounts }
  | { readonly type: 'failed'; readonly reason: string }
