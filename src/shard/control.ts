/**
 * The rare requests: subscribe, patterns, create, delete, and what the HTTP door asks.
 * Runs on: the shard. Owns: the scan of a pattern subscribe that did not finish in one batch.
 *
 * Every handler returns the result that the journal keeps, or undefined for «not now»: either there
 * is no outbound room, or the request must be the first of its batch and is not.
 */
import { Unpackr } from 'msgpackr'
import { Reply } from '../errors.js'
import { isoTime } from '../protocol/server-frames.js'
import type { Start } from '../protocol/subscribe-options.js'
import { UUID_TEXT_BYTES, writeUuidText } from '../protocol/uuid.js'
import {
  type ControlRequest,
  type FilterRef,
  FORMATS,
  type Format,
  type TopicSummary,
} from '../ring/record.js'
import { EntryView, historyText } from './json-text.js'
import type { Shard } from './shard.js'
import { type FilteredView, Topic } from './topics.js'

/** Topics in one page of the list: with the longest names a page still fits half of the smallest ring. */
const PAGE_TOPICS_MAX = 100
/** Bytes of one answer of the history API; the rest is fetched from `next_seq` on. */
const HISTORY_BYTES_MAX = 512 * 1024

const NO_FILTER_SLOT = 'MAX_FILTERS filters are in use'

type RequestOf<Op extends ControlRequest['op']> = Extract<ControlRequest, { op: Op }>

interface Scan {
  readonly token: number
  readonly topics: readonly Topic[]
  done: number
}

export class Control {
  readonly #shard: Shard
  readonly #unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true })
  #scan: Scan | undefined

  constructor(shard: Shard) {
    this.#shard = shard
  }

  process(start: number, end: number, ordinal: number): number | undefined {
    const request = this.#read(start, end)
    switch (request.op) {
      case 'subscribe':
        return this.#subscribe(request)
      case 'subscribePattern':
        return ordinal > 0 ? undefined : this.#subscribePattern(request)
      case 'interest':
        return this.#interest(request)
      case 'dropPattern':
        return this.#dropPattern(request)
      case 'dropFilter':
        return this.#dropFilter(request)
      case 'setRoute':
        return this.#setRoute(request)
      case 'dropRoute':
        return this.#dropRoute(request)
      case 'forwarded':
        this.#shard.router.onForwarded(request.chunk)
        return 0
      case 'create':
        return this.#create(request, ordinal)
      case 'delete':
        return ordinal > 0 ? undefined : this.#delete(request, ordinal)
      case 'info':
        return this.#info(request)
      case 'delayed':
        return this.#delayed(request)
      case 'cancel':
        return this.#cancel(request, ordinal)
      case 'history':
        return this.#history(request)
      case 'list':
        return this.#list(request)
      case 'join':
        return this.#shard.grouping.join(request)
      case 'leave':
        return this.#shard.grouping.leave(request)
      case 'pauseMember':
        return this.#shard.grouping.pauseMember(request)
      case 'group':
        return this.#shard.grouping.admin(request)
      case 'deadLetters':
        return this.#shard.deadLetters.admin(request.token, request.topic, request.action)
    }
  }

  /** Tells the requester that its request was set aside. */
  setAside(start: number, end: number, message: string): void {
    const request = this.#read(start, end)
    if ('token' in request) this.#shard.notices.refuse(request.token, Reply.internal, message)
  }

  #read(start: number, end: number): ControlRequest {
    // A private copy: msgpackr reads shared memory 12–20 times slower.
    return this.#unpackr.unpack(Buffer.from(this.#shard.views.bytes.slice(start, end)))
  }

  #subscribe(request: RequestOf<'subscribe'>): number | undefined {
    const { token, topic: name, format, start, filter } = request
    const shard = this.#shard
    const topic = shard.catalog.findOrCreate(name)
    if (!(topic instanceof Topic)) {
      shard.notices.refuse(token, topic.reply, topic.message)
      return 0
    }
    // What was stored before this moment must be out before it: a new subscriber is not to see it.
    if (!shard.flushing.flushTopic(topic)) return undefined
    if (filter !== undefined) {
      const refusal = this.#attachFiltered(topic, format, filter)
      if (refusal !== undefined) {
        shard.notices.refuse(token, Reply.limitExceeded, refusal)
        return 0
      }
    } else {
      topic.plainFormats |= 1 << format
      shard.catalog.directory.setPlainFormats(topic.slot, topic.plainFormats)
      if (!topic.isAttached(format)) shard.interest.attach(topic, format)
    }
    const { startSeq, recovered } = resolveStart(start, topic, shard)
    const { epoch, id: topicId } = topic
    const { lastSeq } = topic.log
    shard.notices.send({ op: 'subscribed', token, topicId, epoch, startSeq, lastSeq, recovered })
    shard.endBatch()
    return 0
  }

  /** Why a plain subscription cannot have the filter, or undefined: it has it from here on. */
  #attachFiltered(topic: Topic, format: Format, ref: FilterRef): string | undefined {
    const { filters, filterInterest } = this.#shard
    const filter = filters.add(ref)
    if (filter === undefined) return NO_FILTER_SLOT
    const isNew = topic.view(filter.id, format) === undefined
    const formats = FORMATS.filter((other) => topic.view(filter.id, other)?.isPlain === true)
    const bits = formats.reduce((sum, other) => sum | (1 << other), 1 << format)
    if (!filterInterest.set(topic.id, filter.id, bits)) {
      return 'too many topics are read through filters'
    }
    const view = this.#shard.interest.view(topic, filter.id, format) as FilteredView
    view.isPlain = true
    if (isNew) this.#shard.interest.attachView(topic, view)
    return undefined
  }

  /** Tells of every topic that matches; may take several batches, in which nothing else is done. */
  #subscribePattern(request: RequestOf<'subscribePattern'>): number | undefined {
    const shard = this.#shard
    const { token, patternId, pattern: text, format, start, filter } = request
    let scan = this.#scan
    if (scan === undefined || scan.token !== token) {
      if (filter !== undefined && shard.filters.add(filter) === undefined) {
        shard.notices.refuse(token, Reply.limitExceeded, NO_FILTER_SLOT)
        return 0
      }
      const pattern = shard.patterns.add(patternId, text, format, filter?.id ?? 0)
      if (pattern === undefined) {
        shard.notices.refuse(token, Reply.limitExceeded, 'MAX_PATTERNS patterns are in use')
        return 0
      }
      const matching = [...shard.topics.values()].filter((topic) => {
        const isKnown = topic.patterns.includes(pattern)
        if (!isKnown && shard.patterns.match(topic.name).includes(pattern)) {
          topic.patterns.push(pattern)
        }
        return topic.patterns.includes(pattern)
      })
      scan = { token, topics: matching, done: 0 }
      this.#scan = scan
    }
    for (; scan.done < scan.topics.length; scan.done++) {
      const topic = scan.topics[scan.done] as Topic
      if (!shard.flushing.flushTopic(topic)) return undefined
      // Told even if attached: the gateway may have let go of a feed that nobody else wants now.
      const view = shard.interest.view(topic, filter?.id ?? 0, format)
      if (view === undefined) shard.interest.attach(topic, format, [patternId])
      else shard.interest.attachView(topic, view, [patternId])
      const { startSeq, recovered } = resolveStart(start, topic, shard)
      const { id: topicId, log } = topic
      shard.notices.send({
        op: 'match',
        token,
        patternId,
        topicId,
        startSeq,
        lastSeq: log.lastSeq,
        recovered,
      })
    }
    if (!shard.hasRoom) return undefined
    this.#scan = undefined
    shard.notices.send({ op: 'patternSubscribed', token })
    shard.endBatch()
    return 0
  }

  #interest({ topicId, formats, filterId = 0 }: RequestOf<'interest'>): number {
    const topic = this.#shard.topics.get(topicId)
    if (topic === undefined) return 0
    if (filterId === 0) {
      topic.plainFormats = formats
      this.#shard.catalog.directory.setPlainFormats(topic.slot, formats)
    } else {
      for (const view of topic.views) {
        if (view.filter.id === filterId) view.isPlain = (formats & (1 << view.format)) !== 0
      }
      // Less than there was, for which there was a slot; and none for a filter that is gone.
      const known = this.#shard.filters.get(filterId) === undefined ? 0 : formats
      this.#shard.filterInterest.set(topicId, filterId, known)
    }
    this.#shard.interest.detachUnwanted(topic)
    return 0
  }

  /** Patterns that used it have been dropped before. */
  #dropFilter({ filterId }: RequestOf<'dropFilter'>): number {
    for (const topic of this.#shard.topics.values()) {
      if (!topic.views.some(({ filter }) => filter.id === filterId)) continue
      for (const view of topic.views) if (view.filter.id === filterId) view.isPlain = false
      this.#shard.filterInterest.set(topic.id, filterId, 0)
      this.#shard.interest.detachUnwanted(topic)
    }
    this.#shard.filters.remove(filterId)
    return 0
  }

  #dropPattern({ patternId }: RequestOf<'dropPattern'>): number {
    const pattern = this.#shard.patterns.get(patternId)
    if (pattern === undefined) return 0
    this.#shard.patterns.remove(patternId)
    for (const topic of this.#shard.topics.values()) {
      const index = topic.patterns.indexOf(pattern)
      if (index < 0) continue
      topic.patterns.splice(index, 1)
      this.#shard.interest.detachUnwanted(topic)
    }
    return 0
  }

  /** There is a slot for every rule and every filter that the gateway admits. */
  #setRoute({ route }: RequestOf<'setRoute'>): number {
    const { router, topics, filters } = this.#shard
    if (route.filter !== undefined) filters.add(route.filter)
    router.set(route, topics.values())
    return 0
  }

  #dropRoute({ name }: RequestOf<'dropRoute'>): number {
    const { router, topics } = this.#shard
    router.remove(name, topics.values())
    return 0
  }

  #create({ token, topic: name, options }: RequestOf<'create'>, ordinal: number): number {
    const shard = this.#shard
    const existing = shard.topics.named(name)
    const isNew = (shard.resultOf(ordinal) ?? (existing === undefined ? 1 : 0)) === 1
    shard.noteResult(ordinal, isNew ? 1 : 0)
    const topic = existing ?? shard.catalog.create(name)
    if (!(topic instanceof Topic)) {
      shard.notices.refuse(token, topic.reply, topic.message)
      return 0
    }
    if (options !== undefined) shard.catalog.setOptions(topic, options)
    shard.notices.reply(token, isNew ? 201 : 200, {
      status: isNew ? 'created' : 'exists',
      topic: name,
    })
    return isNew ? 1 : 0
  }

  #delete({ token, topic: name }: RequestOf<'delete'>, ordinal: number): number | undefined {
    const shard = this.#shard
    const topic = this.#shard.topics.named(name)
    let topicId = shard.resultOf(ordinal)
    if (topicId === undefined) {
      // Subscribers get what was stored before they hear that there will be no more.
      if (topic !== undefined && !shard.flushing.flushTopic(topic)) return undefined
      topicId = topic?.id ?? 0
      shard.noteResult(ordinal, topicId)
    }
    if (topic?.id === topicId) shard.catalog.delete(topic)
    if (topicId === 0) {
      this.#refuseUnknown(token, name)
      return 0
    }
    shard.notices.send({ op: 'topicDeleted', topicId, topic: name })
    shard.notices.reply(token, 200, { status: 'deleted', topic: name })
    return topicId
  }

  #info({ token, topic: name }: RequestOf<'info'>): number {
    const topic = this.#shard.topics.named(name)
    if (topic === undefined) {
      this.#refuseUnknown(token, name)
      return 0
    }
    const { log, epoch, id, settings } = topic
    this.#shard.notices.reply(token, 200, {
      name,
      epoch,
      first_seq: log.firstSeq,
      last_seq: log.lastSeq,
      messages: log.count,
      bytes: log.bytes,
      memory_bytes: log.blockBytes,
      worker: this.#shard.number,
      options: settings,
      topic_id: id,
    })
    return 0
  }

  #delayed({ token, topic: name, limit }: RequestOf<'delayed'>): number | undefined {
    const shard = this.#shard
    const topic = shard.topics.named(name)
    if (topic === undefined) {
      this.#refuseUnknown(token, name)
      return 0
    }
    const text = Buffer.alloc(UUID_TEXT_BYTES)
    const waiting = shard.delayed.list(topic, limit).map(({ id, dueMs }) => {
      writeUuidText(text, 0, id, 0)
      return { id: text.toString(), deliver_at: isoTime(dueMs) }
    })
    const count = shard.delayed.slotsOf(topic).length
    const body = JSON.stringify({ topic: name, count, delayed: waiting })
    return shard.notices.tryReply(token, 200, body) ? 0 : undefined
  }

  /** The result, how many there were, is noted first: a successor that finds it sees to the effect. */
  #cancel({ token, topic: name, id }: RequestOf<'cancel'>, ordinal: number): number {
    const shard = this.#shard
    const topic = shard.topics.named(name)
    if (topic === undefined) {
      this.#refuseUnknown(token, name)
      return 0
    }
    const slots = shard.delayed.slotsOf(topic, id)
    const count = shard.resultOf(ordinal) ?? slots.length
    shard.noteResult(ordinal, count)
    shard.delayed.cancel(slots)
    shard.notices.reply(token, 200, { status: 'cancelled', topic: name, count })
    return count
  }

  #history(request: RequestOf<'history'>): number | undefined {
    const { token, topic: name, lastN, fromSeq, limit } = request
    const shard = this.#shard
    const topic = this.#shard.topics.named(name)
    if (topic === undefined) {
      this.#refuseUnknown(token, name)
      return 0
    }
    const { log } = topic
    log.evictExpired(shard.nowMs)
    const wanted = fromSeq ?? shard.expiry.startOfLast(topic, lastN ?? limit)
    const entry = new EntryView()
    const messages: string[] = []
    const maxBytes = Math.min(HISTORY_BYTES_MAX, shard.out.maxLength / 2)
    let seq = Math.max(wanted, log.firstSeq)
    let bytes = 0
    for (; seq <= log.lastSeq && messages.length < limit && bytes < maxBytes; seq++) {
      if (topic.mayExpire && shard.expiry.isExpired(topic, seq)) continue
      entry.read(shard.views.buffer, log.offsetOf(seq))
      const text = historyText(shard.views.buffer, entry, shard.out.maxLength / 2)
      bytes += Buffer.byteLength(text) + 1
      if (bytes > maxBytes && messages.length > 0) break
      messages.push(text)
    }
    const head = `{"topic":${topic.jsonName},"epoch":"${topic.epoch}"`
    const body = `${head},"messages":[${messages.join(',')}],"next_seq":${seq}}`
    return shard.notices.tryReply(token, 200, body) ? 0 : undefined
  }

  #list({ token, after }: RequestOf<'list'>): number | undefined {
    const topics: TopicSummary[] = []
    let next: number | null = null
    for (const { id, name, log } of this.#shard.topics.values()) {
      if (id <= after) continue
      if (topics.length === PAGE_TOPICS_MAX) {
        next = (topics[topics.length - 1] as TopicSummary).topicId
        break
      }
      topics.push({ name, topicId: id, messages: log.lastSeq, held: log.count })
    }
    return this.#shard.notices.trySend({ op: 'page', token, topics, next }) ? 0 : undefined
  }

  #refuseUnknown(token: number, name: string): void {
    const message = `topic ${JSON.stringify(name)} does not exist`
    this.#shard.notices.refuse(token, Reply.topicNotFound, message)
  }
}

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
