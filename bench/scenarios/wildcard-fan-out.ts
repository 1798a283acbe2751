/**
 *   p1  ─→ 0.0, 0.10 … 0.90 ─→ ten subscribers of `bench.0.*`
 *   …            server          …                    5,000 messages/s on a fixed schedule,
 *   p10 ─→ 9.9, 9.19 … 9.99 ─→ ten subscribers of `bench.9.*`      MessagePack, 128 B
 *
 * Question: what latency when a hundred subscribers listen by pattern, each to the ten topics of a
 * group? Every message goes to ten of them: 50,000 deliveries/s. The broker runs with its defaults.
 * The control has no patterns.
 */
import { ONE_TO_ONE, type Scenario } from './scenario.js'

export const wildcardFanOut: Scenario = {
  name: 'wildcard-fan-out',
  question: 'latency of 50,000 deliveries/s to 100 subscribers of patterns over 100 topics',
  plan: {
    ...ONE_TO_ONE,
    publishers: 10,
    subscribers: 0,
    patternSubscribers: 100,
    topics: 100,
    topicGroups: 10,
    load: { kind: 'open', ratePerSecond: 5000 },
  },
  brokerEnv: {},
  systems: ['ringcast'],
}
