/**
 * The histograms of the benchmark: microseconds, three digits, up to a minute.
 * Runs on: every process of the benchmark. Owns: their one configuration.
 */
import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type Histogram,
} from 'hdr-histogram-js'

export const LATENCY_MAX_US = 60_000_000

export function newLatencies(): Histogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LATENCY_MAX_US,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 32,
    useWebAssembly: false,
  })
}

export function encodeLatencies(latencies: Histogram): string {
  return encodeIntoCompressedBase64(latencies)
}

export function mergeLatencies(encoded: readonly string[]): Histogram {
  const merged = newLatencies()
  for (const one of encoded) merged.add(decodeFromCompressedBase64(one, 32, false))
  return merged
}

/** Latencies below this, µs, are counted here first: nearly all of them. */
const COUNTED_US = 65_536

/**
 * Records. A count for each microsecond and one sum at the end, since hdr-histogram-js computes two
 * logarithms for each value that it is given: 120 ns, a tenth of what a subscriber needs for a message.
 */
export class LatencyRecorder {
  readonly #histogram = newLatencies()
  readonly #counts = new Uint32Array(COUNTED_US)

  record(latencyMs: number): void {
    const value = Math.min(LATENCY_MAX_US, Math.max(0, Math.round(latencyMs * 1e3)))
    if (value < COUNTED_US) this.#counts[value] = (this.#counts[value] as number) + 1
    else this.#histogram.recordValue(value)
  }

  finished(): Histogram {
    this.#counts.forEach((count, value) => {
      if (count > 0) this.#histogram.recordValueWithCount(value, count)
    })
    this.#counts.fill(0)
    return this.#histogram
  }
}
