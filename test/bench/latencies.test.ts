import { expect, test } from 'vitest'
import { LATENCY_MAX_US, LatencyRecorder, newLatencies } from '../../bench/load/latencies.js'

test('LatencyRecorder says what a histogram says that was given each value', () => {
  const recorder = new LatencyRecorder()
  const histogram = newLatencies()
  const latenciesMs = [-1, 0, 0.0004, 0.0005, 1.5, 1.5, 2, 65.534, 65.535, 65.536, 1000, 90_000]
  for (const latencyMs of latenciesMs) {
    recorder.record(latencyMs)
    const us = Math.min(LATENCY_MAX_US, Math.max(0, Math.round(latencyMs * 1e3)))
    histogram.recordValue(us)
  }
  const shown = (all: typeof histogram) => [
    all.totalCount,
    all.mean,
    ...[0, 10, 50, 90, 100].map((percentile) => all.getValueAtPercentile(percentile)),
  ]
  expect(shown(recorder.finished())).toEqual(shown(histogram))
  expect(recorder.finished().totalCount).toBe(latenciesMs.length) // Asked again, it counts nothing twice.
})
