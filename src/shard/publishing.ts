/**
 * PUBLISH records: stored, and acked or refused.
 * Runs on: the shard. Owns: nothing; the shard lends it topics, journal and the outbound ring.
 */
import { Reply, type ReplyCode, replyById } from '../errors.js'
import { OVER_RETENTION } from '../log/topic-log.js'
import { errorFrame } from '../protocol/server-frames.js'
import {
  JSON_TEXT,
  MSGPACK,
  PUBLISH_BATCH,
  PUBLISH_CLAIMS_JSON,
  PUBLISH_HTTP,
  PUBLISH_JSON,
  PUBLISH_ROUTED,
  Publish,
} from '../ring/record.js'
import type { AckWriter } from './acks.js'
import { Appender, NOT_JSON } from './appender.js'
import type { Shard } from './shard.js'
import { Topic } from './topics.js'

export class Publishing {
  readonly #shard: Shard
  readonly #acks: AckWriter
  readonly #appender: Appender

  constructor(shard: Shard, acks: AckWriter, appender: Appender) {
    this.#shard = shard
    this.#acks = acks
    this.#appender = appender
  }

  /** Stores the messages of the record at `start` and acks them. False when there is no room now. */
  process(ordinal: number, start: number): boolean {
    const { ints, bytes, buffer } = this.#shard.views
    const field = start >> 2
    const hash = (ints[field + Publish.topicHash] as number) >>> 0
    const nameStart = start + (ints[field + Publish.topicStart] as number)
    const nameLength = ints[field + Publish.topicLength] as number
    const messages = start + (ints[field + Publish.messagesStart] as number)
    const messagesEnd = start + (ints[field + Publish.messagesEnd] as number)
    const count = ints[field + Publish.count] as number
    const claimsJson = ((ints[field + Publish.flags] as number) & PUBLISH_CLAIMS_JSON) !== 0

    const earlier = this.#shard.resultOf(ordinal)
    let topic = this.#shard.topics.find(hash, bytes, nameStart, nameLength)
    if (topic === undefined) {
      const made = this.#shard.findOrCreate(buffer.utf8Slice(nameStart, nameStart + nameLength))
      if (!(made instanceof Topic)) return this.refuse(ordinal, start, made.reply, made.message)
      topic = made
    }
    if (earlier !== undefined) {
      if (earlier < 0) {
        return this.refuse(ordinal, start, replyById(-earlier), 'the message was not stored')
      }
      // The predecessor died before it had counted them, and before they went out as EVENTS.
      this.#shard.stored(topic, count, messagesEnd - messages)
      return this.#ack(start, topic, earlier, count)
    }
    const room = Appender.bytesFor(count, messages, messagesEnd)
    if (!this.#shard.makeWay(topic, count, room)) return false
    const firstSeq = this.#appender.append(
      topic,
      ordinal,
      messages,
      messagesEnd,
      count,
      claimsJson,
      this.#shard.nowMs,
    )
    if (firstSeq < 0) {
      const [reply, message] = this.#whyNotStored(topic, firstSeq, count)
      return this.refuse(ordinal, start, reply, message)
    }
    this.#shard.appended(topic, firstSeq, count)
    this.#shard.stored(topic, count, messagesEnd - messages)
    return this.#ack(start, topic, firstSeq, count)
  }

  #whyNotStored(topic: Topic, outcome: number, count: number): [ReplyCode, string] {
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

  #ack(start: number, topic: Topic, firstSeq: number, count: number): boolean {
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
}
