/**
 * Shared memory and messages that the cases work on, laid out as the broker lays them out.
 * Runs on: whoever runs the benchmarks. Owns: nothing; every call makes new ones.
 */
import { BlockAllocator } from '../../src/log/block-allocator.js'
import { TopicDirectory } from '../../src/log/directory.js'
import { type LogMemory, type Retention, TopicLog } from '../../src/log/topic-log.js'
import { type SharedViews, viewsOf } from '../../src/ring/layout.js'
import { hashTopic } from '../../src/routing/topic-hash.js'
import { Appender } from '../../src/shard/appender.js'
import { Journal } from '../../src/shard/journal.js'
import { RandomIds } from '../../src/shard/random-ids.js'
import { SettingsTable } from '../../src/shard/topic-settings.js'
import { Topic } from '../../src/shard/topics.js'
import { allocateSharedMemory, type ShardMemory } from '../../src/shared-memory.js'
import { arrayHeader, binHeader, NIL, shortText } from '../load/msgpack.js'

const MIB = 2 ** 20
export const PAYLOAD_BYTES = 128
const JSON_ENCODING = 1
const RAW_ENCODING = 2
/** The defaults of TOPIC_HISTORY_SIZE and TOPIC_BYTES_MAX. */
const RETENTION: Retention = { count: 8192, bytes: 16 * MIB, ageMs: 0 }

const NOW_MS = Date.UTC(2025, 0, 1)

/** The memory of one shard, small. */
function shardMemory(): { readonly memory: ShardMemory; readonly views: SharedViews } {
  const plan = { workers: 1, ringBytes: 4 * MIB, maxTopics: 16, maxPatterns: 16 }
  const [memory] = allocateSharedMemory({ ...plan, logMemoryBytes: 64 * MIB })
  if (memory === undefined) throw new Error('no shard was planned')
  return { memory, views: viewsOf(memory.memory) }
}

export interface LogUnderTest {
  readonly views: SharedViews
  readonly topic: Topic
  readonly log: TopicLog
  /** Appends what messagesAt() wrote, as a shard does: journal and commit included. */
  append(messages: Messages): number
  /** Writes `count` messages where a publish record would stand. */
  messagesAt(count: number, encoding: 'raw' | 'json'): Messages
}

export interface Messages {
  readonly start: number
  readonly end: number
  readonly count: number
}

/** One topic with an empty log in shared memory. */
export function logUnderTest(): LogUnderTest {
  const { memory, views } = shardMemory()
  const { layout } = memory
  const blocks = new BlockAllocator(layout.blocks, layout.blockBytes)
  const logMemory: LogMemory = { ...views, blocks, growthReserve: () => 0 }
  const directory = new TopicDirectory(logMemory, layout.directory, layout.directorySlots)
  const name = Buffer.from('bench.orders.created')
  const epoch = '0123456789abcdef'
  const slot = directory.tryTake(1, name, epoch)
  if (!TopicLog.tryCreate(logMemory, slot)) throw new Error('no memory for a log')
  directory.activate(slot)
  const settings = new SettingsTable([], RETENTION).of(String(name), () => undefined)
  const log = new TopicLog(logMemory, slot, RETENTION)
  const topic = new Topic(slot, 1, name, hashTopic(name, 0, name.length), epoch, log, settings)
  const appender = new Appender(views, new Journal(views), new RandomIds(), () => {})
  let next = layout.inbound
  return {
    views,
    topic,
    log,
    append: ({ start, end, count }) => appender.append(topic, 0, start, end, count, false, NOW_MS),
    messagesAt(count, encoding) {
      const start = next
      for (let index = 0; index < count; index++) {
        const message = encoding === 'raw' ? rawMessage() : jsonMessage()
        views.bytes.set(message, next)
        next += message.length
      }
      const end = next
      next += -next & 63
      return { start, end, count }
    },
  }
}

/** `[encoding, payload, nil, nil]`, as the gateway hands it on. */
function rawMessage(): Buffer {
  return message(RAW_ENCODING, Buffer.alloc(PAYLOAD_BYTES, 'x'))
}

function jsonMessage(): Buffer {
  return message(JSON_ENCODING, Buffer.from(jsonPayload()))
}

function message(encoding: number, payload: Buffer): Buffer {
  return Buffer.concat([
    arrayHeader(4),
    Buffer.of(encoding),
    binHeader(payload.length),
    payload,
    NIL,
    NIL,
  ])
}

/** A JSON value of PAYLOAD_BYTES bytes. */
export function jsonPayload(): string {
  const value = { order_id: 'ORD-123', amount: 99.5, currency: 'USD', note: '' }
  value.note = 'x'.repeat(PAYLOAD_BYTES - JSON.stringify(value).length)
  return JSON.stringify(value)
}

/** A PUBLISH frame of `count` messages. */
export function publishFrame(count: number): Buffer {
  const head = [arrayHeader(4), Buffer.of(1), NIL, shortText('bench.orders.created')]
  const messages = Array.from({ length: count }, rawMessage)
  return Buffer.concat([...head, arrayHeader(count), ...messages])
}
