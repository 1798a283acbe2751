/**
 * The clients of all systems behind one face, so that all of them do the same work.
 * Runs on: the end processes. Owns: which client library belongs to which name.
 *
 * A library is loaded only where it is used: most are not installed with ringcast itself.
 */
import type { Target } from '../load/plan.js'

export type LinkName = keyof typeof LINKS

/** One connection. */
export interface Link {
  /** Hands one message over. False: not taken, wait for room() and try again. */
  publish(topic: string, payload: Buffer): boolean
  room(): Promise<void>
  /** Resolves when the subscription stands: what is published from then on comes. */
  subscribe(topic: string, onMessage: OnPayload): Promise<void>
  /**
   * Messages that were lost on the way, as far as the library says. No getter: V8 looks the members of
   * objects that have one up by name, which publish() would pay for.
   */
  lost(): number
  close(): Promise<void>
}

export type OnPayload = (payload: Uint8Array) => void

const LINKS = {
  ringcast: async (target: Target) => (await import('./links/ringcast.js')).open(target),
  'ringcast-confirmed': async (target: Target) =>
    (await import('./links/ringcast.js')).openConfirmed(target),
  broadcast: async (target: Target) => (await import('./links/broadcast.js')).open(target),
  'socket.io': async (target: Target) => (await import('./links/socket-io.js')).open(target),
  nats: async (target: Target) => (await import('./links/nats.js')).open(target),
  'nats-ws': async (target: Target) => (await import('./links/nats.js')).openWebSocket(target),
  redis: async (target: Target) => (await import('./links/redis.js')).open(target),
  mqtt: async (target: Target) => (await import('./links/mqtt.js')).open(target),
  'mqtt-ws': async (target: Target) => (await import('./links/mqtt.js')).openWebSocket(target),
  amqp: async (target: Target) => (await import('./links/amqp.js')).open(target),
} as const satisfies Record<string, (target: Target) => Promise<Link>>

export function openLink(name: LinkName, target: Target): Promise<Link> {
  return LINKS[name](target)
}
