/**
 * What a publisher process and its way of sending (open-loop.ts, closed-loop.ts) know of each
 * other.
 * Runs on: publisher processes. Owns: nothing.
 */
import type { FrameTemplate } from './encode.js'
import type { Schedule } from './plan.js'
import type { WebSocketClient } from './websocket.js'

/** What one publisher sends to one topic (topics.ts). */
export interface SendStream {
  readonly number: number
  readonly frame: FrameTemplate
  /** Messages. */
  sent: number
}

/** One publisher: where its next frame goes and how many frames it has sent. */
export interface PublisherConnection {
  readonly index: number
  readonly client: WebSocketClient
  /** Taken in turn, one frame each. */
  readonly streams: readonly SendStream[]
  frames: number
}

/** Whose turn it is. */
export function nextStream({ streams, frames }: PublisherConnection): SendStream {
  return streams[frames % streams.length] as SendStream
}

/** The two ways to decide when the next frame is due. */
export interface SendLoop {
  start(schedule: Schedule, done: (outcome: SendOutcome) => void): void
  /** How many messages of each stream have arrived everywhere; null for one that nobody hears. */
  credit(delivered: readonly (number | null)[]): void
  writable(): void
}

export interface SendOutcome {
  readonly lagP99Ms: number
  readonly ownLagP99Ms: number
  readonly heldBack: number
  readonly unsent: number
}
