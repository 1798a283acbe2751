/**
 * Content-based routing: reads the logs of topics that rules are about, and sends copies of what
 * they ask for to the gateway, which publishes them to their targets.
 * Runs on: the shard. Owns: how far each such topic has been looked at, and the chunk under way.
 *
 * The log is the queue here, too. One chunk of copies is under way at a time; the next follows when
 * the gateway has put all of it into the rings of its targets. So a target that is slow holds its
 * rules back and nothing else, nothing piles up in between, and no two rings can wait for each other.
 * How far a topic is stands in shared memory from then on: a successor sends again what was under
 * way. Copies are made at least once, unless retention drops what no rule has looked at yet; that is
 * counted.
 */
import assert from 'node:assert'
import { Packr, Unpackr } from 'msgpackr'
import { ARRAY_OF_7, entryBody } from '../log/entry.js'
import type { SharedViews } from '../ring/layout.js'
import { Forward, Outbound, type RouteRef } from '../ring/record.js'
import { ROUTE_HOPS_MAX } from '../routing/route.js'
import type { ShardLayout } from '../shared-memory.js'
import { EntryView } from './json-text.js'
import { RouteTable, type Rule } from './routes.js'
import type { Shard } from './shard.js'
import type { Topic } from './topics.js'

/** Bytes of copies in one chunk, beyond which no entry is looked at; a ring's share if that is less. */
const CHUNK_BYTES_MAX = 128 * 1024
const CHUNKS_PER_HALF_RING = 8
/** Entries looked at, and work of filters (FilterTable.work), for one chunk. */
const CHUNK_ENTRIES_MAX = 4096
const CHUNK_WORK_MAX = 200_000
/** The header in which a copy says which way it came: its topics, from the first on. */
const ROUTE_HEADER = 'x-ringcast-route'
const ROUTE_SEPARATOR = ' > '
/** Between two lines in the log about copies that were dropped. */
const WARN_EVERY_MS = 1000

interface Group {
  readonly parts: Uint8Array[]
  count: number
  hasProperties: boolean
}

interface Chunk {
  readonly id: number
  /** How far its topics are once it has arrived. */
  readonly reached: readonly (readonly [Topic, number])[]
}

/** A chunk that is made; what the gateway will get. */
interface Ready {
  readonly bytes: Uint8Array
  readonly chunk: Chunk
  readonly copies: number
}

export class Router {
  readonly #routes: RouteTable
  readonly #shard: Shard
  readonly #views: SharedViews
  readonly #counter: number
  readonly #bytesMax: number
  readonly #entry = new EntryView()
  readonly #packr = new Packr({ useRecords: false, variableMapSize: true })
  /** A Map: "__proto__" is a name like any other. */
  readonly #unpackr = new Unpackr({ useRecords: false, mapsAsObjects: false })
  /** Topics with entries that no rule has looked at. */
  readonly #pending = new Set<Topic>()
  #underWay: Chunk | undefined
  /** A chunk that is made and found no room. */
  #unsent: Ready | undefined
  #warnedAtMs = 0

  constructor(shard: Shard, layout: ShardLayout) {
    this.#shard = shard
    this.#views = shard.views
    this.#counter = layout.routeCounter >> 2
    this.#bytesMax = Math.min(CHUNK_BYTES_MAX, shard.out.maxLength / CHUNKS_PER_HALF_RING)
    this.#routes = new RouteTable(shard.views, layout)
  }

  /** True when a chunk could be made, or is. */
  get hasWork(): boolean {
    return this.#underWay === undefined && (this.#unsent !== undefined || this.#pending.size > 0)
  }

  /** A topic that is new to this thread; what its rules have yet to look at is looked for. */
  adopt(topic: Topic): void {
    topic.rules = this.#routes.match(topic.name)
    this.noteStored(topic)
  }

  /** Puts a rule in the place of the one of its name; it is for what is stored from here on. */
  set(route: RouteRef, topics: Iterable<Topic>): void {
    const all = [...topics]
    // Before the rule stands: a successor that finds it must not take what was there before it.
    for (const topic of all) if (topic.rules.length === 0) this.#reach(topic, topic.log.lastSeq)
    const isSet = this.#routes.set(route)
    assert(isSet, `no slot for route ${route.name}`)
    this.#match(all)
  }

  remove(name: string, topics: Iterable<Topic>): void {
    this.#routes.remove(name)
    this.#match(topics)
  }

  noteStored(topic: Topic): void {
    if (topic.rules.length > 0 && this.#reached(topic) < topic.log.lastSeq) this.#pending.add(topic)
  }

  forget(topic: Topic): void {
    this.#pending.delete(topic)
  }

  /** The gateway has put the whole chunk where it belongs. */
  onForwarded(id: number): void {
    if (this.#underWay?.id !== id) return // A predecessor's; it is sent again.
    for (const [topic, seq] of this.#underWay.reached) {
      // The slot of one that was deleted may be another's by now.
      if (this.#shard.topics.get(topic.id) === topic) this.#reach(topic, seq)
    }
    this.#underWay = undefined
  }

  /** Sends the next chunk, if there is one. False when it found no room. */
  flush(): boolean {
    while (this.hasWork) {
      this.#unsent ??= this.#nextChunk()
      if (this.#unsent === undefined) return true // Looked at some; the next batch goes on.
      const { bytes, chunk, copies } = this.#unsent
      const start = this.#shard.hasRoom ? this.#shard.out.tryClaim(bytes.length) : -1
      if (start < 0) return false
      this.#views.bytes.set(bytes, start)
      this.#shard.out.commit(Outbound.forward, bytes.length)
      this.#shard.counters.add('copiesRouted', copies)
      this.#underWay = chunk
      this.#unsent = undefined
    }
    return true
  }

  /** Copies that will not be: counted, and told in the log now and then. */
  drop(count: number, why: string): void {
    this.#shard.counters.add('copiesDropped', count)
    const { nowMs, context } = this.#shard
    if (nowMs - this.#warnedAtMs < WARN_EVERY_MS) return
    this.#warnedAtMs = nowMs
    context.logger.warn({ count, why }, 'routed copies were dropped')
  }

  #match(topics: Iterable<Topic>): void {
    for (const topic of topics) {
      topic.rules = this.#routes.match(topic.name)
      if (topic.rules.length === 0) this.#pending.delete(topic)
    }
  }

  /** Undefined when nothing was to be copied. */
  #nextChunk(): Ready | undefined {
    const groups = new Map<string, Group>()
    const reached: [Topic, number][] = []
    const workMax = this.#shard.filters.work + CHUNK_WORK_MAX
    let bytes = 0
    let entries = 0
    for (const topic of this.#pending) {
      const { log } = topic
      let seq = this.#reached(topic) + 1
      // What had expired is no loss.
      if (seq <= log.lostTo) this.drop(log.lostTo - seq + 1, `retention of ${topic.name}`)
      seq = Math.max(seq, log.firstSeq)
      for (; seq <= log.lastSeq; seq++) {
        if (bytes > this.#bytesMax || entries >= CHUNK_ENTRIES_MAX) break
        if (entries > 0 && this.#shard.filters.work > workMax) break
        entries++
        bytes += this.#copy(topic, seq, groups)
      }
      reached.push([topic, seq - 1])
      if (seq > log.lastSeq) this.#pending.delete(topic)
      if (bytes > this.#bytesMax || entries >= CHUNK_ENTRIES_MAX) break
      if (this.#shard.filters.work > workMax) break
    }
    if (groups.size === 0) {
      for (const [topic, seq] of reached) this.#reach(topic, seq)
      return undefined
    }
    const id = ((this.#views.ints[this.#counter] as number) + 1) | 0
    this.#views.ints[this.#counter] = id
    let copies = 0
    for (const { count } of groups.values()) copies += count
    return { bytes: forwardBytes(id, groups), chunk: { id, reached }, copies }
  }

  /** Adds the copies of one entry; returns their bytes. */
  #copy(topic: Topic, seq: number, groups: Map<string, Group>): number {
    if (topic.mayExpire && this.#shard.expiry.isExpired(topic, seq)) return 0
    const targets = new Set<string>()
    for (const rule of topic.rules) {
      if (this.#wants(rule, topic, seq)) for (const target of rule.targets) targets.add(target)
    }
    if (targets.size === 0) return 0
    const { buffer } = this.#views
    const offset = topic.log.offsetOf(seq)
    const entry = this.#entry
    entry.read(buffer, offset)
    const { headersStart, headersEnd } = entry
    const headers: Map<string, string> =
      headersStart === headersEnd
        ? new Map()
        : this.#unpackr.unpack(Buffer.from(buffer.subarray(headersStart, headersEnd)))
    const way = headers.get(ROUTE_HEADER) ?? topic.name
    if (way.split(ROUTE_SEPARATOR).length > ROUTE_HOPS_MAX) {
      this.drop(targets.size, `ROUTE_HOPS_MAX=${ROUTE_HOPS_MAX}: ${way}`)
      return 0
    }
    const hasProperties = buffer[offset] === ARRAY_OF_7
    const head = Buffer.of(hasProperties ? 0x95 : 0x94)
    const body = Buffer.from(buffer.subarray(entryBody(buffer, offset), headersStart))
    const properties = Buffer.from(buffer.subarray(entry.propertiesStart, entry.propertiesEnd))
    let bytes = 0
    for (const target of targets) {
      headers.set(ROUTE_HEADER, way + ROUTE_SEPARATOR + target)
      const message = Buffer.concat([head, body, this.#packr.pack(headers), properties])
      const group = groups.get(target) ?? { parts: [], count: 0, hasProperties: false }
      groups.set(target, group)
      group.parts.push(message)
      group.count++
      group.hasProperties ||= hasProperties
      bytes += message.length
    }
    return bytes
  }

  #wants({ filterId }: Rule, topic: Topic, seq: number): boolean {
    return filterId === 0 || this.#shard.filters.get(filterId)?.wants(topic, seq) === true
  }

  #reached(topic: Topic): number {
    return this.#shard.catalog.directory.routedSeq(topic.slot)
  }

  #reach(topic: Topic, seq: number): void {
    this.#shard.catalog.directory.setRoutedSeq(topic.slot, seq)
  }
}

/** A FORWARD record. */
function forwardBytes(id: number, groups: ReadonlyMap<string, Group>): Uint8Array {
  const head = Buffer.alloc(Forward.headerBytes)
  head.writeInt32LE(id, Forward.chunk * 4)
  head.writeInt32LE(groups.size, Forward.groups * 4)
  const parts: Uint8Array[] = [head]
  for (const [target, { parts: messages, count, hasProperties }] of groups) {
    const name = Buffer.from(target)
    const length = messages.reduce((sum, message) => sum + message.length, 0)
    const fields = Buffer.alloc(Forward.groupBytes)
    fields.writeInt32LE(name.length, Forward.topicLength * 4)
    fields.writeInt32LE(length, Forward.messagesLength * 4)
    fields.writeInt32LE(count, Forward.count * 4)
    fields.writeInt32LE(hasProperties ? 1 : 0, Forward.hasProperties * 4)
    const padding = Buffer.alloc(-(name.length + length) & 3)
    parts.push(fields, name, ...messages, padding)
  }
  return Buffer.concat(parts)
}
