/**
 * A shard on real shared memory, with the test at the gateway's ends of its two rings: records in,
 * records out. Runs on: the test thread.
 */
import { Packr, unpack, unpackMultiple } from 'msgpackr'
import { type Logger, pino } from 'pino'
import { ShardLink } from '../../src/gateway/shard-link.js'
import {
  Acks,
  type ControlNotice,
  type ControlRequest,
  Deliver,
  Events,
  type Format,
  HttpReply,
  Inbound,
  JSON_TEXT,
  MSGPACK,
  Outbound,
  PUBLISH_CLAIMS_JSON,
  PUBLISH_DELAYED,
  PUBLISH_HTTP,
  PUBLISH_JSON,
  PUBLISH_PROPERTIES,
  Publish,
  Pull,
  SettleRecord,
} from '../../src/ring/record.js'
import { hashTopic } from '../../src/routing/topic-hash.js'
import { Shard, type ShardContext, type ShardOptions } from '../../src/shard/shard.js'
import {
  allocateSharedMemory,
  countersOffset,
  type MemoryPlan,
  type ShardMemory,
} from '../../src/shared-memory.js'
import { Counters, SHARD_COUNTERS, type ShardCounter } from '../../src/telemetry/counters.js'

const KiB = 1024
const PLAN: MemoryPlan = {
  workers: 1,
  ringBytes: 256 * KiB,
  maxTopics: 256,
  maxPatterns: 4,
  maxGroups: 16,
  maxGroupMembers: 64,
  maxFilters: 8,
  logMemoryBytes: 4096 * KiB,
}
const OPTIONS: ShardOptions = {
  retention: { count: 8192, bytes: 1024 * KiB, ageMs: 0 },
  maxTopics: PLAN.maxTopics,
  autoCreateTopics: true,
}

/** `[encoding, payload, id, headers, properties]` */
export type Message = readonly unknown[]
/** `[seq, ts, encoding, payload, id, headers, properties]` */
export type Entry = readonly [number, number, number, Buffer, Buffer, unknown, unknown?]
export type JsonEvent = Readonly<Record<string, unknown>>

export interface AcksRecord {
  readonly kind: 'acks'
  readonly session: number
  readonly answered: number
  /** Frames of WebSocket, and what is in them. */
  readonly frames: number
  readonly values: readonly unknown[]
}

export interface EventsRecord {
  readonly kind: 'events'
  readonly topicId: number
  readonly format: Format
  readonly count: number
  readonly lag: number
  readonly flags: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly gapFrom: number
  readonly gapTo: number
  /** What MessagePack subscribers read. */
  readonly entries: readonly Entry[]
  /** What JSON subscribers read. */
  readonly json: readonly JsonEvent[]
}

export interface ReplyRecord {
  readonly kind: 'reply'
  readonly token: number
  readonly status: number
  readonly body: JsonEvent
}

export interface DeliverRecord {
  readonly kind: 'deliver'
  readonly member: number
  readonly attempt: number
  readonly dueMs: number
  readonly seqs: readonly number[]
  readonly payloads: readonly unknown[]
}

export interface ControlRecord {
  readonly kind: 'control'
  readonly notice: ControlNotice
}

export type OutRecord = AcksRecord | EventsRecord | ReplyRecord | ControlRecord | DeliverRecord

type RequestOf<Op extends ControlRequest['op']> = Extract<ControlRequest, { op: Op }>
type NoticeOf<Op extends ControlNotice['op']> = Extract<ControlNotice, { op: Op }>

export interface ShardRigOptions {
  readonly plan?: Partial<MemoryPlan>
  readonly shard?: Partial<ShardOptions>
  readonly logger?: Logger
  /** Another build of the class. */
  readonly shardClass?: typeof Shard
}

export interface PublishFields {
  readonly session?: number
  readonly requestId?: string | undefined
  readonly format?: Format
  readonly isHttp?: boolean
}

const packr = new Packr({ useRecords: false, variableMapSize: true })

export class ShardRig {
  readonly memory: ShardMemory
  readonly link: ShardLink
  readonly options: ShardOptions
  readonly counters: Counters<ShardCounter>
  shard: Shard
  nowMs = Date.UTC(2026, 0, 1)
  /** Called when the shard asks for the time, that is, once at the start of every batch. */
  onNow: () => void = () => {}
  /** Everything taken so far. */
  readonly taken: OutRecord[] = []
  readonly #context: ShardContext
  readonly #shardClass: typeof Shard
  #epochs = 0
  #token = 0

  constructor(options: ShardRigOptions = {}) {
    const plan = { ...PLAN, ...options.plan }
    this.memory = allocateSharedMemory(plan)[0] as ShardMemory
    this.link = new ShardLink(this.memory)
    this.#shardClass = options.shardClass ?? Shard
    this.options = { ...OPTIONS, maxTopics: plan.maxTopics, ...options.shard }
    this.counters = new Counters(this.memory.common, countersOffset(1), SHARD_COUNTERS)
    this.#context = {
      now: () => {
        this.onNow()
        return this.nowMs
      },
      newEpoch: () => `epoch-${String(++this.#epochs).padStart(10, '0')}`,
      logger: options.logger ?? pino({ level: 'silent' }),
    }
    this.shard = this.#newShard()
  }

  /** A successor on the same memory. */
  restart(): void {
    this.shard = this.#newShard()
  }

  /** Puts a PUBLISH into the inbound ring. Returns false when it is full. */
  tryPublish(topic: string, messages: readonly Message[], fields: PublishFields = {}): boolean {
    const { session = 1, requestId, format = MSGPACK, isHttp = false } = fields
    const name = Buffer.from(topic)
    const request =
      requestId === undefined
        ? Buffer.alloc(0)
        : format === MSGPACK
          ? packr.pack(requestId)
          : Buffer.from(JSON.stringify(requestId))
    const body = Buffer.concat(messages.map((message) => packr.pack(message)))
    const requestStart = Publish.headerBytes + name.length
    const messagesStart = requestStart + request.length
    const length = messagesStart + body.length
    const start = this.link.in.tryClaim(length)
    if (start < 0) return false
    const { ints, bytes } = this.link.views
    const field = start >> 2
    ints[field + Publish.requester] = session
    ints[field + Publish.flags] =
      (format === JSON_TEXT ? PUBLISH_JSON : PUBLISH_CLAIMS_JSON) |
      (isHttp ? PUBLISH_HTTP : 0) |
      propertyFlagsOf(messages)
    ints[field + Publish.topicHash] = hashTopic(name, 0, name.length)
    ints[field + Publish.topicStart] = Publish.headerBytes
    ints[field + Publish.topicLength] = name.length
    ints[field + Publish.requestStart] = requestStart
    ints[field + Publish.requestLength] = request.length
    ints[field + Publish.messagesStart] = messagesStart
    ints[field + Publish.messagesEnd] = length
    ints[field + Publish.count] = messages.length
    bytes.set(name, start + Publish.headerBytes)
    bytes.set(request, start + requestStart)
    bytes.set(body, start + messagesStart)
    this.link.in.commit(Inbound.publish, length)
    this.link.publish()
    return true
  }

  publish(topic: string, messages: readonly Message[], fields: PublishFields = {}): void {
    if (!this.tryPublish(topic, messages, fields)) throw new Error('the inbound ring is full')
  }

  /** Publishes these numbers as JSON, one message each, in one record. */
  publishNumbers(topic: string, numbers: readonly number[], fields: PublishFields = {}): void {
    this.publish(
      topic,
      numbers.map((number) => jsonMessage(number)),
      fields,
    )
  }

  send(request: ControlRequest): void {
    if (!this.link.trySend(request)) throw new Error('the inbound ring is full')
  }

  /** Sends a request and runs until it is answered; returns what came since. */
  ask(request: Omit<ControlRequest, 'token'>): OutRecord[] {
    this.send({ ...request, token: this.nextToken() } as ControlRequest)
    return this.settle()
  }

  nextToken(): number {
    return ++this.#token
  }

  subscribe(
    topic: string,
    format: Format = MSGPACK,
    start: RequestOf<'subscribe'>['start'] = { from: 'live' },
  ): NoticeOf<'subscribed'> {
    const records = this.ask({ op: 'subscribe', topic, format, start } as RequestOf<'subscribe'>)
    return only(notices(records, 'subscribed'))
  }

  subscribePattern(
    patternId: number,
    pattern: string,
    format: Format = MSGPACK,
    start: RequestOf<'subscribePattern'>['start'] = { from: 'live' },
  ): OutRecord[] {
    const request = { op: 'subscribePattern', patternId, pattern, format, start }
    return this.ask(request as RequestOf<'subscribePattern'>)
  }

  /** Joins a group; returns the answer. */
  join(
    member: number,
    group: string,
    options: Partial<RequestOf<'join'>> = {},
    topic = 't',
  ): OutRecord[] {
    this.requestJoin(member, group, options, topic)
    return this.settle()
  }

  /** Sends what join() sends, and does not run the shard. */
  requestJoin(
    member: number,
    group: string,
    options: Partial<RequestOf<'join'>> = {},
    topic = 't',
  ): void {
    this.send({
      op: 'join',
      token: this.nextToken(),
      topic,
      group,
      member,
      name: `member-${member}`,
      format: MSGPACK,
      maxInFlight: null,
      options: {},
      start: { from: 'live' },
      ...options,
    } as RequestOf<'join'>)
  }

  /** Puts a SETTLE record into the inbound ring: 1 ack, 2 nack, 3 term, 4 working. */
  settleSeqs(
    member: number,
    kind: number,
    ranges: readonly number[],
    fields: { delayMs?: number; isUpTo?: boolean; requestId?: string; reason?: string } = {},
  ): void {
    const request = fields.requestId === undefined ? Buffer.alloc(0) : packr.pack(fields.requestId)
    const reason = Buffer.from(fields.reason ?? '')
    const requestStart = SettleRecord.headerBytes + ranges.length * 8
    const length = requestStart + request.length + reason.length
    const start = this.link.in.tryClaim(length)
    if (start < 0) throw new Error('the inbound ring is full')
    const { ints, floats, bytes } = this.link.views
    const field = start >> 2
    ints[field + SettleRecord.member] = member
    ints[field + SettleRecord.kind] = kind
    ints[field + SettleRecord.delayMs] = fields.delayMs ?? -1
    ints[field + SettleRecord.isUpTo] = fields.isUpTo ? 1 : 0
    ints[field + SettleRecord.ranges] = ranges.length / 2
    ints[field + SettleRecord.session] = 1
    ints[field + SettleRecord.format] = MSGPACK
    ints[field + SettleRecord.requestStart] = requestStart
    ints[field + SettleRecord.requestLength] = request.length
    ints[field + SettleRecord.reasonStart] = requestStart + request.length
    ints[field + SettleRecord.reasonLength] = reason.length
    floats.set(ranges, (start + SettleRecord.headerBytes) >> 3)
    bytes.set(request, start + requestStart)
    bytes.set(reason, start + requestStart + request.length)
    this.link.in.commit(Inbound.settle, length)
    this.link.publish()
  }

  pull(fields: {
    topicId: number
    fromSeq: number
    lag?: number
    format?: Format
    chunks?: number
    queueSize?: number
  }): void {
    const { topicId, fromSeq, lag = 7, format = MSGPACK, chunks = 1, queueSize = 0 } = fields
    const start = this.link.in.tryClaim(Pull.headerBytes)
    if (start < 0) throw new Error('the inbound ring is full')
    const { ints, floats } = this.link.views
    const field = start >> 2
    ints[field + Pull.lag] = lag
    ints[field + Pull.topicId] = topicId
    ints[field + Pull.format] = format
    ints[field + Pull.chunks] = chunks
    ints[field + Pull.queueSize] = queueSize
    floats[(start >> 3) + Pull.fromSeq] = fromSeq
    this.link.in.commit(Inbound.pull, Pull.headerBytes)
    this.link.publish()
  }

  /** Pulls and returns the one chunk that comes. */
  chunk(fields: Parameters<ShardRig['pull']>[0]): EventsRecord {
    this.pull(fields)
    return only(eventsOf(this.settle()).filter(({ lag }) => lag !== 0))
  }

  /** Runs batches until there is nothing left to do, and takes what comes of them. */
  settle(): OutRecord[] {
    const records: OutRecord[] = []
    for (let turn = 0; turn < 10_000; turn++) {
      const isRun = this.run()
      const taken = this.take()
      records.push(...taken)
      const isAtRest = shardRests(this.shard)
      if (!isRun && taken.length === 0 && isAtRest) return records
    }
    throw new Error('the shard finds no rest')
  }

  /** The clock goes on. */
  advance(ms: number): void {
    this.nowMs += ms
  }

  /** One batch, unless the shard would sleep now. */
  run(): boolean {
    const { shard } = this
    if (shard.isBlocked ? !shard.hasMoreRoom : !shard.hasWork) return false
    return shard.runBatch()
  }

  /** Takes up to `most` records out of the outbound ring and releases them. */
  take(most = Number.POSITIVE_INFINITY): OutRecord[] {
    const records: OutRecord[] = []
    while (records.length < most && this.link.out.next()) records.push(this.#record())
    this.link.release()
    this.taken.push(...records)
    return records
  }

  #newShard(): Shard {
    return new this.#shardClass(this.memory, this.options, this.#context)
  }

  #record(): OutRecord {
    const { out, views } = this.link
    const { ints, floats } = views
    const { kind, start, end } = out
    const field = start >> 2
    const bytes = Buffer.from(views.bytes.slice(start, end))
    if (kind === Outbound.control) return { kind: 'control', notice: this.link.readNotice() }
    if (kind === Outbound.reply) {
      return {
        kind: 'reply',
        token: ints[field + HttpReply.token] as number,
        status: ints[field + HttpReply.status] as number,
        body: JSON.parse(bytes.toString('utf8', HttpReply.headerBytes)),
      }
    }
    if (kind === Outbound.acks) {
      const frames = ints[field + Acks.frames] as number
      const values: unknown[] = []
      let at = Acks.headerBytes + frames * 4
      for (let index = 0; index < frames; index++) {
        const length = ints[field + 3 + index] as number
        const frame = bytes.subarray(at, at + length)
        if (frame[0] === 0x7b) values.push(JSON.parse(frame.toString()))
        else values.push(...(unpackMultiple(frame) as unknown[]))
        at += length
      }
      return {
        kind: 'acks',
        session: ints[field + Acks.session] as number,
        answered: ints[field + Acks.answered] as number,
        frames,
        values,
      }
    }
    if (kind === Outbound.deliver) {
      const frame = bytes.subarray(Deliver.headerBytes + 4)
      const [, , , attempt, dueMs, entries] = unpack(frame) as [0, 0, 0, number, number, Entry[]]
      return {
        kind: 'deliver',
        member: ints[field + Deliver.member] as number,
        attempt,
        dueMs,
        seqs: entries.map(([seq]) => seq),
        payloads: entries.map(([, , , payload]) => JSON.parse(payload.toString())),
      }
    }
    const float = start >> 3
    const format = ints[field + Events.format] as Format
    const count = ints[field + Events.count] as number
    const frame = bytes.subarray(ints[field + Events.frameStart])
    const json: JsonEvent[] = []
    let at = ints[field + Events.bodyStart] as number
    for (let index = 0; format === JSON_TEXT && index < count; index++) {
      const length = ints[field + Events.headerBytes / 4 + index] as number
      json.push(JSON.parse(bytes.toString('utf8', at, at + length)))
      at += length + 1
    }
    return {
      kind: 'events',
      topicId: ints[field + Events.topicId] as number,
      format,
      count,
      lag: ints[field + Events.lag] as number,
      flags: ints[field + Events.flags] as number,
      firstSeq: floats[float + Events.firstSeq] as number,
      lastSeq: floats[float + Events.lastSeq] as number,
      gapFrom: floats[float + Events.gapFrom] as number,
      gapTo: floats[float + Events.gapTo] as number,
      entries: format === MSGPACK && count > 0 ? (unpack(frame)[3] as Entry[]) : [],
      json,
    }
  }
}

/** What the gateway says of the properties of these messages. */
function propertyFlagsOf(messages: readonly Message[]): number {
  const all = messages
    .map((message) => (message[4] ?? {}) as object)
    .filter((map) => Object.keys(map).length)
  const isDelayed = all.some((map) => 'delay_ms' in map || 'deliver_at' in map)
  return (all.length > 0 ? PUBLISH_PROPERTIES : 0) | (isDelayed ? PUBLISH_DELAYED : 0)
}

function shardRests(shard: Shard): boolean {
  return shard.isBlocked || !shard.hasWork
}

/** A message of encoding 1. */
export function jsonMessage(value: unknown): Message {
  return [1, Buffer.from(JSON.stringify(value))]
}

export function acksOf(records: readonly OutRecord[]): AcksRecord[] {
  return records.filter((record) => record.kind === 'acks')
}

/** Request id and code of every refusal among acks. */
export function errorsOf(records: readonly OutRecord[]): unknown[] {
  return acksOf(records)
    .flatMap(({ values }) => values as unknown[][])
    .filter(([op]) => op === 35)
    .map(([, id, code]) => [id, code])
}

export function eventsOf(records: readonly OutRecord[]): EventsRecord[] {
  return records.filter((record) => record.kind === 'events')
}

export function deliveries(records: readonly OutRecord[]): DeliverRecord[] {
  return records.filter((record) => record.kind === 'deliver')
}

export function replies(records: readonly OutRecord[]): ReplyRecord[] {
  return records.filter((record) => record.kind === 'reply')
}

export function notices<Op extends ControlNotice['op']>(
  records: readonly OutRecord[],
  op: Op,
): NoticeOf<Op>[] {
  return records
    .filter((record) => record.kind === 'control')
    .map(({ notice }) => notice)
    .filter((notice): notice is NoticeOf<Op> => notice.op === op)
}

/** Seqs of all EVENTS in order. */
export function seqsOf(records: readonly OutRecord[]): number[] {
  return eventsOf(records).flatMap(({ firstSeq, count }) =>
    Array.from({ length: count }, (_, index) => firstSeq + index),
  )
}

export function only<Item>(items: readonly Item[]): Item {
  if (items.length !== 1) throw new Error(`${items.length} items: ${JSON.stringify(items)}`)
  return items[0] as Item
}
