/**
 * PUBLISH records of messages that are kept for later: into the table of delayed.ts, not into a log.
 * Runs on: the shard. Owns: nothing; see publishing.ts.
 */
import { Reply } from '../errors.js'
import { PUBLISH_BATCH, PUBLISH_CLAIMS_JSON, Publish } from '../ring/record.js'
import { type Appender, NOT_JSON } from './appender.js'
import type { Duplicate } from './deduplication.js'
import { TOO_MANY } from './delayed.js'
import type { Journal } from './journal.js'
import { DUPLICATE_BYTES_MAX, type PublishAnswers } from './publish-answers.js'
import type { Shard } from './shard.js'
import type { Topic } from './topics.js'

export class Scheduling {
  readonly #shard: Shard
  readonly #answers: PublishAnswers
  readonly #appender: Appender
  readonly #journal: Journal

  constructor(shard: Shard, answers: PublishAnswers, appender: Appender, journal: Journal) {
    this.#shard = shard
    this.#answers = answers
    this.#appender = appender
    this.#journal = journal
  }

  /** As Publishing.process(). The record's result is the order of the first message that is kept. */
  process(ordinal: number, start: number, topic: Topic, earlier: number | undefined): boolean {
    const { ints } = this.#shard.views
    const field = start >> 2
    const from = start + (ints[field + Publish.messagesStart] as number)
    const end = start + (ints[field + Publish.messagesEnd] as number)
    const count = ints[field + Publish.count] as number
    const flags = ints[field + Publish.flags] as number
    const { delayed } = this.#shard
    const firstOrder = earlier ?? delayed.nextOrder
    const duplicates = this.#keptBefore(topic, from, end, count, firstOrder, earlier === undefined)
    if (!this.#shard.hasRoomFor(duplicates.length * DUPLICATE_BYTES_MAX)) return false
    if (earlier === undefined) {
      const claimsJson = (flags & PUBLISH_CLAIMS_JSON) !== 0
      if (claimsJson && !this.#appender.claimsAreTrue(from, end, count)) {
        return this.#answers.refuseUnstored(ordinal, start, topic, NOT_JSON, count)
      }
      const leftOut = new Set(duplicates.map(([index]) => index))
      const record = this.#journal.recordNumber(ordinal)
      const commit = (order: number) => this.#journal.applied(ordinal, order)
      const kept = delayed.schedule(topic, record, from, end, count, leftOut, commit)
      if (kept === TOO_MANY) {
        const message = 'MAX_DELAYED_MESSAGES wait already, the message was not stored'
        return this.#answers.refuse(ordinal, start, Reply.limitExceeded, message)
      }
      if (kept < 0) return this.#answers.refuseUnstored(ordinal, start, topic, kept, count)
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
      return this.#answers.other(start, topic, { epoch, ...place, duplicate: true })
    }
    const more = isBatch ? { count: stored } : {}
    const known = duplicates.length === 0 ? {} : { duplicates }
    const when = stored === 0 ? {} : { deliver_at: deliverAt }
    const result = { epoch, scheduled: true, ...when, ...more, ...known }
    return this.#answers.other(start, topic, result)
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
  #keptBefore(
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
}
