/**
 * What the soak run looks at, how it is read, and how much growth of it matters.
 * Runs on: the benchmark's main process. Owns: the list.
 */
import { askStats } from '../http-door.js'
import { openFiles, readProcessStats, threadCount } from '../load/process-stats.js'
import { quantile } from '../statistics.js'
import type { WatchedBroker } from '../threads/threads.js'

/** RSS of the broker, at any time. */
export const RSS_MB_MAX = 500

/**
 * `tolerance` is growth in the second half of the run that does not matter, whatever noise says. The
 * counts have half of one, so that one that stays is not forgiven.
 */
export const QUANTITIES = {
  rssMb: { name: 'RSS', unit: 'MB', tolerance: 5 },
  frontHeapMb: { name: 'heap, front thread', unit: 'MB', tolerance: 1 },
  shardHeapMb: { name: 'heap, shards', unit: 'MB', tolerance: 1 },
  openFiles: { name: 'open files', unit: '', tolerance: 0.5 },
  threads: { name: 'threads', unit: '', tolerance: 0.5 },
  connections: { name: 'connections', unit: '', tolerance: 0.5 },
  subscriptions: { name: 'subscriptions', unit: '', tolerance: 0.5 },
  topics: { name: 'topics', unit: '', tolerance: 0.5 },
  lagging: { name: 'lagging subscriptions', unit: '', tolerance: 0.5 },
  ringKb: { name: 'depth of the rings', unit: 'kB', tolerance: 10 },
  p50Ms: { name: 'latency p50', unit: 'ms', tolerance: 0.1 },
  p99Ms: { name: 'latency p99', unit: 'ms', tolerance: 1 },
  cpu: { name: 'CPU', unit: 'cores', tolerance: 0.05 },
} as const

export type QuantityName = keyof typeof QUANTITIES
export type Quantities = Readonly<Record<QuantityName, number>>

export interface TimedSample extends Quantities {
  readonly minutes: number
}

/** One reading. `latencies` are those that arrived since the last one, in ms. */
export class Sampler {
  readonly #broker: WatchedBroker
  #cpuSeconds: number
  #atMs = performance.now()

  constructor(broker: WatchedBroker) {
    this.#broker = broker
    this.#cpuSeconds = readProcessStats(broker.server.pid).cpuSeconds
  }

  async take(latencies: readonly number[]): Promise<Quantities> {
    const { server } = this.#broker
    const stats = await askStats(server)
    const { rssMb, cpuSeconds } = readProcessStats(server.pid)
    const nowMs = performance.now()
    const cpu = (cpuSeconds - this.#cpuSeconds) / ((nowMs - this.#atMs) / 1e3)
    this.#cpuSeconds = cpuSeconds
    this.#atMs = nowMs
    const [front, ...shards] = this.#broker.threads()
    let ringBytes = 0
    for (const ring of stats.rings) ringBytes += ring.inbound_bytes + ring.outbound_bytes
    return {
      rssMb,
      frontHeapMb: front?.heapUsedMb ?? Number.NaN,
      shardHeapMb: shards.reduce((sum, { heapUsedMb }) => sum + heapUsedMb, 0),
      openFiles: openFiles(server.pid),
      threads: threadCount(server.pid),
      connections: stats.connections,
      subscriptions: stats.subscribers,
      topics: Object.keys(stats.topics).length,
      lagging: stats.lagging,
      ringKb: ringBytes / 1e3,
      p50Ms: quantile(latencies, 0.5),
      p99Ms: quantile(latencies, 0.99),
      cpu,
    }
  }
}
