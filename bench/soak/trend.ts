/**
 * Whether a quantity that was sampled for a long time grows.
 * Runs on: the benchmark's main process. Owns: nothing; pure.
 *
 * Looked at is the second half of the run: in the first logs, caches and the heap grow to what they
 * need. A line of least squares is laid through it, not through the samples but through the means of
 * BLOCKS equal stretches of time: neighbouring samples are alike (a heap climbs until it is collected),
 * and would promise a precision that is not there; means of blocks hardly depend on each other.
 *
 *   slope ≤ T_CRITICAL × its standard error         flat within noise
 *   else, growth in the second half ≤ tolerance     drifts: there is a slope, too small to matter
 *   else                                            grows
 *
 * T_CRITICAL is Student's t for 18 degrees of freedom, one-sided, 0.1 %: of a thousand flat quantities
 * one is called growing. Only growth counts: nothing here becomes worse by falling.
 */
import { mean } from '../statistics.js'

const BLOCKS = 20
export const T_CRITICAL = 3.61
/** Fewer samples per block say nothing. */
const SAMPLES_PER_BLOCK_MIN = 3
/** A constant has no noise at all, and the slope that its arithmetic leaves is none. */
const ROUNDING = 1e-9

export interface Sample {
  readonly minutes: number
  readonly value: number
}

export type Verdict = 'flat' | 'drifts' | 'grows' | 'too short'

export interface Trend {
  readonly mean: number
  readonly max: number
  readonly slopePerHour: number
  /** Standard error of the slope. */
  readonly errorPerHour: number
  /** What the line gains in the second half. */
  readonly growth: number
  readonly verdict: Verdict
}

/** `tolerance`: growth in the second half that does not matter. */
export function trendOf(samples: readonly Sample[], tolerance: number): Trend {
  const half = secondHalf(samples)
  const values = half.map(({ value }) => value)
  const facts = { mean: mean(values), max: Math.max(...values) }
  if (half.length < BLOCKS * SAMPLES_PER_BLOCK_MIN || values.some(Number.isNaN)) {
    const unknown = { slopePerHour: Number.NaN, errorPerHour: Number.NaN, growth: Number.NaN }
    return { ...facts, ...unknown, verdict: 'too short' }
  }
  const { slope, error } = line(blockMeans(half))
  const minutes = (half.at(-1) as Sample).minutes - (half[0] as Sample).minutes
  const growth = slope * minutes
  const isFlat = slope <= T_CRITICAL * error || growth <= ROUNDING * Math.abs(facts.mean)
  return {
    ...facts,
    slopePerHour: slope * 60,
    errorPerHour: error * 60,
    growth,
    verdict: isFlat ? 'flat' : growth <= tolerance ? 'drifts' : 'grows',
  }
}

function secondHalf(samples: readonly Sample[]): readonly Sample[] {
  const [first, last] = [samples[0], samples.at(-1)]
  if (first === undefined || last === undefined) return []
  const middle = (first.minutes + last.minutes) / 2
  return samples.filter(({ minutes }) => minutes >= middle)
}

function blockMeans(samples: readonly Sample[]): Sample[] {
  return Array.from({ length: BLOCKS }, (_, block) => {
    const from = Math.floor((block * samples.length) / BLOCKS)
    const until = Math.floor(((block + 1) * samples.length) / BLOCKS)
    const part = samples.slice(from, until)
    return {
      minutes: mean(part.map(({ minutes }) => minutes)),
      value: mean(part.map(({ value }) => value)),
    }
  })
}

/** Of least squares: its slope per minute and the standard error of that. */
function line(points: readonly Sample[]): { slope: number; error: number } {
  const middle = mean(points.map(({ minutes }) => minutes))
  const level = mean(points.map(({ value }) => value))
  let across = 0
  let together = 0
  for (const { minutes, value } of points) {
    across += (minutes - middle) ** 2
    together += (minutes - middle) * (value - level)
  }
  const slope = together / across
  let residuals = 0
  for (const { minutes, value } of points) {
    residuals += (value - level - slope * (minutes - middle)) ** 2
  }
  return { slope, error: Math.sqrt(residuals / (points.length - 2) / across) }
}
