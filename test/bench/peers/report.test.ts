import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Comparison, type Outcome, verdict } from '../../../bench/peers/compare.js'
import { pictureIn, withTables } from '../../../bench/peers/document.js'
import { figuresOf, latencyRatio, rateRatio } from '../../../bench/peers/figures.js'
import { plot } from '../../../bench/peers/plot.js'
import { markdown, type PeerReport } from '../../../bench/peers/report.js'
import { PEER_SCENARIOS } from '../../../bench/peers/scenarios.js'
import type { RunResult } from '../../../bench/peers/session.js'

const RESULT: RunResult = {
  deliveredPerSecond: 1000,
  published: 1000,
  expected: 1000,
  received: 1000,
  lost: 0,
  announced: 0,
  repeated: 0,
  outOfOrder: 0,
  latency: { p50: 1, p99: 2, p999: 3, max: 4 },
  isOverrun: false,
  lagP99Ms: 1,
  serverCpu: 0.5,
  publisherCpu: 0.25,
  subscriberCpu: 0.95,
  otherCpu: 0,
}

function outcome(rate: number, changes: Partial<RunResult> = {}): Outcome {
  return { rate, result: { ...RESULT, deliveredPerSecond: rate, ...changes } }
}

function comparison(system: string, outcomes: Comparison['outcomes']): Comparison {
  return { system, title: `the ${system}`, versions: `${system} 1.0`, configuration: '', outcomes }
}

const OURS = comparison('ringcast', {
  'one-to-one': [outcome(300_000), outcome(200_000), outcome(900_000)],
  'medium-5k': [outcome(25_000)],
})
const FAST = comparison('fast <&>', {
  'one-to-one': [outcome(600_000), outcome(500_000), outcome(700_000)],
  'medium-5k': [outcome(25_000, { latency: { p50: 1, p99: 1, p999: 1, max: 1 } })],
})
const LOSSY = comparison('lossy', {
  'one-to-one': [outcome(800_000, { lost: 7 }), outcome(100_000), outcome(800_000, { lost: 1 })],
  'medium-5k': [{ rate: 0, failure: 'the server ended\nand its last words' }],
})
const ABSENT = { ...comparison('absent', {}), leftOut: 'not installed: absentd' }
const REPORT: PeerReport = {
  machine: {
    cpu: 'a CPU',
    cores: 2,
    memoryMb: 1,
    kernel: '1',
    node: 'v20',
    commit: 'abc',
    startedAt: '2026-01-02T03:04:05Z',
  },
  runs: 3,
  seconds: 2,
  scenarios: PEER_SCENARIOS.filter(({ name }) => name === 'one-to-one' || name === 'medium-5k'),
  comparisons: [OURS, FAST, LOSSY, ABSENT],
}

test('figuresOf() takes medians, and a run that lost something counts as zero', () => {
  const rates = figuresOf(REPORT.comparisons, 'one-to-one').map(({ rate }) => rate)
  expect(rates).toEqual([300_000, 600_000, 0, Number.NaN])
})

test('ratios are above 1 where ringcast is ahead, for rates and for latencies', () => {
  const byRate = figuresOf(REPORT.comparisons, 'one-to-one')
  expect(byRate.map((figure) => rateRatio(byRate, figure))).toEqual([
    1,
    0.5,
    Number.NaN,
    Number.NaN,
  ])
  const byLatency = figuresOf(REPORT.comparisons, 'medium-5k')
  expect(byLatency.map((figure) => latencyRatio(byLatency, figure))).toEqual([
    1,
    0.5,
    Number.NaN,
    Number.NaN,
  ])
})

test('markdown() shows every system: what lost, what failed and what was left out as well', () => {
  const lines = markdown(REPORT).split('\n')
  const row = (start: string, nth = 0) => lines.filter((line) => line.startsWith(start))[nth]
  expect(row('| the ringcast')).toContain('| 300 000 |  | 300, 200, 900 |')
  expect(row('| the fast')).toContain('| 600 000 | ×0.50 | 600, 500, 700 |')
  expect(row('| the lossy')).toContain('8 lost')
  expect(row('| the lossy', 1)).toContain('failed: the server ended')
  expect(row('| the absent')).toContain('left out: not installed: absentd')
})

test('plot() draws a bar for every figure, and is well-formed', () => {
  const svg = plot(REPORT)
  expect(svg.match(/rx="2"/g)).toHaveLength(8)
  expect(svg).toContain('fast &lt;&amp;&gt;')
  expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  expect(svg).toContain('left out')
  expect(svg.match(/<text/g)?.length).toBe(svg.match(/<\/text>/g)?.length)
})

test.each([
  ['holds', {}, true],
  ['has lost something', { lost: 1 }, false],
  ['has repeated something', { repeated: 1 }, false],
  ['was given up', { isOverrun: true }, false],
  ['was too slow', { deliveredPerSecond: 900 }, false],
  ['was too late', { latency: { p50: 1, p99: 5, p999: 6, max: 7 } }, false],
] as const)('verdict() of a rate that %s', (_, changes, holds) => {
  expect(verdict({ ...RESULT, ...changes }, 1000).holds).toBe(holds)
})

test('PERFORMANCE.md has a place for the tables, and only that is replaced', () => {
  const before = readFileSync(new URL('../../../PERFORMANCE.md', import.meta.url), 'utf8')
  const after = withTables(before, 'the tables')
  expect(withTables(after, 'others')).not.toContain('the tables')
  const outside = (text: string) => text.split(/<!-- PEERS: \w+\..*-->/).filter((_, i) => i !== 1)
  expect(outside(after)).toEqual(outside(before))
  expect(() => withTables('no markers', 'the tables')).toThrow('PEERS: begin')
})

test('pictureIn() leads from the document to the picture', () => {
  expect(pictureIn('a/PERFORMANCE.md', 'a/docs/plots/peers.svg')).toContain(
    '(docs/plots/peers.svg)',
  )
})
