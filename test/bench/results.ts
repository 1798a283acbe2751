/** Results of runs for the tests of reports. */
import type { LoadResult } from '../../bench/load/coordinator.js'
import type { CoursePoint } from '../../bench/load/course.js'
import { encodeLatencies, newLatencies } from '../../bench/load/latencies.js'
import type { LoadPlan } from '../../bench/load/plan.js'
import type { ResultsFile } from '../../bench/report/results-file.js'

export const PLAN: LoadPlan = {
  encoding: 'msgpack',
  publishers: 1,
  subscribers: 1,
  topics: 1,
  payloadBytes: 128,
  batch: 1,
  batchedEvents: false,
  load: { kind: 'open', ratePerSecond: 1000 },
}

/** A run with these latencies in ms, one message each. */
export function resultOf(
  latenciesMs: readonly number[],
  more: Partial<LoadResult> = {},
): LoadResult {
  const histogram = newLatencies()
  for (const latencyMs of latenciesMs) histogram.recordValue(Math.round(latencyMs * 1e3))
  const at = (percent: number) => histogram.getValueAtPercentile(percent) / 1e3
  return {
    deliveredPerSecond: 1000,
    published: latenciesMs.length,
    expected: latenciesMs.length,
    received: latenciesMs.length,
    latency: {
      p50: at(50),
      p90: at(90),
      p95: at(95),
      p99: at(99),
      p999: at(99.9),
      max: histogram.maxValue / 1e3,
    },
    lost: 0,
    announced: 0,
    repeated: 0,
    outOfOrder: 0,
    heldBack: 0,
    lagP99Ms: 0.5,
    ownLagP99Ms: 0.4,
    serverCpu: 0.5,
    publisherCpu: 0.2,
    subscriberCpu: 0.1,
    otherCpu: 0,
    machineCpu: 0.8,
    generatorPriority: -10,
    rssMb: 100,
    rssPeakMb: 110,
    server: { version: '9.9.9', node: 'v20.0.0', config: { WORKERS: '3' } },
    threads: [],
    course: [],
    latencies: encodeLatencies(histogram),
    ...more,
  }
}

export function courseOf(delivered: readonly number[]): CoursePoint[] {
  const use = { cpu: 0.25, rssMb: 64 }
  return delivered.map((count, i) => ({
    second: i - 1,
    published: count,
    delivered: count,
    latency: { p50: 1, p99: 2 + i, max: 40 },
    server: use,
    publishers: use,
    subscribers: use,
    threads: [
      {
        name: 'front',
        gc: { count: 3 * i, total_ms: 6 * i, max_ms: 5, last_second_max_ms: 4 - i },
        event_loop_delay: { mean_ms: 0.5, p99_ms: 1 + i, max_ms: 2 + i },
      },
    ],
  }))
}

export function fileOf(runs: readonly LoadResult[], more: Partial<ResultsFile> = {}): ResultsFile {
  return {
    machine: {
      cpu: 'A <fast> one',
      cores: 2,
      memoryMb: 8000,
      kernel: '6.1',
      node: 'v20.1.0',
      commit: 'abc1234',
      startedAt: '2026-01-01T00:00:00.000Z',
    },
    seconds: 5,
    results: [
      {
        scenario: { name: 'plain', plan: PLAN },
        systems: [{ system: 'ringcast', runs, failures: [] }],
      },
    ],
    ...more,
  }
}
