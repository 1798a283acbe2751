/**
 *   p1,  p51  ─→ topic 1  ─→ s1,  s51
 *   …             server      …           MessagePack, 128 B, one per frame, as fast as possible,
 *   p50, p100 ─→ topic 50 ─→ s50, s100    window 256 per publisher
 *
 * Question: what is left of the rate of 1 → 1 when it comes from a hundred sockets and goes to a
 * hundred, over fifty topics? 25,600 messages are under way, 51,200 deliveries.
 * Broker: TOPIC_HISTORY_SIZE and SUBSCRIBER_QUEUE_SIZE 65,536, so nothing may be dropped.
 */
import { ONE_TO_ONE, ROOM_FOR_THE_WINDOW, type Scenario } from './scenario.js'

export const hundredToHundred: Scenario = {
  name: 'hundred-to-hundred',
  question: 'deliveries/s from 100 publishers to 100 subscribers over 50 topics (MessagePack)',
  plan: {
    ...ONE_TO_ONE,
    publishers: 100,
    subscribers: 100,
    topics: 50,
    load: { kind: 'closed', window: 256 },
  },
  brokerEnv: ROOM_FOR_THE_WINDOW,
}
