/**
 *                ┌─→ s1
 *   p1 ─→ server ┼─→ …         MessagePack, 128 B, one per frame, as fast as possible, window 1,024
 *                └─→ s100
 *
 * Question: how many deliveries a second when every message goes to a hundred sockets? The window
 * is that of the slowest subscriber: 1,024 messages are 102,400 deliveries under way; 16,384 would
 * be seconds of them. Broker: TOPIC_HISTORY_SIZE and SUBSCRIBER_QUEUE_SIZE 65,536, so nothing may
 * be dropped.
 */
import { ONE_TO_ONE, ROOM_FOR_THE_WINDOW, type Scenario } from './scenario.js'

export const oneToHundred: Scenario = {
  name: 'one-to-hundred',
  question: 'deliveries/s to 100 subscribers of one topic (MessagePack, as fast as possible)',
  plan: { ...ONE_TO_ONE, subscribers: 100, load: { kind: 'closed', window: 1024 } },
  brokerEnv: ROOM_FOR_THE_WINDOW,
}
