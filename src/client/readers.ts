/**
 * Who reads over one connection: subscriptions, and consumers of groups.
 * Runs on: Node and browsers. Owns: them, until they have ended.
 */
import type { Attachments } from './attachments.js'
import type { PayloadCodec } from './codecs.js'
import type { Line } from './connection.js'
import type { ConsumeHandler, ConsumeOptions } from './consume-options.js'
import { Consumer } from './consumer.js'
import { SubscribeError } from './errors.js'
import type { MessageHandler } from './handler.js'
import type { Message } from './message.js'
import type { SettleRequest } from './settlements.js'
import { type SubscribeOptions, Subscription } from './subscription.js'
import { membershipKey, type Wire } from './wire.js'

/** What readers need of the client. */
export interface ReadersHost {
  readonly line: Pick<Line, 'send'>
  readonly onConsume: (message: Message) => void
  readonly onError: (error: Error) => void
}

export class Readers {
  readonly #wire: Wire
  readonly #codec: PayloadCodec
  readonly #attachments: Attachments
  readonly #host: ReadersHost
  readonly #subscriptions = new Set<Subscription<never>>()
  readonly #consumers = new Set<Consumer<never>>()

  constructor(wire: Wire, codec: PayloadCodec, attachments: Attachments, host: ReadersHost) {
    this.#wire = wire
    this.#codec = codec
    this.#attachments = attachments
    this.#host = host
  }

  /** Those that have not ended. */
  get subscriptions(): Subscription<never>[] {
    return [...this.#subscriptions]
  }

  /** Throws SubscribeError for a text that is subscribed already. */
  subscribe<Payload>(
    text: string,
    handler: MessageHandler<Payload> | undefined,
    options: SubscribeOptions,
  ): Subscription<Payload> {
    const known = this.#attachments.get(text)
    if (known?.subscriber !== undefined) {
      throw new SubscribeError('BAD_REQUEST', false, `${text} is subscribed already`)
    }
    const attachment = known ?? this.#attachments.add(text, text, undefined)
    const { onConsume, onError } = this.#host
    const host = {
      codec: this.#codec,
      update: () => attachment.update(),
      onConsume,
      onError,
      onEnded: () => {
        this.#subscriptions.delete(subscription as Subscription<never>)
        attachment.setSubscriber(undefined)
      },
    }
    const subscription: Subscription<Payload> = new Subscription(host, text, handler, options)
    this.#subscriptions.add(subscription as Subscription<never>)
    attachment.setSubscriber(subscription)
    return subscription
  }

  /** Throws SubscribeError for a group that this client is a member of already. */
  consume<Payload>(
    topic: string,
    group: string,
    handler: ConsumeHandler<Payload>,
    options: ConsumeOptions,
  ): Consumer<Payload> {
    const key = membershipKey(topic, group)
    const known = this.#attachments.get(key)
    if (known?.subscriber !== undefined) {
      const text = `this client is a member of group ${group} of ${topic} already`
      throw new SubscribeError('BAD_REQUEST', false, text)
    }
    const { line, onConsume, onError } = this.#host
    const host = {
      codec: this.#codec,
      sendSettle: (request: SettleRequest) => {
        const { op, ranges, details } = request
        const requestId = this.#attachments.newRequest(request)
        line.send(this.#wire.settle(op, requestId, topic, group, ranges, details))
      },
      sendFlow: (op: 'pause' | 'resume') => line.send(this.#wire.flow(op, topic, group)),
      onConsume,
      onError,
      onEnded: () => {
        this.#consumers.delete(consumer as Consumer<never>)
        this.#attachments.get(key)?.setSubscriber(undefined)
      },
    }
    const consumer: Consumer<Payload> = new Consumer(host, topic, group, handler, options)
    const attachment = known ?? this.#attachments.add(key, topic, group)
    this.#consumers.add(consumer as Consumer<never>)
    attachment.setSubscriber(consumer)
    return consumer
  }

  /** Takes nothing more from the broker. Returns what tells whether something is still being handled. */
  finish(subscriptions: readonly Subscription<never>[], timeoutMs: number): () => boolean {
    for (const subscription of subscriptions) {
      if (subscription.isPaused) subscription.unsubscribe()
      else subscription.finish()
    }
    const stops = [...this.#consumers].map((consumer) => consumer.stop(timeoutMs))
    let isLeaving = stops.length > 0
    void Promise.all(stops).then(() => {
      isLeaving = false
    })
    return () => isLeaving || subscriptions.some(({ isIdle }) => !isIdle)
  }

  onDisconnected(): void {
    for (const subscription of this.#subscriptions) subscription.onDisconnected()
    for (const consumer of this.#consumers) consumer.onDisconnected()
  }

  /** Settlements that are collected leave now. */
  sendNow(): void {
    for (const consumer of this.#consumers) consumer.sendNow()
  }

  end(error: Error | undefined): void {
    for (const subscription of [...this.#subscriptions]) subscription.end(error)
    for (const consumer of [...this.#consumers]) consumer.end(error)
  }
}
