/**
 * A gateway and its shards in one thread, over real shared memory and real rings, with clients whose
 * sockets are objects of the test. Nothing runs by itself: settle() turns the crank.
 */
import { Packr, unpack, unpackMultiple } from 'msgpackr'
import { type Logger, pino } from 'pino'
import { onTestFinished } from 'vitest'
import { Gateway, type GatewayOptions } from '../../src/gateway/gateway.js'
import type { Session, Socket } from '../../src/gateway/session.js'
import { type Format, JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { Doorbell } from '../../src/ring/wakeup.js'
import { Shard, type ShardContext, type ShardOptions } from '../../src/shard/shard.js'
import {
  allocateSharedMemory,
  countersOffset,
  GATEWAY_BELL,
  type MemoryPlan,
  type ShardMemory,
  topicCount,
} from '../../src/shared-memory.js'
import { Counters, GATEWAY_COUNTERS } from '../../src/telemetry/counters.js'

const KiB = 1024
/** Turns of the crank after which a rig that finds no rest counts as broken. */
const TURNS_MAX = 100_000

const silent: Logger = pino({ level: 'silent' })

const PLAN: MemoryPlan = {
  workers: 1,
  ringBytes: 256 * KiB,
  maxTopics: 64,
  maxPatterns: 16,
  maxGroups: 16,
  maxGroupMembers: 64,
  maxFilters: 8,
  logMemoryBytes: 1024 * KiB,
}

const GATEWAY_OPTIONS: GatewayOptions = {
  maxConnections: 1000,
  maxTopics: PLAN.maxTopics,
  maxInFlightPublishes: 10_000,
  highWaterMarkBytes: 64 * KiB,
  subscriberQueueSize: 1000,
  publishWaitMs: 5,
  maxSubscriptionsPerConnection: 1000,
  maxSubscribersPerTopic: 1000,
  maxPatterns: PLAN.maxPatterns,
  maxFilters: PLAN.maxFilters,
  slowConsumerPolicy: 'drop_oldest',
  maxPayloadBytes: 64 * KiB,
  maxBatchMessages: 4096,
}

const SHARD_OPTIONS: ShardOptions = {
  retention: { count: 8192, bytes: 256 * KiB, ageMs: 0 },
  maxTopics: PLAN.maxTopics,
  autoCreateTopics: true,
}

/** Wakes nobody: the test decides who has a turn. */
class SilentBell extends Doorbell {
  override park(): Promise<unknown> {
    return new Promise(() => {})
  }
}

export type ShardClass = new (
  memory: ShardMemory,
  options: ShardOptions,
  context: ShardContext,
) => Shard

export interface RigOptions {
  readonly plan?: Partial<MemoryPlan>
  readonly gateway?: Partial<GatewayOptions>
  readonly shard?: Partial<ShardOptions>
  /** Memory to use again, all zero; its plan must be the same. */
  readonly memories?: ShardMemory[]
  readonly shardClass?: ShardClass
  /** Called with what a shard threw; returns when the shard may be replaced, or throws itself. */
  readonly onShardDeath?: (error: unknown) => void
  readonly logger?: Logger
}

export class Rig {
  readonly memories: ShardMemory[]
  readonly gateway: Gateway
  readonly shards: Shard[] = []
  readonly counters: Counters<keyof typeof GATEWAY_COUNTERS>
  /** The time that shards see. */
  nowMs = Date.UTC(2026, 0, 1)
  /** Shards that may not run at present. */
  readonly asleep = new Set<number>()
  readonly shardOptions: ShardOptions
  readonly #options: RigOptions
  #epochs = 0

  constructor(options: RigOptions = {}) {
    this.#options = options
    const plan = { ...PLAN, ...options.plan }
    this.memories = options.memories ?? allocateSharedMemory(plan)
    const { common } = this.memories[0] as ShardMemory
    this.shardOptions = { ...SHARD_OPTIONS, maxTopics: plan.maxTopics, ...options.shard }
    this.counters = new Counters(common, countersOffset(0), GATEWAY_COUNTERS)
    const gatewayOptions = {
      ...GATEWAY_OPTIONS,
      maxTopics: plan.maxTopics,
      maxPatterns: plan.maxPatterns,
      maxFilters: plan.maxFilters,
      ...options.gateway,
    }
    const bell = new SilentBell(new Int32Array(common), GATEWAY_BELL)
    const logger = options.logger ?? silent
    this.gateway = new Gateway(this.memories, gatewayOptions, bell, this.counters, logger)
    for (const memory of this.memories) this.startShard(memory.shard)
  }

  /** Puts a shard behind the rings, in place of the one that may be there. */
  startShard(number: number): void {
    const ShardOfTest = this.#options.shardClass ?? Shard
    this.shards[number] = new ShardOfTest(this.memories[number] as ShardMemory, this.shardOptions, {
      now: () => this.nowMs,
      newEpoch: () => `epoch-${String(++this.#epochs).padStart(10, '0')}`,
      logger: this.#options.logger ?? silent,
    })
  }

  get shard(): Shard {
    return this.shards[0] as Shard
  }

  /** Topics of all shards, by the count in shared memory. */
  get topicCount(): number {
    return topicCount(new Int32Array((this.memories[0] as ShardMemory).common))
  }

  connect(format: Format = JSON_TEXT): Client {
    return new Client(this, format)
  }

  /** One batch of one shard, as its duty cycle would run it; a shard that throws is replaced. */
  runShard(number: number): boolean {
    if (this.asleep.has(number)) return false
    const shard = this.shards[number] as Shard
    try {
      if (shard.isBlocked ? !shard.hasMoreRoom : !shard.hasWork) return false
      return shard.runBatch() || !shard.isBlocked
    } catch (error) {
      if (this.#options.onShardDeath === undefined) throw error
      for (let isBack = false; !isBack; ) isBack = this.#replace(number, error)
      return true
    }
  }

  /** Moves what the shards have produced. */
  runGateway(): boolean {
    const isWork = this.gateway.links.some(({ out }) => !out.isEmpty())
    if (isWork) this.gateway.wake()
    return isWork
  }

  /** Lets everybody work until nobody has anything to do. */
  settle(): void {
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      let isMoving = false
      for (const { shard } of this.memories) if (this.runShard(shard)) isMoving = true
      if (this.runGateway()) isMoving = true
      if (!isMoving) return
    }
    throw new Error(`no rest after ${TURNS_MAX} turns`)
  }

  /** The same, and waits for the gateway's timer that tries again what found no room. */
  async settleWithRetries(): Promise<void> {
    this.settle()
    const { fanOut, forwarding, links } = this.gateway
    while (fanOut.isWaiting || forwarding.isWaiting || links.some((link) => link.hasDeferred)) {
      await new Promise((resolve) => setTimeout(resolve, 2))
      this.settle()
    }
  }

  /** The gateway sees what was published before the death, as it would; then a successor starts. */
  #replace(number: number, error: unknown): boolean {
    this.#options.onShardDeath?.(error)
    this.runGateway()
    try {
      this.startShard(number)
      return true
    } catch (again) {
      this.#options.onShardDeath?.(again)
      return false
    }
  }
}

/** A rig that ends with its test. */
export function makeRig(options: RigOptions = {}): Rig {
  const rig = new Rig(options)
  onTestFinished(() => rig.gateway.stop())
  return rig
}

class FakeSocket implements Socket {
  /** Every frame in the order it was sent, copied as uWebSockets.js does. */
  readonly sent: Buffer[] = []
  readonly kinds: boolean[] = []
  closed: { code: number; reason: string } | undefined
  pings = 0
  corks = 0
  /** False: what is sent stays buffered. */
  isReading = true
  buffered = 0
  /** Beyond so many bytes frames are dropped. */
  limit = Number.POSITIVE_INFINITY
  onEnd: () => void = () => {}

  send(message: Uint8Array, isBinary: boolean): number {
    if (this.closed !== undefined) throw new Error('sent to a closed socket')
    if (this.buffered > this.limit) return 2
    this.sent.push(Buffer.from(message))
    this.kinds.push(isBinary)
    if (this.isReading) return 1
    this.buffered += message.length
    return 0
  }

  getBufferedAmount(): number {
    return this.buffered
  }

  end(code: number, reason: string): void {
    if (this.closed !== undefined) throw new Error('ended twice')
    this.closed = { code, reason }
    this.onEnd()
  }

  close(): void {
    this.end(1006, '')
  }

  ping(): number {
    return ++this.pings
  }

  cork(callback: () => void): unknown {
    this.corks++
    callback()
    return this
  }
}

/** What a client hears, the same for both encodings. */
export type Heard =
  | { readonly type: 'ack'; readonly id: unknown; readonly topic: string; readonly result: Fields }
  | {
      readonly type: 'event'
      readonly topic: string
      readonly subscription: string | null
      readonly seq: number
      readonly payload: unknown
    }
  | {
      readonly type: 'error'
      readonly id: unknown
      readonly code: string
      readonly message: string
    }
  | {
      readonly type: 'info'
      readonly code: string
      readonly topic: string | null
      readonly details: Fields
    }
  | { readonly type: 'pong'; readonly id: unknown }

export type Fields = Readonly<Record<string, unknown>>
type HeardOf<Type extends Heard['type']> = Extract<Heard, { type: Type }>

const packr = new Packr({ useRecords: false, variableMapSize: true })

/** A client of either encoding. */
export class Client {
  readonly rig: Rig
  readonly format: Format
  readonly socket = new FakeSocket()
  readonly session: Session
  #heard: Heard[] = []
  #read = 0

  constructor(rig: Rig, format: Format) {
    this.rig = rig
    this.format = format
    this.session = rig.gateway.onOpen(this.socket, format)
    this.socket.onEnd = () => rig.gateway.onClose(this.session)
  }

  /** Sends one frame as it stands. */
  sendRaw(frame: string | Uint8Array): void {
    const bytes = typeof frame === 'string' ? Buffer.from(frame) : frame
    this.rig.gateway.onFrame(this.session, bytes, typeof frame !== 'string')
  }

  /** Messages are payloads, as JSON; with `id` undefined no ack is wanted. */
  publish(topic: string, payloads: readonly unknown[], id?: string): void {
    if (this.format === MSGPACK) {
      const messages = payloads.map((payload) => [1, Buffer.from(JSON.stringify(payload))])
      this.sendRaw(packr.pack([1, id ?? null, topic, messages]))
      return
    }
    const request = id === undefined ? {} : { request_id: id }
    const messages = payloads.map((payload) => ({ payload }))
    const frame =
      messages.length === 1
        ? { type: 'publish', topic, message: messages[0] }
        : { type: 'publish_batch', topic, messages }
    this.sendRaw(JSON.stringify({ ...frame, ...request }))
  }

  /** Publishes messages as MessagePack has them: `[encoding, payload, id, headers]`. */
  publishPacked(topic: string, messages: readonly unknown[][], id?: string): void {
    this.sendRaw(packr.pack([1, id ?? null, topic, messages]))
  }

  subscribe(topic: string, options: Fields = {}, id = `subscribe ${topic}`): void {
    if (this.format === MSGPACK) this.sendRaw(packr.pack([2, id, topic, options]))
    else this.sendRaw(JSON.stringify({ type: 'subscribe', topic, request_id: id, ...options }))
  }

  unsubscribe(topic: string, id = `unsubscribe ${topic}`): void {
    if (this.format === MSGPACK) this.sendRaw(packr.pack([3, id, topic]))
    else this.sendRaw(JSON.stringify({ type: 'unsubscribe', topic, request_id: id }))
  }

  disconnect(): void {
    this.socket.close()
  }

  /** Takes everything that is buffered; the gateway hears of it. */
  drain(): void {
    this.socket.buffered = 0
    if (this.socket.closed === undefined) this.rig.gateway.onWritable(this.session)
  }

  get heard(): readonly Heard[] {
    for (; this.#read < this.socket.sent.length; this.#read++) {
      const frame = this.socket.sent[this.#read] as Buffer
      const heard = this.format === MSGPACK ? heardPacked(frame) : heardJson(frame)
      this.#heard.push(...heard)
    }
    return this.#heard
  }

  of<Type extends Heard['type']>(type: Type): HeardOf<Type>[] {
    return this.heard.filter((heard): heard is HeardOf<Type> => heard.type === type)
  }

  /** Acks and errors with this request id. */
  answers(id: string): (HeardOf<'ack'> | HeardOf<'error'>)[] {
    return this.heard.filter(
      (heard): heard is HeardOf<'ack'> | HeardOf<'error'> =>
        (heard.type === 'ack' || heard.type === 'error') && heard.id === id,
    )
  }

  /** Codes of the errors so far. */
  get errorCodes(): string[] {
    return this.of('error').map(({ code }) => code)
  }

  events(topic?: string, subscription: string | null = null): HeardOf<'event'>[] {
    return this.of('event').filter(
      (event) =>
        (topic === undefined || event.topic === topic) && event.subscription === subscription,
    )
  }

  seqs(topic?: string, subscription: string | null = null): number[] {
    return this.events(topic, subscription).map(({ seq }) => seq)
  }

  /** Seqs heard and seqs said to be lost, in the order they came. */
  accounted(topic: string, subscription: string | null = null): number[] {
    return this.heard.flatMap((heard) => {
      if (heard.type === 'event') {
        return heard.topic === topic && heard.subscription === subscription ? [heard.seq] : []
      }
      if (heard.type !== 'info' || heard.code !== 'GAP' || heard.topic !== topic) return []
      if ((heard.details['subscription'] ?? null) !== subscription) return []
      return range(heard.details['from_seq'] as number, heard.details['to_seq'] as number)
    })
  }
}

/** from, from + 1, … to. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)
}

function heardJson(frame: Buffer): Heard[] {
  const { type, request_id: id, ...rest } = JSON.parse(frame.toString()) as Record<string, unknown>
  if (type === 'ack') return [{ type, id, topic: rest['topic'] as string, result: rest }]
  if (type === 'pong') return [{ type, id }]
  if (type === 'error') {
    const { code, message } = rest['error'] as { code: string; message: string }
    return [{ type, id, code, message }]
  }
  if (type === 'info') {
    const { code, topic, ...details } = rest
    return [{ type, code: code as string, topic: (topic ?? null) as string | null, details }]
  }
  const events = type === 'events' ? (rest['events'] as Fields[]) : [rest]
  return events.map((event) => ({
    type: 'event',
    topic: (rest['topic'] ?? event['topic']) as string,
    subscription: (rest['subscription'] ?? null) as string | null,
    seq: event['seq'] as number,
    payload: (event['message'] as Fields)['payload'],
  }))
}

function heardPacked(frame: Buffer): Heard[] {
  return (unpackMultiple(frame) as unknown as unknown[][]).flatMap(heardArray)
}

function heardArray([op, first, second, third]: unknown[]): Heard[] {
  if (op === 33) {
    return [{ type: 'ack', id: first, topic: second as string, result: third as Fields }]
  }
  if (op === 36) return [{ type: 'pong', id: first }]
  if (op === 35) {
    return [{ type: 'error', id: first, code: second as string, message: third as string }]
  }
  if (op === 37) {
    const info = { code: first as string, topic: second as string | null }
    return [{ type: 'info', ...info, details: third as Fields }]
  }
  return (third as [number, number, number, Buffer][]).map(([seq, , encoding, payload]) => ({
    type: 'event',
    topic: first as string,
    subscription: second as string | null,
    seq,
    payload:
      encoding === 1 ? JSON.parse(payload.toString()) : encoding === 0 ? unpack(payload) : payload,
  }))
}
