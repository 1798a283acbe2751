/**
 *   p1  ─→ topic 1  ─→ s1
 *   …       broker      …         10,000 messages/s on a fixed schedule, MessagePack, 128 B
 *   p10 ─→ topic 10 ─→ s10
 *   churn ⇄ broker                connections, subscriptions and topics that come and go
 *   probe ⇄ broker                one client more: what latency is like meanwhile
 *
 * Question: does the broker stay as it is, for as long as it runs? Nothing may be lost without a GAP,
 * no quantity may grow (trend.ts), RSS stays below 500 MB, and once everybody has gone the counts are
 * what they were before anybody came.
 * Runs on: the benchmark's main process. Owns: its broker, the load and the churn processes.
 */
import { writeFileSync } from 'node:fs'
import { type Child, startChild } from '../child-process.js'
import { deleteTopics } from '../http-door.js'
import { type LoadResult, runLoad } from '../load/coordinator.js'
import { circumstances, circumstancesLine } from '../report/circumstances.js'
import { ONE_TO_ONE } from '../scenarios/scenario.js'
import { startWatchedBroker, type WatchedBroker } from '../threads/threads.js'
import type { ChurnCounts, FromChurn, ToChurn } from './churn-plan.js'
import { LatencyProbe } from './latency-probe.js'
import { type Quantities, Sampler, type TimedSample } from './quantities.js'
import { judge, type Outcome, reportText } from './verdict.js'

const PREFIX = 'bench'
const TOPICS = 10
const LIVES_PER_SECOND = 20
const TOPICS_PER_SECOND = 5
const SAMPLE_INTERVAL_MS = 2000
/** Lines printed while it runs; the samples are in the JSON file. */
const LINES = 60
const SETTLE_MS = 1500
const RETURN_MS_MAX = 10_000
const CHURN_MS_MAX = 40_000

export interface SoakOptions {
  readonly minutes: number
  /** Messages per second. */
  readonly rate: number
  readonly seed: number
  readonly json: string | undefined
}

/** Returns the exit code. */
export async function measureSoak(options: SoakOptions): Promise<number> {
  const machine = circumstances()
  console.error(`${circumstancesLine(machine)}, SEED=${options.seed}`)
  const broker = await startWatchedBroker({})
  const churn = startChild<ToChurn, FromChurn>(new URL('./churn.js', import.meta.url))
  try {
    const outcome = await soak(broker, churn, options)
    const judged = judge(outcome)
    console.log(reportText(outcome, judged))
    if (options.json !== undefined) {
      writeFileSync(options.json, JSON.stringify({ machine, options, outcome, judged }, null, 2))
    }
    return judged.complaints.length > 0 ? 1 : 0
  } finally {
    churn.kill()
    await broker.stop()
  }
}

async function soak(
  broker: WatchedBroker,
  churn: Child<ToChurn, FromChurn>,
  options: SoakOptions,
): Promise<Outcome> {
  const { server } = broker
  let latencies: number[] = []
  const probe = await LatencyProbe.start(server, ({ latencyMs }) => latencies.push(latencyMs))
  const takeLatencies = () => {
    const taken = latencies
    latencies = []
    return taken
  }
  const sampler = new Sampler(broker)
  await pause(SETTLE_MS)
  const before = await sampler.take(takeLatencies())

  const plan = {
    target: { host: server.host, port: server.port },
    seed: options.seed,
    livesPerSecond: LIVES_PER_SECOND,
    topicsPerSecond: TOPICS_PER_SECOND,
    stablePrefix: PREFIX,
    stableTopics: TOPICS,
  }
  churn.tell({ type: 'start', plan })
  await churn.answer('ready', CHURN_MS_MAX)
  const samples: TimedSample[] = []
  const load = loadOf(broker, options)
  await sampleUntil(load, async (beganMs) => {
    const taken = await sampler.take(takeLatencies())
    const sample = { minutes: (performance.now() - beganMs) / 60_000, ...taken }
    samples.push(sample)
    const every = Math.ceil((options.minutes * 60_000) / SAMPLE_INTERVAL_MS / LINES)
    if (samples.length % every === 0) console.error(line(sample))
  })
  const result = await load
  const counts = await churned(churn)
  const after = await afterwards(broker, before, () => sampler.take(takeLatencies()))
  const probes = await probe.stop()
  return {
    minutes: options.minutes,
    before,
    samples,
    after,
    load: result,
    churn: counts,
    probes,
  }
}

function loadOf({ server }: WatchedBroker, { minutes, rate }: SoakOptions): Promise<LoadResult> {
  return runLoad({
    server,
    plan: {
      ...ONE_TO_ONE,
      publishers: TOPICS,
      subscribers: TOPICS,
      topics: TOPICS,
      topicPrefix: PREFIX,
      load: { kind: 'open', ratePerSecond: rate },
    },
    publisherProcesses: 1,
    subscriberProcesses: 1,
    warmUpMs: 1000,
    measuredMs: minutes * 60_000,
  })
}

/** Calls `take` on a fixed schedule until `done` settles; rejects if either does. */
async function sampleUntil(
  done: Promise<unknown>,
  take: (beganMs: number) => Promise<void>,
): Promise<void> {
  const beganMs = performance.now()
  let isDone = false
  const end = done.finally(() => {
    isDone = true
  })
  end.catch(() => {}) // Whoever awaits `done` hears of it.
  for (let k = 1; !isDone; k++) {
    await Promise.race([end, pause(beganMs + k * SAMPLE_INTERVAL_MS - performance.now())])
    if (!isDone) await take(beganMs)
  }
}

async function churned(churn: Child<ToChurn, FromChurn>): Promise<ChurnCounts> {
  const done = churn.answer('done', CHURN_MS_MAX)
  churn.tell({ type: 'stop' })
  return (await done).counts
}

/** The counts once everybody has gone; waits for them to be as before, but not for ever. */
async function afterwards(
  { server }: WatchedBroker,
  before: Quantities,
  take: () => Promise<Quantities>,
): Promise<Quantities> {
  const untilMs = performance.now() + RETURN_MS_MAX
  for (;;) {
    for (const prefix of ['churn.', `${PREFIX}.`]) await deleteTopics(server, prefix)
    await pause(SETTLE_MS)
    const after = await take()
    const isBack = (['connections', 'subscriptions', 'topics', 'openFiles'] as const).every(
      (name) => after[name] <= before[name],
    )
    if (isBack || performance.now() > untilMs) return after
  }
}

function line({ minutes, rssMb, connections, topics, ringKb, p99Ms, cpu }: TimedSample): string {
  return [
    `${minutes.toFixed(2).padStart(7)} min`,
    `RSS ${rssMb.toFixed(1)} MB`,
    `${connections} connections`,
    `${topics} topics`,
    `rings ${ringKb.toFixed(1)} kB`,
    `p99 ${p99Ms.toFixed(2)} ms`,
    `CPU ${cpu.toFixed(2)}`,
  ].join('  ')
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
