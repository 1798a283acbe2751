/**
 * PUBLISH records: stored, and acked or refused.
 * Runs on: the shard. Owns: nothing; the shard lends it topics, journal and the outbound ring.
 */
import { Reply, type ReplyCode, replyById } from '../errors.js'
import { OVER_RETENTION } from '../log/topic-log.js'
import { ackFrame, errorFrame } from '../protocol/server-frames.js'
import {
  JSON_TEXT,
  MSGPACK,
  PUBLISH_BATCH,
  PUBLISH_CLAIMS_JSON,
  PUBLISH_DELAYED,
  PUBLISH_HTTP,
  PUBLISH_JSON,
  PUBLISH_ROUTED,
  Publish,
} from '../ring/record.js'
import type { AckWriter } from './acks.js'
import { Appender, NOT_JSON } from './appender.js'
import type { Duplicate } from './deduplication.js'
import { TOO_MANY } from './delayed.js'
import type { Journal } from './journal.js'
import type { Shard } from './shard.js'
import { Topic } from './topics.js'

/** What one duplicate takes in an ack, in JSON with large numbers: `[65535,9007199254740991],`. */
const DUPLICATE_BYTES_MAX = 24

export class Publishing {
  readonly #shard: Shard
  readonly #acks: AckWriter
  readonly #appender: Appender
  readonly #journal: Journal

  constructor(shard: Shard, acks: AckWriter, appender: Appender, journal: Journal) {
    this.#shard = shard
    this.#acks = acks
    this.#appender = appender
    this.#journal = journal
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
      const name = buffer.utf8Slice(nameStart, nameStart + nameLength)
      const made = this.#shard.catalog.findOrCreate(name)
      if (!(made instanceof Topic)) return this.refuse(ordinal, start, made.reply, made.message)
      topic = made
    }
    if (earlier !== undefined && earlier < 0) {
      return this.refuse(ordinal, start, replyById(-earlier), 'the message was not stored')
    }
    if (((ints[field + Publish.flags] as number) & PUBLISH_DELAYED) !== 0) {
      return this.#processDelayed(ordinal, start, topic, earlier)
    }
    if (topic.dedupWindowMs > 0) return this.#processOnce(ordinal, start, topic, earlier)
    if (earlier !== undefined) {
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
    if (firstSeq < 0) return this.#refuseUnstored(ordinal, start, topic, firstSeq, count)
    this.#shard.appended(topic, firstSeq, count)
    this.#shard.stored(topic, count, messagesEnd - messages)
    return this.#ack(start, topic, firstSeq, count)
  }

  /** As process(), for a topic that knows messages that come again. */
  #processOnce(ordinal: number, start: number, topic: Topic, earlier: number | undefined): boolean {
    const { ints } = this.#shard.views
    const field = start >> 2
    const from = start + (ints[field + Publish.messagesStart] as number)
    const end = start + (ints[field + Publish.messagesEnd] as number)
    const count = ints[field + Publish.count] as number
    const flags = ints[field + Publish.flags] as number
    const { deduplication, nowMs } = this.#shard
    const nextSeq = earlier ?? topic.log.lastSeq + 1
    const duplicates =
      earlier === undefined
        ? deduplication.duplicatesOf(topic, from, end, count, nextSeq)
        : deduplication.duplicatesAgain(topic, from, end, count, nextSeq)
    // Before anything is stored: the ack that names them must be sure to fit.
    if (!this.#shard.hasRoomFor(duplicates.length * DUPLICATE_BYTES_MAX)) return false
    const stored = count - duplicates.length
    let firstSeq = nextSeq
    if (earlier === undefined && stored > 0) {
      if (!this.#shard.makeWay(topic, stored, Appender.bytesFor(count, from, end))) return false
      const leftOut = new Set(duplicates.map(([index]) => index))
      const claimsJson = (flags & PUBLISH_CLAIMS_JSON) !== 0
      firstSeq = this.#appender.append(topic, ordinal, from, end, count, claimsJson, nowMs, leftOut)
      if (firstSeq < 0) return this.#refuseUnstored(ordinal, start, topic, firstSeq, stored)
      this.#shard.appended(topic, firstSeq, stored)
    } else if (earlier === undefined) {
      this.#shard.noteResult(ordinal, nextSeq)
    }
    if (stored > 0) this.#shard.stored(topic, stored, end - from)
    if (duplicates.length === 0) return this.#ack(start, topic, firstSeq, count)
    this.#shard.counters.add('duplicates', duplicates.length)
    return this.#ackDuplicates(start, topic, firstSeq, count, duplicates)
  }

  /** Messages that are kept for later. The record's result is the order of the first of them. */
  #processDelayed(
    ordinal: number,
    start: number,
    topic: Topic,
    earlier: number | undefined,
  ): boolean {
    const { ints } = this.#shard.views
    const field = start >> 2
    const from = start + (ints[field + Publish.messagesStart] as number)
    const end = start + (ints[field + Publish.messagesEnd] as number)
    const count = ints[field + Publish.count] as number
    const flags = ints[field + Publish.flags] as number
    const { delayed } = this.#shard
    const firstOrder = earlier ?? delayed.nextOrder
    const duplicates = this.#delayedBefore(
      topic,
      from,
      end,
      count,
      firstOrder,
      earlier === undefined,
    )
    if (!this.#shard.hasRoomFor(duplicates.length * DUPLICATE_BYTES_MAX)) return false
    if (earlier === undefined) {
      const claimsJson = (flags & PUBLISH_CLAIMS_JSON) !== 0
      if (claimsJson && !this.#appender.claimsAreTrue(from, end, count)) {
        return this.#refuseUnstored(ordinal, start, topic, NOT_JSON, count)
      }
      const leftOut = new Set(duplicates.map(([index]) => index))
      const record = this.#journal.recordNumber(ordinal)
      const commit = (order: number) => this.#journal.applied(ordinal, order)
      const kept = delayed.schedule(topic, record, from, end, count, leftOut, commit)
      if (kept === TOO_MANY) {
        const message = 'MAX_DELAYED_MESSAGES wait already, the message was not stored'
        return this.refuse(ordinal, start, Reply.limitExceeded, message)
      }
      if (kept < 0) return this.#refuseUnstored(ordinal, start, topic, kept, count)
    }
    const { epoch } = topic
    const isBatch = count > 1 || (flags & PUBLISH_BATCH) !== 0
    const stored = count - duplicates.length
    // A successor asks the table; what is not there any more was due, or cancelled in the same batch.
    const deliverAt =
      earlier === undefined
        ? delayed.lastEarliestMs
        : (delayed.earliestDue(firstOrder, stored) ?? this.#shard.nowMs)
    this.#shard.counters.add('messagesDelayed', stored)
    this.#shard.counters.add('duplicates', duplicates.length)
    if (!isBatch && stored === 0) {
      const seq = duplicates[0]?.[1] ?? null
      const place =
        seq === null ? { scheduled: true, deliver_at: this.#dueOfFirst(topic, from, end) } : { seq }
      return this.answer(start, topic, { epoch, ...place, duplicate: true })
    }
    const more = isBatch ? { count: stored } : {}
    const known = duplicates.length === 0 ? {} : { duplicates }
    const when = stored === 0 ? {} : { deliver_at: deliverAt }
    const result = { epoch, scheduled: true, ...when, ...more, ...known }
    return this.answer(start, topic, result)
  }

  /** When the message that waits under the id of this one is due. */
  #dueOfFirst(topic: Topic, from: number, end: number): number {
    const { deduplication, delayed, nowMs } = this.#shard
    let dueMs = nowMs
    deduplication.eachId(from, end, 1, (_, at) => {
      const [slot] = delayed.find(topic, at)
      if (slot !== undefined) dueMs = delayed.dueOf(slot)
    })
    return dueMs
  }

  /** Those of the messages that were there before; a seq of null: kept for later, too. */
  #delayedBefore(
    topic: Topic,
    from: number,
    end: number,
    count: number,
    firstOrder: number,
    isFresh: boolean,
  ): Duplicate[] {
    const duplicates: Duplicate[] = []
    if (topic.dedupWindowMs === 0) return duplicates
    const { deduplication, delayed, views } = this.#shard
    const inRecord = new Set<string>()
    deduplication.eachId(from, end, count, (index, at) => {
      if (at === 0) return
      const id = views.buffer.latin1Slice(at, at + 16)
      const slots = delayed.find(topic, at)
      const isOwn = !isFresh && slots.some((slot) => delayed.orderOf(slot) >= firstOrder)
      const seq = deduplication.find(topic, at)
      if (inRecord.has(id) || (slots.length > 0 && !isOwn)) duplicates.push([index, null])
      else if (seq > 0) duplicates.push([index, seq])
      inRecord.add(id)
    })
    return duplicates
  }

  #ackDuplicates(
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
      return this.answer(start, topic, result)
    }
    const result =
      count > 1
        ? { ...seqs, count: stored, duplicates }
        : { first_seq: only, last_seq: only, duplicate: true }
    return this.answer(start, topic, { epoch, ...result })
  }

  /** Acks the record at `start` with a result other than that of messages stored in order. */
  answer(start: number, topic: Topic, result: Readonly<Record<string, unknown>>): boolean {
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

  #refuseUnstored(
    ordinal: number,
    start: number,
    topic: Topic,
    outcome: number,
    count: number,
  ): boolean {
    const [reply, message] = this.#whyNotStored(topic, outcome, count)
    return this.refuse(ordinal, start, reply, message)
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
