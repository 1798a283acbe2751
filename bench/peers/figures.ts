/**
 * From runs to figures: medians, what did not hold, ratios to ringcast.
 * Runs on: the benchmark's main process. Owns: what counts as a figure.
 *
 * Rates: a run that failed, or lost something that nobody announced, counts as zero: what is fast
 * and loses is not fast. Latencies: the median over the runs that were carried through.
 */
import { median } from '../statistics.js'
import type { Comparison, Outcome } from './compare.js'

export const OURS = 'ringcast'

export interface Figure {
  readonly system: string
  readonly title: string
  /** Deliveries/s, or the highest rate. Median; NaN if there was no run. */
  readonly rate: number
  readonly rates: readonly number[]
  /** Open loops: ms. */
  readonly p50: number
  readonly p99: number
  readonly p99s: readonly number[]
  readonly serverCpu: number
  readonly publisherCpu: number
  readonly subscriberCpu: number
  readonly otherCpu: number
  readonly lost: number
  readonly overruns: number
  /** Runs that failed, lost or repeated something, or were given up. */
  readonly faulty: number
  readonly failures: readonly string[]
  readonly leftOut?: string
}

function figureOf(comparison: Comparison, scenario: string): Figure | undefined {
  const outcomes = comparison.outcomes[scenario] ?? []
  if (outcomes.length === 0 && comparison.leftOut === undefined) return undefined
  const results = outcomes.flatMap(({ result }) => result ?? [])
  const of = (read: (result: (typeof results)[number]) => number | undefined) =>
    median(results.flatMap((result) => read(result) ?? []))
  const rates = outcomes.map(countedRate)
  return {
    system: comparison.system,
    title: comparison.title,
    rate: median(rates),
    rates,
    p50: of(({ latency }) => latency?.p50),
    p99: of(({ latency }) => latency?.p99),
    p99s: results.flatMap(({ latency }) => latency?.p99 ?? []),
    serverCpu: of(({ serverCpu }) => serverCpu),
    publisherCpu: of(({ publisherCpu }) => publisherCpu),
    subscriberCpu: of(({ subscriberCpu }) => subscriberCpu),
    otherCpu: of(({ otherCpu }) => otherCpu),
    lost: results.reduce((sum, { lost }) => sum + lost, 0),
    overruns: results.filter(({ isOverrun }) => isOverrun).length,
    faulty: outcomes.filter(isFaulty).length,
    failures: outcomes.flatMap(({ failure }) => failure ?? []),
    ...(comparison.leftOut === undefined ? {} : { leftOut: comparison.leftOut }),
  }
}

export function figuresOf(comparisons: readonly Comparison[], scenario: string): Figure[] {
  return comparisons.flatMap((comparison) => figureOf(comparison, scenario) ?? [])
}

/** Ours by theirs; above 1 we are ahead. NaN where there is nothing to divide. */
export function rateRatio(figures: readonly Figure[], { rate }: Figure): number {
  const ours = figures.find(({ system }) => system === OURS)?.rate ?? Number.NaN
  return rate > 0 ? ours / rate : Number.NaN
}

/** Theirs by ours, so that above 1 we are ahead here, too. */
export function latencyRatio(figures: readonly Figure[], { p99 }: Figure): number {
  const ours = figures.find(({ system }) => system === OURS)?.p99 ?? Number.NaN
  return p99 / ours
}

function isFaulty({ result, failure }: Outcome): boolean {
  if (failure !== undefined) return true
  return result !== undefined && (result.isOverrun || result.lost + result.repeated > 0)
}

function countedRate({ rate, result, failure }: Outcome): number {
  if (failure !== undefined) return 0
  return result !== undefined && result.lost + result.repeated > 0 ? 0 : rate
}
