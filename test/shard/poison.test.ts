/**
 * Records that kill their shard: set aside the second time, and nothing else suffers.
 * Runs on: the test thread; the test is the supervisor that starts the next shard.
 */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { AckWriter } from '../../src/shard/acks.js'
import { Appender } from '../../src/shard/appender.js'
import { Control } from '../../src/shard/control.js'
import { EventWriter } from '../../src/shard/events.js'
import { makeRig, range } from '../gateway/rig.js'
import { acksOf, notices, only, ShardRig, seqsOf } from './shard-rig.js'

const DEADLY = 666

afterEach(() => vi.restoreAllMocks())

/** Runs the shard, and a new one each time it dies. Returns how often it did. */
function settleWithDeaths(rig: ShardRig): number {
  let isDead = false
  for (let deaths = 0; deaths < 20; deaths++) {
    try {
      if (isDead) rig.restart()
      isDead = false
      rig.settle()
      return deaths
    } catch {
      isDead = true // Or still: it may have died before it was born.
    }
  }
  throw new Error('the shard dies for ever')
}

/** Publishing the deadly number throws, `times` times. */
function deadlyPublish(times: number): void {
  const { append } = Appender.prototype
  let left = times
  vi.spyOn(Appender.prototype, 'append').mockImplementation(function (this: Appender, ...args) {
    const [topic] = args
    if (topic.name === 'deadly' && left-- > 0) throw new Error('deadly')
    return append.apply(this, args)
  })
}

describe('a publish that kills its shard', () => {
  test('twice is refused with INTERNAL; those before and after it are stored and acked once', () => {
    deadlyPublish(Number.POSITIVE_INFINITY)
    const rig = new ShardRig()
    rig.subscribe('a')
    for (const n of range(1, 3)) rig.publishNumbers('a', [n], { requestId: `${n}` })
    rig.publishNumbers('deadly', [DEADLY], { requestId: 'deadly' })
    for (const n of range(4, 6)) rig.publishNumbers('a', [n], { requestId: `${n}` })
    expect(settleWithDeaths(rig)).toBe(2)
    const answers = acksOf(rig.taken).flatMap(({ values }) => values as unknown[][])
    expect(answers.map(([op, id, third]) => [op, id, third])).toEqual([
      [33, '1', 'a'],
      [33, '2', 'a'],
      [33, '3', 'a'],
      [35, 'deadly', 'INTERNAL'],
      [33, '4', 'a'],
      [33, '5', 'a'],
      [33, '6', 'a'],
    ])
    expect(answers.map((answer) => (answer[3] as { seq?: number }).seq)).toEqual([
      1,
      2,
      3,
      undefined,
      4,
      5,
      6,
    ])
    expect(rig.counters.get('recordsSetAside')).toBe(1)
    expect(only(notices(rig.taken, 'attach').slice(1))).toMatchObject({ topic: 'a' })
    // It may be published again, and is set aside again.
    rig.publishNumbers('deadly', [DEADLY], { requestId: 'again' })
    expect(settleWithDeaths(rig)).toBe(2)
    expect(rig.counters.get('recordsSetAside')).toBe(2)
  })

  test('once is stored by the successor', () => {
    deadlyPublish(1)
    const rig = new ShardRig()
    rig.publishNumbers('deadly', [DEADLY], { requestId: 'r' })
    expect(settleWithDeaths(rig)).toBe(1)
    expect(only(acksOf(rig.taken)).values).toMatchObject([[33, 'r', 'deadly', { seq: 1 }]])
    expect(rig.counters.get('recordsSetAside')).toBe(0)
  })

  test('by HTTP is refused as an HTTP request', () => {
    deadlyPublish(Number.POSITIVE_INFINITY)
    const rig = new ShardRig()
    rig.publishNumbers('deadly', [DEADLY], { isHttp: true, session: 5, format: JSON_TEXT })
    expect(settleWithDeaths(rig)).toBe(2)
    expect(only(notices(rig.taken, 'refused'))).toMatchObject({ token: 5, replyId: 8 })
  })

  test('beside another such record costs each of them two deaths and no more', () => {
    deadlyPublish(Number.POSITIVE_INFINITY)
    const rig = new ShardRig()
    for (const n of range(1, 3)) rig.publishNumbers('deadly', [n], { requestId: `${n}` })
    expect(settleWithDeaths(rig)).toBe(6)
    const answers = acksOf(rig.taken).flatMap(({ values }) => values as unknown[][])
    expect(answers.map(([op, id]) => [op, id])).toEqual([
      [35, '1'],
      [35, '2'],
      [35, '3'],
    ])
  })
})

test('a clock that throws kills the shard, and no record is blamed for it', () => {
  const rig = new ShardRig()
  rig.publishNumbers('a', [1], { requestId: 'r' })
  let left = 5
  rig.onNow = () => {
    if (left-- > 0) throw new Error('no time')
  }
  expect(settleWithDeaths(rig)).toBe(5)
  expect(only(acksOf(rig.taken)).values).toMatchObject([[33, 'r', 'a', { seq: 1 }]])
  expect(rig.counters.get('recordsSetAside')).toBe(0)
})

test('a request of the HTTP door that kills its shard twice is refused with INTERNAL', () => {
  const { process } = Control.prototype
  vi.spyOn(Control.prototype, 'process').mockImplementation(function (this: Control, ...args) {
    const result = process.apply(this, args)
    if (args[2] === 1) throw new Error('deadly') // The second record of its batch.
    return result
  })
  const rig = new ShardRig()
  rig.publishNumbers('a', [1])
  rig.send({ op: 'info', token: 9, topic: 'a' })
  rig.send({ op: 'interest', topicId: 1, formats: 0 })
  rig.publishNumbers('a', [2], { requestId: 'r' })
  expect(settleWithDeaths(rig)).toBe(2)
  expect(only(notices(rig.taken, 'refused'))).toMatchObject({ token: 9, replyId: 8 })
  expect(only(acksOf(rig.taken)).values).toMatchObject([[33, 'r', 'a', { seq: 2 }]])
})

test('a publish that is stored is acked, although its ack killed the shard three times', () => {
  const { ack } = AckWriter.prototype
  let left = 3
  vi.spyOn(AckWriter.prototype, 'ack').mockImplementation(function (this: AckWriter, ...args) {
    if (left-- > 0) throw new Error('deadly')
    ack.apply(this, args)
  })
  const rig = new ShardRig()
  rig.publishNumbers('a', [1], { requestId: 'r' })
  expect(settleWithDeaths(rig)).toBe(3)
  expect(only(acksOf(rig.taken)).values).toMatchObject([[33, 'r', 'a', { seq: 1 }]])
  expect(rig.counters.get('recordsSetAside')).toBe(0)
})

test('a pull that kills its shard four times is set aside; other pulls of the topic are answered', () => {
  const { write } = EventWriter.prototype
  vi.spyOn(EventWriter.prototype, 'write').mockImplementation(function (
    this: EventWriter,
    ...args
  ) {
    if (args[4].lag === DEADLY) throw new Error('deadly')
    return write.apply(this, args)
  })
  const rig = new ShardRig()
  const { topicId } = rig.subscribe('a')
  rig.publishNumbers('a', [1, 2, 3])
  rig.settle()
  rig.taken.length = 0
  rig.pull({ topicId, fromSeq: 1, lag: DEADLY })
  rig.pull({ topicId, fromSeq: 2, lag: 3 })
  expect(settleWithDeaths(rig)).toBe(4)
  expect(only(notices(rig.taken, 'setAside'))).toEqual({ op: 'setAside', lag: DEADLY })
  expect(seqsOf(rig.taken)).toEqual([2, 3])
})

test('an entry that cannot be written as JSON ends the subscriptions that need it, and no others', () => {
  let deaths = 0
  const rig = makeRig({ onShardDeath: () => void deaths++ })
  const { write } = EventWriter.prototype
  vi.spyOn(EventWriter.prototype, 'write').mockImplementation(function (
    this: EventWriter,
    ...args
  ) {
    const [topic, format, first, last] = args
    const isDeadly = topic.name === 'deadly' && format === JSON_TEXT && first <= 2 && last >= 2
    if (isDeadly) throw new Error('deadly')
    return write.apply(this, args)
  })
  const json = rig.connect(JSON_TEXT)
  const packed = rig.connect(MSGPACK)
  json.subscribe('deadly')
  json.subscribe('a')
  packed.subscribe('deadly')
  rig.settle()
  for (const n of range(1, 3)) packed.publish('deadly', [n], `deadly ${n}`)
  packed.publish('a', [1], 'a 1')
  rig.settle()
  json.publish('a', [2], 'a 2')
  packed.publish('deadly', [4], 'deadly 4')
  rig.settle()

  expect(deaths).toBeGreaterThan(1)
  expect(deaths).toBeLessThan(6)
  for (const n of range(1, 4)) {
    expect(packed.answers(`deadly ${n}`)).toMatchObject([{ type: 'ack', result: { seq: n } }])
  }
  expect(packed.seqs('deadly')).toEqual(range(1, 4))
  expect(json.seqs('a')).toEqual([1, 2])
  expect(json.errorCodes).toEqual(['INTERNAL'])
  expect([...(json.session.subscriptions?.keys() ?? [])]).toEqual(['a'])
  expect(rig.gateway.fanOut.lagCount).toBe(0)
})
