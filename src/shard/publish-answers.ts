/**
 * What the publisher of a PUBLISH record hears: an ack, an error, an HTTP reply, or nothing.
 * Runs on: the shard. Owns: nothing; acks.ts collects frames, notices.ts answers HTTP.
 *
 * All of them return true: the record is done.
 */
import { Reply, type ReplyCode } from '../errors.js'
import { OVER_RETENTION } from '../log/topic-log.js'
import { ackFrame, errorFrame } from '../protocol/server-frames.js'
import {
  JSON_TEXT,
  MSGPACK,
  PUBLISH_BATCH,
  PUBLISH_HTTP,
  PUBLISH_JSON,
  PUBLISH_ROUTED,
  Publish,
} from '../ring/record.js'
import type { AckWriter } from './acks.js'
import { NOT_JSON } from './appender.js'
import type { Duplicate } from './deduplication.js'
import type { Shard } from './shard.js'
import type { Topic } from './topics.js'

/** What one duplicate takes in an ack, in JSON with large numbers: `[65535,9007199254740991],`. */
export const DUPLICATE_BYTES_MAX = 24

export class PublishAnswers {
  readonly #shard: Shard
  readonly #acks: AckWriter

  constructor(shard: Shard, acks: AckWriter) {
    this.#shard = shard
    this.#acks = acks
  }

  /** Messages that are stored one after the other, from `firstSeq` on. */
  stored(start: number, topic: Topic, firstSeq: number, count: number): boolean {
    const { ints } = this.#shard.views
    const field = start >> 2
    const flags = ints[field + Publish.flags] as number
    const requester = ints[field + Publish.requester] as number
    if ((flags & PUBLISH_HTTP) !== 0) {
      this.#shard.notices.reply(requester, 200, {
        status: 'published',
        topic: topic.name,
        epoch: topic.epoch,
        first_seq: firstSeq,
        last_seq: firstSeq + count - 1,
      })
      return true
    }
    const length = ints[field + Publish.requestLength] as number
    if (length === 0) return true
    const request = start + (ints[field + Publish.requestStart] as number)
    const format = (flags & PUBLISH_JSON) !== 0 ? JSON_TEXT : MSGPACK
    const end = request + length
    const isBatch = count > 1 || (flags & PUBLISH_BATCH) !== 0
    this.#acks.ack(
      requester,
      format,
      request,
      end,
      topic,
      firstSeq,
      count,
      isBatch,
      this.#shard.nowMs,
    )
    return true
  }

  /** The same where some were there before. */
  duplicates(
    start: number,
    topic: Topic,
    firstSeq: number,
    count: number,
    duplicates: readonly Duplicate[],
  ): boolean {
    const { ints } = this.#shard.views
    const flags = ints[(start >> 2) + Publish.flags] as number
    const stored = count - duplicates.length
    const isBatch = count > 1 || (flags & PUBLISH_BATCH) !== 0
    const seqs = { first_seq: firstSeq, last_seq: firstSeq + stored - 1 }
    const only = duplicates[0]?.[1] ?? null
    const { epoch } = topic
    if ((flags & PUBLISH_HTTP) === 0) {
      const result = isBatch
        ? { epoch, ...seqs, count: stored, duplicates }
        : { epoch, seq: only, duplicate: true }
      return this.other(start, topic, result)
    }
    const result =
      count > 1
        ? { ...seqs, count: stored, duplicates }
        : { first_seq: only, last_seq: only, duplicate: true }
    return this.other(start, topic, { epoch, ...result })
  }

  /** A result other than that of messages stored in order. */
  other(start: number, topic: Topic, result: Readonly<Record<string, unknown>>): boolean {
    const { ints, bytes } = this.#shard.views
    const field = start >> 2
    const flags = ints[field + Publish.flags] as number
    const requester = ints[field + Publish.requester] as number
    if ((flags & PUBLISH_HTTP) !== 0) {
      this.#acks.flush()
      const status = result['scheduled'] === true ? 'scheduled' : 'published'
      this.#shard.notices.reply(requester, 200, { status, topic: topic.name, ...result })
      return true
    }
    const length = ints[field + Publish.requestLength] as number
    if (length === 0) return true
    const request = start + (ints[field + Publish.requestStart] as number)
    const format = (flags & PUBLISH_JSON) !== 0 ? JSON_TEXT : MSGPACK
    const id = bytes.slice(request, request + length)
    const frame = ackFrame(format, id, topic.name, result, this.#shard.nowMs)
    this.#acks.frame(requester, format, frame, 1)
    return true
  }

  /** Tells the publisher that nothing of the record at `start` was stored, and why. */
  refuse(ordinal: number, start: number, reply: ReplyCode, message: string): boolean {
    this.#shard.counters.add('publishesRefused')
    this.#shard.noteResult(ordinal, -reply.id)
    const { ints, bytes } = this.#shard.views
    const field = start >> 2
    const flags = ints[field + Publish.flags] as number
    const requester = ints[field + Publish.requester] as number
    if ((flags & PUBLISH_ROUTED) !== 0) {
      this.#shard.router.drop(ints[field + Publish.count] as number, message)
      return true
    }
    if ((flags & PUBLISH_HTTP) !== 0) {
      this.#shard.notices.refuse(requester, reply, message)
      return true
    }
    const length = ints[field + Publish.requestLength] as number
    const request = start + (ints[field + Publish.requestStart] as number)
    const id = length === 0 ? undefined : bytes.slice(request, request + length)
    const format = (flags & PUBLISH_JSON) !== 0 ? JSON_TEXT : MSGPACK
    const frame = errorFrame(format, id, reply, message, this.#shard.nowMs)
    this.#acks.frame(requester, format, frame, length === 0 ? 0 : 1)
    return true
  }

  /** The same for an append that failed with `outcome`. */
  refuseUnstored(
    ordinal: number,
    start: number,
    topic: Topic,
    outcome: number,
    count: number,
  ): boolean {
    const [reply, message] = whyNotStored(topic, outcome, count)
    return this.refuse(ordinal, start, reply, message)
  }
}

function whyNotStored(topic: Topic, outcome: number, count: number): [ReplyCode, string] {
  if (outcome === NOT_JSON) {
    return [Reply.badRequest, 'messages.payload of encoding 1 must be JSON text']
  }
  if (outcome === OVER_RETENTION) {
    const { count: most, bytes } = topic.log.retention
    const message = `a batch of ${count} does not fit the topic's history_size=${most}, history_bytes=${bytes}`
    return [Reply.limitExceeded, message]
  }
  return [Reply.overloaded, 'LOG_MEMORY_BYTES is used up, the message was not stored']
}
