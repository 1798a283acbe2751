/**
 * Finds connections whose peer is gone without a word.
 * Runs on: the front thread. Owns: a timer.
 *
 * Anything heard counts as a sign of life: a frame, a pong, bytes that the socket took. A peer that
 * was silent for one interval is pinged, one that did not answer by the end of the next is closed.
 * The sessions of an interval are looked at in SLICES parts, so that 10 000 pings do not leave in
 * one turn.
 */
import { Close } from '../errors.js'
import type { Gateway } from './gateway.js'
import type { Session } from './session.js'

const SLICES = 16

export class Heartbeat {
  readonly #gateway: Gateway
  readonly #timer: NodeJS.Timeout
  readonly #pinged = new Set<Session>()
  #slice = 0

  constructor(gateway: Gateway, intervalMs: number) {
    this.#gateway = gateway
    this.#timer = setInterval(() => this.#beat(), Math.max(1, intervalMs / SLICES))
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #beat(): void {
    this.#slice = (this.#slice + 1) % SLICES
    for (const session of this.#pinged) if (!session.isOpen) this.#pinged.delete(session)
    for (const session of [...this.#gateway.sessions.values()]) {
      if (session.id % SLICES === this.#slice) this.#check(session)
    }
  }

  #check(session: Session): void {
    if (session.wasHeard) {
      session.wasHeard = false
      this.#pinged.delete(session)
      return
    }
    if (!this.#pinged.has(session)) {
      this.#pinged.add(session)
      session.socket.ping()
      return
    }
    this.#pinged.delete(session)
    this.#gateway.counters.add('heartbeatsMissed')
    session.socket.end(Close.heartbeat.code, Close.heartbeat.reason)
  }
}
