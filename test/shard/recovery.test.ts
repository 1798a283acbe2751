/**
 * A shard that dies at any statement, and its successor on the same memory.
 *
 * Allowed: a client waits longer. Required, wherever and however often the shard dies:
 *   1. every publish with a request id is answered exactly once, and an ack names the seqs at which
 *      the log holds its messages;
 *   2. nothing is stored twice, and everything that was not refused is stored;
 *   3. a topic keeps its epoch for as long as it lives;
 *   4. a subscription is given every seq from its start on exactly once, in order; what it is not
 *      given is announced by GAP, and only where the log could not hold it;
 *   5. every HTTP request is answered exactly once;
 *   6. the count of topics is right, and with the last topic all log memory comes back.
 *
 * Runs on: the test thread. The gateway is the real one, with sockets of the test (rig.ts).
 */
import fc from 'fast-check'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type HttpAnswer, HttpDoor } from '../../src/gateway/http.js'
import type { LogMemory, Retention } from '../../src/log/topic-log.js'
import { viewsOf } from '../../src/ring/layout.js'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { Journal } from '../../src/shard/journal.js'
import type { Topic } from '../../src/shard/topics.js'
import { allocateSharedMemory, type MemoryPlan, type ShardMemory } from '../../src/shared-memory.js'
import { type Client, type Fields, Rig, range } from '../gateway/rig.js'
import { Crash, loadStepped, type Stepper } from './stepped.js'

const KiB = 1024
const PLAN: MemoryPlan = {
  workers: 1,
  ringBytes: 128 * KiB,
  maxTopics: 8,
  maxPatterns: 4,
  maxGroups: 16,
  maxGroupMembers: 64,
  maxFilters: 8,
  logMemoryBytes: 128 * KiB,
}
const ROOMY: Retention = { count: 1024, bytes: 32 * KiB, ageMs: 0 }
/**
 * Deaths tried per scenario, spread evenly from a random one on, and scenarios with several deaths.
 * A failure prints after how many steps the shard died. RECOVERY_DEATHS=100000 tries all there are.
 */
const DEATHS = Number(process.env['RECOVERY_DEATHS'] ?? 150)
const NEVER = Number.POSITIVE_INFINITY

const memories = allocateSharedMemory(PLAN)
let stepper: Stepper
/** The allocator of the shard that lives now. */
let logMemory: LogMemory

beforeAll(async () => {
  stepper = await loadStepped()
  const tryCreate = stepper.TopicLog.tryCreate
  vi.spyOn(stepper.TopicLog, 'tryCreate').mockImplementation((memory, slot) => {
    logMemory = memory
    return tryCreate(memory, slot)
  })
})

afterEach(() => stepper.crashAfter(NEVER))

interface Published {
  readonly client: Client
  readonly topic: string
  readonly payloads: readonly unknown[]
  readonly id: string | undefined
  /** The code it must be refused with; undefined: it must be stored. */
  readonly refusal: string | undefined
}

/** One run of a scenario: what was asked for, to be compared with what came of it. */
class Run {
  readonly rig: Rig
  readonly published: Published[] = []
  readonly answers: { request: string; answers: HttpAnswer[] }[] = []
  readonly door: HttpDoor
  deaths = 0
  #nextPayload = 1
  readonly #crashes: number[]

  /** The shard dies after so many steps, and its successors after so many of theirs. */
  constructor(retention: Retention, crashes: readonly number[]) {
    for (const { common, memory } of memories) {
      new Uint8Array(common).fill(0)
      new Uint8Array(memory).fill(0)
    }
    this.#crashes = [...crashes]
    stepper.crashAfter(NEVER)
    this.rig = new Rig({
      plan: PLAN,
      memories,
      shardClass: stepper.Shard,
      shard: { retention },
      gateway: { maxTopics: PLAN.maxTopics, highWaterMarkBytes: 4 * KiB },
      onShardDeath: (error) => {
        if (!(error instanceof Crash)) throw error
        this.deaths++
        // Two deaths at one record set it aside, which poison.test.ts is about.
        new Journal(viewsOf((memories[0] as ShardMemory).memory)).forgetCrashes()
        stepper.crashAfter(this.#crashes.shift() ?? NEVER)
      },
    })
    this.door = new HttpDoor(this.rig.gateway, {
      startedAtMs: 0,
      topicCount: () => this.rig.topicCount,
      shardCounters: () => [],
      about: () => ({}),
    })
    stepper.crashAfter(this.#crashes.shift() ?? NEVER)
  }

  publish(client: Client, topic: string, count: number, options: PublishOptions = {}): void {
    const { isAcked = true, size = 0, refusal } = options
    const payloads = Array.from({ length: count }, () => {
      const n = this.#nextPayload++
      return size === 0 ? n : `${n} ${'x'.repeat(size)}`
    })
    const id = isAcked ? `publish ${this.published.length}` : undefined
    this.published.push({ client, topic, payloads, id, refusal })
    client.publish(topic, payloads, id)
  }

  /** Publishes what claims to be JSON and is not. */
  publishLie(client: Client, topic: string): void {
    const id = `publish ${this.published.length}`
    this.published.push({ client, topic, payloads: [], id, refusal: 'BAD_REQUEST' })
    client.publishPacked(topic, [[1, Buffer.from('{no')]], id)
  }

  http(method: string, path: string, body: object | string = ''): void {
    const answers: HttpAnswer[] = []
    this.answers.push({ request: `${method} ${path}`, answers })
    const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
    const [pathname = '', query = ''] = path.split('?')
    const request = { method, path: pathname, query: new URLSearchParams(query), body: bytes }
    this.door.handle(request, (answer) => answers.push(answer))
  }

  settle(): void {
    this.rig.settle()
  }

  /** What the topic holds, by seq, read by a client that was not there before. */
  held(topic: string): Map<number, unknown> {
    const reader = this.rig.connect(MSGPACK)
    reader.subscribe(topic, { last_n: 100_000 })
    this.settle()
    const held = new Map(reader.events(topic).map(({ seq, payload }) => [seq, payload]))
    reader.disconnect()
    this.settle()
    return held
  }

  /** Invariants 1 to 3, for topics that live to the end. */
  checkPublishes(isThere: (client: Client) => boolean = () => true): void {
    const stored = new Map<string, unknown[]>()
    for (const { topic, payloads, refusal } of this.published) {
      if (refusal !== undefined) continue
      stored.set(topic, [...(stored.get(topic) ?? []), ...payloads])
    }
    const logs = new Map([...stored.keys()].map((topic) => [topic, this.held(topic)]))
    for (const [topic, payloads] of stored) {
      const held = logs.get(topic) as Map<number, unknown>
      const last = Math.max(...held.keys())
      expect(last).toBe(payloads.length)
      // One publisher's messages keep their order, so the log is what was published, in order.
      expect([...held.values()]).toEqual(payloads.slice(payloads.length - held.size))
    }
    const epochs = new Map<string, unknown>()
    for (const { client, topic, payloads, id, refusal } of this.published) {
      if (id === undefined || !isThere(client)) continue
      const answers = client.answers(id)
      expect(answers).toHaveLength(1)
      const [answer] = answers
      if (answer?.type !== 'ack') {
        expect(answer?.code).toBe(refusal)
        continue
      }
      expect(refusal).toBeUndefined()
      const { result } = answer
      const first = (result['seq'] ?? result['first_seq']) as number
      const last = (result['seq'] ?? result['last_seq']) as number
      expect(last - first + 1).toBe(payloads.length)
      for (const [index, payload] of payloads.entries()) {
        const held = logs.get(topic)?.get(first + index)
        if (held !== undefined) expect(held).toBe(payload)
      }
      expect(result['epoch']).toBe(epochs.get(topic) ?? result['epoch'])
      epochs.set(topic, result['epoch'])
    }
  }

  /** Invariant 5. */
  checkAnswers(): void {
    for (const { request, answers } of this.answers) {
      expect({ request, answers: answers.length }).toEqual({ request, answers: 1 })
    }
  }

  /** Invariant 6; deletes everything. */
  checkMemory(topics: readonly string[]): void {
    expect(this.rig.topicCount).toBe(topics.length)
    expect([...this.rig.shard.topics.values()].map(({ name }) => name).sort()).toEqual(
      [...topics].sort(),
    )
    this.http('POST', '/topics', { name: 'last' })
    this.settle()
    for (const topic of [...topics, 'last']) this.http('DELETE', `/topics/${topic}`)
    this.settle()
    this.checkAnswers()
    expect(this.rig.topicCount).toBe(0)
    const { blocks } = logMemory
    expect(blocks.freeBytes).toBe(blocks.totalBytes)
    const largest = 2 ** Math.floor(Math.log2(blocks.totalBytes))
    expect(blocks.tryAllocate(largest)).toBeGreaterThanOrEqual(0) // It came back in one piece.
    expect(this.rig.gateway.fanOut.feedCount).toBe(0)
    expect(this.rig.gateway.fanOut.lagCount).toBe(0)
    expect(this.rig.gateway.requests.size).toBe(0)
    this.rig.gateway.stop()
  }
}

interface PublishOptions {
  readonly isAcked?: boolean
  /** Bytes of each payload beyond its number. */
  readonly size?: number
  readonly refusal?: string
}

type OnStep = (steps: number) => void

interface Scenario {
  readonly name: string
  readonly retention: Retention
  /** Plays it and checks what is special about it; returns the topics that are left. */
  readonly play: (run: Run) => readonly string[]
}

/** Invariant 4 for a subscription that began at `from` and lost nothing. */
function expectAll(client: Client, topic: string, from: number, to: number, by: string | null) {
  expect(client.accounted(topic, by)).toEqual(range(from, to))
  expect(client.seqs(topic, by)).toEqual(range(from, to))
}

function ackOf(client: Client, id: string): Fields {
  const answers = client.answers(id)
  expect(answers).toHaveLength(1)
  const [answer] = answers
  if (answer?.type !== 'ack') throw new Error(`no ack: ${JSON.stringify(answer)}`)
  return answer.result
}

const scenarios: Scenario[] = [
  {
    name: 'publishes, single and batch, acked and not, to live subscribers of both formats',
    retention: ROOMY,
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      const packed = run.rig.connect(MSGPACK)
      json.subscribe('a')
      packed.subscribe('a')
      packed.subscribe('*')
      run.settle()
      run.publish(json, 'a', 1)
      run.publish(packed, 'a', 3)
      run.publish(json, 'b', 2)
      run.publish(json, 'a', 1, { isAcked: false })
      run.publish(packed, 'b', 1, { isAcked: false })
      run.settle()
      run.publish(packed, 'a', 1)
      run.publish(packed, 'b', 1)
      run.settle()
      run.checkPublishes()
      expectAll(json, 'a', 1, 6, null)
      expectAll(packed, 'a', 1, 6, null)
      expectAll(packed, 'a', 1, 6, '*')
      expectAll(packed, 'b', 1, 4, '*')
      return ['a', 'b']
    },
  },
  {
    name: 'subscribes between publishes of the same connection',
    retention: ROOMY,
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      const packed = run.rig.connect(MSGPACK)
      run.publish(json, 'a', 3)
      json.subscribe('a')
      run.publish(json, 'a', 2)
      json.subscribe('a.#', { last_n: 1 })
      run.publish(json, 'a', 1)
      packed.subscribe('a', { from_seq: 2 })
      run.publish(packed, 'a', 1)
      run.settle()
      run.checkPublishes()
      // What a connection publishes after its subscribe, it is given.
      expectAll(json, 'a', 4, 7, null)
      expectAll(json, 'a', 5, 7, 'a.#')
      expectAll(packed, 'a', 2, 7, null)
      expect(ackOf(json, 'subscribe a')['seq']).toBe(3)
      expect(ackOf(packed, 'subscribe a')).toMatchObject({ seq: 6, recovered: true })
      return ['a']
    },
  },
  {
    name: 'refused publishes keep their reason',
    retention: { count: 4, bytes: 8 * KiB, ageMs: 0 },
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      const packed = run.rig.connect(MSGPACK)
      for (const topic of ['a', 'b', 'c', 'd', 'e', 'f', 'g'])
        run.http('POST', '/topics', { name: topic })
      run.settle()
      run.publish(json, 'a', 1)
      run.publishLie(packed, 'a')
      run.publish(json, 'a', 5, { refusal: 'LIMIT_EXCEEDED' })
      run.publish(json, 'h', 1)
      run.publish(packed, 'one-too-many', 1, { refusal: 'LIMIT_EXCEEDED' })
      run.publish(json, 'a', 1)
      run.settle()
      run.checkPublishes()
      run.http('DELETE', '/topics/g')
      run.settle()
      return ['a', 'b', 'c', 'd', 'e', 'f', 'h']
    },
  },
  {
    name: 'a log that grows, and then drops its oldest entries',
    retention: { count: 24, bytes: 16 * KiB, ageMs: 0 },
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      const packed = run.rig.connect(MSGPACK)
      json.subscribe('a')
      packed.subscribe('#')
      run.settle()
      for (let turn = 0; turn < 4; turn++) {
        run.publish(json, 'a', 4, { size: 400 })
        run.publish(packed, 'a', 6, { size: 300 })
        run.settle()
      }
      run.checkPublishes()
      expectAll(json, 'a', 1, 40, null)
      expectAll(packed, 'a', 1, 40, '#')
      return ['a']
    },
  },
  {
    name: 'a history so small that entries go before a successor could send them',
    retention: { count: 3, bytes: 8 * KiB, ageMs: 0 },
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      const packed = run.rig.connect(MSGPACK)
      json.subscribe('a')
      packed.subscribe('a')
      run.settle()
      for (let turn = 0; turn < 3; turn++) {
        run.publish(json, 'a', 1)
        run.publish(packed, 'a', 2)
        run.publish(json, 'a', 1)
      }
      run.settle()
      run.checkPublishes()
      expect(json.accounted('a')).toEqual(range(1, 12))
      expect(packed.accounted('a')).toEqual(range(1, 12))
      return ['a']
    },
  },
  {
    name: 'a replay of several chunks, asked for behind a queue of publishes',
    retention: ROOMY,
    play: (run) => {
      const publisher = run.rig.connect(MSGPACK)
      const slow = run.rig.connect(MSGPACK)
      slow.subscribe('a')
      run.settle()
      slow.socket.isReading = false
      for (let turn = 0; turn < 4; turn++) {
        run.publish(publisher, 'a', 6, { size: 1000 })
        run.settle()
      }
      for (let turn = 0; turn < 3; turn++) run.publish(publisher, 'b', 8, { size: 1000 })
      slow.socket.isReading = true
      slow.drain()
      run.publish(publisher, 'a', 2)
      run.settle()
      run.checkPublishes()
      expectAll(slow, 'a', 1, 26, null)
      return ['a', 'b']
    },
  },
  {
    name: 'topics created, deleted and created again under subscribers',
    retention: ROOMY,
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      const packed = run.rig.connect(MSGPACK)
      run.http('POST', '/topics', { name: 'a' })
      json.subscribe('a')
      packed.subscribe('*')
      run.settle()
      json.publish('a', ['before'], 'first')
      run.settle()
      run.http('DELETE', '/topics/a')
      run.http('DELETE', '/topics/a')
      run.http('POST', '/topics', { name: 'a' })
      json.publish('a', ['after'], 'second')
      run.settle()
      const statuses = run.answers.map(({ answers }) => answers.map(({ status }) => status))
      expect(statuses).toEqual([[201], [200], [404], [201]])
      const [first, second] = [ackOf(json, 'first'), ackOf(json, 'second')]
      expect([first['seq'], second['seq']]).toEqual([1, 1])
      expect(first['epoch']).not.toBe(second['epoch'])
      const deleted = { type: 'info', code: 'TOPIC_DELETED', topic: 'a' }
      expect(json.of('info')).toMatchObject([deleted])
      expect(packed.of('info')).toMatchObject([deleted])
      expect(json.events('a').map(({ payload }) => payload)).toEqual(['before'])
      expect(packed.events('a', '*').map(({ payload }) => payload)).toEqual(['before', 'after'])
      return ['a']
    },
  },
  {
    name: 'filters that come and go, on topics and patterns',
    retention: ROOMY,
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      const packed = run.rig.connect(MSGPACK)
      run.publish(json, 'a', 2)
      json.subscribe('a', { filter: 'payload > 1', last_n: 5 })
      packed.subscribe('*', { filter: 'topic == "b"' })
      run.settle()
      packed.subscribe('a', { filter: 'payload > 1' })
      run.publish(json, 'a', 2)
      run.publish(packed, 'b', 2)
      run.settle()
      packed.unsubscribe('a')
      run.publish(json, 'a', 1)
      run.publish(packed, 'b', 1)
      run.settle()
      run.checkPublishes()
      expect(json.seqs('a')).toEqual([2, 3, 4, 5])
      expect(packed.seqs('a')).toEqual([3, 4])
      expect(packed.seqs('b', '*')).toEqual([1, 2, 3])
      expect(packed.seqs('a', '*')).toEqual([])
      for (const client of [json, packed]) client.disconnect()
      run.settle()
      expect(run.rig.gateway.fanOut.feedCount).toBe(0)
      return ['a', 'b']
    },
  },
  {
    name: 'routes: every copy at least once, in order, and none of what was there before the rule',
    retention: ROOMY,
    play: (run) => {
      const { routes } = run.rig.gateway
      const reader = run.rig.connect(JSON_TEXT)
      const writer = run.rig.connect(MSGPACK)
      run.publish(writer, 'a', 2)
      reader.subscribe('b')
      run.settle()
      routes.put('r', { source: '*.x', filter: 'payload % 2 == 0', targets: ['b'] })
      routes.put('s', { source: 'a', filter: 'payload % 2 == 1', targets: ['b', 'c'] })
      run.publish(writer, 'a', 4) // 3 to 6
      run.publish(writer, 'a.x', 2) // 7 and 8
      run.settle()
      routes.delete('s')
      run.publish(writer, 'a', 3) // 9 to 11
      run.publish(writer, 'a.x', 2) // 12 and 13
      run.settle()
      run.checkPublishes()
      const copies = reader.events('b').map(({ payload }) => payload)
      expect([...new Set(copies)].sort((x, y) => Number(x) - Number(y))).toEqual([3, 5, 8, 12])
      for (const topic of [
        [3, 5],
        [8, 12],
      ]) {
        const first = topic.map((payload) => copies.indexOf(payload))
        expect(first).toEqual([...first].sort((x, y) => x - y))
      }
      if (run.deaths === 0) expect(copies).toHaveLength(4)
      routes.delete('r')
      for (const client of [reader, writer]) client.disconnect()
      run.settle()
      return ['a', 'a.x', 'b', 'c']
    },
  },
  {
    name: 'patterns that come and go, and topics that nobody wants any more',
    retention: ROOMY,
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      const packed = run.rig.connect(MSGPACK)
      run.publish(json, 'a.1', 2)
      run.publish(json, 'a.2', 1)
      json.subscribe('a.*', { last_n: 1 })
      run.publish(json, 'a.1', 1)
      run.settle()
      packed.subscribe('a.1')
      packed.subscribe('a.#')
      run.publish(packed, 'a.3', 2)
      run.settle()
      json.unsubscribe('a.*')
      packed.unsubscribe('a.1')
      run.publish(json, 'a.1', 1)
      run.settle()
      run.checkPublishes()
      expectAll(json, 'a.1', 2, 3, 'a.*')
      expectAll(json, 'a.2', 1, 1, 'a.*')
      expectAll(json, 'a.3', 1, 2, 'a.*')
      expect(packed.accounted('a.1')).toEqual([])
      expectAll(packed, 'a.1', 4, 4, 'a.#')
      expectAll(packed, 'a.3', 1, 2, 'a.#')
      for (const client of [json, packed]) client.disconnect()
      run.settle()
      return ['a.1', 'a.2', 'a.3']
    },
  },
  {
    name: 'answers that have outgrown the outbound ring by the time they are made again',
    retention: { count: 1024, bytes: 64 * KiB, ageMs: 0 },
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      run.publish(json, 'a', 1)
      run.settle()
      for (const _ of range(1, 4)) run.http('GET', '/topics/a/messages')
      run.publish(json, 'a', 20, { size: 2000 })
      run.publish(json, 'a', 1)
      run.settle()
      run.checkPublishes()
      return ['a']
    },
  },
  {
    name: 'a deep replay, chunk by chunk, while publishing goes on; and the reads of the HTTP door',
    retention: ROOMY,
    play: (run) => {
      const json = run.rig.connect(JSON_TEXT)
      const packed = run.rig.connect(MSGPACK)
      run.publish(packed, 'a', 20, { size: 500 })
      run.settle()
      json.subscribe('a', { last_n: 100 })
      run.publish(packed, 'a', 2)
      run.http('GET', '/topics/a/messages?last_n=3')
      run.http('GET', '/topics/a')
      run.rig.runShard(0)
      run.rig.runGateway()
      run.publish(packed, 'a', 1)
      run.http('GET', '/topics')
      run.http('POST', '/topics/a/messages', { message: { payload: 'by http' } })
      run.published.push({
        client: json,
        topic: 'a',
        payloads: ['by http'],
        id: undefined,
        refusal: undefined,
      })
      run.settle()
      run.checkPublishes()
      run.checkAnswers()
      expectAll(json, 'a', 1, 24, null)
      return ['a']
    },
  },
]

/** Plays a scenario whose shard dies; checks everything. */
function play({ retention, play: steps }: Scenario, crashes: readonly number[], onStep?: OnStep) {
  const run = new Run(retention, crashes)
  try {
    stepper.onStep = onStep
    const topics = steps(run)
    stepper.onStep = undefined
    stepper.crashAfter(NEVER)
    run.checkMemory(topics)
  } catch (error) {
    throw new Error(`crashes=${JSON.stringify(crashes)}, deaths=${run.deaths}`, { cause: error })
  }
}

/**
 * The steps at which shared memory is not what it was a step before. A death between two of them is
 * the same as a death at the first: all that a successor can see is shared memory.
 */
function stepsThatMatter(scenario: Scenario): number[] {
  const [{ common, memory }] = memories as [ShardMemory]
  const views = [Buffer.from(common), Buffer.from(memory)]
  const before = views.map((view) => Buffer.from(view))
  const found: number[] = []
  play(scenario, [], (step) => {
    for (const [index, view] of views.entries()) {
      const copy = before[index] as Buffer
      if (view.equals(copy)) continue
      view.copy(copy)
      if (found.at(-1) !== step) found.push(step)
    }
  })
  return found
}

describe('a shard that dies at any statement', () => {
  test.each(scenarios)('$name', (scenario) => {
    const steps = stepsThatMatter(scenario)
    expect(steps.length).toBeGreaterThan(50)
    const stride = Math.max(1, Math.floor(steps.length / DEATHS))
    const first = Math.floor(Math.random() * stride)
    for (let index = first; index < steps.length; index += stride) {
      play(scenario, [steps[index] as number])
    }
  })

  test('any scenario, with several deaths, some of them of successors that have just begun', () => {
    const soon = fc.integer({ min: 0, max: 300 })
    const later = fc.integer({ min: 0, max: 3000 })
    const crashes = fc.tuple(later, fc.array(fc.oneof(soon, later), { minLength: 1, maxLength: 6 }))
    fc.assert(
      fc.property(fc.constantFrom(...scenarios), crashes, (scenario, [first, others]) => {
        play(scenario, [first, ...others])
      }),
      { numRuns: DEATHS },
    )
  })

  test('any script of publishes, subscribes and slow readers, with several deaths', () => {
    const client = fc.constantFrom(0, 1, 2)
    const count = fc.integer({ min: 1, max: 6 })
    const size = fc.constantFrom(0, 50, 700)
    const action = fc.oneof(
      { weight: 5, arbitrary: fc.tuple(fc.constant('publish'), client, count, size) },
      { weight: 2, arbitrary: fc.tuple(fc.constant('subscribe'), client, count, size) },
      fc.tuple(fc.constantFrom('stall', 'read', 'leave'), client, count, size),
      { weight: 2, arbitrary: fc.tuple(fc.constantFrom('shard', 'gateway'), client, count, size) },
    )
    const crashes = fc.array(fc.integer({ min: 0, max: 4000 }), { minLength: 1, maxLength: 5 })
    const history = fc.constantFrom(6, 1024)
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), crashes, history, (script, after, held) => {
        const retention = { count: held, bytes: 32 * KiB, ageMs: 0 }
        const name = JSON.stringify(script)
        play({ name, retention, play: (run) => playScript(run, script) }, after)
      }),
      { numRuns: DEATHS },
    )
  })
})

type Action = readonly [what: string, client: number, count: number, size: number]

const TOPICS = ['a.1', 'a.2', 'b']
const TEXTS = ['a.1', 'b', 'a.*', '#']

/** Plays the actions; checks that every subscription was given or told every seq from its start on. */
function playScript(run: Run, script: readonly Action[]): readonly string[] {
  const clients = ([JSON_TEXT, MSGPACK, JSON_TEXT] as const).map((format) =>
    run.rig.connect(format),
  )
  const made = new Set<string>()
  const topicOf = (count: number) => TOPICS[count % TOPICS.length] as string
  for (const [what, number, count, size] of script) {
    const client = clients[number] as Client
    if (what === 'shard') run.rig.runShard(0)
    else if (what === 'gateway') run.rig.runGateway()
    else if (client.socket.closed !== undefined) continue
    else if (what === 'publish') {
      run.publish(client, topicOf(count), count, { size, isAcked: size !== 50 })
      made.add(topicOf(count))
    } else if (what === 'subscribe') {
      const text = TEXTS[count % TEXTS.length] as string
      if (client.session.subscriptions?.has(text)) continue
      client.subscribe(text, size === 0 ? {} : { last_n: count })
      if (TOPICS.includes(text)) made.add(text)
    } else if (what === 'leave') {
      if (number !== 0) client.disconnect()
    } else client.socket.isReading = what === 'read'
  }
  run.settle()
  for (const client of clients) {
    client.socket.isReading = true
    client.drain()
  }
  run.settle()
  run.checkPublishes((client) => client.socket.closed === undefined)
  stepper.crashAfter(NEVER) // From here on it is the test that asks the shard.
  for (const client of clients.filter(({ socket }) => socket.closed === undefined)) {
    for (const text of client.session.subscriptions?.keys() ?? []) {
      const ack = ackOf(client, `subscribe ${text}`)
      const isPattern = !TOPICS.includes(text)
      for (const topic of made) {
        const { log } = [...run.rig.shard.topics.values()].find(
          ({ name }) => name === topic,
        ) as Topic
        const seqs = client.accounted(topic, isPattern ? text : null)
        if (seqs.length > 0) expect(seqs).toEqual(range(seqs[0] as number, log.lastSeq))
        else if (text === topic) expect(ack['seq']).toBe(log.lastSeq)
      }
    }
  }
  for (const client of clients) if (client.socket.closed === undefined) client.disconnect()
  run.settle()
  return [...made]
}
