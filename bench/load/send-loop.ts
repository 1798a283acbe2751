/**
 * What a publisher process and its way of sending (open-loop.ts, closed-loop.ts) know of each
 * other.
 * Runs on: publisher processes. Owns: nothing.
 */
import type { FrameTemplate } from './encode.js'
import type { Schedule } from './plan.js'
import type { WebSocketClient } from './websocket.js'

/** One publisher: where its next frame goes and how many messages it has sent. */
export interface PublisherConnection {
  readonly index: number
  readonly client: WebSocketClient
  readonly frame: FrameTemplate
  sent: number
}

/** The two ways to decide when the next frame is due. */
export interface SendLoop {
  start(schedule: Schedule, done: (outcome: SendOutcome) => void): void
  /** How many messages of each publisher have arrived everywhere. */
  credit(delivered: readonly number[]): void
  writable(): void
}

export interface SendOutcome {
  readonly lagP99Ms: number
  readonly heldBack: number
  readonly unsent: number
}
