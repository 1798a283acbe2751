/**
 * The topics of a shard as they come and go: found, made, given options, deleted.
 * Runs on: the shard. Owns: the directory, the blocks that logs are made of (both in shared memory),
 * and the options of topics.
 */
import { Reply, type ReplyCode } from '../errors.js'
import { BlockAllocator } from '../log/block-allocator.js'
import { TopicDirectory } from '../log/directory.js'
import { DATA_BYTES_MIN, INDEX_SLOTS_MIN, type LogMemory, TopicLog } from '../log/topic-log.js'
import { FORMATS, TOPIC_OPTIONS, type TopicOptions } from '../ring/record.js'
import { hashTopic } from '../routing/topic-hash.js'
import { setTopicCount, topicCount } from '../shared-memory.js'
import type { Redo } from './journal.js'
import type { Shard } from './shard.js'
import { retentionOf, SettingsTable, type TopicSettings } from './topic-settings.js'
import { Topic } from './topics.js'

/** Why there is no such topic, and cannot be. */
export interface Refusal {
  readonly reply: ReplyCode
  readonly message: string
}

export class Catalog {
  readonly memory: LogMemory
  readonly directory: TopicDirectory
  readonly #shard: Shard
  readonly #common: Int32Array
  readonly #settings: SettingsTable

  /** `common` is the memory that all shards share. */
  constructor(shard: Shard, common: Int32Array) {
    const { views, layout, options } = shard
    this.#shard = shard
    this.#common = common
    this.#settings = new SettingsTable(options.topicRules ?? [], options.retention)
    this.memory = {
      ...views,
      blocks: new BlockAllocator(layout.blocks, layout.blockBytes),
      growthReserve: () => this.#growthReserve(),
    }
    this.directory = new TopicDirectory(this.memory, layout.directory, layout.directorySlots)
  }

  /** The topic of that name, made if clients may make any; otherwise a refusal. */
  findOrCreate(name: string): Topic | Refusal {
    const found = this.#shard.topics.named(name)
    if (found !== undefined) return found
    if (this.#shard.options.autoCreateTopics) return this.create(name)
    return { reply: Reply.topicNotFound, message: `topic ${JSON.stringify(name)} does not exist` }
  }

  /** Makes a topic that is not there yet. */
  create(name: string): Topic | Refusal {
    const shard = this.#shard
    const { maxTopics } = shard.options
    if (topicCount(this.#common) >= maxTopics) {
      return { reply: Reply.limitExceeded, message: `there are MAX_TOPICS=${maxTopics} topics` }
    }
    const id = shard.journal.takeTopicId()
    const epoch = shard.context.newEpoch()
    const slot = this.directory.tryTake(id, Buffer.from(name), epoch)
    if (slot < 0 || !TopicLog.tryCreate(this.memory, slot)) {
      if (slot >= 0) this.directory.release(slot)
      return { reply: Reply.limitExceeded, message: 'LOG_MEMORY_BYTES is used up' }
    }
    this.directory.activate(slot)
    const topic = this.read(slot)
    this.add(topic)
    shard.counters.add('topicsCreated')
    shard.context.logger.debug({ topic: name }, 'topic created')
    for (const format of FORMATS) {
      if ((topic.wantedFormats() & (1 << format)) !== 0) shard.interest.attach(topic, format)
    }
    // Announced with the first EVENTS: there may be more of them than there is room for now.
    for (const { filterId, format } of topic.patterns) shard.interest.view(topic, filterId, format)
    return topic
  }

  /** The topic in a slot; `append` is finished first, if a predecessor began it there. */
  read(slot: number, append?: Redo): Topic {
    const { directory } = this
    const name = directory.name(slot)
    const settings = this.#settingsOf(slot, name.toString())
    const log = new TopicLog(this.memory, slot, retentionOf(settings))
    if (append?.slot === slot) {
      log.commit(append.tail, append.padStart, append.lastSeq, append.timeMs)
    }
    const hash = hashTopic(name, 0, name.length)
    const id = directory.topicId(slot)
    return new Topic(slot, id, name, hash, directory.epoch(slot), log, settings)
  }

  /** From here on the topic is found, by who looks for it and by patterns and rules. */
  add(topic: Topic): void {
    const { patterns, topics, router } = this.#shard
    topic.patterns.push(...patterns.match(topic.name))
    topics.add(topic)
    router.adopt(topic)
    this.countTopics()
  }

  /** Keeps what a request says of the topic, for successors too, and applies it. */
  setOptions(topic: Topic, options: TopicOptions): void {
    for (const [index, name] of TOPIC_OPTIONS.entries()) {
      const value = options[name]
      if (value !== undefined) this.directory.setOption(topic.slot, index, value)
    }
    const { ttlMs, dedupWindowMs } = topic
    topic.settings = this.#settingsOf(topic.slot, topic.name)
    if (topic.ttlMs !== ttlMs) this.#shard.expiry.rebuild(topic)
    if (topic.dedupWindowMs > dedupWindowMs) this.#shard.deduplication.rebuild(topic)
  }

  delete(topic: Topic): void {
    const { grouping, topics, expiry, delayed, filterInterest, router, counters } = this.#shard
    grouping.onTopicDeleted(topic)
    topics.delete(topic)
    expiry.removed(topic)
    delayed.cancel(delayed.slotsOf(topic))
    this.directory.release(topic.slot)
    topic.log.free()
    topic.attached = 0
    for (const { filter } of topic.views) filterInterest.set(topic.id, filter.id, 0)
    topic.views = []
    router.forget(topic)
    this.countTopics()
    counters.add('topicsDeleted')
  }

  /** Tells the other shards how many topics this one has. */
  countTopics(): void {
    setTopicCount(this.#common, this.#shard.number, this.#shard.topics.size)
  }

  #settingsOf(slot: number, name: string): TopicSettings {
    return this.#settings.of(name, (index) => this.directory.option(slot, index))
  }

  /** What growth must leave free, so that every topic that may still come finds its first blocks. */
  #growthReserve(): number {
    const toCome = this.#shard.options.maxTopics - this.#shard.topics.size
    const perTopic = DATA_BYTES_MIN + INDEX_SLOTS_MIN * 4
    return Math.min(toCome * perTopic, this.memory.blocks.totalBytes / 4)
  }
}
