/**
 *   p1  ─→ topic 1  ─→ s1
 *   …       server      …         MessagePack, 128 B, one per frame, on a fixed schedule
 *   p10 ─→ topic 10 ─→ s10
 *
 * Question: which is the highest rate that keeps p99 under 5 ms, counted from when each message was
 * due, and loses nothing? Schedules of several rates, on one server, until it is known to 10 %
 * (search.ts). A void schedule counts as not held: where the generator is the limit, the note of
 * the probe says so.
 * Runs on: the benchmark's main process. Owns: the servers.
 */
import { startBroker } from './broker-process.js'
import type { SystemName } from './compare-systems.js'
import { startControl } from './controls/control-process.js'
import { type LoadResult, runLoad } from './load/coordinator.js'
import { ONE_TO_ONE } from './scenarios/scenario.js'
import { findHighestRate, HELD_P99_MS, type SearchResult, type Verdict } from './search.js'
import type { Server } from './server-process.js'

const WARM_UP_MS = 500
const LIMITS = {
  start: 50_000,
  min: 1000,
  max: 4_000_000,
  precision: 1.1,
  probesMax: 16,
  tries: 2,
} as const

/** Returns the exit code. */
export async function measureHighestRate(
  systems: readonly SystemName[],
  seconds: number,
): Promise<number> {
  for (const system of systems) {
    const server = system === 'ringcast' ? await startBroker({}) : await startControl()
    try {
      const { rate, probes } = await searchOn(server, seconds)
      for (const probe of probes) {
        const verdict = probe.holds ? 'held' : 'not held'
        console.log(`  ${system} ${whole(probe.rate).padStart(10)}/s  ${verdict}: ${probe.note}`)
      }
      console.log(`${system}: ${whole(rate)} messages/s with p99 < ${HELD_P99_MS} ms, nothing lost`)
    } finally {
      await server.stop()
    }
  }
  return 0
}

function searchOn(server: Server, seconds: number): Promise<SearchResult> {
  return findHighestRate(LIMITS, async (ratePerSecond) => {
    try {
      return verdictOn(await runAt(server, ratePerSecond, seconds))
    } catch (error) {
      // Of a server that was asked for too much: a publisher that it did not take it all from.
      return { holds: false, note: error instanceof Error ? error.message : String(error) }
    }
  })
}

function runAt(server: Server, ratePerSecond: number, seconds: number): Promise<LoadResult> {
  const plan = { ...ONE_TO_ONE, publishers: 10, subscribers: 10, topics: 10 }
  return runLoad({
    server,
    plan: { ...plan, load: { kind: 'open', ratePerSecond } },
    publisherProcesses: 1,
    subscriberProcesses: 1,
    warmUpMs: WARM_UP_MS,
    measuredMs: seconds * 1e3,
  })
}

function verdictOn({ latency, lost, repeated, voidReason }: LoadResult): Verdict {
  const problems: string[] = []
  if (lost > 0) problems.push(`${lost} lost`)
  if (repeated > 0) problems.push(`${repeated} repeated`)
  if (latency.p99 >= HELD_P99_MS) problems.push('too late')
  if (voidReason !== undefined) problems.push(`the generator is the limit: ${voidReason}`)
  const note = [`p99 ${latency.p99.toFixed(1)} ms`, ...problems].join(', ')
  return { holds: problems.length === 0, note }
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}
