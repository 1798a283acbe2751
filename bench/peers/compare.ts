/**
 * Puts every system through every scenario, N times, systems taking turns.
 * Runs on: the benchmark's main process. Owns: the server of the moment.
 *
 *   for each run: for each system: start it, all scenarios, stop it
 *
 * So what else the machine does falls on all alike. Each scenario has fresh client processes; the
 * search keeps its own from probe to probe.
 */
import { findHighestRate, HELD_P99_MS, type Probe, type Verdict } from '../search.js'
import type { Server } from '../server-process.js'
import type { PeerScenario } from './scenarios.js'
import { openSession, type RunResult } from './session.js'
import { missing, type System, versions } from './systems.js'

/** Clients are processes of their own that have just begun: their code is not compiled yet. */
const WARM_UP_MS = 2000
/** A new rate finds other sizes of batches: code is compiled anew, heaps grow. */
const PROBE_WARM_UP_MS = 500
const PROBE_MS = 1000
const PROBES_MAX = 12
/** A hiccup of the machine is no verdict on a rate. */
const PROBE_TRIES = 2
const PRECISION = 1.2
const START_RATE = 50_000
const RATE_MIN = 1000
/** All publishers' timers together cannot do more, and nobody has come near. */
const RATE_MAX = 2_000_000
/** A rate is held when at least this share of the deliveries comes in the measured time. */
const ON_TIME_SHARE = 0.97

export interface Outcome {
  /** Deliveries/s; of a search, the highest rate that held. */
  readonly rate: number
  readonly result?: RunResult
  readonly probes?: readonly Probe[]
  readonly failure?: string
}

export interface Comparison {
  readonly system: string
  readonly title: string
  readonly versions: string
  readonly configuration: string
  /** Why it was not run at all. */
  readonly leftOut?: string
  /** Scenario → its runs, in order. */
  readonly outcomes: Readonly<Record<string, readonly Outcome[]>>
}

export interface CompareOptions {
  readonly systems: readonly System[]
  readonly scenarios: readonly PeerScenario[]
  readonly runs: number
  readonly seconds: number
  progress(line: string): void
}

export async function comparePeers(options: CompareOptions): Promise<Comparison[]> {
  const { systems, scenarios, runs, progress } = options
  const all = systems.map((system) => {
    const leftOut = missing(system)
    if (leftOut !== undefined) progress(`${system.name}: left out, ${leftOut}`)
    const outcomes: Record<string, Outcome[]> = {}
    for (const { name } of scenarios) outcomes[name] = []
    return { system, leftOut, outcomes }
  })
  for (let run = 1; run <= runs; run++) {
    for (const { system, leftOut, outcomes } of all) {
      const wanted = scenarios.filter(({ name }) => system.only?.includes(name) ?? true)
      if (leftOut !== undefined || wanted.length === 0) continue
      await runSystem(system, wanted, options, (scenario, outcome) => {
        outcomes[scenario.name]?.push(outcome)
        progress(`${run}/${runs} ${system.name} ${scenario.name}: ${summary(outcome)}`)
      })
    }
  }
  return all.map(({ system, leftOut, outcomes }) => ({
    system: system.name,
    title: system.title,
    versions: versions(system),
    configuration: system.configuration,
    ...(leftOut === undefined ? {} : { leftOut }),
    outcomes,
  }))
}

async function runSystem(
  system: System,
  scenarios: readonly PeerScenario[],
  { seconds }: CompareOptions,
  done: (scenario: PeerScenario, outcome: Outcome) => void,
): Promise<void> {
  let server: Server | undefined
  try {
    for (const scenario of scenarios) {
      try {
        server ??= await system.start()
        done(scenario, await runScenario(server, system, scenario, seconds * 1e3))
      } catch (error) {
        const failure = error instanceof Error ? error.message : String(error)
        done(scenario, { rate: 0, failure })
        // A server that failed once gets a successor for the next scenario.
        await server?.stop().catch(() => {})
        server = undefined
      }
    }
  } finally {
    await server?.stop()
  }
}

async function runScenario(
  server: Server,
  system: System,
  { shape, load }: PeerScenario,
  measuredMs: number,
): Promise<Outcome> {
  const session = await openSession(server, system.link, shape)
  try {
    if (load.kind !== 'search') {
      const result = await session.run({ load, warmUpMs: WARM_UP_MS, measuredMs })
      return { rate: result.deliveredPerSecond, result }
    }
    const limits = {
      start: START_RATE,
      min: RATE_MIN,
      max: RATE_MAX,
      precision: PRECISION,
      probesMax: PROBES_MAX,
      tries: PROBE_TRIES,
    }
    // Nobody judges this one: it is the search's warm-up.
    await session.run({
      load: { kind: 'open', ratePerSecond: START_RATE },
      warmUpMs: 0,
      measuredMs: WARM_UP_MS,
    })
    return await findHighestRate(limits, async (ratePerSecond) =>
      verdict(
        await session.run({
          load: { kind: 'open', ratePerSecond },
          warmUpMs: PROBE_WARM_UP_MS,
          measuredMs: PROBE_MS,
        }),
        ratePerSecond,
      ),
    )
  } finally {
    session.close()
  }
}

/** Is this rate held? Of one subscriber per topic, so that messages are deliveries. */
export function verdict(result: RunResult, ratePerSecond: number): Verdict {
  const { lost, repeated, isOverrun, latency, deliveredPerSecond } = result
  const p99 = latency?.p99 ?? Number.POSITIVE_INFINITY
  const problems: string[] = []
  if (lost > 0) problems.push(`${lost} lost`)
  if (repeated > 0) problems.push(`${repeated} repeated`)
  if (isOverrun) problems.push('fell behind')
  if (deliveredPerSecond < ratePerSecond * ON_TIME_SHARE) problems.push('too few in time')
  if (p99 >= HELD_P99_MS) problems.push('too late')
  return {
    holds: problems.length === 0,
    note: [`p99 ${p99.toFixed(1)} ms`, ...problems].join(', '),
  }
}

function summary({ rate, result, probes, failure }: Outcome): string {
  if (failure !== undefined) return `FAILED ${failure}`
  const text = `${Math.round(rate).toLocaleString('en')}/s`
  if (probes) return `${text} after ${probes.length} probes`
  if (!result) return text
  const latency = result.latency ? `, p99 ${result.latency.p99.toFixed(2)} ms` : ''
  const lost = result.lost > 0 ? `, ${result.lost} lost` : ''
  return `${text}${latency}${lost}${result.isOverrun ? ', fell behind' : ''}`
}
