/**
 * Sends as fast as possible, with at most `window` messages of each publisher under way.
 * Runs on: publisher processes. Owns: the credit of its publishers.
 *
 * Under way means published and not yet received by the slowest of its subscribers, so the bound
 * holds from end to end: it is the broker that is measured, not the room in its queues.
 */
import { nowMs } from './clock.js'
import type { Schedule } from './plan.js'
import {
  nextStream,
  type PublisherConnection,
  type SendLoop,
  type SendOutcome,
} from './send-loop.js'
import { NO_ROOM } from './websocket.js'

export class ClosedLoop implements SendLoop {
  readonly #connections: readonly PublisherConnection[]
  readonly #window: number
  #delivered: readonly (number | null)[] = []
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

  credit(delivered: readonly (number | null)[]): void {
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
    const { client } = connection
    let credit = this.#window - this.#underWay(connection)
    const before = connection.frames
    for (;;) {
      const stream = nextStream(connection)
      const { frame } = stream
      if (frame.messages > credit) break
      const at = client.reserve(frame.bytes)
      if (at === NO_ROOM) {
        client.flush()
        return connection.frames > before && !client.isBlocked
      }
      frame.write(client.sendBuffer, at, timeMs, stream.sent)
      stream.sent += frame.messages
      connection.frames++
      credit -= frame.messages
    }
    client.flush()
    return false // Until the next credit comes.
  }

  /** Streams that nobody hears do not count, unless they are all that there is. */
  #underWay({ streams }: PublisherConnection): number {
    let heard = 0
    let unheard = 0
    for (const { number, sent } of streams) {
      const delivered = this.#delivered[number]
      if (delivered === null) unheard += sent
      else heard += sent - (delivered ?? 0)
    }
    return heard === 0 && streams.every(({ number }) => this.#delivered[number] === null)
      ? unheard
      : heard
  }

  #finish(): void {
    this.#done?.({ lagP99Ms: 0, ownLagP99Ms: 0, heldBack: 0, unsent: 0 })
    this.#done = undefined
  }
}
