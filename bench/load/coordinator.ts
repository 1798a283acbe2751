/**
 * One run: starts the load processes against a server that is up, measures, and puts together
 * what they saw.
 * Runs on: the benchmark's main process. Owns: the publisher and subscriber processes of the run.
 *
 *   setup ─ start ─ warm-up ─┬─ measured ─┬─ drain ─ results
 *                            from         until
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Server } from '../server-process.js'
import { nowMs } from './clock.js'
import { encodeLatencies, mergeLatencies } from './latencies.js'
import type {
  FromPublisher,
  FromSubscriber,
  LoadPlan,
  Published,
  Received,
  Schedule,
  ToPublisher,
  ToSubscriber,
} from './plan.js'
import { machineCpuSeconds, type ProcessStats, readProcessStats } from './process-stats.js'

/** From `start` to the first message, so that every process has heard of it. */
const LEAD_MS = 100
const SETUP_MS_MAX = 60_000
/** After the measured time: overtime of publishers, drain of subscribers. */
const RESULTS_MS_MAX = 40_000

/** In open loop, beyond these the generator itself is what was measured. */
export const GENERATOR_CPU_MAX = 0.8
export const GENERATOR_LAG_P99_MS_MAX = 2

export interface LoadOptions {
  readonly server: Server
  readonly plan: LoadPlan
  readonly publisherProcesses: number
  readonly subscriberProcesses: number
  readonly warmUpMs: number
  readonly measuredMs: number
  /** Called every `intervalMs` of the measured time. */
  readonly sample?: { readonly intervalMs: number; take(stats: ProcessStats): void }
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
  readonly lagP99Ms: number
  /** Cores: 1 is one core. */
  readonly serverCpu: number
  readonly publisherCpu: number
  readonly subscriberCpu: number
  /** Whatever else ran on this machine: a run with much of it says little. */
  readonly otherCpu: number
  readonly rssMb: number
  readonly rssPeakMb: number
  /** Why the run does not count; undefined if it does. */
  readonly voidReason?: string
  /** The whole histogram, µs, as hdr-histogram-js encodes it. */
  readonly latencies: string
}

export interface Latency {
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const { server, plan } = options
  const publishers = startGroup<ToPublisher, FromPublisher>('publisher', options.publisherProcesses)
  const subscribers = startGroup<ToSubscriber, FromSubscriber>(
    'subscriber',
    options.subscriberProcesses,
  )
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
    subscribers.setup(options, plan.subscribers)
    await within(subscribers.answers('ready'), SETUP_MS_MAX, 'subscribers did not connect')
    publishers.setup(options, plan.publishers)
    await within(publishers.answers('ready'), SETUP_MS_MAX, 'publishers did not connect')

    const startMs = nowMs() + LEAD_MS
    const fromMs = startMs + options.warmUpMs
    const schedule = { startMs, fromMs, untilMs: fromMs + options.measuredMs }
    for (const group of groups) group.tellAll({ type: 'start', schedule })
    const [published, use] = await within(
      Promise.all([publishers.answers('published'), serverUse(options, schedule)]),
      LEAD_MS + options.warmUpMs + options.measuredMs + RESULTS_MS_MAX,
      'publishers did not finish',
    )
    const counts = sumCounts(published, plan.publishers)
    subscribers.tellAll({ type: 'drain', published: counts })
    const drained = subscribers.answers('received')
    const received = await within(drained, RESULTS_MS_MAX, 'subscribers did not finish')
    return combine({ options, counts, published, received, use })
  } finally {
    for (const group of groups) group.kill()
  }
}

/** The processes of one kind. */
interface Group<To, From extends { readonly type: string }> {
  readonly failed: Promise<never>
  setup(options: LoadOptions, clients: number): void
  tellAll(message: To): void
  /** One message of this type from every process. */
  answers<T extends From['type']>(type: T): Promise<Extract<From, { readonly type: T }>[]>
  onMessage(handle: (message: From, process: number) => void): void
  kill(): void
}

function startGroup<To extends object, From extends { readonly type: string }>(
  kind: 'publisher' | 'subscriber',
  processes: number,
): Group<To, From> {
  const file = fileURLToPath(new URL(`./${kind}.js`, import.meta.url))
  const children = Array.from({ length: processes }, () => fork(file, { stdio: 'inherit' }))
  const failed = new Promise<never>((_, reject) => {
    for (const child of children) {
      child.once('exit', (code, signal) => {
        reject(new Error(`a ${kind} process ended: code=${code}, signal=${signal}`))
      })
      child.on('message', (message: From & { reason?: string }) => {
        if (message.type === 'failed') reject(new Error(message.reason))
      })
    }
  })
  failed.catch(() => {}) // Also after the run, when kill() ends them.

  return {
    failed,
    setup(options, clients) {
      const { server, plan } = options
      const target = { host: server.host, port: server.port }
      children.forEach((child, i) => {
        const indexes = Array.from({ length: clients }, (_, k) => k).filter(
          (k) => k % processes === i,
        )
        child.send({ type: 'setup', target, plan, indexes })
      })
    },
    tellAll(message) {
      for (const child of children) child.send(message)
    },
    answers<T extends From['type']>(type: T) {
      const all = children.map((child) => answer<Extract<From, { readonly type: T }>>(child, type))
      return Promise.all(all)
    },
    onMessage(handle) {
      children.forEach((child, i) => {
        child.on('message', (message: From) => handle(message, i))
      })
    },
    kill() {
      for (const child of children) child.kill('SIGKILL')
    },
  }
}

function answer<T extends { readonly type: string }>(
  child: ChildProcess,
  type: string,
): Promise<T> {
  return new Promise((resolve) => {
    const listener = (message: T) => {
      if (message.type !== type) return
      child.off('message', listener)
      resolve(message)
    }
    child.on('message', listener)
  })
}

/** Tells the publishers what the slowest subscriber of all processes has received. */
function forwardCredit(
  subscribers: Group<ToSubscriber, FromSubscriber>,
  publishers: Group<ToPublisher, FromPublisher>,
  { plan, subscriberProcesses }: LoadOptions,
): void {
  // A process that has not reported yet has received nothing.
  const nothing = new Array<number | null>(plan.publishers).fill(0)
  const latest = new Array<readonly (number | null)[]>(subscriberProcesses).fill(nothing)
  subscribers.onMessage((message, process) => {
    if (message.type !== 'progress') return
    latest[process] = message.delivered
    const delivered = Array.from({ length: plan.publishers }, (_, publisher) => {
      let floor = Number.POSITIVE_INFINITY
      for (const floors of latest) floor = Math.min(floor, floors[publisher] ?? floor)
      return Number.isFinite(floor) ? floor : 0
    })
    publishers.tellAll({ type: 'credit', delivered })
  })
}

interface ServerUse {
  readonly cpu: number
  /** Of the whole machine, in cores. */
  readonly machineCpu: number
  readonly end: ProcessStats
}

/** What the server, and the whole machine, used from `fromMs` to `untilMs`. */
async function serverUse(options: LoadOptions, schedule: Schedule): Promise<ServerUse> {
  const { server, sample } = options
  await pause(schedule.fromMs - nowMs())
  const fromMs = nowMs()
  const begin = readProcessStats(server.pid)
  const machineBegin = machineCpuSeconds()
  for (let k = 1; sample && fromMs + k * sample.intervalMs <= schedule.untilMs; k++) {
    await pause(fromMs + k * sample.intervalMs - nowMs())
    sample.take(readProcessStats(server.pid))
  }
  await pause(schedule.untilMs - nowMs())
  const end = readProcessStats(server.pid)
  const seconds = (nowMs() - fromMs) / 1e3
  const cpu = (end.cpuSeconds - begin.cpuSeconds) / seconds
  return { cpu, machineCpu: (machineCpuSeconds() - machineBegin) / seconds, end }
}

interface Parts {
  readonly options: LoadOptions
  readonly counts: readonly number[]
  readonly published: readonly Published[]
  readonly received: readonly Received[]
  readonly use: ServerUse
}

function combine({ options, counts, published, received, use }: Parts): LoadResult {
  const latencies = mergeLatencies(received.map((part) => part.latencies))
  const atMs = (percentile: number) => latencies.getValueAtPercentile(percentile) / 1e3
  const voidReason = options.plan.load.kind === 'open' ? saturation(published, received) : undefined
  const publisherCpu = sum(published, 'cpuShare')
  const subscriberCpu = sum(received, 'cpuShare')
  const result = {
    deliveredPerSecond: sum(received, 'delivered') / (options.measuredMs / 1e3),
    published: counts.reduce((total, count) => total + count, 0),
    expected: sum(received, 'expected'),
    received: sum(received, 'received'),
    latency: {
      p50: atMs(50),
      p95: atMs(95),
      p99: atMs(99),
      p999: atMs(99.9),
      max: latencies.maxValue / 1e3,
    },
    lost: sum(received, 'lost'),
    announced: sum(received, 'announced'),
    repeated: sum(received, 'repeated'),
    outOfOrder: sum(received, 'outOfOrder'),
    heldBack: sum(published, 'heldBack'),
    lagP99Ms: Math.max(...published.map(({ lagP99Ms }) => lagP99Ms)),
    serverCpu: use.cpu,
    publisherCpu,
    subscriberCpu,
    otherCpu: Math.max(0, use.machineCpu - use.cpu - publisherCpu - subscriberCpu),
    rssMb: use.end.rssMb,
    rssPeakMb: use.end.rssPeakMb,
    ...(voidReason === undefined ? {} : { voidReason }),
    latencies: encodeLatencies(latencies),
  }
  checkSums(result, sum(received, 'unexpected'), sum(received, 'early'), sum(published, 'unsent'))
  return result
}

/** Says which generator process was the bottleneck, if one was. */
function saturation(
  published: readonly Published[],
  received: readonly Received[],
): string | undefined {
  const busiest = Math.max(...[...published, ...received].map(({ cpuShare }) => cpuShare))
  if (busiest > GENERATOR_CPU_MAX) return `generator used ${Math.round(busiest * 100)} % of a core`
  const lag = Math.max(...published.map(({ lagP99Ms }) => lagP99Ms))
  if (lag > GENERATOR_LAG_P99_MS_MAX) return `schedule lag p99 ${lag.toFixed(1)} ms`
  return undefined
}

/** A run whose numbers contradict each other is worth nothing: it fails, whoever is to blame. */
function checkSums(result: LoadResult, unexpected: number, early: number, unsent: number): void {
  const { expected, lost, repeated, received, published } = result
  if (received === 0) throw new Error('nothing was delivered')
  if (unexpected > 0) throw new Error(`${unexpected} messages arrived that nobody published`)
  if (early > 0) throw new Error(`${early} messages arrived before they were sent: clock broken`)
  if (unsent > 0)
    throw new Error(`the server did not take ${unsent} of ${published + unsent} messages`)
  if (received !== expected - lost + repeated) {
    const sums = `received=${received}, expected=${expected}, lost=${lost}, repeated=${repeated}`
    throw new Error(`the counts do not add up: ${sums}`)
  }
}

function sumCounts(published: readonly Published[], publishers: number): number[] {
  return Array.from({ length: publishers }, (_, i) =>
    published.reduce((total, { counts }) => total + (counts[i] ?? 0), 0),
  )
}

function sum<K extends string>(parts: readonly Readonly<Record<K, number>>[], key: K): number {
  return parts.reduce((total, part) => total + part[key], 0)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}

async function timeLimit(ms: number, what: string): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, ms).unref())
  throw new Error(`${what} within ${ms} ms`)
}
