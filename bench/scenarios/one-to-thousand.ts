/**
 *                ┌─→ s1
 *   p1 ─→ server ┼─→ …         MessagePack, 128 B, one per frame, as fast as possible, window 128
 *                └─→ s1000
 *
 * Question: how many deliveries a second when every message goes to a thousand sockets? The window
 * is that of the slowest subscriber: 128 messages are 128,000 deliveries under way.
 * Broker: TOPIC_HISTORY_SIZE and SUBSCRIBER_QUEUE_SIZE 65,536, so nothing may be dropped.
 */
import { ONE_TO_ONE, ROOM_FOR_THE_WINDOW, type Scenario } from './scenario.js'

export const oneToThousand: Scenario = {
  name: 'one-to-thousand',
  question: 'deliveries/s to 1,000 subscribers of one topic (MessagePack, as fast as possible)',
  plan: { ...ONE_TO_ONE, subscribers: 1000, load: { kind: 'closed', window: 128 } },
  brokerEnv: ROOM_FOR_THE_WINDOW,
}
