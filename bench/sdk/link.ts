/**
 * The two client libraries behind one face, so that both do the same work.
 * Runs on: a publisher's or a subscriber's process. Owns: the connection.
 */
import { type Client, connect } from '../../src/client/client.js'

export type LinkName = 'ringcast' | 'nats'

export interface Link {
  /** Hands one message over. False: not taken, wait for room() and try again. */
  publishNow(topic: string, payload: Uint8Array): boolean
  room(): Promise<void>
  /** Resolves when the message is confirmed. */
  publish(topic: string, payload: Uint8Array): Promise<unknown>
  /** Resolves when the subscription stands. */
  subscribe(topic: string, onMessage: () => void): Promise<void>
  /** Messages that were lost on the way, as far as the library says. */
  readonly lost: number
  close(): Promise<void>
}

export function openLink(name: LinkName, port: number): Promise<Link> {
  return name === 'ringcast' ? ringcastLink(port) : natsLink(port)
}

async function ringcastLink(port: number): Promise<Link> {
  const client: Client = await connect(`ws://127.0.0.1:${port}/ws`, { codec: 'bytes' })
  let lost = 0
  client.on('error', (error) => {
    throw error // A refused message would spoil the count.
  })
  return {
    publishNow: (topic, payload) => client.publishNow(topic, payload),
    room: () => new Promise((resolve) => client.once('drain', resolve)),
    publish: (topic, payload) => client.publish(topic, payload),
    subscribe: async (topic, onMessage) => {
      const subscription = client.subscribe(topic, onMessage)
      subscription.on('gap', (gap) => {
        lost += gap.dropped
      })
      await subscription.ready
    },
    get lost() {
      return lost
    },
    close: async () => client.close(),
  }
}

/** Core NATS, the library's own advice for speed: no echo of our own, no per-message flush. */
async function natsLink(port: number): Promise<Link> {
  const { connect: connectNats } = await import('@nats-io/transport-node')
  const connection = await connectNats({ servers: `127.0.0.1:${port}`, noEcho: true })
  return {
    publishNow: (topic, payload) => {
      connection.publish(topic, payload)
      return true
    },
    room: () => connection.flush(),
    publish: () => Promise.reject(new Error('core NATS confirms nothing')),
    subscribe: async (topic, onMessage) => {
      connection.subscribe(topic, { callback: onMessage })
      await connection.flush()
    },
    lost: 0,
    close: () => connection.close(),
  }
}
