/**
 * Sends on a schedule fixed in advance (schedule.ts), whatever the server does.
 * Runs on: publisher processes. Owns: the schedule of its publishers.
 *
 *   frame k of publisher i of P is due at   start + schedule.dueAfterMs(k + i / P)
 *
 * The loop wakes when the next frame is due, but not sooner than GRAIN_MS after it woke last: at high
 * rates what is due meanwhile leaves in one write per connection. Each frame is stamped with the time
 * it was due, not with the time it left: whatever makes us late counts as latency.
 *
 * How late frames left is recorded, without those that waited because the server held us back:
 *   lag      all of it
 *   own lag  of it, at most the CPU time that this process got since its last turn. The rest it stood
 *            in the queue for a core: that is a busy machine and not a generator at its limit.
 *
 * It sleeps in `Atomics.wait`, exact to some 50 µs; timers wait whole milliseconds, and spinning
 * would take one of the cores from the broker.
 */
import { nowMs } from './clock.js'
import { LatencyRecorder } from './latencies.js'
import type { LoadPlan, Schedule } from './plan.js'
import { SendSchedule } from './schedule.js'
import {
  nextStream,
  type PublisherConnection,
  type SendLoop,
  type SendOutcome,
} from './send-loop.js'
import { NO_ROOM } from './websocket.js'

const GRAIN_MS = 0.5
/** Longer sleeps leave the thread to the event loop. */
const SLEEP_MAX_MS = 2
/** How long after the run a server that held us back may still take what was due in it. */
const OVERTIME_MS = 5000

interface Line {
  readonly connection: PublisherConnection
  dueMs: number
  isHeldBack: boolean
}

export class OpenLoop implements SendLoop {
  readonly #lines: readonly Line[]
  readonly #publishers: number
  readonly #due: SendSchedule
  readonly #lag = new LatencyRecorder()
  readonly #ownLag = new LatencyRecorder()
  readonly #bed = new Int32Array(new SharedArrayBuffer(4))
  #schedule: Schedule = { startMs: 0, fromMs: 0, untilMs: 0 }
  #done: ((outcome: SendOutcome) => void) | undefined
  #wakeMs = 0
  #cpuMs = cpuMs()
  #heldBack = 0

  constructor(
    connections: readonly PublisherConnection[],
    { publishers, batch }: LoadPlan,
    { ratePerSecond, rampMs = 0 }: { readonly ratePerSecond: number; readonly rampMs?: number },
  ) {
    this.#publishers = publishers
    this.#due = new SendSchedule((1000 * publishers * batch) / ratePerSecond, rampMs)
    this.#lines = connections.map((connection) => ({ connection, dueMs: 0, isHeldBack: false }))
  }

  start(schedule: Schedule, done: (outcome: SendOutcome) => void): void {
    this.#schedule = schedule
    this.#done = done
    this.#wakeMs = schedule.startMs
    for (const line of this.#lines) line.dueMs = this.#dueMs(line.connection)
    this.#sleep()
  }

  /** An open loop asks nobody. */
  credit(): void {}

  /** The next turn sends what was held back; it is at most a grain away. */
  writable(): void {}

  readonly #turn = (): void => {
    const timeMs = nowMs()
    const cpu = cpuMs()
    const ownMs = cpu - this.#cpuMs
    this.#cpuMs = cpu
    const { untilMs } = this.#schedule
    let nextMs = Number.POSITIVE_INFINITY
    for (const line of this.#lines) {
      this.#sendDue(line, timeMs, ownMs)
      nextMs = Math.min(nextMs, line.dueMs)
    }
    if (nextMs >= untilMs || timeMs > untilMs + OVERTIME_MS) return this.#finish()
    this.#wakeMs = Math.max(nextMs, this.#wakeMs + GRAIN_MS, nowMs())
    this.#sleep()
  }

  #sendDue(line: Line, timeMs: number, ownMs: number): void {
    const { connection } = line
    const { client } = connection
    if (client.isBlocked) {
      line.isHeldBack = true
      return
    }
    while (line.dueMs <= timeMs && line.dueMs < this.#schedule.untilMs) {
      const stream = nextStream(connection)
      const { frame } = stream
      let at = client.reserve(frame.bytes)
      if (at === NO_ROOM) {
        client.flush()
        at = client.reserve(frame.bytes)
      }
      if (at === NO_ROOM) {
        line.isHeldBack = true
        return
      }
      frame.write(client.sendBuffer, at, line.dueMs, stream.sent)
      if (line.isHeldBack) this.#heldBack += frame.messages
      else {
        const lagMs = timeMs - line.dueMs
        this.#lag.record(lagMs)
        this.#ownLag.record(Math.min(lagMs, ownMs))
      }
      stream.sent += frame.messages
      connection.frames++
      line.dueMs = this.#dueMs(connection)
    }
    client.flush()
    line.isHeldBack = false
  }

  #dueMs({ frames, index }: PublisherConnection): number {
    return this.#schedule.startMs + this.#due.dueAfterMs(frames + index / this.#publishers)
  }

  #sleep(): void {
    const leftMs = this.#wakeMs - nowMs()
    if (leftMs > SLEEP_MAX_MS) {
      setTimeout(() => this.#sleep(), leftMs - SLEEP_MAX_MS)
      return
    }
    if (leftMs > 0) Atomics.wait(this.#bed, 0, 0, leftMs)
    setImmediate(this.#turn) // Not called at once: blocked writes need the event loop.
  }

  #finish(): void {
    const { startMs, untilMs } = this.#schedule
    const wanted = this.#due.framesWithin(untilMs - startMs)
    let unsent = 0
    for (const { connection } of this.#lines) {
      const { frames, index } = connection
      const left = Math.max(0, Math.ceil(wanted - index / this.#publishers) - frames)
      unsent += left * nextStream(connection).frame.messages
    }
    const p99 = (lag: LatencyRecorder) => lag.finished().getValueAtPercentile(99) / 1e3
    const [lagP99Ms, ownLagP99Ms] = [p99(this.#lag), p99(this.#ownLag)]
    this.#done?.({ lagP99Ms, ownLagP99Ms, heldBack: this.#heldBack, unsent })
    this.#done = undefined
  }
}

/** CPU time of this process so far. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e3
}
