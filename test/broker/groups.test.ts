/**
 * Consumer groups over real sockets, with members and shards that die.
 *
 * Allowed: a message that is delivered again because nobody has heard that its ack was taken.
 * Forbidden: a message that is neither acked nor with the dead letters, a delivery that the broker
 * sent after it had confirmed the ack, a message both acked and with the dead letters, a loss.
 *
 * GROUPS_FULL=1 runs 200 000 messages and 20 deaths of shards instead of a tenth of that.
 */
import { expect, onTestFinished, test } from 'vitest'
import { open } from '../client/harness.js'
import { FAULTY_SHARD, GROUP_STEPS, injector, report, STEPS, seeded } from './faults.js'
import { type Delivered, GroupMember } from './group-member.js'
import { type Json, sleep, startBroker, type TestBroker, waitUntil } from './harness.js'
import { DEEP, type Encoding } from './load.js'

const IS_FULL = process.env['GROUPS_FULL'] === '1'
const MESSAGES = IS_FULL ? 200_000 : 20_000
const DEATHS = IS_FULL ? 20 : 6
const BATCH = 100
const ACK_WAIT_MS = 3000
const MAX_DELIVER = 12
const MEMBERS = 8
/** Deep enough that a group of this test never falls out of the log. */
const ENV = { WORKERS: '1', TOPIC_BYTES_MAX: '64MiB', ...DEEP }
const ENCODINGS: readonly Encoding[] = ['msgpack', 'json']

/** What the handler of every member does with it. */
const isPoisoned = (value: number) => value % 997 === 5
const isHopeless = (value: number) => value % 1009 === 7

async function info(broker: TestBroker, topic: string, group: string): Promise<Json> {
  return (await broker.http('GET', `/topics/${topic}/groups/${group}`)).body
}

async function untilSettled(
  broker: TestBroker,
  topic: string,
  group: string,
  timeoutMs = 20_000,
): Promise<Json> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const found = await info(broker, topic, group)
    if (found['lag'] === 0) return found
    if (Date.now() > deadline) throw new Error(`never settled: ${JSON.stringify(found)}`)
    await sleep(10)
  }
}

/** Publishes the numbers from 1 on; what the broker refused for now is published again. */
async function publishAll(wsUrl: string, topic: string, count: number): Promise<void> {
  const client = await open(wsUrl, { codec: 'json' })
  for (let next = 1; next <= count; ) {
    const length = Math.min(BATCH, count - next + 1)
    const values = Array.from({ length }, (_, index) => next + index)
    const isStored = await client.publishBatch(topic, values).then(
      () => true,
      (error: { code: string }) => {
        if (error.code !== 'INTERNAL') throw error
        return false
      },
    )
    if (isStored) next += length
  }
  await client.drain()
}

/** Original seqs of the dead letters of a topic. */
async function deadSeqs(wsUrl: string, topic: string, count: number): Promise<Set<number>> {
  const seqs = new Set<number>()
  let received = 0
  const client = await open(wsUrl)
  client.subscribe(
    `$dlq.${topic}`,
    ({ headers }) => {
      received++
      seqs.add(Number(headers['dlq-seq']))
    },
    { lastN: 1_000_000 },
  )
  await waitUntil(() => received >= count)
  expect(seqs.size).toBe(received) // None of them twice.
  client.close()
  return seqs
}

/** When the broker's answer said that a seq is settled, and how. */
class Books {
  readonly confirmed = new Map<number, { atMs: number; op: 'ack' | 'term' }>()
  /** Said, and perhaps taken. */
  readonly acked = new Set<number>()
  refused = 0

  async settle(member: GroupMember, op: 'ack' | 'term', seqs: readonly number[]): Promise<void> {
    for (let tries = 0; tries < 20; tries++) {
      if (op === 'ack') for (const seq of seqs) this.acked.add(seq)
      const answer = await member.say(op, seqs)
      if (answer === undefined) return // Cut.
      if (answer.code === undefined) {
        if (answer.settled !== seqs.length) return // Some were somebody else's, or settled.
        const atMs = Date.now()
        for (const seq of seqs) this.confirmed.set(seq, { atMs, op })
        return
      }
      this.refused++
      if (answer.code !== 'OVERLOADED' && answer.code !== 'INTERNAL') return
      await sleep(5)
    }
  }
}

test(`${MESSAGES} messages, ${MEMBERS} members that are cut and ${DEATHS} deaths of a shard: none is lost, none comes after its ack`, async () => {
  const draw = seeded()
  const broker = await startBroker(ENV, FAULTY_SHARD)
  const inject = injector()
  const books = new Books()
  const options = {
    start: 'earliest',
    ack_wait_ms: ACK_WAIT_MS,
    max_deliver: MAX_DELIVER,
    backoff: [5],
  }
  const members = await Promise.all(
    Array.from({ length: MEMBERS }, (_, index) =>
      GroupMember.join(broker.wsUrl, ENCODINGS[index % 2] as Encoding, 'work', 'all', options),
    ),
  )
  for (const member of members) {
    member.onDelivered = (delivered: Delivered[]) => {
      const done: number[] = []
      for (const { seq, value } of delivered) {
        if (isHopeless(value)) void books.settle(member, 'term', [seq])
        else if (isPoisoned(value)) void member.say('nack', seq, { delay_ms: 0, reason: 'poison' })
        else if (draw() < 0.005) void member.say('nack', seq, { delay_ms: 3, reason: 'bad luck' })
        else done.push(seq)
      }
      if (done.length > 0) void books.settle(member, 'ack', done)
    }
  }
  let isOver = false
  let cuts = 0
  const cutting = (async () => {
    while (!isOver) {
      await sleep(30 + draw() * 100)
      const member = members[Math.floor(draw() * MEMBERS)] as GroupMember
      cuts++
      await member.cut(draw() * 30)
    }
  })()
  const { counters } = broker.broker.gateway
  const steps = [...GROUP_STEPS, ...STEPS]
  const killing = (async () => {
    let kills = Math.floor(draw() * steps.length)
    while (!isOver && counters.get('shardRestarts') < DEATHS) {
      const before = counters.get('shardRestarts')
      const [type, method] = steps[kills++ % steps.length] as (typeof STEPS)[number]
      const calls = Math.floor(draw() * 30)
      if (kills % 5 === 0) void broker.broker.supervisor.threads[0]?.terminate()
      else void inject({ kind: 'throw', shard: 0, type, method, isAfter: draw() < 0.5, calls })
      // Some calls are rare: not every one of these comes to a death.
      for (let waits = 0; waits < 30 && counters.get('shardRestarts') === before; waits++) {
        await sleep(10)
      }
      await sleep(draw() * 100)
    }
    void inject({ kind: 'disarm', shard: 0 })
  })()
  onTestFinished(() => {
    isOver = true
  })

  await publishAll(broker.wsUrl, 'work', MESSAGES)
  await killing
  isOver = true
  await cutting
  const settled = await untilSettled(broker, 'work', 'all', 60_000)
  expect(broker.fatal).toEqual([])
  expect(settled).toMatchObject({ next_seq: MESSAGES + 1, outstanding: 0, lost: 0, expired: 0 })

  const hopeless = Array.from({ length: MESSAGES }, (_, index) => index + 1).filter(
    (value) => isHopeless(value) || isPoisoned(value),
  )
  const dead = await deadSeqs(broker.wsUrl, 'work', hopeless.length)
  expect(hopeless.filter((seq) => !dead.has(seq))).toEqual([])
  const delivered = members.flatMap((member) => member.delivered)
  const seen = new Set(delivered.map(({ seq }) => seq))
  const missing: number[] = []
  for (let seq = 1; seq <= MESSAGES; seq++) {
    if (!seen.has(seq) || !(books.acked.has(seq) || dead.has(seq))) missing.push(seq)
  }
  expect(missing).toEqual([])
  expect(delivered.filter(({ seq, value }) => seq !== value)).toEqual([])
  const late = delivered.filter(({ seq, deadlineMs }) => {
    const confirmed = books.confirmed.get(seq)
    return confirmed !== undefined && deadlineMs - ACK_WAIT_MS > confirmed.atMs
  })
  expect(late).toEqual([])
  const both = [...books.confirmed].filter(([seq, { op }]) => op === 'ack' && dead.has(seq))
  expect(both).toEqual([])
  expect(members.flatMap(({ infos }) => infos)).toEqual([])
  expect(cuts).toBeGreaterThan(5)
  const restarts = counters.get('shardRestarts')
  report(
    `${MESSAGES} messages, ${delivered.length} deliveries, ${books.confirmed.size} confirmed, ` +
      `${dead.size} dead letters (${hopeless.length} meant to be), ${cuts} cuts, ${restarts} deaths, ${books.refused} refusals`,
  )
}, 300_000)
