/**
 *   p1 ─[1 per frame]→ server ─→ s1         MessagePack, 128 B, as fast as possible, window 16,384
 *
 * Question: how many messages a second pass when each comes in a frame of its own?
 * Broker: TOPIC_HISTORY_SIZE and SUBSCRIBER_QUEUE_SIZE 65,536, so nothing may be dropped.
 */
import { ONE_TO_ONE, ROOM_FOR_THE_WINDOW, type Scenario } from './scenario.js'

export const oneToOneSingle: Scenario = {
  name: 'one-to-one-single',
  question: 'messages/s in frames of their own (MessagePack, as fast as possible)',
  plan: ONE_TO_ONE,
  brokerEnv: ROOM_FOR_THE_WINDOW,
}
