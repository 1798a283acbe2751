/** Messages that come again: what is stored, what the acks say, and what a successor says. */
import { expect, test } from 'vitest'
import { acksOf, type Message, only, replies, ShardRig } from './shard-rig.js'
import { loadStepped, type Stepper, settleThroughDeath } from './stepped.js'

const WINDOW_MS = 1000
const OPTIONS = { dedup_window_ms: WINDOW_MS }

function id(number: number): Buffer {
  return Buffer.alloc(16, number)
}

/** A message with the id of this number; 0: without one. */
function message(number: number): Message {
  return number === 0 ? [1, Buffer.from('0')] : [1, Buffer.from(String(number)), id(number)]
}

function withTopic(shardClass?: Stepper['Shard']): ShardRig {
  const rig = new ShardRig(shardClass === undefined ? {} : { shardClass })
  rig.ask({ op: 'create', topic: 'a', options: OPTIONS } as never)
  return rig
}

/** Publishes and returns what the ack says. */
function publish(rig: ShardRig, numbers: readonly number[]): Record<string, unknown> {
  rig.publish('a', numbers.map(message), { requestId: 'r' })
  const [[, , , result]] = only(acksOf(rig.settle())).values as [[number, string, string, object]]
  const { epoch: _, ...rest } = result as Record<string, unknown>
  return rest
}

function stored(rig: ShardRig): number[] {
  const request = { op: 'history', topic: 'a', lastN: 1000, fromSeq: null, limit: 1000 }
  const { body } = only(replies(rig.ask(request as never)))
  return (body['messages'] as { payload: number }[]).map(({ payload }) => payload)
}

test('a message that comes again is acked as the first, and not stored', () => {
  const rig = withTopic()
  expect(publish(rig, [1])).toEqual({ seq: 1 })
  expect(publish(rig, [2])).toEqual({ seq: 2 })
  expect(publish(rig, [1])).toEqual({ seq: 1, duplicate: true })
  expect(publish(rig, [0])).toEqual({ seq: 3 })
  expect(publish(rig, [0])).toEqual({ seq: 4 })
  expect(stored(rig)).toEqual([1, 2, 0, 0])
  expect(rig.counters.get('duplicates')).toBe(1)
})

test('of a batch what is new is stored, and the others are named, also those within it', () => {
  const rig = withTopic()
  publish(rig, [1, 2])
  expect(publish(rig, [3, 1, 0, 4, 3, 2])).toEqual({
    first_seq: 3,
    last_seq: 5,
    count: 3,
    duplicates: [
      [1, 1],
      [4, 3],
      [5, 2],
    ],
  })
  expect(stored(rig)).toEqual([1, 2, 3, 0, 4])
  expect(publish(rig, [4, 1])).toEqual({
    first_seq: 6,
    last_seq: 5,
    count: 0,
    duplicates: [
      [0, 5],
      [1, 1],
    ],
  })
  expect(publish(rig, [5, 6])).toEqual({ first_seq: 6, last_seq: 7, count: 2 })
})

test('the window ends, and another topic has another window', () => {
  const rig = withTopic()
  publish(rig, [1])
  rig.nowMs += WINDOW_MS - 1
  expect(publish(rig, [1])).toEqual({ seq: 1, duplicate: true })
  rig.nowMs += 1
  expect(publish(rig, [1])).toEqual({ seq: 2 })
  for (const requestId of ['x', 'y']) rig.publish('plain', [message(1)], { requestId })
  rig.settle()
  expect(rig.shard.topics.named('plain')?.log.lastSeq).toBe(2)
})

test('a successor knows what the log holds of the window', () => {
  const rig = withTopic()
  publish(rig, [1])
  rig.nowMs += 500
  publish(rig, [2])
  rig.restart()
  rig.nowMs += 600
  expect(publish(rig, [2])).toEqual({ seq: 2, duplicate: true })
  expect(publish(rig, [1])).toEqual({ seq: 3 })
})

test('an ack that names thousands of duplicates comes whole', () => {
  const rig = withTopic()
  const many = Array.from({ length: 3000 }, (_, index): Message => {
    const bytes = Buffer.alloc(16)
    bytes.writeInt32BE(index)
    return [1, Buffer.from('1'), bytes]
  })
  rig.publish('a', many, { requestId: 'first' })
  rig.settle()
  for (const format of [0, 1] as const) rig.publish('a', many, { requestId: 'again', format })
  rig.publish('a', many, { isHttp: true, session: 5 })
  const records = rig.settle()
  const results = acksOf(records).flatMap(({ values }) => values)
  expect(results).toHaveLength(2)
  for (const result of results) {
    const { duplicates } = (Array.isArray(result) ? result[3] : result) as {
      duplicates: number[][]
    }
    expect([duplicates.length, duplicates[2999]]).toEqual([3000, [2999, 3000]])
  }
  expect(only(replies(records)).body).toMatchObject({ status: 'published', count: 0 })
})

test('whenever the shard dies, each id is stored once and every ack tells the truth', async () => {
  const stepper = await loadStepped()
  const play = (crashAt: number): boolean => {
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    const rig = withTopic(stepper.Shard)
    publish(rig, [1, 2])
    const records = [[3, 1, 0, 4, 3], [1], [5], [5, 6], [2, 1]]
    for (const [index, numbers] of records.entries()) {
      rig.publish('a', numbers.map(message), { requestId: `r${index}` })
    }
    stepper.crashAfter(crashAt)
    const hasDied = settleThroughDeath(stepper, rig)
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    const acks = acksOf(rig.taken).flatMap(
      ({ values }) => values as [number, string, string, object][],
    )
    const results = new Map(acks.map(([, requestId, , result]) => [requestId, result]))
    expect(acks.filter(([, requestId]) => requestId !== 'r')).toHaveLength(records.length)
    expect(stored(rig)).toEqual([1, 2, 3, 0, 4, 5, 6])
    const inRecord = { first_seq: 3, last_seq: 5, count: 3 }
    expect(results.get('r0')).toMatchObject({
      ...inRecord,
      duplicates: [
        [1, 1],
        [4, 3],
      ],
    })
    expect(results.get('r1')).toMatchObject({ seq: 1, duplicate: true })
    expect(results.get('r2')).toMatchObject({ seq: 6 })
    expect(results.get('r3')).toMatchObject({ first_seq: 7, last_seq: 7, duplicates: [[0, 6]] })
    expect(results.get('r4')).toMatchObject({
      count: 0,
      duplicates: [
        [0, 2],
        [1, 1],
      ],
    })
    return hasDied
  }
  let deaths = 0
  for (let crashAt = 0; play(crashAt); crashAt += 7) deaths++
  expect(deaths).toBeGreaterThan(50)
}, 60_000)
