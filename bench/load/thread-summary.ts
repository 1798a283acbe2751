/**
 * Garbage collection and event-loop delay of each thread over the measured time.
 * Runs on: the coordinator. Owns: nothing.
 */
import type { ThreadReading } from '../../src/telemetry/thread-timings.js'
import type { CoursePoint } from './course.js'

/** Milliseconds, over the measured seconds. */
export interface ThreadSummary {
  readonly name: string
  readonly gcCount: number
  readonly gcTotalMs: number
  readonly gcMaxMs: number
  readonly delayMeanMs: number
  /** The worst second's. */
  readonly delayP99Ms: number
  readonly delayMaxMs: number
}

/** The broker's threads first; among equals, as they spoke. */
const ORDER = ['front', 'shard', 'publisher', 'subscriber']

export function summariseThreads(course: readonly CoursePoint[]): ThreadSummary[] {
  const byName = new Map<string, ThreadReading[]>()
  for (const { second, threads } of course) {
    // The last second of the warm-up is where the counts that only grow are taken from.
    if (second < -1) continue
    for (const reading of threads) {
      const readings = byName.get(reading.name) ?? []
      readings.push(reading)
      byName.set(reading.name, readings)
    }
  }
  const inOrder = [...byName].sort(([a], [b]) => rank(a) - rank(b))
  return inOrder.flatMap(([name, [before, ...measured]]) => {
    const last = measured.at(-1)
    if (before === undefined || last === undefined) return []
    const delays = measured.map((reading) => reading.event_loop_delay)
    const max = (values: readonly number[]) => Math.max(...values)
    return {
      name,
      gcCount: last.gc.count - before.gc.count,
      gcTotalMs: last.gc.total_ms - before.gc.total_ms,
      gcMaxMs: max(measured.map(({ gc }) => gc.last_second_max_ms)),
      delayMeanMs: delays.reduce((sum, { mean_ms }) => sum + mean_ms, 0) / delays.length,
      delayP99Ms: max(delays.map(({ p99_ms }) => p99_ms)),
      delayMaxMs: max(delays.map(({ max_ms }) => max_ms)),
    }
  })
}

function rank(name: string): number {
  return ORDER.indexOf(name.replace(/-\d+$/, ''))
}
