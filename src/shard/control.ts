/**
 * The rare requests: all go through here; those about topics and what the HTTP door asks are answered.
 * Runs on: the shard. Owns: nothing; subscribing.ts, grouping.ts and dead-letters.ts answer the others.
 *
 * Every handler returns the result that the journal keeps, or undefined for «not now»: either there
 * is no outbound room, or the request must be the first of its batch and is not.
 */
import { Unpackr } from 'msgpackr'
import { Reply } from '../errors.js'
import { isoTime } from '../protocol/server-frames.js'
import { UUID_TEXT_BYTES, writeUuidText } from '../protocol/uuid.js'
import type { ControlRequest, TopicSummary } from '../ring/record.js'
import { EntryView, historyText } from './json-text.js'
import type { Shard } from './shard.js'
import { Subscribing } from './subscribing.js'
import { Topic } from './topics.js'

/** Topics in one page of the list: with the longest names a page still fits half of the smallest ring. */
const PAGE_TOPICS_MAX = 100
/** Bytes of one answer of the history API; the rest is fetched from `next_seq` on. */
const HISTORY_BYTES_MAX = 512 * 1024

export type RequestOf<Op extends ControlRequest['op']> = Extract<ControlRequest, { op: Op }>

export class Control {
  readonly #shard: Shard
  readonly #subscribing: Subscribing
  readonly #unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true })

  constructor(shard: Shard) {
    this.#shard = shard
    this.#subscribing = new Subscribing(shard)
  }

  process(start: number, end: number, ordinal: number): number | undefined {
    const request = this.#read(start, end)
    switch (request.op) {
      case 'subscribe':
        return this.#subscribing.subscribe(request)
      case 'subscribePattern':
        return ordinal > 0 ? undefined : this.#subscribing.subscribePattern(request)
      case 'interest':
        return this.#subscribing.interest(request)
      case 'dropPattern':
        return this.#subscribing.dropPattern(request)
      case 'dropFilter':
        return this.#subscribing.dropFilter(request)
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
        return this.#shard.grouping.admin(request, ordinal)
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
    shard.endBatch() // A successor that cancels again must not find what came under this id later.
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
