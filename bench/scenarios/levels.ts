/**
 *            topics  publishers  subscribers   messages/s   deliveries/s
 *   light         5          10           20        5,000         20,000
 *   medium       10          20           50       10,000         50,000
 *   heavy        20          50          100       25,000        125,000
 *   extreme      50         100          200       50,000        200,000
 *
 * Publishers and subscribers take the topics in turn; every publisher sends 500 messages/s on a
 * fixed schedule, MessagePack, 128 B.
 * Question: what latency at loads of the shape that applications have? The broker runs with its
 * defaults.
 */
import { ONE_TO_ONE, type Scenario } from './scenario.js'

const RATE_PER_PUBLISHER = 500

const LEVELS = [
  { name: 'light', topics: 5, publishers: 10, subscribers: 20 },
  { name: 'medium', topics: 10, publishers: 20, subscribers: 50 },
  { name: 'heavy', topics: 20, publishers: 50, subscribers: 100 },
  { name: 'extreme', topics: 50, publishers: 100, subscribers: 200 },
] as const

export const levels: readonly Scenario[] = LEVELS.map(({ name, ...shape }) => {
  const ratePerSecond = shape.publishers * RATE_PER_PUBLISHER
  const { topics, publishers, subscribers } = shape
  return {
    name: `level-${name}`,
    question: `latency with ${topics} topics, ${publishers} publishers, ${subscribers} subscribers`,
    plan: { ...ONE_TO_ONE, ...shape, load: { kind: 'open', ratePerSecond } },
    brokerEnv: {},
  }
})
