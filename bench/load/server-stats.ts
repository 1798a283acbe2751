/**
 * What the server under test uses, and what a broker of ours says of itself.
 * Runs on: the coordinator. Owns: nothing.
 *
 * CPU and memory come from /proc while the server runs on this machine and we know its process, else
 * from its `/stats`, else they are NaN. Threads come from `/stats` and are there with THREAD_TIMINGS.
 */

import type { ThreadReading } from '../../src/telemetry/thread-timings.js'
import type { Server } from '../server-process.js'
import { type ProcessStats, readProcessStats } from './process-stats.js'

const ANSWER_MS_MAX = 2000

/** Which broker it was and how it was configured; empty for a server that cannot be asked. */
export interface ServerFacts {
  readonly version?: string
  readonly node?: string
  /** Every option by its environment variable. */
  readonly config?: Readonly<Record<string, string>>
}

export interface ServerReading extends ProcessStats {
  readonly threads: readonly ThreadReading[]
}

interface Stats {
  readonly process?: {
    readonly version: string
    readonly node: string
    readonly cpu_seconds: number
    readonly rss_bytes: number
  }
  readonly config?: Readonly<Record<string, string>>
  readonly threads?: readonly ThreadReading[]
}

export class ServerStats {
  readonly facts: ServerFacts
  readonly #server: Server
  readonly #hasThreads: boolean

  private constructor(server: Server, stats: Stats) {
    this.#server = server
    this.#hasThreads = stats.threads !== undefined
    const { process, config } = stats
    this.facts = {
      ...(process && { version: process.version, node: process.node }),
      ...(config && { config }),
    }
  }

  static async of(server: Server): Promise<ServerStats> {
    return new ServerStats(server, await ask(server))
  }

  /** Asks the server only for what nobody else can tell: a request is load, too. */
  async read(): Promise<ServerReading> {
    const known = this.#server.pid > 0
    const stats = this.#hasThreads || !known ? await ask(this.#server) : {}
    const { threads = [], process } = stats
    if (known || process === undefined) return { ...readProcessStats(this.#server.pid), threads }
    const rssMb = process.rss_bytes / 1e6
    return { cpuSeconds: process.cpu_seconds, rssMb, rssPeakMb: Number.NaN, threads }
  }
}

/** Nothing from a server that does not answer: what we ask for is beside the measurement. */
async function ask({ statsUrl }: Server): Promise<Stats> {
  if (statsUrl === undefined) return {}
  try {
    const response = await fetch(statsUrl, { signal: AbortSignal.timeout(ANSWER_MS_MAX) })
    return response.ok ? ((await response.json()) as Stats) : {}
  } catch {
    return {}
  }
}
