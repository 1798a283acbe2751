/**
 *   p1 ─→ topic 1 ─→ s1, s3 … s17   and x1, which stops reading
 *          broker                                       2,000 messages/s on a fixed schedule,
 *   p2 ─→ topic 2 ─→ s2, s4 … s18   and x2, as well     MessagePack, 8 KiB
 *
 * Question: when one in ten subscribers stops reading, do the others notice, and is what the slow
 * lose announced? Their p99 is the table's; beside it is `slow-consumers-none`, the same without
 * the two. After the load these read on, and the run fails unless what they miss is, message for
 * message, what they were told by GAP.
 * The payload is large so that the kernel's buffers do not hide the stall. The broker runs with its
 * defaults: drop_oldest, a queue of 1000. The control drops silently.
 */
import { ONE_TO_ONE, type Scenario } from './scenario.js'

export const slowConsumers: Scenario = {
  name: 'slow-consumers',
  question: 'latency of 18 subscribers while 2 more have stopped reading',
  plan: {
    ...ONE_TO_ONE,
    publishers: 2,
    subscribers: 18,
    topics: 2,
    payloadBytes: 8192,
    load: { kind: 'open', ratePerSecond: 2000 },
  },
  brokerEnv: {},
  companion: { kind: 'slow-readers', subscribers: 2 },
  systems: ['ringcast'],
}

const { companion: _, ...calm } = slowConsumers
export const slowConsumersNone: Scenario = {
  ...calm,
  name: 'slow-consumers-none',
  question: 'the same without the two',
}
