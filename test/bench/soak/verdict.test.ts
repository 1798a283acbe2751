import { expect, test } from 'vitest'
import { QUANTITIES, type Quantities, type QuantityName } from '../../../bench/soak/quantities.js'
import { judge, type Outcome, reportText } from '../../../bench/soak/verdict.js'
import { resultOf } from '../results.js'

const LOAD = resultOf([1, 2, 3], {
  deliveredPerSecond: 10_000,
  published: 600_000,
  expected: 600_000,
  received: 600_000,
  rssMb: 150,
  rssPeakMb: 160,
})
const CHURN = {
  connections: 1200,
  destroyed: 600,
  subscribes: 4800,
  unsubscribes: 2400,
  publishes: 2400,
  events: 100_000,
  topicsCreated: 300,
  topicsDeleted: 300,
  failures: 0,
  reasons: [],
}
const quiet = Object.fromEntries(
  Object.keys(QUANTITIES).map((name) => [name, 10]),
) as unknown as Quantities

function outcome(minutes: number, changes: Partial<Outcome> = {}): Outcome {
  return {
    minutes,
    before: quiet,
    samples: series(minutes, () => ({})),
    after: quiet,
    load: LOAD,
    churn: CHURN,
    probes: { refused: 0, lost: 0 },
    ...changes,
  }
}

function series(minutes: number, at: (minute: number) => Partial<Record<QuantityName, number>>) {
  return Array.from({ length: minutes * 30 }, (_, n) => ({
    minutes: n / 30,
    ...quiet,
    ...at(n / 30),
  }))
}

test('judge() has nothing to say against a run in which nothing happened', () => {
  const good = outcome(30)
  expect(judge(good).complaints).toEqual([])
  expect(reportText(good, judge(good))).toMatch(
    /\| threads \| 10 \| .* flat within noise \|.*PASSED$/s,
  )
})

test.each(Object.keys(QUANTITIES) as QuantityName[])(
  'judge() complains of %s that grows',
  (name) => {
    const growing = outcome(30, {
      samples: series(30, (minute) => ({ [name]: 10 + minute * 20 * QUANTITIES[name].tolerance })),
    })
    expect(judge(growing).complaints).toEqual([`${QUANTITIES[name].name} grows`])
  },
)

test('judge() does not judge trends of short runs', () => {
  const samples = series(19, (minute) => ({ rssMb: 100 * minute }))
  expect(judge(outcome(19, { samples })).complaints).toEqual([])
})

test.each([
  ['a loss nobody announced', { load: { ...LOAD, lost: 2, announced: 1 } }, /2 messages lost, 1/],
  ['repeats', { load: { ...LOAD, repeated: 1 } }, /1 messages repeated/],
  ['disorder', { load: { ...LOAD, outOfOrder: 1 } }, /out of order/],
  ['too much memory', { load: { ...LOAD, rssPeakMb: 501 } }, /RSS reached 501 MB/],
  ['a lost probe', { probes: { refused: 0, lost: 1 } }, /1 probes lost/],
  ['churn that failed', { churn: { ...CHURN, failures: 1, reasons: ['why'] } }, /churn: why/],
  ['a connection left over', { after: { ...quiet, connections: 11 } }, /connections: 10 .* 11/],
  ['an open file left over', { after: { ...quiet, openFiles: 11 } }, /open files/],
] satisfies [string, Partial<Outcome>, RegExp][])(
  'judge() complains of %s, however short the run',
  (_, changes, complaint) => {
    const { complaints } = judge(outcome(1, changes))
    expect(complaints).toHaveLength(1)
    expect(complaints[0]).toMatch(complaint)
  },
)

test('judge() accepts a loss that was announced, and counts below those of the start', () => {
  const announced = outcome(1, {
    load: { ...LOAD, lost: 2, announced: 2 },
    after: { ...quiet, openFiles: 9 },
  })
  expect(judge(announced).complaints).toEqual([])
})
