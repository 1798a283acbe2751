/**
 * The topics of one shard: found by name for publishes, by id for everything after that.
 * Runs on: the shard. Owns: the topics' private state; their logs are in shared memory.
 */
import { FEATURE_TTL } from '../log/slot.js'
import type { TopicLog } from '../log/topic-log.js'
import { strBytes } from '../protocol/msgpack.js'
import { Op } from '../protocol/msgpack-frames.js'
import { FORMATS, type Format } from '../ring/record.js'
import { hashTopic } from '../routing/topic-hash.js'
import type { Filter } from './filters.js'
import type { Pattern } from './patterns.js'
import type { Rule } from './routes.js'
import { retentionOf, type TopicSettings } from './topic-settings.js'

const NIL = 0xc0

/** A topic as it is read through a filter, in one format. */
export interface FilteredView {
  readonly filter: Filter
  readonly format: Format
  /** True while plain subscriptions want it; patterns may, too. */
  isPlain: boolean
  /** False until the gateway was told that EVENTS will follow. */
  isAnnounced: boolean
  /** The newest seq that the filter has looked at, and the newest that the gateway was told of. */
  emitted: number
  told: number
}

export class Topic {
  readonly slot: number
  readonly id: number
  readonly name: string
  readonly nameBytes: Uint8Array
  readonly hash: number
  readonly epoch: string
  readonly log: TopicLog
  /** True while consumer groups read it. */
  hasGroups = false
  /** Formats that the gateway's plain subscriptions need, bit per format; also kept in the slot. */
  plainFormats = 0
  /** What holds for it, and in short what the hot path asks for. */
  #settings: TopicSettings
  ttlMs = 0
  dedupWindowMs = 0
  /** What its entries may have, FEATURE_* bits; also kept in the slot. A topic without pays for none. */
  features = 0
  /** Patterns that match the name, found out once. */
  readonly patterns: Pattern[] = []
  /** Formats that EVENTS are made in: wanted by a plain subscription or by a pattern. */
  attached = 0
  /** Per format: the newest seq that went out as EVENTS. Means something only while attached. */
  readonly emitted: number[] = FORMATS.map(() => 0)
  /** The same for what is read through filters. */
  views: FilteredView[] = []
  /** Routing rules for what is stored in it. */
  rules: readonly Rule[] = []
  /** True while the topic stands in the list of those with EVENTS to send. */
  isDirty = false
  /** Next topic with the same hash. */
  sibling: Topic | undefined

  /** The head of every EVENTS frame: array of 4, op, topic, nil for «plain subscription». */
  readonly eventsHead: Buffer
  /** What stands between request id and seq in every ack: topic, map of 2, epoch, the key «seq». */
  readonly ackMiddle: Buffer
  /** The same for the ack of a batch: map of 4, epoch, the key «first_seq». */
  readonly batchAckMiddle: Buffer
  #jsonEventHead: Buffer | undefined
  #jsonName: string | undefined

  constructor(
    slot: number,
    id: number,
    name: Buffer,
    hash: number,
    epoch: string,
    log: TopicLog,
    settings: TopicSettings,
  ) {
    this.slot = slot
    this.id = id
    this.nameBytes = name
    this.name = name.toString()
    this.hash = hash
    this.epoch = epoch
    this.log = log
    this.#settings = settings
    this.settings = settings
    const topic = strBytes(this.name)
    const epochPair = Buffer.concat([strBytes('epoch'), strBytes(epoch)])
    this.eventsHead = Buffer.concat([Buffer.of(0x94, Op.events), topic, Buffer.of(NIL)])
    this.ackMiddle = Buffer.concat([topic, Buffer.of(0x82), epochPair, strBytes('seq')])
    const firstSeq = strBytes('first_seq')
    this.batchAckMiddle = Buffer.concat([topic, Buffer.of(0x84), epochPair, firstSeq])
  }

  get settings(): TopicSettings {
    return this.#settings
  }

  set settings(settings: TopicSettings) {
    this.#settings = settings
    this.ttlMs = settings.ttl_ms.value
    this.dedupWindowMs = settings.dedup_window_ms.value
    this.log.setRetention(retentionOf(settings))
  }

  /** Whether any of its entries may expire. */
  get mayExpire(): boolean {
    return this.ttlMs > 0 || (this.features & FEATURE_TTL) !== 0
  }

  /** The name as JSON text, quotes included. */
  get jsonName(): string {
    this.#jsonName ??= JSON.stringify(this.name)
    return this.#jsonName
  }

  /** What every JSON event of the topic begins with, up to the opening quote of the message id. */
  get jsonEventHead(): Buffer {
    this.#jsonEventHead ??= Buffer.from(
      `{"type":"event","topic":${this.jsonName},"message":{"id":"`,
    )
    return this.#jsonEventHead
  }

  isAttached(format: Format): boolean {
    return (this.attached & (1 << format)) !== 0
  }

  /** True when EVENTS are made of it at all. */
  get isRead(): boolean {
    return this.attached !== 0 || this.views.length > 0
  }

  /** Formats wanted by anybody now who reads without a filter. */
  wantedFormats(): number {
    return this.patterns.reduce(
      (bits, { format, filterId }) => (filterId === 0 ? bits | (1 << format) : bits),
      this.plainFormats,
    )
  }

  view(filterId: number, format: Format): FilteredView | undefined {
    return this.views.find((view) => view.filter.id === filterId && view.format === format)
  }

  /** Entries that some attached format has yet to be sent. */
  get pendingFrom(): number {
    let from = this.log.lastSeq + 1
    for (const format of FORMATS) {
      if (this.isAttached(format)) from = Math.min(from, (this.emitted[format] as number) + 1)
    }
    for (const { emitted } of this.views) from = Math.min(from, emitted + 1)
    return from
  }
}

export class TopicTable {
  readonly #byHash = new Map<number, Topic>()
  readonly #byId = new Map<number, Topic>()

  get size(): number {
    return this.#byId.size
  }

  get(id: number): Topic | undefined {
    return this.#byId.get(id)
  }

  /** Finds by the bytes of the name, without making a string of them. */
  find(hash: number, bytes: Uint8Array, start: number, length: number): Topic | undefined {
    let topic = this.#byHash.get(hash)
    while (topic !== undefined && !isSame(topic.nameBytes, bytes, start, length)) {
      topic = topic.sibling
    }
    return topic
  }

  named(name: string): Topic | undefined {
    const bytes = Buffer.from(name)
    return this.find(hashTopic(bytes, 0, bytes.length), bytes, 0, bytes.length)
  }

  add(topic: Topic): void {
    topic.sibling = this.#byHash.get(topic.hash)
    this.#byHash.set(topic.hash, topic)
    this.#byId.set(topic.id, topic)
  }

  delete(topic: Topic): void {
    this.#byId.delete(topic.id)
    const first = this.#byHash.get(topic.hash)
    if (first === topic) {
      if (topic.sibling === undefined) this.#byHash.delete(topic.hash)
      else this.#byHash.set(topic.hash, topic.sibling)
      return
    }
    let before = first
    while (before !== undefined && before.sibling !== topic) before = before.sibling
    if (before !== undefined) before.sibling = topic.sibling
  }

  /** All topics, oldest first. */
  values(): IterableIterator<Topic> {
    return this.#byId.values()
  }
}

function isSame(name: Uint8Array, bytes: Uint8Array, start: number, length: number): boolean {
  if (name.length !== length) return false
  for (let index = 0; index < length; index++) {
    if (name[index] !== bytes[start + index]) return false
  }
  return true
}
