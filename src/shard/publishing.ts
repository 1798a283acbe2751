/**
 * PUBLISH records: stored, and acked or refused.
 * Runs on: the shard. Owns: nothing; the shard lends it topics, journal and the outbound ring.
 */
import { type ReplyCode, replyById } from '../errors.js'
import { PUBLISH_CLAIMS_JSON, PUBLISH_DELAYED, Publish } from '../ring/record.js'
import type { AckWriter } from './acks.js'
import { Appender } from './appender.js'
import type { Journal } from './journal.js'
import { DUPLICATE_BYTES_MAX, PublishAnswers } from './publish-answers.js'
import { Scheduling } from './scheduling.js'
import type { Shard } from './shard.js'
import { Topic } from './topics.js'

export class Publishing {
  readonly #shard: Shard
  readonly #appender: Appender
  readonly #answers: PublishAnswers
  readonly #scheduling: Scheduling

  constructor(shard: Shard, acks: AckWriter, appender: Appender, journal: Journal) {
    this.#shard = shard
    this.#appender = appender
    this.#answers = new PublishAnswers(shard, acks)
    this.#scheduling = new Scheduling(shard, this.#answers, appender, journal)
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
      if (!(made instanceof Topic)) {
        return this.#answers.refuse(ordinal, start, made.reply, made.message)
      }
      topic = made
    }
    if (earlier !== undefined && earlier < 0) {
      return this.#answers.refuse(ordinal, start, replyById(-earlier), 'the message was not stored')
    }
    if (((ints[field + Publish.flags] as number) & PUBLISH_DELAYED) !== 0) {
      return this.#scheduling.process(ordinal, start, topic, earlier)
    }
    if (topic.dedupWindowMs > 0) return this.#processOnce(ordinal, start, topic, earlier)
    if (earlier !== undefined) {
      // The predecessor died before it had counted them, and before they went out as EVENTS.
      this.#shard.stored(topic, count, messagesEnd - messages)
      return this.#answers.stored(start, topic, earlier, count)
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
    if (firstSeq < 0) return this.#answers.refuseUnstored(ordinal, start, topic, firstSeq, count)
    this.#shard.appended(topic, firstSeq, count)
    this.#shard.stored(topic, count, messagesEnd - messages)
    return this.#answers.stored(start, topic, firstSeq, count)
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
      if (firstSeq < 0) return this.#answers.refuseUnstored(ordinal, start, topic, firstSeq, stored)
      this.#shard.appended(topic, firstSeq, stored)
    } else if (earlier === undefined) {
      this.#shard.noteResult(ordinal, nextSeq)
    }
    if (stored > 0) this.#shard.stored(topic, stored, end - from)
    if (duplicates.length === 0) return this.#answers.stored(start, topic, firstSeq, count)
    this.#shard.counters.add('duplicates', duplicates.length)
    return this.#answers.duplicates(start, topic, firstSeq, count, duplicates)
  }

  /** Tells the publisher that nothing of the record at `start` was stored, and why. */
  refuse(ordinal: number, start: number, reply: ReplyCode, message: string): boolean {
    return this.#answers.refuse(ordinal, start, reply, message)
  }
}
