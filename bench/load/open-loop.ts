/**
 * Sends on a schedule fixed in advance, whatever the server does.
 * Runs on: publisher processes. Owns: the schedule of its publishers.
 *
 *   frame k of publisher i of P is due at   start + (k + i / P) × interval
 *
 * The loop wakes every GRAIN_MS, sends all that is due in one burst per connection, and stamps each
 * frame with the time it was due, not with the time it left: whatever makes us late counts as
 * latency. How late we ourselves were is recorded too (`lag`), without what waited because the
 * server held us back.
 *
 * It sleeps in `Atomics.wait`, exact to some 50 µs; timers wait whole milliseconds, and spinning
 * would take one of the cores from the broker.
 */
import { nowMs } from './clock.js'
import { LatencyRecorder } from './latencies.js'
import type { LoadPlan, Schedule } from './plan.js'
import type { PublisherConnection, SendLoop, SendOutcome } from './send-loop.js'
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
  readonly #intervalMs: number
  readonly #lag = new LatencyRecorder()
  readonly #bed = new Int32Array(new SharedArrayBuffer(4))
  #schedule: Schedule = { startMs: 0, fromMs: 0, untilMs: 0 }
  #done: ((outcome: SendOutcome) => void) | undefined
  #wakeMs = 0
  #heldBack = 0

  constructor(connections: readonly PublisherConnection[], plan: LoadPlan, ratePerSecond: number) {
    this.#publishers = plan.publishers
    this.#intervalMs = (1000 * plan.publishers * plan.batch) / ratePerSecond
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
    const { untilMs } = this.#schedule
    let isFinished = true
    for (const line of this.#lines) {
      this.#sendDue(line, timeMs)
      if (line.dueMs < untilMs) isFinished = false
    }
    if (isFinished || timeMs > untilMs + OVERTIME_MS) this.#finish()
    else {
      const grainsPassed = Math.floor((nowMs() - this.#wakeMs) / GRAIN_MS)
      this.#wakeMs += Math.max(1, grainsPassed + 1) * GRAIN_MS
      this.#sleep()
    }
  }

  #sendDue(line: Line, timeMs: number): void {
    const { connection } = line
    const { client, frame } = connection
    if (client.isBlocked) {
      line.isHeldBack = true
      return
    }
    while (line.dueMs <= timeMs && line.dueMs < this.#schedule.untilMs) {
      let at = client.reserve(frame.bytes)
      if (at === NO_ROOM) {
        client.flush()
        at = client.reserve(frame.bytes)
      }
      if (at === NO_ROOM) {
        line.isHeldBack = true
        return
      }
      frame.write(client.sendBuffer, at, line.dueMs, connection.sent)
      if (line.isHeldBack) this.#heldBack += frame.messages
      else this.#lag.record(timeMs - line.dueMs)
      connection.sent += frame.messages
      line.dueMs = this.#dueMs(connection)
    }
    client.flush()
    line.isHeldBack = false
  }

  /** When the next frame of a publisher is due. Multiplied, not added up: no error gathers. */
  #dueMs({ sent, frame, index }: PublisherConnection): number {
    const frames = sent / frame.messages + index / this.#publishers
    return this.#schedule.startMs + frames * this.#intervalMs
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
    const { untilMs } = this.#schedule
    let unsent = 0
    for (const { dueMs, connection } of this.#lines) {
      const frames = Math.max(0, Math.ceil((untilMs - dueMs) / this.#intervalMs))
      unsent += frames * connection.frame.messages
    }
    const lagP99Ms = this.#lag.finished().getValueAtPercentile(99) / 1e3
    this.#done?.({ lagP99Ms, heldBack: this.#heldBack, unsent })
    this.#done = undefined
  }
}
