/**
 *   p1 ─[64 per frame]→ server ─→ s1        MessagePack, 128 B, as fast as possible, window 32,768
 *
 * Question: how many messages a second pass when the cost of a frame is shared by 64? The window is
 * larger than elsewhere: at millions a second 16,384 messages are 3 ms, no more than the credit's
 * way back through three processes takes on a busy machine, and that would be what is measured.
 * Broker: TOPIC_HISTORY_SIZE and SUBSCRIBER_QUEUE_SIZE 65,536, so nothing may be dropped.
 */
import { ONE_TO_ONE, ROOM_FOR_THE_WINDOW, type Scenario } from './scenario.js'

export const oneToOneBatch64: Scenario = {
  name: 'one-to-one-batch64',
  question: 'messages/s when 64 share a frame (MessagePack, as fast as possible)',
  plan: { ...ONE_TO_ONE, batch: 64, load: { kind: 'closed', window: 32_768 } },
  brokerEnv: ROOM_FOR_THE_WINDOW,
}
