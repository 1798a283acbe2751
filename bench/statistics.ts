/**
 * Middles and spreads of few, noisy values.
 * Runs on: the benchmark's main process. Owns: nothing; pure.
 */

/** What the median absolute deviation of a normal distribution has to be multiplied by to give σ. */
const SIGMA_PER_MAD = 1.4826
/** The standard error of a median of n normal values is this many times σ / √n. */
const MEDIAN_EFFICIENCY = 1.2533

/** NaN for no values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)] ?? Number.NaN
  const lower = sorted[Math.ceil(middle) - 1] ?? Number.NaN
  return (lower + upper) / 2
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** The value below which `share` of them lie; NaN for no values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** σ as the median absolute deviation tells it: one wild run does not change it. */
export function robustSigma(values: readonly number[]): number {
  const middle = median(values)
  return SIGMA_PER_MAD * median(values.map((value) => Math.abs(value - middle)))
}

/** How far the median of these would be off, as a share of it. */
export function relativeErrorOfMedian(values: readonly number[]): number {
  return (MEDIAN_EFFICIENCY * robustSigma(values)) / Math.sqrt(values.length) / median(values)
}
