/**
 * What one message costs each thread of the broker: CPU time of the kernel's counting, divided by
 * messages of the broker's counting, both between the same two moments of a run.
 * Runs on: the benchmark's main process. Owns: the broker and the load of one run.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { askStats } from '../http-door.js'
import { nowMs } from '../load/clock.js'
import { runLoad } from '../load/coordinator.js'
import { readProcessStats } from '../load/process-stats.js'
import type { Scenario } from '../scenarios/scenario.js'
import type { Server } from '../server-process.js'
import { startWatchedBroker, type ThreadUse, type WatchedBroker } from '../threads/threads.js'
import { type CpuProfile, parseCpuProfile } from './cpu-profile.js'

const WARM_UP_MS = 1500
const BEGIN_MS_MAX = 20_000
const POLL_MS = 20
/** The load goes on for longer than we look. */
const MARGIN_MS = 1000
const SAMPLE_US = 500

export interface ThreadCost {
  readonly threadId: number
  /** Of one core. */
  readonly busy: number
  readonly nsPerMessage: number
  readonly cpuUs: number
}

export interface RunCost {
  readonly messagesPerSecond: number
  readonly deliveriesPerSecond: number
  readonly messagesPerFrameSent: number
  /** The front thread first, then the shards. */
  readonly threads: readonly ThreadCost[]
  /** All that is no JavaScript thread: garbage collection helpers, the compiler. */
  readonly othersNsPerMessage: number
  readonly fromUs: number
  readonly untilUs: number
}

export interface ProfiledRun {
  readonly cost: RunCost
  /** By thread id. */
  readonly profiles: ReadonlyMap<number, CpuProfile>
}

export async function measureCost(scenario: Scenario, seconds: number): Promise<RunCost> {
  const broker = await startWatchedBroker(scenario.brokerEnv)
  try {
    return await costOf(broker, scenario, seconds)
  } finally {
    await broker.stop()
  }
}

/** The same under the profiler: it costs some speed, so take shares from it and not times. */
export async function profile(scenario: Scenario, seconds: number): Promise<ProfiledRun> {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-profile-'))
  try {
    const options = ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-interval=${SAMPLE_US}`]
    const broker = await startWatchedBroker(scenario.brokerEnv, options)
    let cost: RunCost
    try {
      cost = await costOf(broker, scenario, seconds)
    } finally {
      await broker.stop() // Profiles are written as threads end.
    }
    return { cost, profiles: readProfiles(folder) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function readProfiles(folder: string): Map<number, CpuProfile> {
  const profiles = new Map<number, CpuProfile>()
  for (const file of readdirSync(folder)) {
    // CPU.<date>.<time>.<process>.<thread>.<count>.cpuprofile
    const thread = /\.(\d+)\.\d+\.cpuprofile$/.exec(file)?.[1]
    if (thread === undefined) continue
    profiles.set(Number(thread), parseCpuProfile(readFileSync(join(folder, file), 'utf8')))
  }
  return profiles
}

async function costOf(
  broker: WatchedBroker,
  scenario: Scenario,
  seconds: number,
): Promise<RunCost> {
  const load = runLoad({
    server: broker.server,
    plan: scenario.plan,
    publisherProcesses: scenario.publisherProcesses ?? 1,
    subscriberProcesses: scenario.subscriberProcesses ?? 1,
    warmUpMs: WARM_UP_MS,
    measuredMs: seconds * 1e3 + MARGIN_MS,
  })
  load.catch(() => {}) // Awaited below, after what its failure would make fail, too.
  await Promise.race([begun(broker.server), load])
  await pause(WARM_UP_MS)
  const from = await snapshot(broker)
  await pause(seconds * 1e3)
  const until = await snapshot(broker)
  await load
  return between(from, until)
}

async function begun(server: Server): Promise<void> {
  const untilMs = performance.now() + BEGIN_MS_MAX
  while (performance.now() < untilMs) {
    const { workers } = await askStats(server)
    if (total(workers, 'messagesStored') > 0) return
    await pause(POLL_MS)
  }
  throw new Error(`no message was stored within ${BEGIN_MS_MAX} ms`)
}

interface Snapshot {
  readonly atMs: number
  readonly threads: readonly ThreadUse[]
  readonly processSeconds: number
  readonly stored: number
  readonly delivered: number
  readonly framesSent: number
}

async function snapshot({ server, threads }: WatchedBroker): Promise<Snapshot> {
  const { workers, gateway } = await askStats(server)
  return {
    atMs: nowMs(),
    threads: threads(),
    processSeconds: readProcessStats(server.pid).cpuSeconds,
    stored: total(workers, 'messagesStored'),
    delivered: gateway['messagesDelivered'] ?? Number.NaN,
    framesSent: gateway['framesSent'] ?? Number.NaN,
  }
}

function total(workers: readonly Readonly<Record<string, number>>[], counter: string): number {
  return workers.reduce((sum, counters) => sum + (counters[counter] ?? Number.NaN), 0)
}

function between(from: Snapshot, until: Snapshot): RunCost {
  const messages = until.stored - from.stored
  const seconds = (until.atMs - from.atMs) / 1e3
  const threads = until.threads.map(({ threadId, cpuSeconds }) => {
    const before = from.threads.find((thread) => thread.threadId === threadId)?.cpuSeconds ?? 0
    const used = cpuSeconds - before
    return {
      threadId,
      busy: used / seconds,
      nsPerMessage: (used * 1e9) / messages,
      cpuUs: used * 1e6,
    }
  })
  const named = threads.reduce((sum, { nsPerMessage }) => sum + nsPerMessage, 0)
  const all = ((until.processSeconds - from.processSeconds) * 1e9) / messages
  return {
    messagesPerSecond: messages / seconds,
    deliveriesPerSecond: (until.delivered - from.delivered) / seconds,
    messagesPerFrameSent: (until.delivered - from.delivered) / (until.framesSent - from.framesSent),
    threads,
    othersNsPerMessage: Math.max(0, all - named),
    fromUs: from.atMs * 1e3,
    untilUs: until.atMs * 1e3,
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
