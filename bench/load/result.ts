/**
 * Puts together what the processes of a run saw, checks that it adds up, and judges the generator.
 * Runs on: the coordinator. Owns: the rule by which a run is void.
 */
import type { LoadOptions, LoadResult } from './coordinator.js'
import type { CoursePoint } from './course.js'
import { encodeLatencies, mergeLatencies } from './latencies.js'
import type { Published, Received } from './plan.js'
import type { ProcessStats } from './process-stats.js'
import type { ServerFacts } from './server-stats.js'
import { summariseThreads } from './thread-summary.js'

/**
 * A run is void when the generator was saturated, since then it measured the generator:
 *
 *   open loop     a process used more than 80 % of a core, or its own lag was over 2 ms (p99)
 *   closed loop   a process used more than 95 % of a core: it is the stage that the others wait for
 *
 * Own lag is what the schedule was late while the generator was at work (open-loop.ts). What it was late
 * because it had to queue for a core does not make a run void: latencies count from the intended time,
 * so that is in them, and they are an upper bound of the broker's. It is reported, as `lagP99Ms`.
 *
 * In the closed loop the limit is higher because its pace is set by the slowest stage: one that idles for
 * 5 % of the time was waiting for another.
 */
export const GENERATOR_CPU_MAX = 0.8
export const GENERATOR_CPU_MAX_CLOSED = 0.95
export const GENERATOR_LAG_P99_MS_MAX = 2

export interface ServerUse {
  readonly cpu: number
  /** Of the whole machine, in cores. */
  readonly machineCpu: number
  readonly end: ProcessStats
}

interface Parts {
  readonly options: LoadOptions
  readonly counts: readonly number[]
  readonly published: readonly Published[]
  readonly received: readonly Received[]
  readonly use: ServerUse
  readonly course: readonly CoursePoint[]
  readonly facts: ServerFacts
  readonly generatorPriority: number
}

export function combine(parts: Parts): LoadResult {
  const { options, counts, published, received, use, course, facts, generatorPriority } = parts
  const latencies = mergeLatencies(received.map((part) => part.latencies))
  // Of nothing a histogram says 0, which would be a very good latency.
  const inMs = (us: number) => (latencies.totalCount === 0 ? Number.NaN : us / 1e3)
  const atMs = (percentile: number) => inMs(latencies.getValueAtPercentile(percentile))
  const saturated = saturation(options.plan.load.kind === 'open', published, received)
  const unsent = sum(published, 'unsent')
  const voidReason =
    saturated !== undefined && unsent > 0
      ? `${saturated}; ${unsent} messages that were due it did not send`
      : saturated
  const publisherCpu = sum(published, 'cpuShare')
  const subscriberCpu = sum(received, 'cpuShare')
  const result = {
    deliveredPerSecond: sum(received, 'delivered') / (options.measuredMs / 1e3),
    published: counts.reduce((total, count) => total + count, 0),
    expected: sum(received, 'expected'),
    received: sum(received, 'received'),
    latency: {
      p50: atMs(50),
      p90: atMs(90),
      p95: atMs(95),
      p99: atMs(99),
      p999: atMs(99.9),
      max: inMs(latencies.maxValue),
    },
    lost: sum(received, 'lost'),
    announced: sum(received, 'announced'),
    repeated: sum(received, 'repeated'),
    outOfOrder: sum(received, 'outOfOrder'),
    heldBack: sum(published, 'heldBack'),
    lagP99Ms: Math.max(...published.map(({ lagP99Ms }) => lagP99Ms)),
    ownLagP99Ms: Math.max(...published.map(({ ownLagP99Ms }) => ownLagP99Ms)),
    serverCpu: use.cpu,
    publisherCpu,
    subscriberCpu,
    otherCpu: Math.max(0, use.machineCpu - use.cpu - publisherCpu - subscriberCpu),
    machineCpu: use.machineCpu,
    generatorPriority,
    rssMb: use.end.rssMb,
    rssPeakMb: use.end.rssPeakMb,
    ...(voidReason === undefined ? {} : { voidReason }),
    server: facts,
    threads: summariseThreads(course),
    course,
    latencies: encodeLatencies(latencies),
  }
  checkSums(result, sum(received, 'unexpected'), sum(received, 'early'), unsent)
  return result
}

type Lagging = Pick<Published, 'cpuShare' | 'ownLagP99Ms'>

/** Says which generator process was the bottleneck, if one was. */
export function saturation(
  isOpen: boolean,
  published: readonly Lagging[],
  received: readonly Pick<Received, 'cpuShare'>[],
): string | undefined {
  const busiest = Math.max(...[...published, ...received].map(({ cpuShare }) => cpuShare))
  const cpuMax = isOpen ? GENERATOR_CPU_MAX : GENERATOR_CPU_MAX_CLOSED
  if (busiest > cpuMax) return `generator used ${Math.round(busiest * 100)} % of a core`
  const ownLag = Math.max(...published.map(({ ownLagP99Ms }) => ownLagP99Ms))
  if (ownLag <= GENERATOR_LAG_P99_MS_MAX) return undefined
  return `generator was late by its own work, p99 ${ownLag.toFixed(1)} ms`
}

/** A run whose numbers contradict each other is worth nothing: it fails, whoever is to blame. */
function checkSums(result: LoadResult, unexpected: number, early: number, unsent: number): void {
  const { expected, lost, repeated, received, published, heldBack } = result
  if (received === 0) throw new Error('nothing was delivered')
  if (unexpected > 0) throw new Error(`${unexpected} messages arrived that nobody published`)
  if (early > 0) throw new Error(`${early} messages arrived before they were sent: clock broken`)
  // By a generator at its limit: then the run is void, and says so.
  if (unsent > 0 && result.voidReason === undefined) {
    const due = `${unsent} of ${published + unsent} messages that were due were not sent`
    throw new Error(`${due}; ${heldBack} messages waited for the server to take them`)
  }
  if (received !== expected - lost + repeated) {
    const sums = `received=${received}, expected=${expected}, lost=${lost}, repeated=${repeated}`
    throw new Error(`the counts do not add up: ${sums}`)
  }
}

function sum<K extends string>(parts: readonly Readonly<Record<K, number>>[], key: K): number {
  return parts.reduce((total, part) => total + part[key], 0)
}
