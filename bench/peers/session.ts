/**
 * One system under comparison with its two ends connected: runs loads on it, one after the other.
 * Runs on: the benchmark's main process. Owns: the two end processes.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { nowMs } from '../load/clock.js'
import { mergeLatencies } from '../load/latencies.js'
import { leaveHeapAlone } from '../load/own-heap.js'
import type { Load, Schedule } from '../load/plan.js'
import { machineCpuSeconds } from '../load/process-stats.js'
import type { Server } from '../server-process.js'
import { builtModule } from './folder.js'
import type { LinkName } from './link.js'
import type { FromEnd, Published, Received, Shape, ToPublisher, ToSubscriber } from './messages.js'
import { treeCpuSeconds } from './process-tree.js'

/** From `run` to the first message, so that both ends have heard of it. */
const LEAD_MS = 50
const SETUP_MS_MAX = 30_000
/** Overtime of the publisher, drain of the subscriber, and a busy machine. */
const RESULTS_MS_MAX = 20_000

export interface RunOptions {
  readonly load: Load
  readonly warmUpMs: number
  readonly measuredMs: number
}

export interface RunResult {
  /** Deliveries to all subscribers together. */
  readonly deliveredPerSecond: number
  readonly published: number
  readonly expected: number
  readonly received: number
  readonly lost: number
  readonly announced: number
  readonly repeated: number
  readonly outOfOrder: number
  /** Milliseconds from when each message was due; open loops only. */
  readonly latency?: {
    readonly p50: number
    readonly p99: number
    readonly p999: number
    readonly max: number
  }
  /** The load was given up: the system was too far behind. */
  readonly isOverrun: boolean
  readonly lagP99Ms: number
  /** Cores: 1 is one core. */
  readonly serverCpu: number
  readonly publisherCpu: number
  readonly subscriberCpu: number
  readonly otherCpu: number
}

export interface Session {
  run(options: RunOptions): Promise<RunResult>
  close(): void
}

export async function openSession(server: Server, link: LinkName, shape: Shape): Promise<Session> {
  leaveHeapAlone()
  const publisher = new End<ToPublisher>('publisher')
  const subscriber = new End<ToSubscriber>('subscriber')
  const ends = [publisher, subscriber] as const
  const failure = Promise.race([
    ...ends.map(({ failed }) => failed),
    server.ended.then((reason) => Promise.reject(new Error(reason))),
  ])
  failure.catch(() => {}) // Whoever waits for an answer hears of it.
  const within = <T>(promise: Promise<T>, ms: number, what: string) =>
    Promise.race([promise, failure, timeLimit(ms, what)])
  const close = () => {
    for (const end of ends) end.kill()
  }
  // How far the slowest subscriber is: the publisher keeps its window by it.
  subscriber.onMessage((message) => {
    if (message.type !== 'progress') return
    publisher.tell({ type: 'credit', run: message.run, delivered: message.delivered })
  })
  try {
    const target = { host: server.host, port: server.port }
    for (const end of [subscriber, publisher]) {
      const ready = end.answer('ready')
      end.tell({ type: 'setup', link, target, shape })
      await within(ready, SETUP_MS_MAX, `the ${end.kind} did not connect`)
    }
  } catch (error) {
    close()
    throw error
  }
  let runs = 0
  return {
    close,
    async run({ load, warmUpMs, measuredMs }) {
      const startMs = nowMs() + LEAD_MS
      const fromMs = startMs + warmUpMs
      const schedule = { startMs, fromMs, untilMs: fromMs + measuredMs }
      const published = publisher.answer('published')
      for (const end of ends) end.tell({ type: 'run', run: runs, load, schedule })
      runs++
      const [sent, cpu] = await within(
        Promise.all([published, cpuUse(server.pid, schedule)]),
        warmUpMs + measuredMs + RESULTS_MS_MAX,
        'the publisher did not finish',
      )
      const received = subscriber.answer('received')
      subscriber.tell({ type: 'drain', published: sent.counts })
      const got = await within(received, RESULTS_MS_MAX, 'the subscriber did not finish')
      return resultOf(sent, got, cpu)
    },
  }
}

/** An end process. */
class End<To extends object> {
  readonly kind: string
  readonly failed: Promise<never>
  readonly #child: ChildProcess

  constructor(kind: 'publisher' | 'subscriber') {
    this.kind = kind
    const child = fork(builtModule(`peers/${kind}.js`), { stdio: 'inherit' })
    this.#child = child
    this.failed = new Promise((_, reject) => {
      child.once('exit', (code, signal) =>
        reject(new Error(`the ${kind} ended: code=${code}, signal=${signal}`)),
      )
      this.onMessage((message) => {
        if (message.type === 'failed') reject(new Error(firstLine(message.reason)))
      })
    })
    this.failed.catch(() => {}) // Also after the session, when kill() ends it.
  }

  tell(message: To): void {
    if (this.#child.connected) this.#child.send(message)
  }

  onMessage(handle: (message: FromEnd) => void): void {
    this.#child.on('message', handle)
  }

  answer<T extends FromEnd['type']>(type: T): Promise<Extract<FromEnd, { readonly type: T }>> {
    return new Promise((resolve) => {
      const listener = (message: FromEnd) => {
        if (!isOfType(message, type)) return
        this.#child.off('message', listener)
        resolve(message)
      }
      this.#child.on('message', listener)
    })
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

function isOfType<T extends FromEnd['type']>(
  message: FromEnd,
  type: T,
): message is Extract<FromEnd, { readonly type: T }> {
  return message.type === type
}

interface CpuUse {
  readonly server: number
  /** Of the whole machine. */
  readonly machine: number
}

async function cpuUse(pid: number, { fromMs, untilMs }: Schedule): Promise<CpuUse> {
  await pause(fromMs - nowMs())
  const [beganMs, server, machine] = [nowMs(), treeCpuSeconds(pid), machineCpuSeconds()]
  await pause(untilMs - nowMs())
  const seconds = (nowMs() - beganMs) / 1e3
  return {
    server: (treeCpuSeconds(pid) - server) / seconds,
    machine: (machineCpuSeconds() - machine) / seconds,
  }
}

function resultOf(sent: Published, got: Received, cpu: CpuUse): RunResult {
  if (got.received === 0) throw new Error('nothing was delivered')
  const latencies = mergeLatencies([got.latencies])
  const atMs = (percentile: number) => latencies.getValueAtPercentile(percentile) / 1e3
  const { deliveredPerSecond, expected, received, lost, announced, repeated, outOfOrder } = got
  return {
    deliveredPerSecond,
    published: sent.counts.reduce((total, count) => total + count, 0),
    expected,
    received,
    lost,
    announced,
    repeated,
    outOfOrder,
    ...(latencies.totalCount > 0
      ? {
          latency: {
            p50: atMs(50),
            p99: atMs(99),
            p999: atMs(99.9),
            max: latencies.maxValue / 1e3,
          },
        }
      : {}),
    isOverrun: sent.isOverrun,
    lagP99Ms: sent.lagP99Ms,
    serverCpu: cpu.server,
    publisherCpu: sent.cpuShare,
    subscriberCpu: got.cpuShare,
    otherCpu: Math.max(0, cpu.machine - cpu.server - sent.cpuShare - got.cpuShare),
  }
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}

async function timeLimit(ms: number, what: string): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, ms).unref())
  throw new Error(`${what} within ${ms} ms`)
}
