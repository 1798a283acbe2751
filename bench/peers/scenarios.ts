/**
 * What every system is put through.
 * Runs on: the benchmark's main process. Owns: the list.
 *
 *   one-to-one         p1 ─→ server ─→ s1                     as fast as possible
 *
 *                                  ┌─→ s1
 *   one-to-hundred     p1 ─→ server ┼─→ …                      as fast as possible
 *                                  └─→ s100
 *
 *                      p1, p11 ─→ topic 1  ─→ s1, s11 … s41
 *   medium-…           …           server      …               on a schedule
 *                      p10, p20 ─→ topic 10 ─→ s10, s20 … s50
 *
 *                      p1  ─→ topic 1  ─→ s1
 *   highest-rate       …       server      …                   on faster and slower schedules
 *                      p10 ─→ topic 10 ─→ s10
 *
 * The level «medium» is 10 topics, 20 publishers, 50 subscribers. Its rate is what all publishers
 * send together; each message goes to the 5 subscribers of its topic, so 50,000 messages/s are
 * 250,000 deliveries/s.
 */
import type { Load } from '../load/plan.js'
import { HELD_P99_MS } from '../search.js'
import type { Shape } from './messages.js'

export interface PeerScenario {
  readonly name: string
  readonly title: string
  readonly shape: Shape
  /** `search`: schedules of several rates, each for a short while, to find the highest that holds. */
  readonly load: Load | { readonly kind: 'search' }
}

const PAYLOAD_BYTES = 128
const ONE = { publishers: 1, subscribers: 1, topics: 1, payloadBytes: PAYLOAD_BYTES }
const MEDIUM = { publishers: 20, subscribers: 50, topics: 10, payloadBytes: PAYLOAD_BYTES }
const TEN = { publishers: 10, subscribers: 10, topics: 10, payloadBytes: PAYLOAD_BYTES }

export const PEER_SCENARIOS = [
  {
    name: 'one-to-one',
    title: '1 → 1, as fast as possible, messages/s',
    shape: ONE,
    load: { kind: 'closed', window: 65_536 },
  },
  {
    name: 'one-to-hundred',
    title: '1 → 100, as fast as possible, deliveries/s',
    shape: { ...ONE, subscribers: 100 },
    load: { kind: 'closed', window: 1024 },
  },
  {
    name: 'medium-5k',
    title: 'level medium, 5,000 messages/s (25,000 deliveries/s), p99 in ms',
    shape: MEDIUM,
    load: { kind: 'open', ratePerSecond: 5000 },
  },
  {
    name: 'medium-50k',
    title: 'level medium, 50,000 messages/s (250,000 deliveries/s), p99 in ms',
    shape: MEDIUM,
    load: { kind: 'open', ratePerSecond: 50_000 },
  },
  {
    name: 'highest-rate',
    title: `10 × 1 → 1, highest rate with p99 < ${HELD_P99_MS} ms and nothing lost, messages/s`,
    shape: TEN,
    load: { kind: 'search' },
  },
] as const satisfies readonly PeerScenario[]
