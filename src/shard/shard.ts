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
import { Reply } from '../errors.js'
import type { Retention } from '../log/topic-log.js'
import { RandomIds } from '../protocol/random-ids.js'
import { type SharedViews, viewsOf } from '../ring/layout.js'
import { Inbound, type TopicRule } from '../ring/record.js'
import { RingConsumer, RingProducer } from '../ring/spsc-ring.js'
import { countersOffset, type ShardLayout, type ShardMemory } from '../shared-memory.js'
import { Counters, SHARD_COUNTERS, type ShardCounter } from '../telemetry/counters.js'
import { ACKS_ROOM, AckWriter } from './acks.js'
import { Appender } from './appender.js'
import { Catalog } from './catalog.js'
import { Control } from './control.js'
import { DeadLetters } from './dead-letters.js'
import { Deduplication } from './deduplication.js'
import { Delayed } from './delayed.js'
import { EventWriter } from './events.js'
import { Expiry } from './expiry.js'
import { FilterInterest } from './filter-interest.js'
import { FilterTable } from './filters.js'
import { Flushing } from './flushing.js'
import { Grouping } from './grouping.js'
import { Interest } from './interest.js'
import { Journal } from './journal.js'
import { Moves } from './moves.js'
import { Notices } from './notices.js'
import { PatternTable } from './patterns.js'
import { Publishing } from './publishing.js'
import { Pulling } from './pulling.js'
import { Router } from './router.js'
import { finishBatch, takeOver } from './takeover.js'
import { type Topic, TopicTable } from './topics.js'

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
/** Unless the options say otherwise. */
const DEDUP_IDS_MAX = 65_536

export class Shard {
  readonly topics = new TopicTable()
  readonly patterns: PatternTable
  readonly filters: FilterTable
  readonly filterInterest: FilterInterest
  readonly router: Router
  readonly catalog: Catalog
  readonly interest: Interest
  readonly flushing: Flushing
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
  readonly #acks: AckWriter
  readonly #publishing: Publishing
  readonly #pulling: Pulling
  readonly #control: Control
  /** Records at the front of the inbound ring that a predecessor has applied already. */
  #replayed: number
  #isBlocked = false
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
    this.counters = new Counters(memory.common, countersOffset(shard + 1), SHARD_COUNTERS)
    this.journal = new Journal(views)
    this.moves = new Moves(this, this.journal)
    finishBatch(this.journal, views, layout)
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
    this.#pulling = new Pulling(this)
    this.catalog = new Catalog(this, new Int32Array(memory.common))
    this.patterns = new PatternTable(views, layout)
    this.filters = new FilterTable(views, layout)
    this.filterInterest = new FilterInterest(views, layout)
    this.interest = new Interest(this)
    this.flushing = new Flushing(this, this.#acks)
    this.router = new Router(this, layout)
    const { delayed, delayedSlots } = layout
    this.delayed = new Delayed(this, this.catalog.memory, appender, delayed, delayedSlots)
    this.#control = new Control(this)
    this.deadLetters = new DeadLetters(this)
    this.grouping = new Grouping(this, this.#acks, this.catalog.memory)
    takeOver(this)
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
    const isLeft = this.flushing.hasWork || this.interest.hasWork || this.router.hasWork
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
    return this.flushing.mayFilter
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
    this.flushing.beginBatch()
    if (!this.#finishEarlier()) {
      // Unless it is filters that need their turn again.
      this.#isBlocked = !this.flushing.isBehind
      return this.#publishBatch(0, tailBefore)
    }
    const records = this.#runRecords()
    this.#acks.flush()
    const isFlushed = this.flushing.flush()
    if (!isFlushed) this.#isBlocked = !this.flushing.isBehind
    if (isFlushed || this.flushing.isBehind) {
      // While records are answered again there is nothing that deliveries could be committed with.
      const mayDeliver = this.#replayed <= records
      const isDone = this.router.flush() && (!mayDeliver || this.grouping.dispatch())
      if (!isDone) this.#isBlocked = true
    }
    return this.#publishBatch(records, tailBefore)
  }

  /** Drops what is too old, in every topic. Called now and then, not per message. */
  evictExpired(): void {
    this.nowMs = this.context.now()
    for (const topic of this.topics.values()) topic.log.evictExpired(this.nowMs)
    this.grouping.expireIdle()
  }

  /** What comes before new records. False when it wants outbound room first, or filters stopped it. */
  #finishEarlier(): boolean {
    if (!this.interest.announce()) return false
    if (this.flushing.isBehind && !this.flushing.catchUp()) return false
    // Not before what a predecessor applied is answered: its answers come from the log as it was.
    if (this.#replayed > 0 || this.nextDueMs > this.nowMs) return true
    return this.#runTimers()
  }

  /** What is due moves, or is told of. False when it wants outbound room first. */
  #runTimers(): boolean {
    if (!this.hasRoom || !this.expiry.run() || !this.delayed.run() || !this.hasRoom) return false
    if (this.grouping.nextDueMs <= this.nowMs) this.grouping.tick()
    return this.hasRoom
  }

  /** Processes records of the inbound ring, up to the bounds of a batch. Returns how many. */
  #runRecords(): number {
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
        this.#isBlocked = ordinal === 0 && !this.flushing.isBehind
        break
      }
      ordinal++
      if (this.#storedBytes >= BATCH_BYTES_MAX || this.#mustEnd) break
    }
    return ordinal
  }

  #process(ordinal: number): boolean {
    const { kind, start, end } = this.#in
    if (kind === Inbound.publish) return this.#publishing.process(ordinal, start)
    if (kind === Inbound.pull) return this.#finish(ordinal, this.#pulling.process(start))
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
      this.#pulling.setAside(start)
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

  // What the parts of the shard ask of it.

  /**
   * Sees to it that storing this much drops no entry whose EVENTS have not gone out yet: they go out
   * first. False when room for them ran out. Publishers wait for the gateway, never for a subscriber.
   */
  makeWay(topic: Topic, count: number, bytes: number): boolean {
    if (!topic.isDirty || topic.log.keeps(topic.pendingFrom, count, bytes)) return true
    return this.flushing.flushTopic(topic)
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
    this.flushing.add(topic)
  }

  /** Entries of the topic may have this from here on, FEATURE_* bits. */
  noteFeatures(topic: Topic, features: number): void {
    if ((topic.features & features) === features) return
    topic.features |= features
    this.catalog.directory.setFeatures(topic.slot, topic.features)
  }
}
