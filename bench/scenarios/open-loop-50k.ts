/**
 *   p1  ─→ topic 1  ─→ s1
 *   …       server      …        50,000 messages/s on a fixed schedule, one per frame, 128 B
 *   p10 ─→ topic 10 ─→ s10
 *
 * Question: what latency, counted from the intended time of sending, at the rate the project was
 * asked for? Once in MessagePack and once in JSON. The broker runs with its defaults.
 * Void when: the generator is saturated, see load/result.ts.
 */
import { ONE_TO_ONE, type Scenario } from './scenario.js'

const PLAN = {
  ...ONE_TO_ONE,
  publishers: 10,
  subscribers: 10,
  topics: 10,
  load: { kind: 'open', ratePerSecond: 50_000 },
} as const

export const openLoop50kMsgpack: Scenario = {
  name: 'open-loop-50k-msgpack',
  question: 'latency at 50,000 messages/s over 10 topics (MessagePack)',
  plan: PLAN,
  brokerEnv: {},
}

export const openLoop50kJson: Scenario = {
  name: 'open-loop-50k-json',
  question: 'latency at 50,000 messages/s over 10 topics (JSON)',
  plan: { ...PLAN, encoding: 'json' },
  brokerEnv: {},
}
