/**
 *   p1 ─→ server ─→ s1        MessagePack, 16 B to 64 KiB, one per frame, as fast as possible
 *
 * Question: from which size on do bytes cost more than messages? 128 B is `one-to-one-single`.
 * The windows hold 8 MiB at most: half of what a topic's log may grow to (TOPIC_BYTES_MAX).
 * Broker: TOPIC_HISTORY_SIZE and SUBSCRIBER_QUEUE_SIZE 65,536, so nothing may be dropped.
 */
import { ONE_TO_ONE, ROOM_FOR_THE_WINDOW, type Scenario } from './scenario.js'

const SIZES = [
  { name: '16b', payloadBytes: 16, window: 16_384 },
  { name: '1k', payloadBytes: 1024, window: 8192 },
  { name: '8k', payloadBytes: 8192, window: 1024 },
  { name: '64k', payloadBytes: 65_536, window: 128 },
] as const

export const sizes: readonly Scenario[] = SIZES.map(({ name, payloadBytes, window }) => ({
  name: `size-${name}`,
  question: `messages/s of ${payloadBytes.toLocaleString('en')} bytes (MessagePack, 1 → 1)`,
  plan: { ...ONE_TO_ONE, payloadBytes, load: { kind: 'closed', window } },
  brokerEnv: ROOM_FOR_THE_WINDOW,
}))
