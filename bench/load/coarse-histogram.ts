/**
 * Latencies of one second, small enough to be told each second: whole µs up to 32, from there on 32
 * steps per power of two, so a value is off by 3 % at most.
 * Runs on: subscriber processes, coordinator. Owns: one row of counts.
 *
 * For the course over time only. The figures of a run come from latencies.ts, with three digits; those
 * histograms take a millisecond to pack, which would be a latency of our own making, each second.
 */
const STEPS = 32
const STEP_BITS = 5
/** Up to 2^26 µs, a little over a minute. */
const BUCKETS = 22 * STEPS
const VALUE_MAX = 2 ** 26 - 1

export class CoarseHistogram {
  readonly #counts = new Float64Array(BUCKETS)
  #total = 0

  get total(): number {
    return this.#total
  }

  record(us: number, count: number): void {
    const bucket = bucketOf(us)
    this.#counts[bucket] = (this.#counts[bucket] as number) + count
    this.#total += count
  }

  /** The buckets that hold something, as pairs of number and count; empties the histogram. */
  take(): number[] {
    const pairs: number[] = []
    this.#counts.forEach((count, bucket) => {
      if (count > 0) pairs.push(bucket, count)
    })
    this.#counts.fill(0)
    this.#total = 0
    return pairs
  }

  /** Adds what take() gave. */
  add(pairs: readonly number[]): void {
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const [bucket, count] = [pairs[i] as number, pairs[i + 1] as number]
      this.#counts[bucket] = (this.#counts[bucket] as number) + count
      this.#total += count
    }
  }

  /** In µs; NaN of nothing. */
  percentile(percent: number): number {
    let left = Math.max(1, Math.ceil((percent / 100) * this.#total))
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count
      if (left <= 0) return middleOf(bucket)
    }
    return Number.NaN
  }
}

function bucketOf(us: number): number {
  const value = Math.min(VALUE_MAX, Math.max(0, us))
  if (value < STEPS) return value
  const shift = 31 - Math.clz32(value) - STEP_BITS
  return (shift + 1) * STEPS + (value >> shift) - STEPS
}

function middleOf(bucket: number): number {
  if (bucket < STEPS) return bucket
  const shift = Math.floor(bucket / STEPS) - 1
  return ((bucket % STEPS) + STEPS) * 2 ** shift + (2 ** shift - 1) / 2
}
