/**
 * The composition root: the only file that knows every stage.
 * Runs on: the main thread. Owns: gateway, listener, supervisor and what they share.
 */
import { readFile } from 'node:fs/promises'
import type { Logger } from 'pino'
import { configTexts } from './config.js'
import { Gateway } from './gateway/gateway.js'
import { Heartbeat } from './gateway/heartbeat.js'
import { HttpDoor } from './gateway/http.js'
import { Listener } from './gateway/listener.js'
import { loadUws } from './gateway/uws.js'
import type { Config } from './options.js'
import { Doorbell } from './ring/wakeup.js'
import type { ShardOptions } from './shard/shard.js'
import {
  allocateSharedMemory,
  countersOffset,
  GATEWAY_BELL,
  type MemoryPlan,
  type ShardMemory,
  sharedMemoryCeiling,
  timingsOffset,
  topicCount,
} from './shared-memory.js'
import { Supervisor } from './supervisor.js'
import { Counters, GATEWAY_COUNTERS, SHARD_COUNTERS } from './telemetry/counters.js'
import {
  readThreadTimings,
  type ThreadReading,
  ThreadTimings,
  timingsBlock,
} from './telemetry/thread-timings.js'
import { readTopicRules } from './topic-rules.js'
import { version } from './version.js'
import { shardWorkerFile } from './worker-file.js'

/** Of the time that a shutdown has, this much goes to what clients are still owed. */
const DRAIN_SHARE = 0.7
const POLL_MS = 5
const QUIET_POLLS = 4
/** Between the last bytes to a socket and the end of it: a reset would lose them. */
const LINGER_MS = 100

export interface BrokerOptions {
  readonly config: Config
  /** A logger for each component. */
  readonly loggerFor: (component: string) => Logger
  /** The broker cannot go on; stop() is still to be called. */
  readonly onFatal: (error: Error) => void
  /** Another entry point for the worker threads; for tests. */
  readonly workerFile?: URL
}

export class Broker {
  readonly port: number
  readonly gateway: Gateway
  readonly supervisor: Supervisor
  readonly #listener: Listener
  readonly #heartbeat: Heartbeat
  readonly #config: Config
  readonly #logger: Logger
  readonly #timings: ThreadTimings | undefined
  #stopping: Promise<void> | undefined

  private constructor(
    port: number,
    gateway: Gateway,
    supervisor: Supervisor,
    listener: Listener,
    heartbeat: Heartbeat,
    timings: ThreadTimings | undefined,
    { config, loggerFor }: BrokerOptions,
  ) {
    this.port = port
    this.gateway = gateway
    this.supervisor = supervisor
    this.#listener = listener
    this.#heartbeat = heartbeat
    this.#config = config
    this.#logger = loggerFor('broker')
    this.#timings = timings
  }

  /** Starts the threads, then listens. Rejects when either cannot be done; then nothing is left running. */
  static async start(options: BrokerOptions): Promise<Broker> {
    const { config, loggerFor, onFatal } = options
    const uws = await loadUws()
    const memories = allocateSharedMemory(memoryPlan(config))
    const { common } = memories[0] as ShardMemory
    const counters = new Counters(common, countersOffset(0), GATEWAY_COUNTERS)
    const bell = new Doorbell(new Int32Array(common), GATEWAY_BELL)
    const maxBatchMessages = Math.min(config.maxBatchMessages, config.topicHistorySize)
    const gatewayOptions = { ...config, maxBatchMessages }
    const gatewayLogger = loggerFor('gateway')
    const gateway = new Gateway(memories, gatewayOptions, bell, counters, gatewayLogger)
    const door = new HttpDoor(gateway, {
      startedAtMs: Date.now(),
      topicCount: () => topicCount(new Int32Array(common)),
      shardCounters: () =>
        memories.map(({ shard }) =>
          new Counters(common, countersOffset(shard + 1), SHARD_COUNTERS).snapshot(),
        ),
      about: () => ({
        process: processUse(),
        config: configTexts(config),
        ...(config.threadTimings ? { threads: threadReadings(common, config.workers) } : {}),
      }),
    })
    const supervisor = new Supervisor(memories, {
      ...config,
      task: {
        options: shardOptions(config),
        logLevel: config.logLevel,
        threadTimings: config.threadTimings,
      },
      workerFile: options.workerFile ?? shardWorkerFile(),
      logger: loggerFor('supervisor'),
      onDown: (shard) => setDown(gateway, shard, true),
      onUp: (shard) => {
        setDown(gateway, shard, false)
        counters.add('shardRestarts')
      },
      onFatal,
    })
    const listener = new Listener(uws, gateway, door, config, gatewayLogger)
    try {
      await supervisor.start()
      if (config.routesFile !== '') await loadRoutes(gateway, config.routesFile)
      gateway.start()
      const port = await listener.listen()
      const heartbeat = new Heartbeat(gateway, config.heartbeatIntervalMs)
      const timings = config.threadTimings
        ? new ThreadTimings(timingsBlock(common, timingsOffset(0)))
        : undefined
      return new Broker(port, gateway, supervisor, listener, heartbeat, timings, options)
    } catch (error) {
      listener.close()
      gateway.stop()
      await supervisor.stop(0)
      throw error
    }
  }

  /**
   * Ends the broker: takes nothing new, gives everybody what they are owed, says when to come back.
   * Resolves within SHUTDOWN_TIMEOUT_MS, whatever clients do. Calling it again changes nothing.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  /** Ends the sockets at once, so that the process may exit without an abort. */
  closeNow(): void {
    this.#listener.close()
  }

  async #stop(): Promise<void> {
    const { shutdownTimeoutMs } = this.#config
    const startedAt = performance.now()
    const left = () => shutdownTimeoutMs - (performance.now() - startedAt)
    const drainUntil = shutdownTimeoutMs * (1 - DRAIN_SHARE)
    this.gateway.isDraining = true
    this.#listener.stopListening()
    const isOwed = () => !this.gateway.isDrained || this.gateway.bufferedBytes > 0
    // Between two rings a record is in neither: only what stays empty for a while is empty.
    let quietPolls = 0
    while (quietPolls < QUIET_POLLS && left() > drainUntil) {
      quietPolls = isOwed() ? 0 : quietPolls + 1
      await sleep(POLL_MS)
    }
    if (isOwed()) this.#logger.warn('shutting down with clients that have not taken everything')
    this.#heartbeat.stop()
    this.#timings?.stop()
    const connections = this.gateway.sessions.size
    this.gateway.closeAll()
    if (connections > 0) await sleep(Math.min(LINGER_MS, Math.max(0, left() / 2)))
    this.gateway.stop()
    this.#listener.close()
    await this.supervisor.stop(Math.max(0, left() / 2))
  }
}

function memoryPlan(config: Config): MemoryPlan {
  return config
}

/** Bytes that the broker's memory can grow to: what threads share, and the heaps of the shards. */
export function memoryCeiling(config: Config): number {
  return sharedMemoryCeiling(memoryPlan(config)) + config.workers * config.shardHeapMb * 2 ** 20
}

function processUse() {
  const { user, system } = process.cpuUsage()
  return {
    version: version(),
    node: process.version,
    uptime_sec: Math.floor(process.uptime()),
    cpu_seconds: (user + system) / 1e6,
    rss_bytes: process.memoryUsage.rss(),
  }
}

/** Of the front thread and of each shard. */
function threadReadings(common: SharedArrayBuffer, workers: number): ThreadReading[] {
  return Array.from({ length: workers + 1 }, (_, thread) => {
    const name = thread === 0 ? 'front' : `shard-${thread - 1}`
    return readThreadTimings(name, timingsBlock(common, timingsOffset(thread)))
  })
}

function shardOptions(config: Config): ShardOptions {
  return {
    retention: {
      count: config.topicHistorySize,
      bytes: config.topicBytesMax,
      ageMs: config.topicMaxAgeMs,
    },
    maxTopics: config.maxTopics,
    autoCreateTopics: config.autoCreateTopics,
    dedupIdsMax: Math.ceil(config.dedupMaxIds / config.workers),
    topicRules: config.topicRulesFile === '' ? [] : readTopicRules(config.topicRulesFile),
  }
}

/** Rejects with what is wrong with the file. */
async function loadRoutes(gateway: Gateway, file: string): Promise<void> {
  try {
    gateway.routes.load(JSON.parse(await readFile(file, 'utf8')))
    gateway.flush()
  } catch (error) {
    throw new Error(`ROUTES_FILE=${file}: ${(error as Error).message}`, { cause: error })
  }
}

function setDown(gateway: Gateway, shard: number, isDown: boolean): void {
  const link = gateway.links[shard]
  if (link !== undefined) link.isDown = isDown
  gateway.wake()
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
