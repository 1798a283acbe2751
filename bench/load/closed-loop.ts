/**
 * Sends as fast as possible, with at most `window` messages of each publisher under way.
 * Runs on: publisher processes. Owns: the credit of its publishers.
 *
 * Under way means published and not yet received by the slowest of its subscribers, so the bound
 * holds from end to end: it is the broker that is measured, not the room in its queues.
 */
import { nowMs } from './clock.js'
import type { Schedule } from './plan.js'
import type { PublisherConnection, SendLoop, SendOutcome } from './send-loop.js'
import { NO_ROOM } from './websocket.js'

export class ClosedLoop implements SendLoop {
  readonly #connections: readonly PublisherConnection[]
  readonly #window: number
  #delivered: readonly number[] = []
  #done: ((outcome: SendOutcome) => void) | undefined
  #untilMs = 0
  #isScheduled = false

  constructor(connections: readonly PublisherConnection[], window: number) {
    this.#connections = connections
    this.#window = window
  }

  start(schedule: Schedule, done: (outcome: SendOutcome) => void): void {
    this.#untilMs = schedule.untilMs
    this.#done = done
    setTimeout(() => this.#schedule(), schedule.startMs - nowMs())
    setTimeout(() => this.#finish(), schedule.untilMs - nowMs() + 1)
  }

  credit(delivered: readonly number[]): void {
    this.#delivered = delivered
    this.#schedule()
  }

  writable(): void {
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#done === undefined) return
    this.#isScheduled = true
    setImmediate(this.#turn)
  }

  /** One turn of the event loop: fills and flushes the send buffer of every publisher once. */
  readonly #turn = (): void => {
    this.#isScheduled = false
    // One look at the clock per turn: what is encoded last seems a little slower than it was.
    const timeMs = nowMs()
    // Nor after the count was told: a timer can fire a little before the time it was set for.
    if (timeMs >= this.#untilMs || this.#done === undefined) return
    for (const connection of this.#connections) {
      if (this.#fill(connection, timeMs)) this.#schedule()
    }
  }

  /** Returns true when the publisher could go on at once. */
  #fill(connection: PublisherConnection, timeMs: number): boolean {
    const { client, frame, index } = connection
    const limit = (this.#delivered[index] ?? 0) + this.#window
    const before = connection.sent
    while (connection.sent + frame.messages <= limit) {
      const at = client.reserve(frame.bytes)
      if (at === NO_ROOM) break
      frame.write(client.sendBuffer, at, timeMs, connection.sent)
      connection.sent += frame.messages
    }
    client.flush()
    const hasCredit = connection.sent + frame.messages <= limit
    return hasCredit && connection.sent > before && !client.isBlocked
  }

  #finish(): void {
    this.#done?.({ lagP99Ms: 0, heldBack: 0, unsent: 0 })
    this.#done = undefined
  }
}
