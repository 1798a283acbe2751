/**
 * One run: starts the load processes against a server that is up, measures, and puts together
 * what they saw.
 * Runs on: the benchmark's main process. Owns: the publisher and subscriber processes of the run.
 *
 *   setup ─ start ─ warm-up ─┬─ measured ─┬─ drain ─ results
 *                            from         until
 */
import type { Server } from '../server-process.js'
import { nowMs } from './clock.js'
import { Course, type CoursePoint } from './course.js'
import { leaveHeapAlone } from './own-heap.js'
import type {
  FromPublisher,
  FromSubscriber,
  LoadPlan,
  Published,
  Schedule,
  ToPublisher,
  ToSubscriber,
} from './plan.js'
import { machineCpuSeconds, type ProcessStats } from './process-stats.js'
import { type Group, startGroup } from './processes.js'
import { combine, type ServerUse } from './result.js'
import { type ServerFacts, ServerStats } from './server-stats.js'
import type { ThreadSummary } from './thread-summary.js'
import { STREAMS_MAX, streamCount, subscriberCount } from './topics.js'

/** From `start` to the first message, so that every process has heard of it. */
const LEAD_MS = 100
const SETUP_MS_MAX = 60_000
/** After the measured time: overtime of publishers, drain of subscribers. */
const RESULTS_MS_MAX = 40_000

export interface LoadOptions {
  readonly server: Server
  readonly plan: LoadPlan
  readonly publisherProcesses: number
  readonly subscriberProcesses: number
  readonly warmUpMs: number
  readonly measuredMs: number
  /** Called every `intervalMs` of the measured time. */
  readonly sample?: { readonly intervalMs: number; take(stats: ProcessStats): void }
  /** Called shortly after each second, warm-up included. */
  onSecond?(point: CoursePoint): void
}

export interface LoadResult {
  readonly deliveredPerSecond: number
  readonly published: number
  readonly expected: number
  readonly received: number
  /** Milliseconds. */
  readonly latency: Latency
  readonly lost: number
  readonly announced: number
  readonly repeated: number
  readonly outOfOrder: number
  readonly heldBack: number
  /** How late frames left, whoever's fault it was; in the latencies, which count from the due time. */
  readonly lagP99Ms: number
  /** What of it was the generator's own work; see result.ts. */
  readonly ownLagP99Ms: number
  /** Cores: 1 is one core. */
  readonly serverCpu: number
  readonly publisherCpu: number
  readonly subscriberCpu: number
  /** Whatever else ran on this machine: a run with much of it says little. */
  readonly otherCpu: number
  /** All of it together. Where it reaches the number of cores, everybody waited for everybody. */
  readonly machineCpu: number
  /** As os.getPriority() has it; see priority.ts. */
  readonly generatorPriority: number
  readonly rssMb: number
  readonly rssPeakMb: number
  /** Why the run does not count; undefined if it does. */
  readonly voidReason?: string
  readonly server: ServerFacts
  readonly threads: readonly ThreadSummary[]
  readonly course: readonly CoursePoint[]
  /** The whole histogram, µs, as hdr-histogram-js encodes it. */
  readonly latencies: string
}

export interface Latency {
  readonly p50: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  leaveHeapAlone()
  const { server, plan } = options
  checkPlan(plan)
  const detached = plan.load.kind === 'open'
  const publishers = startGroup<ToPublisher, FromPublisher>('publisher', {
    processes: options.publisherProcesses,
    detached,
  })
  const subscribers = startGroup<ToSubscriber, FromSubscriber>('subscriber', {
    processes: options.subscriberProcesses,
    detached,
  })
  const over = new AbortController()
  const groups = [publishers, subscribers]
  const failure = Promise.race([
    ...groups.map(({ failed }) => failed),
    server.ended.then((reason) => Promise.reject(new Error(reason))),
  ])
  failure.catch(() => {})
  const within = <T>(promise: Promise<T>, ms: number, what: string) =>
    Promise.race([promise, failure, timeLimit(ms, what)])

  try {
    if (plan.load.kind === 'closed') forwardCredit(subscribers, publishers, options)
    // Subscribers first: they must be there when the first message comes.
    subscribers.setup(options, subscriberCount(plan))
    await within(subscribers.answers('ready'), SETUP_MS_MAX, 'subscribers did not connect')
    publishers.setup(options, plan.publishers)
    const connected = publishers.answers('ready')
    const ready = await within(connected, SETUP_MS_MAX, 'publishers did not connect')
    const stats = await ServerStats.of(server)
    const course = new Course({
      stats,
      publisherPids: publishers.pids,
      subscriberPids: subscribers.pids,
      onSecond: (point) => options.onSecond?.(point),
    })
    publishers.onMessage((message, process) => {
      if (message.type === 'sent') course.noteSent(message, process)
    })
    subscribers.onMessage((message, process) => {
      if (message.type === 'second') course.noteArrived(message, process)
    })

    const startMs = nowMs() + LEAD_MS
    const fromMs = startMs + options.warmUpMs
    const schedule = { startMs, fromMs, untilMs: fromMs + options.measuredMs }
    for (const group of groups) group.tellAll({ type: 'start', schedule })
    const [published, use] = await within(
      Promise.all([
        publishers.answers('published'),
        serverUse(options, stats, schedule),
        course.watch(schedule, over.signal),
      ]),
      LEAD_MS + options.warmUpMs + options.measuredMs + RESULTS_MS_MAX,
      'publishers did not finish',
    )
    const counts = sumCounts(published, streamCount(plan))
    subscribers.tellAll({ type: 'drain', published: counts })
    const drained = subscribers.answers('received')
    const received = await within(drained, RESULTS_MS_MAX, 'subscribers did not finish')
    return combine({
      options,
      counts,
      published,
      received,
      use,
      course: course.points(),
      facts: stats.facts,
      generatorPriority: Math.max(...ready.map(({ priority }) => priority)),
    })
  } finally {
    over.abort()
    for (const group of groups) group.kill()
  }
}

function checkPlan(plan: LoadPlan): void {
  if (streamCount(plan) > STREAMS_MAX) {
    throw new Error(`publishers and topics may each be at most ${STREAMS_MAX}`)
  }
  if ((plan.topicGroups ?? 1) > plan.topics) throw new Error('there are more groups than topics')
}

/** Tells the publishers what the slowest subscriber of all processes has received. */
function forwardCredit(
  subscribers: Group<ToSubscriber, FromSubscriber>,
  publishers: Group<ToPublisher, FromPublisher>,
  { plan, subscriberProcesses }: LoadOptions,
): void {
  // A process that has not reported yet has received nothing.
  const streams = streamCount(plan)
  const nothing = new Array<number | null>(streams).fill(0)
  const latest = new Array<readonly (number | null)[]>(subscriberProcesses).fill(nothing)
  subscribers.onMessage((message, process) => {
    if (message.type !== 'progress') return
    latest[process] = message.delivered
    const delivered = Array.from({ length: streams }, (_, stream) => {
      let floor = Number.POSITIVE_INFINITY
      for (const floors of latest) floor = Math.min(floor, floors[stream] ?? floor)
      return Number.isFinite(floor) ? floor : null // Nobody hears it.
    })
    publishers.tellAll({ type: 'credit', delivered })
  })
}

/** What the server, and the whole machine, used from `fromMs` to `untilMs`. */
async function serverUse(
  { sample }: LoadOptions,
  stats: ServerStats,
  schedule: Schedule,
): Promise<ServerUse> {
  await pause(schedule.fromMs - nowMs())
  const fromMs = nowMs()
  const begin = await stats.read()
  const machineBegin = machineCpuSeconds()
  for (let k = 1; sample && fromMs + k * sample.intervalMs <= schedule.untilMs; k++) {
    await pause(fromMs + k * sample.intervalMs - nowMs())
    sample.take(await stats.read())
  }
  await pause(schedule.untilMs - nowMs())
  const end = await stats.read()
  const seconds = (nowMs() - fromMs) / 1e3
  const cpu = (end.cpuSeconds - begin.cpuSeconds) / seconds
  return { cpu, machineCpu: (machineCpuSeconds() - machineBegin) / seconds, end }
}

function sumCounts(published: readonly Published[], streams: number): number[] {
  return Array.from({ length: streams }, (_, i) =>
    published.reduce((total, { counts }) => total + (counts[i] ?? 0), 0),
  )
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}

async function timeLimit(ms: number, what: string): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, ms).unref())
  throw new Error(`${what} within ${ms} ms`)
}
