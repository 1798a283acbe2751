/**
 *   p1  ─→ topic 1  ─→ s1
 *   …       server      …        50,000 messages/s on a fixed schedule, MessagePack, 128 B
 *   p10 ─→ topic 10 ─→ s10
 *           9,000 more topics, with a message each, that nobody touches
 *
 * Question: do topics that are there and idle cost anybody anything? Beside `open-loop-50k-msgpack`,
 * which is the same without them. The broker runs with its defaults (MAX_TOPICS 10,000).
 */
import { openLoop50kMsgpack } from './open-loop-50k.js'
import type { Scenario } from './scenario.js'

export const manyIdleTopics: Scenario = {
  name: 'many-idle-topics',
  question: 'open-loop-50k-msgpack beside 9,000 idle topics',
  plan: openLoop50kMsgpack.plan,
  brokerEnv: {},
  companion: { kind: 'idle-topics', topics: 9000 },
  systems: ['ringcast'],
}
