/**
 * What publisher, subscriber and idle processes have in common: their line to the coordinator, and
 * their own CPU time.
 * Runs on: the load processes. Owns: the process's IPC channel and exit, and its timings.
 */
import {
  readThreadTimings,
  type ThreadReading,
  ThreadTimings,
  timingsBlock,
} from '../../src/telemetry/thread-timings.js'
import { nowMs } from './clock.js'
import type { Schedule } from './plan.js'

/** Calls `handle` for every message. A process whose coordinator is gone ends. */
export function listen<Incoming>(handle: (message: Incoming) => void | Promise<void>): void {
  process.on('disconnect', () => process.exit(0))
  process.on('SIGINT', () => {}) // The terminal sends it to us too; the coordinator decides.
  process.on('uncaughtException', (error) => fail(error.stack ?? error.message))
  process.on('message', (message) => {
    try {
      handle(message as Incoming)?.catch((error: Error) => fail(error.message))
    } catch (error) {
      fail(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
  })
}

export function tell<Outgoing extends object>(message: Outgoing): void {
  process.send?.(message)
}

export function fail(reason: string): void {
  tell({ type: 'failed', reason })
}

const timings = timingsBlock()
new ThreadTimings(timings)

export function readTimings(): ThreadReading {
  return readThreadTimings('', timings)
}

/** Calls `note` at the end of each second, numbered from the measured time: −1 is warm-up. */
export function eachSecond({ startMs, fromMs, untilMs }: Schedule, note: (second: number) => void) {
  const next = (second: number) => {
    const endMs = fromMs + (second + 1) * 1000
    if (endMs > untilMs + 1) return
    setTimeout(() => {
      note(second)
      next(second + 1)
    }, endMs - nowMs())
  }
  next(Math.floor((startMs - fromMs) / 1000))
}

/** The share of one core that this process used between `begin()` and `end()`. */
export class CpuMeter {
  #usage = process.cpuUsage()
  #atMs = performance.now()
  #share: number | undefined

  begin(): void {
    this.#usage = process.cpuUsage()
    this.#atMs = performance.now()
    this.#share = undefined
  }

  end(): void {
    this.#share ??= this.#measured()
  }

  /** Up to `end()`, or up to now if that has not come. */
  get share(): number {
    return this.#share ?? this.#measured()
  }

  #measured(): number {
    const { user, system } = process.cpuUsage(this.#usage)
    return (user + system) / 1e3 / (performance.now() - this.#atMs)
  }
}
