/**
 * Several connections that publish as one.
 * Runs on: Node and browsers. Owns: the clients.
 *
 * A topic always uses the same connection, so its order is that of the calls. Worth it when one
 * connection's encoding or TCP window is the limit, not the broker.
 */
import { type Client, type ConnectOptions, connect } from './client.js'
import type { MessageHandler } from './handler.js'
import type { BatchResult, PublishOptions, PublishResult } from './publisher.js'
import type { SubscribeOptions, Subscription } from './subscription.js'

export interface PoolOptions extends ConnectOptions {
  /** Connections. Default 4. */
  readonly size?: number
}

/**
 * @example
 * const pool = await connectPool('ws://localhost:8080/ws', { size: 4 })
 * pool.publishNow('ticks.eur', { bid: 1.1 })
 */
export async function connectPool(url: string, options: PoolOptions = {}): Promise<ClientPool> {
  const { size = 4, ...rest } = options
  if (!Number.isInteger(size) || size < 1) throw new RangeError(`size=${size} must be at least 1`)
  const opening = Array.from({ length: size }, () => connect(url, rest))
  const settled = await Promise.allSettled(opening)
  const clients = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failed = settled.find((result) => result.status === 'rejected')
  if (failed !== undefined) {
    for (const client of clients) client.close()
    throw failed.reason
  }
  return new ClientPool(clients)
}

export class ClientPool {
  readonly clients: readonly Client[]

  /** @internal Use connectPool(). */
  constructor(clients: readonly Client[]) {
    this.clients = clients
  }

  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<PublishResult> {
    return this.clientFor(topic).publish(topic, payload, options)
  }

  publishNow(topic: string, payload: unknown, options?: PublishOptions): boolean {
    return this.clientFor(topic).publishNow(topic, payload, options)
  }

  publishBatch(
    topic: string,
    payloads: readonly unknown[],
    options?: Omit<PublishOptions, 'id'>,
  ): Promise<BatchResult> {
    return this.clientFor(topic).publishBatch(topic, payloads, options)
  }

  subscribe<Payload = unknown>(
    text: string,
    handler: MessageHandler<Payload>,
    options?: SubscribeOptions,
  ): Subscription<Payload> {
    return this.clientFor(text).subscribe(text, handler, options)
  }

  /** The connection that this topic or pattern always uses. */
  clientFor(text: string): Client {
    let hash = 0
    for (let index = 0; index < text.length; index++) {
      hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0
    }
    return this.clients[(hash >>> 0) % this.clients.length] as Client
  }

  async drain(timeoutMs?: number): Promise<void> {
    await Promise.all(this.clients.map((client) => client.drain(timeoutMs)))
  }

  close(): void {
    for (const client of this.clients) client.close()
  }
}
