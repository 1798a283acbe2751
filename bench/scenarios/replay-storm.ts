/**
 *   p1  ─→ topic 1  ─→ s1
 *   …       broker      …         10,000 messages/s on a fixed schedule, MessagePack, 128 B
 *   p10 ─→ topic 10 ─→ s10
 *             └──→ r1 … r500      connect all at once, in the first second, and resume at the
 *                                 beginning of a log of 1,000 messages: 500,000 deliveries
 *
 * Question: how soon has everybody caught up after a reconnect of many, and do the ten others
 * notice? Their p99 is the table's; beside it is `replay-storm-none`, the same without the storm.
 * The storm fails the run if one of the five hundred misses a message, or gets one twice.
 * The broker runs with its defaults. The control has no log.
 */
import { ONE_TO_ONE, type Scenario } from './scenario.js'

export const replayStorm: Scenario = {
  name: 'replay-storm',
  question: 'latency of 10 live subscribers while 500 others resume at once, 1,000 messages each',
  plan: {
    ...ONE_TO_ONE,
    publishers: 10,
    subscribers: 10,
    topics: 10,
    load: { kind: 'open', ratePerSecond: 10_000 },
  },
  brokerEnv: {},
  companion: { kind: 'replay-storm', subscribers: 500, messages: 1000 },
  systems: ['ringcast'],
}

const { companion: _, ...calm } = replayStorm
export const replayStormNone: Scenario = {
  ...calm,
  name: 'replay-storm-none',
  question: 'the same without the storm',
}
