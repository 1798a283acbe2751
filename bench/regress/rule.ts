/**
 * Whether the working tree is worse than its base.
 * Runs on: the benchmark's main process. Owns: nothing; pure.
 *
 * Compared are the medians of the runs of each. A metric has regressed when both hold:
 *
 *   1. its ratio, head by base, is beyond the threshold: below THROUGHPUT_MIN, or above P99_MAX;
 *   2. it is worse by more than NOISE_FACTOR times the error of that ratio, as the spread of the runs
 *      tells it: √(error of the base's median² + error of the head's median²), both relative, from the
 *      median absolute deviation.
 *
 * What is beyond the threshold and not beyond noise is told, and does not fail. What is within the
 * threshold, while noise could hide a regression of that size, is «too noisy to tell». For both:
 * repeat it on a machine that is quiet, or with more runs.
 */
import { median, relativeErrorOfMedian, robustSigma } from '../statistics.js'

export const THROUGHPUT_MIN = 0.85
export const P99_MAX = 1.25
export const NOISE_FACTOR = 3

export type Metric = 'throughput' | 'p99'

export interface Comparison {
  readonly base: number
  readonly head: number
  readonly ratio: number
  /** σ of the base's runs, relative to their median: what the same code differs by from run to run. */
  readonly baseNoise: number
  /** Of the ratio. */
  readonly error: number
  readonly verdict: 'ok' | 'too noisy to tell' | 'within noise' | 'regression'
}

export function compare(
  metric: Metric,
  baseRuns: readonly number[],
  headRuns: readonly number[],
): Comparison {
  const base = median(baseRuns)
  const head = median(headRuns)
  const ratio = head / base
  const relative = Math.hypot(relativeErrorOfMedian(baseRuns), relativeErrorOfMedian(headRuns))
  const error = ratio * relative
  const threshold = metric === 'throughput' ? 1 - THROUGHPUT_MIN : P99_MAX - 1
  const isTold = NOISE_FACTOR * error < threshold
  // NaN, of a side without runs, is beyond every threshold.
  const isFine = metric === 'throughput' ? ratio >= THROUGHPUT_MIN : ratio <= P99_MAX
  const worseBy = metric === 'throughput' ? 1 - ratio : ratio - 1
  const isNoise = worseBy <= NOISE_FACTOR * error
  return {
    base,
    head,
    ratio,
    baseNoise: robustSigma(baseRuns) / base,
    error,
    verdict: isFine
      ? isTold
        ? 'ok'
        : 'too noisy to tell'
      : isNoise
        ? 'within noise'
        : 'regression',
  }
}
