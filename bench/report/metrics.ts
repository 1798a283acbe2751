/**
 * The figures of a run by name, and conditions on them: `--fail-if 'p99>5ms'`.
 * Runs on: the benchmark's main process. Owns: the names.
 *
 *   condition   metric op value[unit]
 *   metric      p50 p90 p95 p99 p999 max   latency, with a unit: µs us ms s
 *               rate                       deliveries a second, no unit
 *               lost repeated              messages, no unit; lost counts those that a GAP announced, too
 *   op          < <= > >=
 */
import type { LoadResult } from '../load/coordinator.js'
import { median } from '../statistics.js'

type Figures = Pick<LoadResult, 'deliveredPerSecond' | 'latency' | 'lost' | 'repeated'>

interface Metric {
  /** Latencies in ms. */
  read(result: Figures): number
  readonly isLatency: boolean
  /** Which way is better. */
  readonly isBetterWhen: 'higher' | 'lower'
  /** Losses are added up over runs: none may hide between two good ones. */
  readonly isSummed?: true
}

const latency = (key: keyof LoadResult['latency']): Metric => ({
  read: (result) => result.latency[key],
  isLatency: true,
  isBetterWhen: 'lower',
})

export const METRICS = {
  rate: {
    read: ({ deliveredPerSecond }) => deliveredPerSecond,
    isLatency: false,
    isBetterWhen: 'higher',
  },
  p50: latency('p50'),
  p90: latency('p90'),
  p95: latency('p95'),
  p99: latency('p99'),
  p999: latency('p999'),
  max: latency('max'),
  lost: { read: ({ lost }) => lost, isLatency: false, isBetterWhen: 'lower', isSummed: true },
  repeated: {
    read: ({ repeated }) => repeated,
    isLatency: false,
    isBetterWhen: 'lower',
    isSummed: true,
  },
} as const satisfies Record<string, Metric>

export type MetricName = keyof typeof METRICS

const OPERATORS = {
  '<=': (a: number, b: number) => a <= b,
  '>=': (a: number, b: number) => a >= b,
  '<': (a: number, b: number) => a < b,
  '>': (a: number, b: number) => a > b,
} as const

const UNITS_MS: Readonly<Record<string, number>> = { µs: 1e-3, us: 1e-3, ms: 1, s: 1e3 }

export interface Condition {
  /** As it was written. */
  readonly text: string
  readonly metric: MetricName
  readonly operator: keyof typeof OPERATORS
  /** Latencies in ms. */
  readonly limit: number
}

/** Throws an Error whose message says what a condition looks like. */
export function parseCondition(text: string): Condition {
  const parts = /^\s*(\w+)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?)\s*(\S*)\s*$/u.exec(text)
  if (parts === null) throw new Error(`${JSON.stringify(text)} is no condition such as p99>5ms`)
  const [, name = '', operator = '', digits, unit = ''] = parts
  if (!isMetric(name)) {
    throw new Error(`${JSON.stringify(name)} is none of ${Object.keys(METRICS).join(', ')}`)
  }
  const metric: Metric = METRICS[name]
  // U+03BC is the µ of Greek keyboards, U+00B5 that of the others.
  const factor = metric.isLatency
    ? UNITS_MS[unit.replace('\u03bc', 'µ')]
    : unit === ''
      ? 1
      : undefined
  if (factor === undefined) {
    const units = metric.isLatency ? `one of ${Object.keys(UNITS_MS).join(', ')}` : 'no unit'
    throw new Error(`${JSON.stringify(text)}: ${name} takes ${units}`)
  }
  const limit = Number(digits) * factor
  return { text: text.trim(), metric: name, operator: operator as Condition['operator'], limit }
}

/** True when the run fails by it; also when there is no figure, since then nothing was shown. */
export function isMet({ metric, operator, limit }: Condition, runs: readonly Figures[]): boolean {
  const value = figureOf(metric, runs)
  return Number.isNaN(value) || OPERATORS[operator](value, limit)
}

/** The median of runs, or the sum for losses; NaN of no runs. */
export function figureOf(name: MetricName, runs: readonly Figures[]): number {
  const metric: Metric = METRICS[name]
  const values = runs.map((run) => metric.read(run))
  if (!metric.isSummed || values.length === 0) return median(values)
  return values.reduce((sum, value) => sum + value, 0)
}

export function figureText(name: MetricName, value: number): string {
  if (Number.isNaN(value)) return '-'
  return METRICS[name].isLatency ? `${value.toFixed(2)} ms` : Math.round(value).toLocaleString('en')
}

function isMetric(name: string): name is MetricName {
  return Object.hasOwn(METRICS, name)
}
