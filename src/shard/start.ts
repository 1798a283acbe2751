/**
 * Where a subscription or a group begins to read: the seq in this topic's log that a request means.
 * Runs on: the shard. Owns: nothing.
 */
import type { Start } from '../protocol/subscribe-options.js'
import type { Shard } from './shard.js'
import type { Topic } from './topics.js'

/** First seq to deliver, and whether a resume found all it asked for (null: it was no resume). */
export function resolveStart(
  start: Start,
  topic: Topic,
  shard: Shard,
): { startSeq: number; recovered: boolean | null } {
  const { log } = topic
  log.evictExpired(shard.nowMs)
  const live = log.lastSeq + 1
  switch (start.from) {
    case 'live':
      return { startSeq: live, recovered: null }
    case 'lastN':
      return { startSeq: shard.expiry.startOfLast(topic, start.count), recovered: null }
    case 'time':
      return { startSeq: log.seqSince(start.timeMs), recovered: null }
    case 'seq':
      return resume(topic, start.epoch, start.seq)
    case 'cursors': {
      const cursor = Object.hasOwn(start.cursors, topic.name)
        ? start.cursors[topic.name]
        : undefined
      // A topic that the client never saw is new to it: everything of it counts as missed.
      if (cursor === undefined) return { startSeq: log.firstSeq, recovered: log.lostTo === 0 }
      return resume(topic, cursor.epoch, cursor.seq)
    }
  }
}

function resume(
  topic: Topic,
  epoch: string | null,
  seq: number,
): { startSeq: number; recovered: boolean } {
  const { log } = topic
  const isSameLog = epoch === null || epoch === topic.epoch
  const recovered = isSameLog && seq > log.lostTo && seq <= log.lastSeq + 1
  return { startSeq: recovered ? Math.max(seq, log.firstSeq) : log.firstSeq, recovered }
}
