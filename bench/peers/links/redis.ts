/**
 * Redis pub/sub through `redis` (node-redis), the client that the Redis documentation teaches. It
 * pipelines by itself what is published in one turn.
 * Runs on: the end processes. Owns: one connection.
 */
import type { Target } from '../../load/plan.js'
import { importPeer } from '../folder.js'
import type { Link } from '../link.js'

/** What of the package is used here. */
interface RedisModule {
  createClient(options: object): RedisClient
}

interface RedisClient {
  on(event: 'error', listener: (error: Error) => void): void
  connect(): Promise<unknown>
  publish(channel: string, message: Buffer): Promise<number>
  subscribe(channel: string, listener: (message: Buffer) => void, asBuffer: true): Promise<void>
  destroy(): void
}

export async function open({ host, port }: Target): Promise<Link> {
  const { createClient } = await importPeer<RedisModule>('redis')
  const client = createClient({
    socket: { host, port, noDelay: true, reconnectStrategy: false },
    disableOfflineQueue: true,
  })
  const fail = (error: unknown) => {
    throw error
  }
  client.on('error', fail)
  await client.connect()
  return {
    publish: (topic, payload) => {
      client.publish(topic, payload).catch(fail)
      return true
    },
    room: async () => {},
    subscribe: (topic, onMessage) => client.subscribe(topic, onMessage, true),
    lost: 0,
    close: async () => client.destroy(),
  }
}
