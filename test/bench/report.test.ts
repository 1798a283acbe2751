import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { compareResults, comparisonText } from '../../bench/report/compare.js'
import { hgrmText } from '../../bench/report/hgrm.js'
import { htmlReport } from '../../bench/report/html.js'
import { figureOf, isMet, parseCondition } from '../../bench/report/metrics.js'
import { metConditions, writeFiles } from '../../bench/report/output.js'
import { ProgressLine } from '../../bench/report/progress-line.js'
import { readResults } from '../../bench/report/results-file.js'
import { linearAxis, svgChart } from '../../bench/report/svg-chart.js'
import { courseOf, fileOf, PLAN, resultOf } from './results.js'

const THOUSAND = Array.from({ length: 1000 }, (_, i) => (i + 1) / 100)

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ringcast-report-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

describe('conditions', () => {
  test.each([
    ['p99>5ms', 'p99', '>', 5],
    ['p50 >= 200 µs', 'p50', '>=', 0.2],
    ['p999<1500us', 'p999', '<', 1.5],
    ['max<=1.5s', 'max', '<=', 1500],
    ['p90>1\u03bcs', 'p90', '>', 0.001],
    ['rate<50000', 'rate', '<', 50_000],
    ['lost>0', 'lost', '>', 0],
  ])('%s', (text, metric, operator, limit) => {
    const condition = parseCondition(text)
    expect(condition).toMatchObject({ metric, operator })
    expect(condition.limit).toBeCloseTo(limit, 9)
  })

  test.each([
    ['p99', /no condition such as/],
    ['p99=5ms', /no condition such as/],
    ['p99>-5ms', /no condition such as/],
    ['p98>5ms', /"p98" is none of rate, p50/],
    ['toString>5ms', /is none of/],
    ['p99>5', /p99 takes one of µs, us, ms, s/],
    ['p99>5m', /p99 takes one of/],
    ['rate<5ms', /rate takes no unit/],
  ])('%s is refused, and it is said why', (text, reason) => {
    expect(() => parseCondition(text)).toThrow(reason)
  })

  test('isMet() looks at the median of runs, at the sum of losses, and fails without a run', () => {
    const runs = [resultOf([1]), resultOf([9], { lost: 1 }), resultOf([2], { lost: 1 })]
    expect(figureOf('p99', runs)).toBeCloseTo(2, 1)
    expect(isMet(parseCondition('p99>3ms'), runs)).toBe(false)
    expect(isMet(parseCondition('p99>1.5ms'), runs)).toBe(true)
    expect(isMet(parseCondition('lost>=2'), runs)).toBe(true)
    expect(isMet(parseCondition('p99>3ms'), [])).toBe(true)
  })

  test('metConditions() leaves void runs out, but not what they lost', () => {
    const file = fileOf([resultOf([1]), resultOf([50], { voidReason: 'busy', lost: 3 })])
    const met = (text: string) => metConditions(file, 'ringcast', [parseCondition(text)])
    expect(met('p99>10ms')).toEqual([])
    expect(met('lost>0')).toEqual(['plain: lost>0, it is 3'])
  })
})

describe('compareResults()', () => {
  test('gives ratios of medians, and says what is better', () => {
    const before = fileOf([resultOf([2]), resultOf([4]), resultOf([100])])
    const after = fileOf([resultOf([2], { deliveredPerSecond: 1500, repeated: 2 })])
    const [{ name, rows, warnings } = { name: '', rows: [], warnings: [] }, ...others] =
      compareResults(before, after)
    expect([name, warnings, others]).toEqual(['plain / ringcast', [], []])
    const byMetric = Object.fromEntries(rows.map((row) => [row.metric, row]))
    expect(byMetric['rate']).toMatchObject({ before: 1000, after: 1500, ratio: 1.5 })
    expect(byMetric['rate']?.verdict).toBe('better')
    expect(byMetric['p99']?.ratio).toBeCloseTo(0.5, 2)
    expect(byMetric['p99']?.verdict).toBe('better')
    expect(byMetric['repeated']).toMatchObject({ before: 0, after: 2, verdict: 'worse' })
    expect(byMetric['repeated']?.ratio).toBeNaN()
    expect(byMetric['lost']).toMatchObject({ ratio: 1, verdict: 'same' })
  })

  test('warns when machines or plans differ, and of void runs; not of topic prefixes', () => {
    const before = fileOf([resultOf([1], { voidReason: 'busy' })])
    const machine = { ...before.machine, cores: 64, commit: 'other', startedAt: 'later' }
    const plan = { ...PLAN, batch: 64, topicPrefix: 'bench-abc' }
    const systems = [{ system: 'ringcast', runs: [resultOf([1])], failures: [] }]
    const after = fileOf([], { machine, results: [{ scenario: { name: 'plain', plan }, systems }] })
    expect(compareResults(before, after)[0]?.warnings).toEqual([
      'machines differ: cores 2 → 64',
      'plans of plain / ringcast differ: batch 1 → 64',
      '1 of 1 runs of plain / ringcast (before) are void',
    ])
    expect(comparisonText(compareResults(before, after))).toMatch(/^warning: machines differ/)
  })

  test('throws when there is nothing in common', () => {
    expect(() => compareResults(fileOf([resultOf([1])]), fileOf([]))).toThrow(/in common/)
  })
})

test('hgrmText() is the distribution that plotters take, of all runs together', () => {
  const runs = [resultOf(THOUSAND), resultOf(THOUSAND)]
  const lines = hgrmText(runs.map(({ latencies }) => latencies)).split('\n')
  expect(lines[0]).toMatch(/^\s+Value\s+Percentile\s+TotalCount\s+1\/\(1-Percentile\)$/)
  const rows = lines.filter((line) => /^\s*[\d.]+\s+[01]\.\d+\s/.test(line))
  const values = rows.map((row) => row.trim().split(/\s+/).map(Number))
  expect(values.at(-1)?.slice(1, 3)).toEqual([1, 2000])
  const median = values.find(([, percentile]) => percentile === 0.5)
  expect(median?.[0]).toBeCloseTo(5, 1)
  expect(lines.some((line) => /^#\[Max {4,}= +10\.0/.test(line))).toBe(true)
})

describe('htmlReport()', () => {
  const file = fileOf([resultOf(THOUSAND, { course: courseOf([900, 1000, 1100]) })])
  const html = htmlReport(file)

  test('is one file: it loads nothing and runs nothing', () => {
    expect(html).toMatch(/^<!doctype html>/)
    expect(html).not.toMatch(/https?:|url\(|<script|<link|<img|@import|src=|href=/i)
  })

  test('has the circumstances, the verdict and the configuration, escaped', () => {
    for (const text of ['A &lt;fast&gt; one', 'abc1234', 'v20.1.0', '9.9.9', 'WORKERS']) {
      expect(html).toContain(text)
    }
    expect(html).toContain('ringcast: every message came once and in order')
    const bad = htmlReport(fileOf([resultOf([1], { lost: 2, voidReason: 'too <busy>' })]))
    expect(bad).toContain('2 lost (0 announced)')
    expect(bad).toContain('void: too &lt;busy&gt;')
  })

  test('draws the percentiles and every series of the course, with a point for each second', () => {
    const titles = [...html.matchAll(/<figcaption>(.*?)<\/figcaption>/g)].map(([, title]) => title)
    expect(titles).toEqual([
      'Latency by percentile',
      'Latency over time',
      'Throughput over time',
      'CPU over time',
      'Memory over time',
      'Event-loop delay, longest of each second',
      'Garbage collection, longest pause of each second',
    ])
    const figure = html.split('<figure>')[3] as string
    const [delivered, published] = [...figure.matchAll(/<polyline .*?points="(.*?)"/g)].map(
      ([, points]) => (points as string).split(' '),
    )
    expect([delivered?.length, published?.length]).toEqual([3, 3])
    const heights = delivered?.map((point) => Number(point.split(',')[1])) as number[]
    expect(heights[0]).toBeGreaterThan(heights[2] as number) // 900 is below 1100 on the page.
  })
})

test('svgChart() draws a hole where there is no value, and marks a point that stands alone', () => {
  const points = [
    [0, 1],
    [1, Number.NaN],
    [2, 3],
    [3, 4],
  ] as const
  const axis = linearAxis('x', [0, 4])
  const svg = svgChart({ title: 't', x: axis, y: axis, series: [{ name: 's', points }] })
  expect(svg.match(/<circle/g)).toHaveLength(1)
  expect(svg.match(/<polyline/g)).toHaveLength(1)
})

test('linearAxis() ends at a round number above the highest value', () => {
  expect(linearAxis('', [0, 47]).ticks.map(([, text]) => text)).toEqual([
    '0',
    '10',
    '20',
    '30',
    '40',
    '50',
  ])
  expect(linearAxis('', [0, 0]).ticks.length).toBeGreaterThan(1)
})

test('writeFiles() writes what is asked for, and readResults() reads it back', () => {
  const [path, other] = [folder(), fileOf([resultOf([1]), resultOf([2])])]
  const json = join(path, 'a.json')
  const [scenario] = other.results
  const two = {
    ...other,
    results: [scenario, { ...scenario, scenario: { name: 'b', plan: PLAN } }],
  }
  writeFiles(two as typeof other, {
    json,
    hgrm: join(path, 'a.hgrm'),
    html: join(path, 'a.html'),
  })
  expect(readdirSync(path).sort()).toEqual([
    'a-b-ringcast.hgrm',
    'a-plain-ringcast.hgrm',
    'a.html',
    'a.json',
  ])
  expect(readResults(json)).toEqual(JSON.parse(JSON.stringify(two)))
  expect(readFileSync(join(path, 'a-b-ringcast.hgrm'), 'utf8')).toContain('Percentile')
  writeFileSync(json, '{"a": 1}')
  expect(() => readResults(json)).toThrow(/not written by a benchmark/)
  expect(() => readResults(join(path, 'none'))).toThrow(/ENOENT/)
})

test('ProgressLine is one line on a terminal, and one each ten seconds elsewhere', () => {
  const course = courseOf(Array.from({ length: 22 }, () => 1000))
  const written = (isTTY: boolean) => {
    const texts: string[] = []
    const line = new ProgressLine({ isTTY, write: (text: string) => texts.push(text) }, '', 20)
    for (const point of course) line.update(point)
    line.end()
    return texts
  }
  expect(written(false)).toEqual([
    expect.stringMatching(/^10\/20 s {2}1,000\/s {2}p99 12\.00 ms.*\n$/),
    expect.stringMatching(/^20\/20 s .*\n$/),
  ])
  const terminal = written(true)
  expect(terminal).toHaveLength(23)
  expect(terminal[0]).toMatch(/^\rwarm-up {2}1,000\/s/)
  expect(terminal.join('')).not.toContain('\n')
})
