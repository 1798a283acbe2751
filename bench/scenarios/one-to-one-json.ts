/**
 *   p1 ─{1 per frame}→ server ─{1 per frame}→ s1    JSON, 128 B, as fast as possible, window 16,384
 *
 * Question: what does the plain JSON client get, which asks for no `events` lists?
 * Broker: TOPIC_HISTORY_SIZE and SUBSCRIBER_QUEUE_SIZE 65,536, so nothing may be dropped.
 */
import { ONE_TO_ONE, ROOM_FOR_THE_WINDOW, type Scenario } from './scenario.js'

export const oneToOneJson: Scenario = {
  name: 'one-to-one-json',
  question: 'messages/s for plain JSON clients (as fast as possible)',
  plan: { ...ONE_TO_ONE, encoding: 'json' },
  brokerEnv: ROOM_FOR_THE_WINDOW,
}
