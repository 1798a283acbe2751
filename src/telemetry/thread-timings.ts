/**
 * Pauses of the garbage collector and delays of the event loop, of one thread.
 * Runs on: the thread that is measured; read by anybody. Owns: its own block only.
 *
 * A block is a line of float64 in shared memory, all written by the measured thread with plain stores
 * (see counters.ts), in milliseconds:
 *
 *   field            meaning
 *   gcCount          pauses since the thread started
 *   gcTotalMs        their sum
 *   gcMaxMs          the longest
 *   gcRecentMaxMs    the longest of the last whole second
 *   delayMeanMs      how late a timer of 10 ms fired, mean, in the last whole second
 *   delayP99Ms       its 99th percentile
 *   delayMaxMs       its maximum
 *
 * Not by monitorEventLoopDelay(): after reset(), needed each second, it takes no sample until its timer
 * has fired once more, and a pause of 30 ms right then was not in it (measured). Ours has no such hole.
 * It costs a hundred timers a second, so it runs only where it is asked for.
 */
import { PerformanceObserver } from 'node:perf_hooks'

export const THREAD_TIMINGS_BYTES = 64

const Field = {
  gcCount: 0,
  gcTotalMs: 1,
  gcMaxMs: 2,
  gcRecentMaxMs: 3,
  delayMeanMs: 4,
  delayP99Ms: 5,
  delayMaxMs: 6,
} as const
const PROBE_MS = 10
const WINDOW_MS = 1000
/** Probes of a window, with room for those that fire early. */
const PROBES_MAX = 2 * (WINDOW_MS / PROBE_MS)

/** As `GET /stats` tells it. The delay is that of the last whole second. */
export interface ThreadReading {
  readonly name: string
  readonly gc: {
    readonly count: number
    readonly total_ms: number
    readonly max_ms: number
    readonly last_second_max_ms: number
  }
  readonly event_loop_delay: {
    readonly mean_ms: number
    readonly p99_ms: number
    readonly max_ms: number
  }
}

/** Where a thread's timings lie in shared memory, or in memory of its own. */
export function timingsBlock(
  memory: ArrayBufferLike = new ArrayBuffer(THREAD_TIMINGS_BYTES),
  byteOffset = 0,
): Float64Array {
  return new Float64Array(memory, byteOffset, THREAD_TIMINGS_BYTES / 8)
}

export function readThreadTimings(name: string, block: Float64Array): ThreadReading {
  const at = (field: keyof typeof Field) => {
    const value = block[Field[field]] as number
    return Math.round(value * 1e3) / 1e3
  }
  return {
    name,
    gc: {
      count: at('gcCount'),
      total_ms: at('gcTotalMs'),
      max_ms: at('gcMaxMs'),
      last_second_max_ms: at('gcRecentMaxMs'),
    },
    event_loop_delay: {
      mean_ms: at('delayMeanMs'),
      p99_ms: at('delayP99Ms'),
      max_ms: at('delayMaxMs'),
    },
  }
}

/** Measures the thread that makes it, until stop(). Does not keep its event loop alive. */
export class ThreadTimings {
  readonly #block: Float64Array
  readonly #probe: NodeJS.Timeout
  readonly #observer: PerformanceObserver
  readonly #delays = new Float64Array(PROBES_MAX)
  #probes = 0
  #probedMs = performance.now()
  #windowEndMs = this.#probedMs + WINDOW_MS
  #gcMaxMs = 0

  /** A block that a thread before us wrote goes on from where it stands. */
  constructor(block: Float64Array) {
    this.#block = block
    this.#observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) this.#noteGc(duration)
    })
    this.#observer.observe({ entryTypes: ['gc'] })
    this.#probe = setInterval(() => this.#noteDelay(performance.now()), PROBE_MS).unref()
  }

  stop(): void {
    this.#observer.disconnect()
    clearInterval(this.#probe)
  }

  #noteGc(durationMs: number): void {
    const block = this.#block
    block[Field.gcCount] = (block[Field.gcCount] as number) + 1
    block[Field.gcTotalMs] = (block[Field.gcTotalMs] as number) + durationMs
    block[Field.gcMaxMs] = Math.max(block[Field.gcMaxMs] as number, durationMs)
    this.#gcMaxMs = Math.max(this.#gcMaxMs, durationMs)
  }

  #noteDelay(timeMs: number): void {
    if (this.#probes < PROBES_MAX) {
      this.#delays[this.#probes++] = Math.max(0, timeMs - this.#probedMs - PROBE_MS)
    }
    this.#probedMs = timeMs
    if (timeMs >= this.#windowEndMs) this.#endWindow(timeMs)
  }

  #endWindow(timeMs: number): void {
    const delays = this.#delays.subarray(0, this.#probes).sort()
    const block = this.#block
    let sum = 0
    for (const delay of delays) sum += delay
    block[Field.delayMeanMs] = sum / delays.length
    block[Field.delayP99Ms] = delays[Math.ceil(delays.length * 0.99) - 1] as number
    block[Field.delayMaxMs] = delays[delays.length - 1] as number
    block[Field.gcRecentMaxMs] = this.#gcMaxMs
    this.#probes = 0
    this.#gcMaxMs = 0
    this.#windowEndMs = timeMs + WINDOW_MS
  }
}
