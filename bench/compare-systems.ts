/**
 * Runs one scenario on the broker and on the control in turn, each run with fresh processes.
 * Runs on: the benchmark's main process. Owns: the servers of the runs.
 *
 * Interleaved (broker, control, broker, control, …) so that what the machine does besides falls on
 * both. Reported are medians over the runs that are not void; over all of them if every one is.
 */
import { startBroker } from './broker-process.js'
import { startCompanion } from './companions/companion.js'
import { startControl } from './controls/control-process.js'
import { type Latency, type LoadResult, runLoad } from './load/coordinator.js'
import type { CoursePoint } from './load/course.js'
import { countedRuns } from './report/compare.js'
import type { Scenario } from './scenarios/scenario.js'
import type { Server } from './server-process.js'
import { median } from './statistics.js'

export type SystemName = 'ringcast' | 'uws'

const WARM_UP_MS = 1000
/** How long a server that broke its connections may take to be gone. */
const DYING_MS = 500

export interface CompareOptions {
  readonly seconds: number
  readonly runs: number
  readonly systems: readonly SystemName[]
  progress(line: string): void
  onSecond?(point: CoursePoint): void
}

export interface SystemResult {
  readonly system: SystemName
  readonly median: Median
  readonly runs: readonly LoadResult[]
  readonly failures: readonly string[]
  /** What went on beside the load, in words, a line per run; see bench/companions. */
  readonly companions: readonly string[]
}

/** The report's columns. Losses are sums, not medians: none may hide between two good runs. */
export interface Median
  extends Omit<LoadResult, 'voidReason' | 'latencies' | 'server' | 'threads' | 'course'> {
  readonly voidRuns: number
}

export async function compareSystems(
  scenario: Scenario,
  options: CompareOptions,
): Promise<SystemResult[]> {
  const able = options.systems.filter((system) => scenario.systems?.includes(system) ?? true)
  const results = able.map((system) => ({
    system,
    runs: [] as LoadResult[],
    failures: [] as string[],
    companions: [] as string[],
  }))
  for (let run = 1; run <= options.runs; run++) {
    for (const { system, runs, failures, companions } of results) {
      const label = `${scenario.name} ${system} ${run}/${options.runs}`
      try {
        const note = (line: string) => {
          companions.push(line)
          options.progress(`${label}: ${line}`)
        }
        const result = await runOnce(scenario, system, options, note)
        runs.push(result)
        options.progress(`${label}: ${summary(result)}`)
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error))
        options.progress(`${label}: FAILED ${failures.at(-1)}`)
      }
    }
  }
  return results.map((result) => ({ ...result, median: medianOf(result.runs) }))
}

async function runOnce(
  scenario: Scenario,
  system: SystemName,
  { seconds, onSecond }: CompareOptions,
  note: (line: string) => void,
): Promise<LoadResult> {
  const server = await startSystem(system, scenario)
  let result: LoadResult
  try {
    const companion = scenario.companion && (await startCompanion(server, scenario))
    result = await runLoad({
      server,
      plan: scenario.plan,
      publisherProcesses: scenario.publisherProcesses ?? 1,
      subscriberProcesses: scenario.subscriberProcesses ?? 1,
      warmUpMs: WARM_UP_MS,
      measuredMs: seconds * 1e3,
      onSecond(point) {
        companion?.begin()
        onSecond?.(point)
      },
    }).finally(() => companion?.loadIsOver())
    if (companion) note(await companion.facts)
  } catch (error) {
    throw await explained(error, server)
  }
  await server.stop()
  if (system === 'ringcast') checkPromises(result)
  return result
}

/** A server that died shows itself as broken connections first: its own last words say more. */
async function explained(error: unknown, server: Server): Promise<Error> {
  const reason = error instanceof Error ? error.message : String(error)
  const grace = new Promise<undefined>((resolve) => setTimeout(resolve, DYING_MS, undefined))
  const lastWords = await Promise.race([server.ended, grace])
  if (lastWords !== undefined) return new Error(`${reason}\n  ${lastWords}`)
  await server.stop().catch(() => {}) // What went wrong first is what counts.
  return new Error(reason)
}

function startSystem(system: SystemName, { brokerEnv }: Scenario): Promise<Server> {
  return system === 'ringcast' ? startBroker(brokerEnv) : startControl()
}

/** What the broker promises at any load: order, no repeats, no loss that it does not announce. */
function checkPromises({ lost, announced, repeated, outOfOrder }: LoadResult): void {
  if (repeated > 0 || outOfOrder > 0 || lost !== announced) {
    const counts = `lost=${lost}, announced=${announced}`
    throw new Error(`broken promise: ${counts}, repeated=${repeated}, outOfOrder=${outOfOrder}`)
  }
}

function summary({ deliveredPerSecond, latency, voidReason }: LoadResult): string {
  const rate = Math.round(deliveredPerSecond).toLocaleString('en')
  const note = voidReason === undefined ? '' : `, VOID: ${voidReason}`
  return `${rate} msg/s, p99 ${latency.p99.toFixed(2)} ms${note}`
}

function medianOf(runs: readonly LoadResult[]): Median {
  const counted = countedRuns(runs)
  const of = (read: (result: LoadResult) => number) => median(counted.map(read))
  const total = (read: (result: LoadResult) => number) =>
    runs.reduce((sum, result) => sum + read(result), 0)
  const latency = (key: keyof Latency) => of((result) => result.latency[key])
  return {
    deliveredPerSecond: of((result) => result.deliveredPerSecond),
    published: of((result) => result.published),
    expected: of((result) => result.expected),
    received: of((result) => result.received),
    latency: {
      p50: latency('p50'),
      p90: latency('p90'),
      p95: latency('p95'),
      p99: latency('p99'),
      p999: latency('p999'),
      max: latency('max'),
    },
    lost: total((result) => result.lost),
    announced: total((result) => result.announced),
    repeated: total((result) => result.repeated),
    outOfOrder: total((result) => result.outOfOrder),
    heldBack: total((result) => result.heldBack),
    lagP99Ms: of((result) => result.lagP99Ms),
    ownLagP99Ms: of((result) => result.ownLagP99Ms),
    serverCpu: of((result) => result.serverCpu),
    publisherCpu: of((result) => result.publisherCpu),
    subscriberCpu: of((result) => result.subscriberCpu),
    otherCpu: of((result) => result.otherCpu),
    machineCpu: of((result) => result.machineCpu),
    generatorPriority: of((result) => result.generatorPriority),
    rssMb: of((result) => result.rssMb),
    rssPeakMb: of((result) => result.rssPeakMb),
    voidRuns: runs.filter(({ voidReason }) => voidReason !== undefined).length,
  }
}
