/**
 * Several connections that publish as one.
 * Runs on: Node and browsers. Owns: the clients.
 *
 * A topic always uses the same connection, so its order is that of the calls. Worth it when one
 * connection's encoding or TCP window is the limit, not the broker.
 */
import type { PublishResult } from './bundle.js'
import type { Client } from './client.js'
import { connect } from './connect.js'
import type { ConsumeHandler, ConsumeOptions } from './consume-options.js'
import type { Consumer } from './consumer.js'
import type { MessageHandler } from './handler.js'
import type { Message } from './message.js'
import type { ConnectOptions } from './options.js'
import type { BatchResult, PublishOptions } from './publish-options.js'
import type { Replies } from './replies.js'
import type { RequestManyOptions, RequestOptions } from './request-options.js'
import type { RequestHandler } from './responder.js'
import type { SubscribeOptions, Subscription } from './subscription.js'

/** How connectPool() connects. */
export interface PoolOptions extends ConnectOptions {
  /** Connections. Default 4. */
  readonly size?: number
}

/**
 * Opens several connections; rejects, and leaves none, when one of them cannot be opened.
 * @throws as connect() does
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

/**
 * Connections that publish as one, made by connectPool(). Each topic or pattern always uses the same
 * one of them.
 * @example
 * for (const client of pool.clients) client.on('error', (error) => console.error(error))
 */
export class ClientPool {
  /** The connections, for their events and states. */
  readonly clients: readonly Client[]

  /** @internal Use connectPool(). */
  constructor(clients: readonly Client[]) {
    this.clients = clients
  }

  /** As Client.publish(), over the topic's connection. */
  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<PublishResult> {
    return this.clientFor(topic).publish(topic, payload, options)
  }

  /** As Client.publishNow(); when it returns false, wait for `drain` of `clientFor(topic)`. */
  publishNow(topic: string, payload: unknown, options?: PublishOptions): boolean {
    return this.clientFor(topic).publishNow(topic, payload, options)
  }

  /** As Client.publishBatch(), over the topic's connection. */
  publishBatch(
    topic: string,
    payloads: readonly unknown[],
    options?: Omit<PublishOptions, 'id'>,
  ): Promise<BatchResult> {
    return this.clientFor(topic).publishBatch(topic, payloads, options)
  }

  /** As Client.subscribe(), over the connection of this topic or pattern. */
  subscribe<Payload = unknown>(text: string, options?: SubscribeOptions): Subscription<Payload>
  /** As Client.subscribe() with a handler, over the connection of this topic or pattern. */
  subscribe<Payload = unknown>(
    text: string,
    handler: MessageHandler<Payload>,
    options?: SubscribeOptions,
  ): Subscription<Payload>
  subscribe<Payload = unknown>(
    text: string,
    handlerOrOptions?: MessageHandler<Payload> | SubscribeOptions,
    options?: SubscribeOptions,
  ): Subscription<Payload> {
    const client = this.clientFor(text)
    if (typeof handlerOrOptions !== 'function') return client.subscribe(text, handlerOrOptions)
    return client.subscribe(text, handlerOrOptions, options)
  }

  /** As Client.consume(), over the topic's connection. */
  consume<Payload = unknown>(
    topic: string,
    group: string,
    handler: ConsumeHandler<Payload>,
    options?: ConsumeOptions,
  ): Consumer<Payload> {
    return this.clientFor(topic).consume(topic, group, handler, options)
  }

  /** As Client.request(), over the topic's connection. */
  request<Payload = unknown>(
    topic: string,
    payload: unknown,
    options?: RequestOptions,
  ): Promise<Message<Payload>> {
    return this.clientFor(topic).request(topic, payload, options)
  }

  /** As Client.requestMany(), over the topic's connection. */
  requestMany<Payload = unknown>(
    topic: string,
    payload: unknown,
    options?: RequestManyOptions,
  ): Replies<Payload> {
    return this.clientFor(topic).requestMany(topic, payload, options)
  }

  /** As Client.respond(), over the connection of this topic or pattern. */
  respond<Payload = unknown>(
    text: string,
    handler: RequestHandler<Payload, unknown>,
    options?: SubscribeOptions,
  ): Subscription<Payload> {
    return this.clientFor(text).respond(text, handler, options)
  }

  /** The connection that this topic or pattern always uses. */
  clientFor(text: string): Client {
    let hash = 0
    for (let index = 0; index < text.length; index++) {
      hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0
    }
    return this.clients[(hash >>> 0) % this.clients.length] as Client
  }

  /** Drains every connection, as Client.drain() does. */
  async drain(timeoutMs?: number): Promise<void> {
    await Promise.all(this.clients.map((client) => client.drain(timeoutMs)))
  }

  /** Closes every connection at once. */
  close(): void {
    for (const client of this.clients) client.close()
  }
}
