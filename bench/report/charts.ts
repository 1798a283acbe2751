/**
 * The charts of one run: percentiles, and the course of latency, throughput, CPU, memory and threads.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import type { LoadResult } from '../load/coordinator.js'
import type { CoursePoint, Use } from '../load/course.js'
import { mergeLatencies } from '../load/latencies.js'
import { type Axis, type Chart, linearAxis, type Series } from './svg-chart.js'

/** A system and its runs; their latencies are drawn together, their course is that of the last run. */
export interface ChartedRuns {
  readonly system: string
  readonly runs: readonly LoadResult[]
}

const NINES: readonly (readonly [number, string])[] = [
  [0, '0 %'],
  [90, '90 %'],
  [99, '99 %'],
  [99.9, '99.9 %'],
  [99.99, '99.99 %'],
  [99.999, '99.999 %'],
]

/** Latency by percentile, with as much room for each further nine as for the one before. */
export function percentileChart(systems: readonly ChartedRuns[]): Chart {
  const histograms = systems.map(({ system, runs }) => {
    return { system, histogram: mergeLatencies(runs.map(({ latencies }) => latencies)) }
  })
  const most = Math.max(...histograms.map(({ histogram }) => histogram.totalCount))
  // As many nines as there are ten messages behind.
  const nines = Math.min(5, Math.max(1, Math.floor(Math.log10(Math.max(10, most))) - 1))
  const ticks = NINES.slice(0, nines + 1)
  const last = ticks.at(-1)?.[0] ?? 90
  const series = histograms.map(({ system, histogram }) => ({
    name: system,
    points: percentSteps(last).map(
      (percent) => [percent, histogram.getValueAtPercentile(percent) / 1e3] as const,
    ),
  }))
  return {
    title: 'Latency by percentile',
    isWide: true,
    x: { label: 'percentile', ticks, scale: (percent) => -Math.log10(1 - percent / 100) },
    y: msAxis(series),
    series,
  }
}

function percentSteps(last: number): number[] {
  const end = -Math.log10(1 - last / 100)
  return Array.from({ length: 101 }, (_, i) => Math.min(last, 100 * (1 - 10 ** ((-end * i) / 100))))
}

/** What happened second by second. */
export function courseCharts(course: readonly CoursePoint[]): Chart[] {
  const seconds = course.map(({ second }) => second)
  const [first, last] = [seconds[0] ?? 0, (seconds.at(-1) ?? 0) + 1]
  const x = secondsAxis(first, last)
  const shaded = first < 0 ? { shaded: [first, 0] as const } : {}
  const line = (name: string, read: (point: CoursePoint) => number): Series => ({
    name,
    points: course.map((point) => [point.second + 0.5, read(point)]),
  })
  const lines = (kind: keyof Use): Series[] => [
    line('server', ({ server }) => server[kind]),
    line('publishers', ({ publishers }) => publishers[kind]),
    line('subscribers', ({ subscribers }) => subscribers[kind]),
  ]
  const chart = (title: string, y: (series: readonly Series[]) => Axis, series: Series[]) => {
    const filled = series.filter(({ points }) => points.some(([, value]) => !Number.isNaN(value)))
    return { title, x, y: y(filled), series: filled, ...shaded }
  }
  const label = (text: string) => (series: readonly Series[]) => {
    return linearAxis(text, [0, highest(series)])
  }
  return [
    chart('Latency over time', msAxis, [
      line('p50', ({ latency }) => latency?.p50 ?? Number.NaN),
      line('p99', ({ latency }) => latency?.p99 ?? Number.NaN),
      line('max', ({ latency }) => latency?.max ?? Number.NaN),
    ]),
    chart('Throughput over time', label('messages/s'), [
      line('delivered', ({ delivered }) => delivered),
      line('published', ({ published }) => published),
    ]),
    chart('CPU over time', label('cores'), lines('cpu')),
    chart('Memory over time', label('RSS, MB'), lines('rssMb')),
    ...threadCharts(course, (title, series) => chart(title, msAxis, series)),
  ]
}

function threadCharts(
  course: readonly CoursePoint[],
  chart: (title: string, series: Series[]) => Chart,
): Chart[] {
  const names = [...new Set(course.flatMap(({ threads }) => threads.map(({ name }) => name)))]
  const of = (read: (reading: CoursePoint['threads'][number]) => number): Series[] =>
    names.map((name) => ({
      name,
      points: course.map(({ second, threads }) => {
        const reading = threads.find((thread) => thread.name === name)
        return [second + 0.5, reading === undefined ? Number.NaN : read(reading)]
      }),
    }))
  if (names.length === 0) return []
  return [
    chart(
      'Event-loop delay, longest of each second',
      of((thread) => thread.event_loop_delay.max_ms),
    ),
    chart(
      'Garbage collection, longest pause of each second',
      of(({ gc }) => gc.last_second_max_ms),
    ),
  ]
}

function secondsAxis(first: number, last: number): Axis {
  const nice = linearAxis('seconds', [first, last], 8)
  // Unlike values, time ends where it ends: no empty room behind it.
  const inside = nice.ticks.filter(([at]) => at > first && at < last)
  return { ...nice, ticks: [[first, String(first)], ...inside, [last, String(last)]] }
}

/** Linear, or in powers of ten where one scale cannot show the small values. */
function msAxis(series: readonly Series[]): Axis {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value))
  const positive = values.filter((value) => value > 0)
  const [low, high] = [Math.min(...positive), Math.max(...positive)]
  if (positive.length === 0 || high / low < 30) return linearAxis('ms', [0, highest(series)])
  const [from, to] = [Math.max(-3, Math.floor(Math.log10(low))), Math.ceil(Math.log10(high))]
  const ticks = Array.from({ length: to - from + 1 }, (_, i) => {
    return [10 ** (from + i), (10 ** (from + i)).toLocaleString('en')] as const
  })
  return { label: 'ms', ticks, scale: Math.log10 }
}

function highest(series: readonly Series[]): number {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value))
  return Math.max(0, ...values.filter(Number.isFinite))
}
