/**
 * PULL records: the next runs of entries for one subscription that is behind, and what it has lost.
 * Runs on: the shard. Owns: nothing; the shard lends it topics and the outbound ring.
 */
import { EVENTS_AT_END, EVENTS_TOPIC_GONE, type Format, MSGPACK, Pull } from '../ring/record.js'
import { type EventsHeader, NO_ROOM } from './events.js'
import type { Filter } from './filters.js'
import { Selection } from './selection.js'
import type { Shard } from './shard.js'
import type { Topic } from './topics.js'

export class Pulling {
  readonly #shard: Shard
  readonly #selection = new Selection()

  constructor(shard: Shard) {
    this.#shard = shard
  }

  /** Answers the record at `start`. False when there is no room now. */
  process(start: number): boolean {
    const { views, topics, filters, events, nowMs } = this.#shard
    const { ints, floats } = views
    const field = start >> 2
    const topicId = ints[field + Pull.topicId] as number
    const format = ints[field + Pull.format] as Format
    const lag = ints[field + Pull.lag] as number
    const topic = topics.get(topicId)
    const filterId = ints[field + Pull.filter] as number
    const filter = filters.get(filterId)
    // Who pulls through a filter that nobody has any more has left, and will not look at the answer.
    if (topic === undefined || (filterId !== 0 && filter === undefined)) {
      return events.writeGone(topicId, format, lag, EVENTS_TOPIC_GONE)
    }
    // What is LIVE and what is pulled must meet: EVENTS go out before a chunk that reaches the end.
    if (!this.#shard.flushing.flushTopic(topic)) return false
    const { log } = topic
    log.evictExpired(nowMs)
    const from = floats[(start >> 3) + Pull.fromSeq] as number
    const queueSize = ints[field + Pull.queueSize] as number
    const oldest =
      queueSize === 0 ? log.firstSeq : Math.max(log.firstSeq, log.lastSeq - queueSize + 1)
    const first = Math.max(from, oldest)
    // What was jumped over because it had expired is no loss.
    const lostTo = first > log.firstSeq ? first - 1 : log.lostTo
    const header = {
      lag,
      flags: 0,
      gapFrom: lostTo >= from ? from : 0,
      gapTo: lostTo >= from ? lostTo : 0,
    }
    const chunks = ints[field + Pull.chunks] as number
    return filter === undefined
      ? this.#answer(topic, format, first, chunks, header)
      : this.#answerFiltered(topic, format, filter, first, header)
  }

  /** Tells the subscription that its PULL was set aside. */
  setAside(start: number): void {
    const lag = this.#shard.views.ints[(start >> 2) + Pull.lag] as number
    this.#shard.notices.send({ op: 'setAside', lag })
  }

  #answer(
    topic: Topic,
    format: Format,
    first: number,
    chunks: number,
    header: EventsHeader,
  ): boolean {
    const { events, counters, out } = this.#shard
    const { lastSeq } = topic.log
    const before = out.tail
    let last = events.write(topic, format, first, lastSeq, header, EVENTS_AT_END)
    if (last === NO_ROOM) return false
    // Further chunks only while they are one copy each, and leave the ring room for everybody else.
    const more = format === MSGPACK && !topic.mayExpire ? chunks - 1 : 0
    const next = { ...header, gapFrom: 0, gapTo: 0 }
    for (let chunk = 0; chunk < more && last < lastSeq; chunk++) {
      // One entry may be larger than a chunk, and a socket takes only so much.
      const isEnough = ((out.tail - before) | 0) >= chunks * events.bytesMax
      if (isEnough || !this.#shard.hasRoomFor(events.bytesMax)) break
      const { written } = events
      const end = events.write(topic, format, last + 1, lastSeq, next, EVENTS_AT_END)
      if (end === NO_ROOM) break
      events.noteContinued(written)
      last = end
    }
    counters.add('messagesReplayed', Math.max(0, last - first + 1))
    return true
  }

  #answerFiltered(
    topic: Topic,
    format: Format,
    filter: Filter,
    first: number,
    header: EventsHeader,
  ): boolean {
    const { events, counters, flushing } = this.#shard
    const selection = this.#selection
    const { id } = filter
    events.select(selection, topic, filter, first, topic.log.lastSeq)
    const last = events.writeSelected(topic, format, id, first, selection, header, EVENTS_AT_END)
    if (last === NO_ROOM) return false
    counters.add('messagesReplayed', selection.count)
    if (flushing.isFilterWorkSpent) this.#shard.endBatch()
    return true
  }
}
