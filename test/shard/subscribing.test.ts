/**
 * Subscriptions as the shard sees them: of patterns, and from where on.
 * Runs on: the test thread.
 */
import { describe, expect, test } from 'vitest'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { range } from '../gateway/rig.js'
import { notices, only, ShardRig, seqsOf } from './shard-rig.js'

const KiB = 1024

describe('patterns', () => {
  test('a pattern is told of every topic that matches, and where it is', () => {
    const rig = new ShardRig()
    rig.publishNumbers('a.1', [1, 2])
    rig.publishNumbers('a.2', [1])
    rig.publishNumbers('b', [1])
    const records = rig.subscribePattern(3, 'a.*')
    expect(notices(records, 'attach').map(({ topic, patternIds }) => [topic, patternIds])).toEqual([
      ['a.1', [3]],
      ['a.2', [3]],
    ])
    expect(notices(records, 'match')).toMatchObject([
      { patternId: 3, startSeq: 3, lastSeq: 2, recovered: null },
      { patternId: 3, startSeq: 2, lastSeq: 1, recovered: null },
    ])
    expect(records.at(-1)).toMatchObject({ notice: { op: 'patternSubscribed' } })
    rig.publishNumbers('a.2', [2])
    rig.publishNumbers('b', [2])
    expect(seqsOf(rig.settle())).toEqual([2])
  })

  test('a topic made later is attached from its first entry', () => {
    const rig = new ShardRig()
    rig.subscribePattern(3, '*.x', JSON_TEXT)
    rig.publishNumbers('a.x', [1])
    const records = rig.settle()
    expect(only(notices(records, 'attach'))).toMatchObject({ lastSeq: 0, patternIds: [3] })
    expect(seqsOf(records)).toEqual([1])
  })

  test('a pattern that begins with a wildcard does not match $ topics', () => {
    const rig = new ShardRig()
    rig.subscribe('$sys.x')
    const records = rig.subscribePattern(1, '#')
    expect(notices(records, 'match')).toEqual([])
    expect(notices(rig.subscribePattern(2, '$sys.#'), 'match')).toHaveLength(1)
  })

  test('a dropped pattern makes no more EVENTS, and its place is free again', () => {
    const rig = new ShardRig()
    for (const id of range(1, 4)) rig.subscribePattern(id, `${id}.*`)
    const refused = rig.subscribePattern(5, 'one.too.many')
    expect(only(notices(refused, 'refused')).message).toContain('MAX_PATTERNS')
    rig.publishNumbers('2.x', [1])
    rig.settle()
    rig.send({ op: 'dropPattern', patternId: 2 })
    rig.publishNumbers('2.x', [2])
    expect(rig.settle()).toEqual([])
    expect(notices(rig.subscribePattern(5, '2.#'), 'match')).toMatchObject([{ startSeq: 3 }])
  })

  test('a dropped pattern leaves what others want', () => {
    const rig = new ShardRig()
    rig.subscribePattern(1, 'a.*')
    rig.subscribePattern(2, 'a.#')
    rig.subscribe('a.1')
    rig.send({ op: 'dropPattern', patternId: 1 })
    rig.publishNumbers('a.1', [1])
    rig.publishNumbers('a.2', [1])
    expect(seqsOf(rig.settle())).toEqual([1, 1])
  })

  test('a pattern of many topics is told of all of them through a small ring', () => {
    const rig = new ShardRig({ plan: { ringBytes: 64 * KiB } })
    for (const n of range(0, 199)) {
      rig.publishNumbers(`${n}${'n'.repeat(250)}`, [n])
      rig.settle()
    }
    rig.publishNumbers('late', [0])
    const records = rig.subscribePattern(1, '#', MSGPACK, { from: 'lastN', count: 1 })
    expect(notices(records, 'match').map(({ startSeq }) => startSeq)).toEqual(
      Array.from({ length: 201 }, () => 1),
    )
    expect(only(notices(records, 'patternSubscribed'))).toBeDefined()
  })
})

describe('where a subscription starts', () => {
  const filled = () => {
    const rig = new ShardRig({ shard: { retention: { count: 10, bytes: 64 * KiB, ageMs: 0 } } })
    for (const n of range(1, 20)) {
      rig.nowMs += 1000
      rig.publishNumbers('a', [n])
      rig.settle()
    }
    return rig // Holds 11 … 20.
  }
  const epoch = 'epoch-0000000001'

  test.each([
    [{ from: 'live' }, 21, null],
    [{ from: 'lastN', count: 3 }, 18, null],
    [{ from: 'lastN', count: 1000 }, 11, null],
    [{ from: 'seq', seq: 15, epoch }, 15, true],
    [{ from: 'seq', seq: 15, epoch: null }, 15, true],
    [{ from: 'seq', seq: 11, epoch }, 11, true],
    [{ from: 'seq', seq: 21, epoch }, 21, true],
    [{ from: 'seq', seq: 22, epoch }, 11, false],
    [{ from: 'seq', seq: 10, epoch }, 11, false],
    [{ from: 'seq', seq: 15, epoch: 'another' }, 11, false],
    [{ from: 'time', timeMs: 0 }, 11, null],
    [{ from: 'time', timeMs: Date.UTC(2026, 0, 1) + 15_000 }, 15, null],
    [{ from: 'time', timeMs: Date.UTC(2026, 0, 1) + 15_001 }, 16, null],
    [{ from: 'time', timeMs: Date.UTC(2030, 0, 1) }, 21, null],
  ] as const)('%j is seq %i, recovered: %s', (start, startSeq, recovered) => {
    expect(filled().subscribe('a', MSGPACK, start)).toMatchObject({
      epoch,
      startSeq,
      recovered,
      lastSeq: 20,
    })
  })

  test('cursors of a pattern are per topic; a topic without one is new to the client', () => {
    const rig = filled()
    rig.publishNumbers('b', [1])
    rig.publishNumbers('constructor', [1])
    const cursors = { a: { epoch, seq: 14 }, b: { epoch: 'another', seq: 1 } }
    const records = rig.subscribePattern(1, '*', MSGPACK, { from: 'cursors', cursors })
    expect(notices(records, 'match')).toMatchObject([
      { startSeq: 14, recovered: true },
      { startSeq: 1, recovered: false },
      { startSeq: 1, recovered: true },
    ])
  })

  test('a topic without a cursor whose first entries are gone was not recovered', () => {
    const rig = filled()
    const records = rig.subscribePattern(1, '*', MSGPACK, { from: 'cursors', cursors: {} })
    expect(notices(records, 'match')).toMatchObject([{ startSeq: 11, recovered: false }])
  })

  test('what was stored before the subscribe goes out before it, what comes after it follows', () => {
    const rig = new ShardRig()
    rig.subscribe('a')
    rig.publishNumbers('a', [1])
    rig.send({ op: 'subscribe', token: 9, topic: 'a', format: MSGPACK, start: { from: 'live' } })
    rig.publishNumbers('a', [2])
    const records = rig.settle()
    const kinds = records.map((record) =>
      record.kind === 'control' ? record.notice.op : seqsOf([record]),
    )
    expect(kinds).toEqual([[1], 'subscribed', [2]])
  })
})
