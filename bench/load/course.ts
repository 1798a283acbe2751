/**
 * The course of a run, second by second: rates, latencies, CPU, memory, threads.
 * Runs on: the coordinator. Owns: one row per second.
 *
 * Load processes tell their seconds by themselves, shortly after each is over; what the system knows of
 * processes is read here when it is over. A second is handed on a little later, when all have spoken.
 */
import type { ThreadReading } from '../../src/telemetry/thread-timings.js'
import { nowMs } from './clock.js'
import { CoarseHistogram } from './coarse-histogram.js'
import type { Schedule, Second, Sent } from './plan.js'
import { readProcessStats } from './process-stats.js'
import type { ServerReading, ServerStats } from './server-stats.js'

/** Seconds kept; a run of a day. */
const SECONDS_MAX = 86_400
/** How long after its end a second counts as told. */
const TOLD_MS = 150

/** Cores (1 is one core) and MB, all processes of the kind together. */
export interface Use {
  readonly cpu: number
  readonly rssMb: number
}

export interface CoursePoint {
  /** Counted from the beginning of the measured time; −1 is the last second of the warm-up. */
  readonly second: number
  readonly published: number
  readonly delivered: number
  /** Milliseconds, of what arrived in this second, 3 % exact; null when nothing did. */
  readonly latency: { readonly p50: number; readonly p99: number; readonly max: number } | null
  readonly server: Use
  readonly publishers: Use
  readonly subscribers: Use
  /** Of the broker's threads (with THREAD_TIMINGS), and of the load processes. */
  readonly threads: readonly ThreadReading[]
}

interface Row {
  published: number
  delivered: number
  maxUs: number
  readonly latencies: CoarseHistogram
  uses: { server: Use; publishers: Use; subscribers: Use } | undefined
  threads: ThreadReading[]
}

export interface CourseOptions {
  readonly stats: ServerStats
  readonly publisherPids: readonly number[]
  readonly subscriberPids: readonly number[]
  readonly onSecond: (point: CoursePoint) => void
}

type Readings = readonly [server: ServerReading, publishers: Total, subscribers: Total]

interface Total {
  readonly cpuSeconds: number
  readonly rssMb: number
}

export class Course {
  readonly #options: CourseOptions
  readonly #rows = new Map<number, Row>()
  readonly #sentBefore = new Map<number, number>()

  constructor(options: CourseOptions) {
    this.#options = options
  }

  noteSent({ second, messages, timings }: Sent, process: number): void {
    const row = this.#row(second)
    if (row === undefined) return
    row.published += messages - (this.#sentBefore.get(process) ?? 0)
    this.#sentBefore.set(process, messages)
    row.threads.push({ ...timings, name: `publisher-${process}` })
  }

  noteArrived({ second, delivered, maxUs, buckets, timings }: Second, process: number): void {
    const row = this.#row(second)
    if (row === undefined) return
    row.delivered += delivered
    row.maxUs = Math.max(row.maxUs, maxUs)
    row.latencies.add(buckets)
    row.threads.push({ ...timings, name: `subscriber-${process}` })
  }

  /** Watches until the end of the schedule. */
  async watch({ startMs, fromMs, untilMs }: Schedule, signal: AbortSignal): Promise<void> {
    let second = Math.floor((startMs - fromMs) / 1000)
    await pause(fromMs + second * 1000 - nowMs())
    let [before, beforeMs] = [await this.#read(), nowMs()]
    for (; fromMs + (second + 1) * 1000 <= untilMs + 1 && !signal.aborted; second++) {
      await pause(fromMs + (second + 1) * 1000 - nowMs())
      const [now, atMs] = [await this.#read(), nowMs()]
      const row = this.#row(second)
      if (row === undefined) return
      const seconds = (atMs - beforeMs) / 1e3
      const use = (i: 0 | 1 | 2): Use => ({
        cpu: (now[i].cpuSeconds - before[i].cpuSeconds) / seconds,
        rssMb: now[i].rssMb,
      })
      row.uses = { server: use(0), publishers: use(1), subscribers: use(2) }
      row.threads.push(...now[0].threads)
      ;[before, beforeMs] = [now, atMs]
      const told = second
      setTimeout(() => !signal.aborted && this.#tell(told), TOLD_MS).unref()
    }
  }

  points(): CoursePoint[] {
    const seconds = [...this.#rows.keys()].sort((a, b) => a - b)
    return seconds.flatMap((second) => this.#point(second) ?? [])
  }

  #tell(second: number): void {
    const point = this.#point(second)
    if (point !== undefined) this.#options.onSecond(point)
  }

  #point(second: number): CoursePoint | undefined {
    const row = this.#rows.get(second)
    if (row?.uses === undefined) return undefined
    const { published, delivered, latencies, maxUs, uses, threads } = row
    const ms = (percent: number) => latencies.percentile(percent) / 1e3
    const latency = delivered === 0 ? null : { p50: ms(50), p99: ms(99), max: maxUs / 1e3 }
    return { second, published, delivered, latency, ...uses, threads }
  }

  #row(second: number): Row | undefined {
    let row = this.#rows.get(second)
    if (row === undefined && this.#rows.size < SECONDS_MAX) {
      const latencies = new CoarseHistogram()
      row = { published: 0, delivered: 0, maxUs: 0, latencies, uses: undefined, threads: [] }
      this.#rows.set(second, row)
    }
    return row
  }

  async #read(): Promise<Readings> {
    const { stats, publisherPids, subscriberPids } = this.#options
    return [await stats.read(), total(publisherPids), total(subscriberPids)]
  }
}

function total(pids: readonly number[]): Total {
  const all = pids.map(readProcessStats)
  return {
    cpuSeconds: all.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    rssMb: all.reduce((sum, { rssMb }) => sum + rssMb, 0),
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
