/**
 * A percentile distribution as text, in the form that HdrHistogram's plotters take (`.hgrm`): value in
 * ms, percentile, count so far, 1 / (1 − percentile).
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import { mergeLatencies } from '../load/latencies.js'

const TICKS_PER_HALF_DISTANCE = 5
/** The histogram's µs in the ms of the file. */
const US_PER_MS = 1000

/** Of all these histograms together, as hdr-histogram-js encodes them. */
export function hgrmText(latencies: readonly string[]): string {
  return mergeLatencies(latencies).outputPercentileDistribution(TICKS_PER_HALF_DISTANCE, US_PER_MS)
}
