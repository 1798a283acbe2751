/**
 * A shard: inbound records become changes of logs and outbound records.
 * Runs on: a worker thread, or a test; it does no I/O and is given its clock and memory.
 * Owns: everything in its part of shared memory except the gateway's ends of the two rings.
 *
 * Work comes in batches, and a batch is a transaction (journal.ts): acks and replies of a batch, and
 * the release of its inbound records, become visible together. EVENTS travel with them but are not
 * part of the promise: they say what the log holds, and a gateway that misses one pulls instead.
 * So a full outbound ring never blocks a publish that can still be acked, and events that could not
 * be sent wait in the log, not in a queue.
 */
import assert from 'node:assert'
import type { Logger } from 'pino'
import { Reply, type ReplyCode } from '../errors.js'
import { BlockAllocator } from '../log/block-allocator.js'
import { TopicDirectory } from '../log/directory.js'
import {
  DATA_BYTES_MIN,
  INDEX_SLOTS_MIN,
  type LogMemory,
  type Retention,
  TopicLog,
} from '../log/topic-log.js'
import { RandomIds } from '../protocol/random-ids.js'
import { type SharedViews, viewsOf } from '../ring/layout.js'
import {
  EVENTS_AT_END,
  EVENTS_TOPIC_GONE,
  FORMATS,
  type Format,
  Inbound,
  Pull,
  TOPIC_OPTIONS,
  type TopicOptions,
  type TopicRule,
} from '../ring/record.js'
import { RingConsumer, RingProducer, setHead, setTail } from '../ring/spsc-ring.js'
import { hashTopic } from '../routing/topic-hash.js'
import {
  countersOffset,
  type ShardLayout,
  type ShardMemory,
  setTopicCount,
  topicCount,
} from '../shared-memory.js'
import { Counters, SHARD_COUNTERS, type ShardCounter } from '../telemetry/counters.js'
import { ACKS_ROOM, AckWriter } from './acks.js'
import { Appender } from './appender.js'
import { Control } from './control.js'
import { DeadLetters } from './dead-letters.js'
import { Deduplication } from './deduplication.js'
import { Delayed } from './delayed.js'
import { EVENTS_BYTES_MAX, type EventsHeader, EventWriter, LIVE, NO_ROOM } from './events.js'
import { Expiry } from './expiry.js'
import { FilterInterest } from './filter-interest.js'
import { type Filter, FilterTable } from './filters.js'
import { Grouping } from './grouping.js'
import { Journal } from './journal.js'
import { Moves } from './moves.js'
import { Notices } from './notices.js'
import { PatternTable } from './patterns.js'
import { Publishing } from './publishing.js'
import { Router } from './router.js'
import { SELECTION_ENTRIES_MAX, Selection } from './selection.js'
import { retentionOf, SettingsTable, type TopicSettings } from './topic-settings.js'
import { type FilteredView, Topic, TopicTable } from './topics.js'

export interface ShardOptions {
  readonly retention: Retention
  readonly maxTopics: number
  readonly autoCreateTopics: boolean
  /** Options of topics by pattern, most specific first. */
  readonly topicRules?: readonly TopicRule[]
  /** Message ids remembered for topics with a deduplication window. */
  readonly dedupIdsMax?: number
}

/** What a shard stands on beside its memory. */
export interface ShardContext {
  /** ms since 1970. */
  readonly now: () => number
  /** 16 ASCII characters that no other topic of this name ever had. */
  readonly newEpoch: () => string
  readonly logger: Logger
}

/** What became of a record: DONE, or NOT_NOW: it wants more outbound room and comes again. */
const DONE = true
const NOT_NOW = false

/** Free outbound room without which no record is begun: its acks and notices always fit. */
const OUTPUT_ROOM = 2 * ACKS_ROOM + 16 * 1024
/** Deaths of a record that changes nothing any more before it is set aside; others have CRASHES_MAX. */
const HARMLESS_CRASHES_MAX = 4
/** Bytes appended in one batch at most, so that the first of them does not wait for the last. */
const BATCH_BYTES_MAX = 1024 * 1024
/**
 * Work of filters in one batch at most (FilterTable.work), about 200 ms: what is left is done before
 * new records are begun, and between the two the supervisor sees that the thread moves.
 */
const BATCH_FILTER_WORK_MAX = 4_000_000
/** Unless the options say otherwise. */
const DEDUP_IDS_MAX = 65_536

export class Shard {
  readonly topics = new TopicTable()
  readonly patterns: PatternTable
  readonly filters: FilterTable
  readonly filterInterest: FilterInterest
  readonly router: Router
  readonly directory: TopicDirectory
  readonly notices: Notices
  readonly events: EventWriter
  readonly out: RingProducer
  readonly views: SharedViews
  readonly counters: Counters<ShardCounter>
  readonly options: ShardOptions
  readonly context: ShardContext
  readonly number: number
  readonly layout: ShardLayout
  readonly journal: Journal
  readonly grouping: Grouping
  readonly deadLetters: DeadLetters
  readonly moves: Moves
  readonly expiry: Expiry
  readonly deduplication: Deduplication
  readonly delayed: Delayed
  nowMs = 0

  readonly #in: RingConsumer
  readonly #common: Int32Array
  readonly #acks: AckWriter
  readonly #publishing: Publishing
  readonly #control: Control
  readonly #memory: LogMemory
  readonly #settings: SettingsTable
  /** Topics with entries that attached formats have yet to be sent. */
  #dirty: Topic[] = []
  /** Records at the front of the inbound ring that a predecessor has applied already. */
  #replayed: number
  /** Topics that the gateway has yet to hear of again after a predecessor died. */
  readonly #announcements: Topic[] = []
  #isBlocked = false
  readonly #selection = new Selection()
  /** FilterTable.work at which this batch has had its share. */
  #filterWorkMax = 0
  /** True when it had: filters have yet to look at entries, and nothing new is begun before. */
  #isBehind = false
  /** True when nothing more may join this batch. */
  #mustEnd = false
  /** How far the gateway had read when the last batch began. */
  #consumedBefore = 0
  /** Messages and bytes stored in this batch. */
  #stored = 0
  #storedBytes = 0

  constructor(memory: ShardMemory, options: ShardOptions, context: ShardContext) {
    const { layout, shard } = memory
    const views = viewsOf(memory.memory)
    this.number = shard
    this.layout = layout
    this.views = views
    this.options = options
    this.context = context
    this.#settings = new SettingsTable(options.topicRules ?? [], options.retention)
    this.#common = new Int32Array(memory.common)
    this.counters = new Counters(memory.common, countersOffset(shard + 1), SHARD_COUNTERS)
    this.journal = new Journal(views)
    this.moves = new Moves(this, this.journal)
    this.journal.countCrash()
    const batch = this.journal.pendingBatch()
    if (batch !== undefined) {
      setTail(views, layout.outbound, batch.outboundTail)
      setHead(views, layout.inbound, batch.inboundHead)
      this.journal.batchDone()
    }
    this.#replayed = this.journal.appliedCount
    this.#in = new RingConsumer(views, layout.inbound, layout.ringCapacity)
    this.out = new RingProducer(views, layout.outbound, layout.ringCapacity)
    this.#acks = new AckWriter(views, this.out)
    this.notices = new Notices(views, this.out)
    this.nowMs = context.now()
    this.expiry = new Expiry(this, this.nowMs)
    this.deduplication = new Deduplication(this, options.dedupIdsMax ?? DEDUP_IDS_MAX)
    this.events = new EventWriter(views, this.out, (topic, seq) =>
      this.expiry.isExpired(topic, seq),
    )
    const noteFeatures = (topic: Topic, features: number) => this.noteFeatures(topic, features)
    const appender = new Appender(views, this.journal, new RandomIds(), noteFeatures)
    this.#publishing = new Publishing(this, this.#acks, appender, this.journal)
    this.#memory = {
      ...views,
      blocks: new BlockAllocator(layout.blocks, layout.blockBytes),
      growthReserve: () => this.#growthReserve(),
    }
    this.directory = new TopicDirectory(this.#memory, layout.directory, layout.directorySlots)
    this.patterns = new PatternTable(views, layout)
    this.filters = new FilterTable(views, layout)
    this.filterInterest = new FilterInterest(views, layout)
    this.router = new Router(this, layout)
    const { delayed, delayedSlots } = layout
    this.delayed = new Delayed(this, this.#memory, appender, delayed, delayedSlots)
    this.#control = new Control(this)
    this.deadLetters = new DeadLetters(this)
    this.grouping = new Grouping(this, this.#acks, this.#memory)
    this.#takeOver()
  }

  /** Room for whatever the next acks and notices will be. */
  get hasRoom(): boolean {
    return this.out.room() >= OUTPUT_ROOM
  }

  /** Room for an answer of so many bytes beside that; twice, since the end of the ring may be skipped. */
  hasRoomFor(bytes: number): boolean {
    return bytes === 0 || this.out.room() >= OUTPUT_ROOM + 2 * bytes
  }

  /** Records that wait in the inbound ring, or work that is left over from before. */
  get hasWork(): boolean {
    const isLeft = this.#dirty.length > 0 || this.#announcements.length > 0 || this.router.hasWork
    const isWaiting = isLeft || this.grouping.hasWork || !this.#in.isEmpty()
    return isWaiting || this.#isDue(this.nextDueMs)
  }

  /** When a timer has something to do next; Infinity when none runs. */
  get nextDueMs(): number {
    return Math.min(this.expiry.nextDueMs, this.delayed.nextDueMs, this.grouping.nextDueMs)
  }

  /** How long that is from now. */
  get dueInMs(): number {
    return Math.max(0, this.nextDueMs - this.context.now())
  }

  #isDue(dueMs: number): boolean {
    return dueMs !== Number.POSITIVE_INFINITY && dueMs <= this.context.now()
  }

  /** False when filters have had their share of this batch. */
  get mayFilter(): boolean {
    return this.filters.work < this.#filterWorkMax
  }

  /** True when the last batch ended for want of outbound room. */
  get isBlocked(): boolean {
    return this.#isBlocked
  }

  /** True when the gateway has made outbound room since the last batch began to want it. */
  get hasMoreRoom(): boolean {
    return this.out.consumed() !== this.#consumedBefore
  }

  /** Processes what is there, up to the bounds of a batch. Returns false when nothing was done. */
  runBatch(): boolean {
    this.nowMs = this.context.now()
    this.#isBlocked = false
    this.#mustEnd = false
    this.#consumedBefore = this.out.consumed()
    const tailBefore = this.out.tail
    this.#filterWorkMax = this.filters.work + BATCH_FILTER_WORK_MAX
    if (!this.#announce()) return this.#publishBatch(0, tailBefore)
    if (this.#isBehind) {
      this.#isBehind = false
      if (!this.flushEvents()) return this.#publishBatch(0, tailBefore)
    }
    // Not before what a predecessor applied is answered: its answers come from the log as it was.
    if (this.#replayed === 0 && this.nextDueMs <= this.nowMs && !this.#runTimers()) {
      this.#isBlocked = !this.#isBehind
      return this.#publishBatch(0, tailBefore)
    }
    const recordsMax = this.journal.recordsMax
    let ordinal = 0
    while (ordinal < recordsMax) {
      if (!this.hasRoom) {
        this.#isBlocked = true
        break
      }
      if (!this.#in.next()) break
      const position = this.#in.recordPosition
      this.journal.begin(position)
      const isDone = this.journal.isPoison(position)
        ? this.#setAside(ordinal)
        : this.#process(ordinal)
      this.journal.end()
      if (isDone === NOT_NOW) {
        this.#in.putBack()
        // Otherwise it only wanted to be first of its batch, or waits for filters and not for room.
        this.#isBlocked = ordinal === 0 && !this.#isBehind
        break
      }
      ordinal++
      if (this.#storedBytes >= BATCH_BYTES_MAX || this.#mustEnd) break
    }
    this.#acks.flush()
    if (this.flushEvents() || this.#isBehind) {
      // While records are answered again there is nothing that deliveries could be committed with.
      const mayDeliver = this.#replayed <= ordinal
      const isDone = this.router.flush() && (!mayDeliver || this.grouping.dispatch())
      if (!isDone) this.#isBlocked = true
    }
    return this.#publishBatch(ordinal, tailBefore)
  }

  /** Drops what is too old, in every topic. Called now and then, not per message. */
  evictExpired(): void {
    this.nowMs = this.context.now()
    for (const topic of this.topics.values()) topic.log.evictExpired(this.nowMs)
    this.grouping.expireIdle()
  }

  /** The topic of that name, made if it may be; otherwise a refusal. */
  findOrCreate(name: string): Topic | { reply: ReplyCode; message: string } {
    const bytes = Buffer.from(name)
    const hash = hashTopic(bytes, 0, bytes.length)
    const found = this.topics.find(hash, bytes, 0, bytes.length)
    if (found !== undefined) return found
    if (!this.options.autoCreateTopics) {
      const message = `topic ${JSON.stringify(name)} does not exist`
      return { reply: Reply.topicNotFound, message }
    }
    return this.create(name, bytes, hash)
  }

  /** Makes a topic that the broker needs itself, whether clients may make any or not. */
  createNamed(name: string): Topic | { reply: ReplyCode; message: string } {
    const bytes = Buffer.from(name)
    return this.create(name, bytes, hashTopic(bytes, 0, bytes.length))
  }

  create(name: string, bytes: Buffer, hash: number): Topic | { reply: ReplyCode; message: string } {
    const { maxTopics } = this.options
    if (topicCount(this.#common) >= maxTopics) {
      return { reply: Reply.limitExceeded, message: `there are MAX_TOPICS=${maxTopics} topics` }
    }
    const id = this.journal.takeTopicId()
    const epoch = this.context.newEpoch()
    const slot = this.directory.tryTake(id, bytes, epoch)
    if (slot < 0 || !TopicLog.tryCreate(this.#memory, slot)) {
      if (slot >= 0) this.directory.release(slot)
      return { reply: Reply.limitExceeded, message: 'LOG_MEMORY_BYTES is used up' }
    }
    this.directory.activate(slot)
    const settings = this.#settingsOf(slot, name)
    const log = new TopicLog(this.#memory, slot, retentionOf(settings))
    const topic = new Topic(slot, id, bytes, hash, epoch, log, settings)
    this.#addTopic(topic)
    this.counters.add('topicsCreated')
    this.context.logger.debug({ topic: name }, 'topic created')
    for (const format of FORMATS) {
      if ((topic.wantedFormats() & (1 << format)) !== 0) this.attach(topic, format)
    }
    // Announced with the first EVENTS: there may be more of them than there is room for now.
    for (const { filterId, format } of topic.patterns) this.view(topic, filterId, format)
    return topic
  }

  /** Keeps what a request says of the topic, for successors too, and applies it. */
  setOptions(topic: Topic, options: TopicOptions): void {
    for (const [index, name] of TOPIC_OPTIONS.entries()) {
      const value = options[name]
      if (value !== undefined) this.directory.setOption(topic.slot, index, value)
    }
    const { ttlMs, dedupWindowMs } = topic
    topic.settings = this.#settingsOf(topic.slot, topic.name)
    if (topic.ttlMs !== ttlMs) this.expiry.rebuild(topic)
    if (topic.dedupWindowMs > dedupWindowMs) this.deduplication.rebuild(topic)
  }

  find(name: string): Topic | undefined {
    const bytes = Buffer.from(name)
    return this.topics.find(hashTopic(bytes, 0, bytes.length), bytes, 0, bytes.length)
  }

  /** A topic of the broker's own that is not there yet. */
  createUnasked(name: string): Topic | { reply: ReplyCode; message: string } {
    const bytes = Buffer.from(name)
    return this.create(name, bytes, hashTopic(bytes, 0, bytes.length))
  }

  #settingsOf(slot: number, name: string): TopicSettings {
    return this.#settings.of(name, (index) => this.directory.option(slot, index))
  }

  delete(topic: Topic): void {
    this.grouping.onTopicDeleted(topic)
    this.topics.delete(topic)
    this.expiry.removed(topic)
    this.delayed.cancel(this.delayed.slotsOf(topic))
    this.directory.release(topic.slot)
    topic.log.free()
    topic.attached = 0
    for (const { filter } of topic.views) this.filterInterest.set(topic.id, filter.id, 0)
    topic.views = []
    this.router.forget(topic)
    setTopicCount(this.#common, this.number, this.topics.size)
    this.counters.add('topicsDeleted')
  }

  /**
   * From here on EVENTS of the topic are made in this format. Entries before it are not: whoever
   * attaches a format again has flushed it. The gateway links the feed to these patterns.
   */
  attach(topic: Topic, format: Format, patternIds = patternIdsOf(topic, format)): void {
    topic.attached |= 1 << format
    topic.emitted[format] = topic.log.lastSeq
    const { id: topicId, name, epoch, log } = topic
    const { lastSeq } = log
    this.notices.send({ op: 'attach', topicId, topic: name, epoch, format, lastSeq, patternIds })
  }

  /** The view of a topic through a filter, made if it is not there; undefined for no such filter. */
  view(topic: Topic, filterId: number, format: Format): FilteredView | undefined {
    const filter = this.filters.get(filterId)
    const known = topic.view(filterId, format)
    if (filter === undefined || known !== undefined) return known
    const { lastSeq } = topic.log
    const isNew = { isPlain: false, isAnnounced: false }
    const view = { filter, format, ...isNew, emitted: lastSeq, told: lastSeq }
    topic.views.push(view)
    return view
  }

  /** As attach(), for a view; the topic has been flushed, or nothing was made of the view yet. */
  attachView(
    topic: Topic,
    view: FilteredView,
    patternIds = patternIdsOf(topic, view.format, view.filter.id),
  ): void {
    view.isAnnounced = true
    const { id: topicId, name, epoch } = topic
    const { format, told: lastSeq } = view
    const about = { topicId, topic: name, epoch, format, filterId: view.filter.id }
    this.notices.send({ op: 'attach', ...about, lastSeq, patternIds })
  }

  /** Makes what EVENTS are made of what is wanted now, after interest in a topic has changed. */
  detachUnwanted(topic: Topic): void {
    topic.attached &= topic.wantedFormats()
    topic.views = topic.views.filter(
      ({ filter, format, isPlain }) => isPlain || patternIdsOf(topic, format, filter.id).length > 0,
    )
  }

  /** Sends the EVENTS of every topic that has any. False when room ran out. */
  flushEvents(): boolean {
    const dirty = this.#dirty
    let done = 0
    while (done < dirty.length && this.#flushTopic(dirty[done] as Topic)) {
      ;(dirty[done] as Topic).isDirty = false
      done++
    }
    if (done === dirty.length) {
      dirty.length = 0
      return true
    }
    this.#dirty = dirty.slice(done)
    this.#isBlocked = !this.#isBehind
    return false
  }

  /** Sends the EVENTS of one topic up to its newest entry. False when room ran out. */
  flushTopicNow(topic: Topic): boolean {
    this.#acks.flush()
    return this.#flushTopic(topic) && this.hasRoom
  }

  /**
   * Sees to it that storing this much drops no entry whose EVENTS have not gone out yet: they go out
   * first. False when room for them ran out. Publishers wait for the gateway, never for a subscriber.
   */
  makeWay(topic: Topic, count: number, bytes: number): boolean {
    if (!topic.isDirty || topic.log.keeps(topic.pendingFrom, count, bytes)) return true
    return this.flushTopicNow(topic)
  }

  /**
   * Ends the batch with this record. A subscribe asks for it: run again by a successor, it must find
   * the log as it was, not as later records left it.
   */
  endBatch(): void {
    this.#mustEnd = true
  }

  /** Whether this record's effect stands already, because a predecessor had it; and its result. */
  resultOf(ordinal: number): number | undefined {
    return ordinal < this.#replayed ? this.journal.resultOf(ordinal) : undefined
  }

  /** Notes the result of a record before its effect: a successor that finds it sees to the effect. */
  noteResult(ordinal: number, result: number): void {
    if (ordinal >= this.#replayed) this.journal.applied(ordinal, result)
  }

  /** These entries have just been appended; told once, by who appended them. */
  appended(topic: Topic, firstSeq: number, count: number): void {
    const lastSeq = firstSeq + count - 1
    if (topic.mayExpire) this.expiry.added(topic, firstSeq, lastSeq)
    if (topic.dedupWindowMs > 0) this.deduplication.added(topic, firstSeq, lastSeq)
  }

  /** Messages of this batch stand in the topic's log: they are counted, and go out as EVENTS. */
  stored(topic: Topic, count: number, bytes: number): void {
    this.#stored += count
    this.#storedBytes += bytes
    if (topic.hasGroups) this.grouping.onStored(topic)
    if (topic.rules.length > 0) this.router.noteStored(topic)
    if (topic.isDirty || !topic.isRead) return
    topic.isDirty = true
    this.#dirty.push(topic)
  }

  /** Entries of the topic may have this from here on, FEATURE_* bits. */
  noteFeatures(topic: Topic, features: number): void {
    if ((topic.features & features) === features) return
    topic.features |= features
    this.directory.setFeatures(topic.slot, topic.features)
  }

  #process(ordinal: number): boolean {
    const { kind, start, end } = this.#in
    if (kind === Inbound.publish) return this.#publishing.process(ordinal, start)
    if (kind === Inbound.pull) return this.#finish(ordinal, this.#pull(start))
    if (kind === Inbound.settle) {
      const settled = this.grouping.settle(start, this.resultOf(ordinal))
      return this.#finish(ordinal, DONE, settled)
    }
    assert(kind === Inbound.control, `kind=${kind}`)
    this.#acks.flush() // An answer may take all the room there is.
    const result = this.#control.process(start, end, ordinal)
    return result === undefined ? NOT_NOW : this.#finish(ordinal, DONE, result)
  }

  #finish(ordinal: number, isDone: boolean, result = 0): boolean {
    if (isDone === DONE) this.noteResult(ordinal, result)
    return isDone
  }

  /** Answers one PULL with the next run of entries, and says what is lost before it. */
  #pull(start: number): boolean {
    const { ints, floats } = this.views
    const field = start >> 2
    const topicId = ints[field + Pull.topicId] as number
    const format = ints[field + Pull.format] as Format
    const lag = ints[field + Pull.lag] as number
    const topic = this.topics.get(topicId)
    const filterId = ints[field + Pull.filter] as number
    const filter = this.filters.get(filterId)
    // Who pulls through a filter that nobody has any more has left, and will not look at the answer.
    if (topic === undefined || (filterId !== 0 && filter === undefined)) {
      return this.events.writeGone(topicId, format, lag, EVENTS_TOPIC_GONE)
    }
    // What is LIVE and what is pulled must meet: EVENTS go out before a chunk that reaches the end.
    if (!this.flushTopicNow(topic)) return NOT_NOW
    const { log } = topic
    log.evictExpired(this.nowMs)
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
    const maxBytes = ints[field + Pull.maxBytes] as number
    if (filter !== undefined)
      return this.#pullFiltered(topic, format, filter, first, maxBytes, header)
    const last = this.events.write(
      topic,
      format,
      first,
      log.lastSeq,
      maxBytes,
      header,
      EVENTS_AT_END,
    )
    if (last === NO_ROOM) return NOT_NOW
    this.counters.add('messagesReplayed', Math.max(0, last - first + 1))
    return DONE
  }

  #pullFiltered(
    topic: Topic,
    format: Format,
    filter: Filter,
    first: number,
    maxBytes: number,
    header: EventsHeader,
  ): boolean {
    const selection = this.#selection
    this.events.select(selection, topic, filter, first, topic.log.lastSeq, maxBytes)
    const { events } = this
    const last = events.writeSelected(
      topic,
      format,
      filter.id,
      first,
      selection,
      header,
      EVENTS_AT_END,
    )
    if (last === NO_ROOM) return NOT_NOW
    this.counters.add('messagesReplayed', selection.count)
    if (this.filters.work > this.#filterWorkMax) this.endBatch()
    return DONE
  }

  #flushTopic(topic: Topic): boolean {
    const { log } = topic
    for (const format of FORMATS) {
      if (!topic.isAttached(format)) continue
      // Entries that are gone already are a gap for the gateway to see.
      let next = Math.max((topic.emitted[format] as number) + 1, log.firstSeq)
      while (next <= log.lastSeq) {
        if (!this.hasRoom) return false
        const last = this.events.write(topic, format, next, log.lastSeq, EVENTS_BYTES_MAX, LIVE, 0)
        if (last === NO_ROOM) return false
        topic.emitted[format] = last
        next = last + 1
      }
    }
    return topic.views.length === 0 || this.#flushViews(topic)
  }

  /** Entries go through all filters before the next ones do, so that a payload is decoded once. */
  #flushViews(topic: Topic): boolean {
    const { log, views } = topic
    for (const view of views) {
      if (view.isAnnounced) continue
      if (!this.hasRoom) return false
      this.attachView(topic, view)
    }
    for (;;) {
      let from = log.lastSeq + 1
      for (const { emitted } of views) from = Math.min(from, emitted + 1)
      if (from > log.lastSeq) return true
      from = Math.max(from, log.firstSeq)
      const to = Math.min(log.lastSeq, from + SELECTION_ENTRIES_MAX - 1)
      let end = from
      for (; end <= to && this.filters.work <= this.#filterWorkMax; end++) {
        for (const { filter } of views) filter.wants(topic, end)
      }
      if (end === from) {
        this.#isBehind = true
        return false
      }
      for (const view of views) if (!this.#flushView(topic, view, end - 1)) return false
    }
  }

  #flushView(topic: Topic, view: FilteredView, to: number): boolean {
    const { log } = topic
    const selection = this.#selection
    const { filter, format } = view
    if (view.emitted + 1 < log.firstSeq) {
      // Entries that are gone already are a gap for the gateway to see.
      view.emitted = log.firstSeq - 1
      view.told = view.emitted
    }
    while (view.emitted < to) {
      if (!this.hasRoom) return false
      this.events.select(selection, topic, filter, view.emitted + 1, to, EVENTS_BYTES_MAX)
      if (selection.count === 0) {
        view.emitted = selection.last // Said with the next record that has something to say.
        continue
      }
      const first = view.told + 1
      const last = this.events.writeSelected(topic, format, filter.id, first, selection, LIVE, 0)
      if (last === NO_ROOM) return false
      view.emitted = last
      view.told = last
    }
    return true
  }

  /** Refuses a record that has killed this shard too often, and remembers that it did. */
  #setAside(ordinal: number): boolean {
    const { kind, start, end } = this.#in
    if (this.#isWorthAnotherTry(kind, ordinal)) {
      const isDone = this.#process(ordinal)
      if (isDone === DONE) this.journal.forgetCrashes()
      return isDone
    }
    this.context.logger.error({ kind, bytes: end - start }, 'record set aside: it killed the shard')
    this.counters.add('recordsSetAside')
    this.journal.forgetCrashes()
    const message = 'the broker failed on this request, it was set aside'
    if (kind === Inbound.publish) {
      return this.#publishing.refuse(ordinal, start, Reply.internal, message)
    }
    if (ordinal >= this.#replayed) this.journal.applied(ordinal, 0)
    if (kind === Inbound.pull) {
      const { ints } = this.views
      const lag = ints[(start >> 2) + Pull.lag] as number
      this.notices.send({ op: 'setAside', lag })
    } else if (kind === Inbound.control) {
      this.#control.setAside(start, end, message)
    }
    return DONE
  }

  /**
   * Threads die of other things, too, and the record at hand gets the blame. So a PULL, whose end would
   * end a subscription, and a publish that is stored and only wants its ack, have more tries.
   */
  #isWorthAnotherTry(kind: number, ordinal: number): boolean {
    const isStored = kind === Inbound.publish && (this.resultOf(ordinal) ?? -1) >= 0
    return (isStored || kind === Inbound.pull) && this.journal.crashes < HARMLESS_CRASHES_MAX
  }

  /** What is due moves, or is told of. False when it wants outbound room first. */
  #runTimers(): boolean {
    if (!this.hasRoom || !this.expiry.run() || !this.delayed.run() || !this.hasRoom) return false
    if (this.grouping.nextDueMs <= this.nowMs) this.grouping.tick()
    return this.hasRoom
  }

  /** Makes the batch visible: positions of both rings together, by way of the journal. */
  #publishBatch(records: number, tailBefore: number): boolean {
    const hasDelivered = this.grouping.takeHasDelivered()
    if (records === 0 && !hasDelivered) {
      // Nothing was taken from the inbound ring, so there is nothing to keep together.
      this.#countStored()
      if (this.out.tail === tailBefore) return false
      this.out.publish()
      return true
    }
    this.journal.commitBatch(this.out.tail, this.#in.position, records, hasDelivered)
    this.out.publish()
    this.#in.release()
    this.journal.batchDone()
    this.#replayed = Math.max(0, this.#replayed - records)
    this.counters.add('batches')
    this.counters.add('recordsProcessed', records)
    this.#countStored()
    return true
  }

  #countStored(): void {
    if (this.#stored === 0) return
    this.counters.add('messagesStored', this.#stored)
    this.counters.add('bytesStored', this.#storedBytes)
    this.#stored = 0
    this.#storedBytes = 0
  }

  /** After a predecessor: the gateway hears how far each topic got, and pulls what it missed. */
  #announce(): boolean {
    while (this.#announcements.length > 0) {
      if (!this.hasRoom) {
        this.#isBlocked = true
        return false
      }
      const topic = this.#announcements.pop() as Topic
      for (const format of FORMATS) if (topic.isAttached(format)) this.attach(topic, format)
      if (topic.views.length > 0) this.stored(topic, 0, 0) // They are announced as if new.
    }
    return true
  }

  /** Finds everything that a predecessor left in shared memory. On fresh memory there is nothing. */
  #takeOver(): void {
    const slots = this.directory.scan()
    for (const slot of slots) {
      for (const { address, bytes } of this.directory.blocks(slot)) {
        this.#memory.blocks.reserve(address, bytes)
      }
    }
    const groups = this.grouping.scan()
    for (const { offset } of groups) {
      const { address, bytes } = this.grouping.blockOf(offset)
      this.#memory.blocks.reserve(address, bytes)
    }
    const append = this.journal.pendingAppend()
    const found = slots.map((slot) => {
      const name = this.directory.name(slot)
      const settings = this.#settingsOf(slot, name.toString())
      const log = new TopicLog(this.#memory, slot, retentionOf(settings))
      if (append?.slot === slot) {
        log.commit(append.tail, append.padStart, append.lastSeq, append.timeMs)
      }
      const hash = hashTopic(name, 0, name.length)
      const id = this.directory.topicId(slot)
      return new Topic(slot, id, name, hash, this.directory.epoch(slot), log, settings)
    })
    this.journal.appendDone()
    this.moves.takeOver((slot) => found.find((topic) => topic.slot === slot))
    found.sort((a, b) => a.id - b.id)
    for (const topic of found) {
      topic.plainFormats = this.directory.plainFormats(topic.slot)
      topic.features = this.directory.features(topic.slot)
      this.#addTopic(topic)
      this.expiry.rebuild(topic)
      this.deduplication.rebuild(topic)
      topic.attached = topic.wantedFormats()
      for (const { filterId, format } of topic.patterns) this.view(topic, filterId, format)
    }
    this.delayed.takeOver(this.journal.appliedTotal)
    const interests = this.filterInterest.load(
      ({ topicId, filterId }) =>
        this.topics.get(topicId) !== undefined && this.filters.get(filterId) !== undefined,
    )
    for (const { topicId, filterId, formats } of interests) {
      for (const format of FORMATS) {
        if ((formats & (1 << format)) === 0) continue
        const view = this.view(this.topics.get(topicId) as Topic, filterId, format)
        if (view !== undefined) view.isPlain = true
      }
    }
    this.#announcements.push(...found.filter((topic) => topic.isRead))
    this.grouping.takeOver(groups)
    setTopicCount(this.#common, this.number, this.topics.size)
  }

  #addTopic(topic: Topic): void {
    topic.patterns.push(...this.patterns.match(topic.name))
    this.topics.add(topic)
    this.router.adopt(topic)
    setTopicCount(this.#common, this.number, this.topics.size)
  }

  /** What growth must leave free, so that every topic that may still come finds its first blocks. */
  #growthReserve(): number {
    const toCome = this.options.maxTopics - this.topics.size
    const perTopic = DATA_BYTES_MIN + INDEX_SLOTS_MIN * 4
    return Math.min(toCome * perTopic, this.#memory.blocks.totalBytes / 4)
  }
}

function patternIdsOf(topic: Topic, format: Format, filterId = 0): number[] {
  return topic.patterns
    .filter((pattern) => pattern.format === format && pattern.filterId === filterId)
    .map(({ id }) => id)
}
