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

/**
 * Records, and counts a run of equal values as one call: the messages of a batch share their time
 * of sending and of arrival, and a call costs 120 ns.
 */
export class LatencyRecorder {
  readonly #histogram = newLatencies()
  #value = 0
  #count = 0

  record(latencyMs: number): void {
    const value = Math.min(LATENCY_MAX_US, Math.max(0, Math.round(latencyMs * 1e3)))
    if (value === this.#value) {
      this.#count++
      return
    }
    this.#flush()
    this.#value = value
    this.#count = 1
  }

  finished(): Histogram {
    this.#flush()
    return this.#histogram
  }

  #flush(): void {
    if (this.#count > 0) this.#histogram.recordValueWithCount(this.#value, this.#count)
    this.#count = 0
  }
}
