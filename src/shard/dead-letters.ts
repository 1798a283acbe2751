/**
 * Messages that a group gave up: real copies in `$dlq.<topic>`, and their way back.
 * Runs on: the shard. Owns: nothing; the copies are entries of a topic like any other.
 *
 * A copy has the payload, id, headers and key of the message, and headers that say what became of it.
 * Its `ttl_ms` of 0 means «none»; replaying or purging it writes 1 there, which makes it an entry that
 * has expired: nobody is given it any more, and the log drops it when it comes to its end.
 */
import { Packr, Unpackr } from 'msgpackr'
import { Reply, type ReplyCode } from '../errors.js'
import type { Group } from '../groups/group.js'
import type { DeadLetter } from '../groups/group-host.js'
import { settleInTable } from '../groups/outstanding.js'
import { ARRAY_OF_7, entryBody, entryHeaderBytes, writeEntryHeader } from '../log/entry.js'
import { newEntryProperties, readProperties } from '../log/entry-properties.js'
import { FEATURE_TTL } from '../log/slot.js'
import { NIL } from '../protocol/msgpack.js'
import type { DeadLetterAction } from '../ring/record.js'
import { DEAD_LETTERS } from '../routing/topic-name.js'
import { EntryView, historyText } from './json-text.js'
import { MoveKind } from './move-kinds.js'
import type { MoveSource } from './moves.js'
import type { Shard } from './shard.js'
import { Topic } from './topics.js'

/** Text of an error, and of the list of times, in a header. */
const HEADER_TEXT_MAX = 1024
/** A request looks at so many entries; the answer says where to go on. */
const SCAN_MAX = 1000
/** Bytes of one list. */
const LIST_BYTES_MAX = 512 * 1024
const NOTHING_LISTED = '"epoch":null,"dead_letters":[],"next_seq":null'
const UINT32 = 0xce

type ActionOf<Do extends DeadLetterAction['do']> = Extract<DeadLetterAction, { do: Do }>

type Headers = Map<string, string>

export class DeadLetters {
  readonly #shard: Shard
  readonly #packr = new Packr({ useRecords: false, variableMapSize: true })
  readonly #unpackr = new Unpackr({ useRecords: false, mapsAsObjects: false })
  readonly #view = new EntryView()
  readonly #properties = newEntryProperties()

  constructor(shard: Shard) {
    this.#shard = shard
    const { views, moves } = shard
    moves.register(MoveKind.deadLetter, ({ source, a, b }) => settleInTable(views, source, a, b))
    moves.register(MoveKind.replay, ({ source }) => void views.buffer.writeUInt32BE(1, source))
    moves.register(MoveKind.replayLater, ({ source, a, b }) => {
      if (shard.delayed.isKept(a, b)) views.buffer.writeUInt32BE(1, source)
    })
  }

  /** Copies the entry to the dead letters and takes it out of the group's table, as one step. */
  bury(topic: Topic, group: Group, slot: number, letter: DeadLetter): boolean {
    const shard = this.#shard
    const target = this.#topicFor(topic)
    if (!(target instanceof Topic)) {
      const { message } = target
      shard.context.logger.warn({ topic: topic.name, reason: message }, 'no room for a dead letter')
      return false
    }
    const at = topic.log.offsetOf(letter.seq)
    const headers = this.#headersAt(at)
    for (const [name, value] of describe(topic, group, letter)) headers.set(name, value)
    const from = { source: group.record.offset, a: slot, b: letter.seq }
    const { body, isWithProperties } = this.#bodyOf(at, headers, true)
    const isMoved = this.#append(MoveKind.deadLetter, from, target, body, isWithProperties)
    if (isMoved) shard.counters.add('deadLettered')
    return isMoved
  }

  /** What the HTTP door asks. undefined: there is no room for the answer now. */
  admin(token: number, topicName: string, action: DeadLetterAction): number | undefined {
    const { notices } = this.#shard
    const topic = this.#shard.topics.named(topicName)
    const dead = this.#shard.topics.named(DEAD_LETTERS + topicName)
    if (topic === undefined && dead === undefined) {
      const message = `topic ${JSON.stringify(topicName)} does not exist`
      notices.refuse(token, Reply.topicNotFound, message)
      return 0
    }
    const body = this.#answer(topicName, topic, dead, action)
    return notices.tryReply(token, 200, body) ? 0 : undefined
  }

  #answer(
    name: string,
    topic: Topic | undefined,
    dead: Topic | undefined,
    action: DeadLetterAction,
  ): string {
    const head = `{"topic":${JSON.stringify(name)}`
    switch (action.do) {
      case 'list':
        return `${head},${dead === undefined ? NOTHING_LISTED : this.#list(dead, action)}}`
      case 'purge':
        return `${head},"status":"purged","purged":${dead === undefined ? 0 : this.#purge(dead)}}`
      case 'replay': {
        const isThere = topic !== undefined && dead !== undefined
        const { replayed, skipped, nextSeq } = isThere
          ? this.#replay(topic, dead, action)
          : { replayed: 0, skipped: 0, nextSeq: null }
        return `${head},"status":"replayed","replayed":${replayed},"skipped":${skipped},"next_seq":${nextSeq}}`
      }
    }
  }

  #list(dead: Topic, { fromSeq, limit, group, reason }: ActionOf<'list'>): string {
    const { log } = dead
    const { views, out } = this.#shard
    const maxBytes = Math.min(LIST_BYTES_MAX, out.maxLength / 2)
    const found: string[] = []
    let bytes = 0
    let seq = Math.max(fromSeq, log.firstSeq)
    const end = Math.min(log.lastSeq, seq + SCAN_MAX - 1)
    for (; seq <= end && found.length < limit; seq++) {
      if (this.#isGone(dead, seq)) continue
      const headers = this.#headersAt(log.offsetOf(seq))
      if (group !== null && headers.get('dlq-group') !== group) continue
      if (reason !== null && headers.get('dlq-reason') !== reason) continue
      const text = historyText(views.buffer, this.#view, out.maxLength / 2)
      bytes += Buffer.byteLength(text) + 1
      if (bytes > maxBytes && found.length > 0) break
      found.push(text)
    }
    const next = seq > log.lastSeq ? null : seq
    return `"epoch":"${dead.epoch}","dead_letters":[${found.join(',')}],"next_seq":${next}`
  }

  /** Gives dead letters back to the topic they came from. */
  #replay(
    topic: Topic,
    dead: Topic,
    wish: ActionOf<'replay'>,
  ): { replayed: number; skipped: number; nextSeq: number | null } {
    const { seqs, fromSeq } = wish
    const first = Math.max(fromSeq, dead.log.firstSeq)
    const last = Math.min(dead.log.lastSeq, first + SCAN_MAX - 1)
    const wanted =
      seqs ?? Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index)
    let replayed = 0
    let skipped = 0
    for (const seq of wanted) {
      const outcome = this.#replayOne(topic, dead, seq, wish)
      if (outcome === undefined) return { replayed, skipped, nextSeq: seq }
      if (outcome) replayed++
      else skipped++
    }
    const isMore = seqs === null && last < dead.log.lastSeq
    return { replayed, skipped, nextSeq: isMore ? last + 1 : null }
  }

  #purge(dead: Topic): number {
    const { count } = dead.log
    this.#shard.flushing.flushTopic(dead)
    dead.log.dropUpTo(dead.log.lastSeq)
    return count
  }

  /** True when the entry was replayed or purged. */
  #isGone(dead: Topic, seq: number): boolean {
    readProperties(this.#shard.views.buffer, dead.log.offsetOf(seq), this.#properties)
    return this.#properties.ttlMs > 0
  }

  #headersAt(at: number): Headers {
    this.#view.read(this.#shard.views.buffer, at)
    const { headersStart, headersEnd } = this.#view
    if (headersStart === headersEnd) return new Map()
    const bytes = this.#shard.views.buffer.subarray(headersStart, headersEnd)
    return this.#unpackr.unpack(Buffer.from(bytes))
  }

  /** undefined: there is no room now. */
  #replayOne(
    topic: Topic,
    dead: Topic,
    seq: number,
    { group, maxRounds, delayMs }: ActionOf<'replay'>,
  ): boolean | undefined {
    if (seq < dead.log.firstSeq || seq > dead.log.lastSeq || this.#isGone(dead, seq)) return false
    const at = dead.log.offsetOf(seq)
    const headers = this.#headersAt(at)
    const round = Number(headers.get('dlq-round') ?? 0)
    if (round >= maxRounds || (group !== null && headers.get('dlq-group') !== group)) return false
    for (const name of [...headers.keys()]) if (name.startsWith('dlq-')) headers.delete(name)
    headers.set('dlq-round', String(round + 1))
    const source = this.#ttlOffset(at)
    const { body, isWithProperties } = this.#bodyOf(at, headers, false)
    const isMoved =
      delayMs > 0
        ? this.#keep(topic, body, isWithProperties, delayMs, source)
        : this.#append(MoveKind.replay, { source, a: 0, b: 0 }, topic, body, isWithProperties)
    if (!isMoved) return undefined
    this.#shard.noteFeatures(dead, FEATURE_TTL)
    return true
  }

  /** A copy of the entry at `at` with other headers; a dead letter has a ttl_ms that can be written over. */
  #bodyOf(
    at: number,
    headers: Headers,
    isDeadLetter: boolean,
  ): { body: Buffer; isWithProperties: boolean } {
    const { bytes, buffer } = this.#shard.views
    this.#view.read(buffer, at)
    // A copy of our own: making room for it may move the log that the entry stands in.
    const message = Buffer.from(bytes.slice(entryBody(buffer, at), this.#view.headersStart))
    const headersBytes = headers.size === 0 ? Buffer.of(NIL) : this.#packr.pack(headers)
    const properties = this.#propertiesFor(at, isDeadLetter)
    const body = Buffer.concat([message, headersBytes, properties])
    return { body, isWithProperties: properties.length > 0 }
  }

  #append(
    kind: number,
    from: MoveSource,
    target: Topic,
    body: Buffer,
    isWithProperties: boolean,
  ): boolean {
    const { bytes, buffer } = this.#shard.views
    const seq = this.#shard.moves.append(kind, from, target, body.length, (entry, to) => {
      if (isWithProperties) buffer[entry] = ARRAY_OF_7
      bytes.set(body, to)
      return to + body.length
    })
    return seq > 0
  }

  #keep(
    topic: Topic,
    body: Buffer,
    isWithProperties: boolean,
    delayMs: number,
    source: number,
  ): boolean {
    const header = Buffer.alloc(entryHeaderBytes(0))
    const mark = isWithProperties ? ARRAY_OF_7 : undefined
    writeEntryHeader(new DataView(header.buffer, header.byteOffset), 0, 0, 0, mark)
    const entry = Buffer.concat([header, body])
    const { delayed, nowMs } = this.#shard
    return delayed.keep(topic, entry, nowMs + delayMs, MoveKind.replayLater, source)
  }

  /** Key, priority and correlation of the message; its ttl_ms and delay are over. */
  #propertiesFor(at: number, isDeadLetter: boolean): Buffer {
    const { buffer } = this.#shard.views
    const kept: Buffer[] = []
    if (readProperties(buffer, at, this.#properties)) {
      const { mapStart, mapEnd } = this.#properties
      const map: Map<string, unknown> = this.#unpackr.unpack(
        Buffer.from(buffer.subarray(mapStart, mapEnd)),
      )
      for (const name of ['key', 'priority', 'reply_to', 'correlation_id']) {
        if (map.has(name)) kept.push(this.#packr.pack(name), this.#packr.pack(map.get(name)))
      }
    }
    // First in the map, and of fixed width: #ttlOffset() finds it there.
    if (isDeadLetter) kept.unshift(this.#packr.pack('ttl_ms'), Buffer.of(UINT32, 0, 0, 0, 0))
    if (kept.length === 0) return Buffer.alloc(0)
    return Buffer.concat([Buffer.of(0x80 | (kept.length / 2)), ...kept])
  }

  /** Where the value of a dead letter's ttl_ms stands, behind its mark. */
  #ttlOffset(at: number): number {
    readProperties(this.#shard.views.buffer, at, this.#properties)
    return this.#properties.mapStart + 1 + 1 + 'ttl_ms'.length + 1
  }

  #topicFor(topic: Topic): Topic | { reply: ReplyCode; message: string } {
    const name = DEAD_LETTERS + topic.name
    return this.#shard.topics.named(name) ?? this.#shard.catalog.create(name)
  }
}

function describe(topic: Topic, group: Group, letter: DeadLetter): [string, string][] {
  const { failures } = letter
  const last = failures.at(-1)
  const times = failures.map(({ atMs }) => new Date(atMs).toISOString())
  return [
    ['dlq-topic', topic.name],
    ['dlq-epoch', topic.epoch],
    ['dlq-seq', String(letter.seq)],
    ['dlq-group', group.record.name],
    ['dlq-reason', letter.reason],
    ['dlq-attempts', String(letter.attempts)],
    ['dlq-times', times.join(',').slice(-HEADER_TEXT_MAX)],
    ['dlq-error', (last?.error ?? '').slice(0, HEADER_TEXT_MAX)],
    ['dlq-member', last?.member ?? ''],
  ]
}
