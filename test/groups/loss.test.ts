/** What a group lost is told to its members, whenever the shard dies. */
import { beforeAll, expect, test } from 'vitest'
import type { ControlNotice } from '../../src/ring/record.js'
import { deliveries, notices, only, replies, ShardRig } from '../shard/shard-rig.js'
import { Crash, loadStepped, type Stepper } from '../shard/stepped.js'

const HISTORY_SIZE = 5
const PUBLISHED = 20
const NEVER = Number.POSITIVE_INFINITY
/** A death at every third statement; RECOVERY_EVERY=1 for all of them. */
const EVERY = Number(process.env['RECOVERY_EVERY'] ?? 3)

type Gap = Extract<ControlNotice, { op: 'groupGap' }>

let stepper: Stepper

beforeAll(async () => {
  stepper = await loadStepped()
})

function rigWith(historySize: number): ShardRig {
  const rig = new ShardRig({ shardClass: stepper.Shard })
  rig.ask({ op: 'create', topic: 't', options: { history_size: historySize } } as never)
  return rig
}

const gapsOf = (rig: ShardRig): Gap[] => notices(rig.taken, 'groupGap')

function lostCount(rig: ShardRig): unknown {
  const action = { do: 'info', group: 'g' }
  return only(replies(rig.ask({ op: 'group', topic: 't', action } as never))).body['lost']
}

/** A group of a member that has one message, and loses others while the shard dies at `crashAt`. */
function lose(crashAt: number): { rig: ShardRig; hasDied: boolean } {
  stepper.crashAfter(NEVER)
  const rig = rigWith(HISTORY_SIZE)
  rig.join(1, 'g', { maxInFlight: 1 })
  rig.publishNumbers('t', [1, 2, 3])
  rig.settle()
  stepper.crashAfter(crashAt)
  let hasDied = false
  const go = (act: () => void) => {
    act()
    for (;;) {
      try {
        rig.settle()
        return
      } catch (error) {
        if (!(error instanceof Crash)) throw error
        hasDied = true
        stepper.crashAfter(NEVER)
        rig.take()
        rig.restart()
      }
    }
  }
  for (let seq = 4; seq <= PUBLISHED; seq += 4) {
    go(() =>
      rig.publishNumbers(
        't',
        [seq, seq + 1, seq + 2, seq + 3].filter((number) => number <= PUBLISHED),
      ),
    )
  }
  stepper.crashAfter(NEVER)
  return { rig, hasDied }
}

test('whenever the shard dies, a GAP is told, at least once and about nothing that was not lost', () => {
  const told = lose(NEVER)
  const whole = gapsOf(told.rig)
  const lastLost = PUBLISHED - HISTORY_SIZE
  expect(whole.map(({ fromSeq, toSeq }) => [fromSeq, toSeq])).toEqual([
    [2, 2],
    [3, 6],
    [7, 10],
    [11, 14],
    [15, 15],
  ])
  expect(whole.reduce((sum, { dropped }) => sum + dropped, 0)).toBe(lastLost - 1)
  let deaths = 0
  for (let crashAt = 0; ; crashAt += EVERY) {
    const { rig, hasDied } = lose(crashAt)
    if (!hasDied) break
    deaths++
    const missing = new Set(Array.from({ length: lastLost - 1 }, (_, index) => index + 2))
    let dropped = 0
    for (const gap of gapsOf(rig)) {
      expect(gap.fromSeq).toBeGreaterThanOrEqual(2)
      expect(gap.toSeq).toBeLessThanOrEqual(lastLost)
      expect(gap.dropped).toBe(gap.toSeq - gap.fromSeq + 1)
      for (let seq = gap.fromSeq; seq <= gap.toSeq; seq++) missing.delete(seq)
      dropped += gap.dropped
    }
    expect([...missing], `not told after a death at ${crashAt}`).toEqual([])
    // One loss at most is told again.
    expect(dropped).toBeLessThanOrEqual(lastLost - 1 + 4)
  }
  expect(deaths).toBeGreaterThan(500 / EVERY)
}, 120_000)

test('a loss that nobody was there for is told to the first that joins, also by a successor', () => {
  stepper.crashAfter(NEVER)
  const rig = rigWith(HISTORY_SIZE)
  rig.join(1, 'g')
  rig.send({ op: 'leave', member: 1 })
  rig.publishNumbers('t', [1, 2, 3, 4])
  rig.settle()
  rig.publishNumbers('t', [5, 6, 7])
  rig.settle()
  rig.publishNumbers('t', [8])
  rig.settle()
  expect(gapsOf(rig)).toEqual([])
  expect(lostCount(rig)).toBe(3)
  rig.restart()
  const records = rig.join(2, 'g')
  const groupId = only(notices(records, 'joined')).groupId
  const gap = { op: 'groupGap', groupId, fromSeq: 1, toSeq: 3, dropped: 3 }
  expect(notices(records, 'groupGap')).toEqual([gap])
  expect(deliveries(records).flatMap(({ seqs }) => seqs)).toEqual([4, 5, 6, 7, 8])
  rig.restart()
  expect(notices(rig.join(3, 'g'), 'groupGap')).toEqual([]) // It was told.
})

test('a group that begins elsewhere and loses the same seqs again is told again', () => {
  stepper.crashAfter(NEVER)
  const rig = rigWith(HISTORY_SIZE)
  rig.join(1, 'g', { maxInFlight: 1 })
  const lost = [1, 2, 3].map((round) => {
    const first = (round - 1) * 8 + 1
    rig.publishNumbers(
      't',
      Array.from({ length: HISTORY_SIZE }, (_, index) => first + index),
    )
    rig.settle()
    return gapsOf(rig).length
  })
  expect(lost).toEqual([0, 1, 2])
  const before = lostCount(rig)
  const action = { do: 'reset', group: 'g', start: { from: 'seq', seq: 11, epoch: null } }
  rig.ask({ op: 'group', topic: 't', action } as never)
  rig.publishNumbers('t', [1, 2, 3])
  rig.settle()
  const last = gapsOf(rig).at(-1)
  expect(last).toMatchObject({ fromSeq: 12, toSeq: 13, dropped: 2 })
  expect(lostCount(rig)).toBe((before as number) + 2)
})
