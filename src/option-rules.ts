/**
 * Rules between options: what each of them may be is in options.ts.
 * Runs on: the main thread, once at start. Owns: nothing.
 */
import { formatBytes, KiB } from './option-values.js'
import { type Config, type Field, SHARD_LOG_MEMORY_MAX } from './options.js'

/** What one message of a batch may take in a log beside its own bytes: seq, time, id, topic, alignment. */
const ENTRY_OVERHEAD_BYTES = 64
/** Room in a record beside the payload or frame: topic, headers, envelope. */
const RECORD_MARGIN_BYTES = 64 * KiB

/** Rules between options; `of` names those that the rule is about, in the order of the sentence. */
export const crossChecks: readonly {
  readonly of: readonly Field[]
  readonly holds: (config: Config) => boolean
  readonly rule: string
}[] = [
  {
    of: ['topicHistorySize', 'subscriberQueueSize'],
    holds: (c) => c.topicHistorySize >= c.subscriberQueueSize,
    rule: "TOPIC_HISTORY_SIZE must be at least SUBSCRIBER_QUEUE_SIZE, since a topic's log is also the queue of its slow subscribers",
  },
  {
    of: ['maxPayloadBytes', 'maxFrameBytes'],
    holds: (c) => c.maxPayloadBytes < c.maxFrameBytes,
    rule: 'MAX_PAYLOAD_BYTES must be less than MAX_FRAME_BYTES, since a payload travels in a frame',
  },
  {
    of: ['ringBytes', 'maxFrameBytes'],
    holds: (c) => c.maxFrameBytes <= recordRoom(c),
    rule: `RING_BYTES must be at least 2 × (MAX_FRAME_BYTES + ${formatBytes(RECORD_MARGIN_BYTES)}), since a frame travels in one record and a record is at most half a ring`,
  },
  {
    of: ['ringBytes', 'maxPayloadBytes'],
    holds: (c) => 2 * c.maxPayloadBytes <= recordRoom(c),
    rule: `RING_BYTES must be at least 4 × MAX_PAYLOAD_BYTES + 2 × ${formatBytes(RECORD_MARGIN_BYTES)}, since a payload may leave as base64 in one record`,
  },
  {
    of: ['topicBytesMax', 'maxFrameBytes', 'maxBatchMessages'],
    holds: (c) =>
      c.topicBytesMax >= 2 * (c.maxFrameBytes + c.maxBatchMessages * ENTRY_OVERHEAD_BYTES),
    rule: `TOPIC_BYTES_MAX must be at least 2 × (MAX_FRAME_BYTES + MAX_BATCH_MESSAGES × ${ENTRY_OVERHEAD_BYTES}), since the largest batch must fit half a log`,
  },
  {
    of: ['logMemoryBytes', 'workers', 'topicBytesMax'],
    holds: (c) => c.logMemoryBytes / c.workers >= 2 * c.topicBytesMax,
    rule: "LOG_MEMORY_BYTES must be at least 2 × WORKERS × TOPIC_BYTES_MAX, since a log that grows needs the old and the new one for a moment, within its shard's part",
  },
  {
    of: ['logMemoryBytes', 'workers'],
    holds: (c) => c.logMemoryBytes / c.workers <= SHARD_LOG_MEMORY_MAX,
    rule: `LOG_MEMORY_BYTES must be at most ${formatBytes(SHARD_LOG_MEMORY_MAX)} × WORKERS, since a shard's memory is one buffer with 32-bit offsets`,
  },
]

/** What a frame or payload may take of the largest record. */
function recordRoom(config: Config): number {
  return config.ringBytes / 2 - RECORD_MARGIN_BYTES
}
