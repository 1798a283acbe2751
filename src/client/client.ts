/**
 * The client: one connection that comes back, what is published and subscribed over it.
 * Runs on: Node and browsers. Owns: the socket, the publisher, the subscriptions.
 *
 *   connecting ──► open ──► draining ──► closed
 *                  ▲  │                    ▲
 *                  │  ▼                    │  close(), or the broker said never to come back
 *               reconnecting ──────────────┘
 */
import { EventEmitter } from 'eventemitter3'
import { Backoff } from './backoff.js'
import { bytesCodec, jsonCodec, msgpackCodec, type PayloadCodec } from './codecs.js'
import {
  ConnectionClosedError,
  ProtocolError,
  type RingcastError,
  SubscribeError,
} from './errors.js'
import type { MessageHandler } from './handler.js'
import { jsonWire } from './json-wire.js'
import type { Message } from './message.js'
import { msgpackWire } from './msgpack-wire.js'
import {
  type BatchResult,
  Publisher,
  type PublishOptions,
  type PublishResult,
} from './publisher.js'
import { findWebSocket, openSocket, type Socket, type WebSocketClass } from './socket.js'
import { type SubscribeOptions, type Subscriber, Subscription } from './subscription.js'
import type { Wire, WireError, WireInfo } from './wire.js'

export type ClientState = 'connecting' | 'open' | 'reconnecting' | 'draining' | 'closed'

export interface ClientHooks {
  /** A message was handed to the connection. */
  readonly onPublish?: (topic: string, payload: unknown) => void
  /** A message came in, before it is handled. */
  readonly onConsume?: (message: Message) => void
  /** Anything that went wrong and that no promise tells. */
  readonly onError?: (error: Error) => void
  /** The broker is going away; we come back by ourselves after this many ms. */
  readonly onShutdown?: (reconnectAfterMs: number) => void
}

export interface ConnectOptions extends ClientHooks {
  /** Encoding of the connection. Default msgpack; json is for looking at it with other tools. */
  readonly encoding?: 'msgpack' | 'json'
  /** Encoding of payloads, or one of your own. Default: that of the connection. */
  readonly codec?: 'msgpack' | 'json' | 'bytes' | PayloadCodec
  /** How long connect() tries, ms. Default 10 000. */
  readonly connectTimeoutMs?: number
  /** First and longest delay between two tries to connect, ms. Defaults 100 and 30 000. */
  readonly reconnectBaseMs?: number
  readonly reconnectMaxMs?: number
  /** Silence after which the connection is tried with a ping, and given up, ms. Default 20 000. */
  readonly heartbeatMs?: number
  /** How long a publish waits for its ack, ms. Default 10 000. */
  readonly publishTimeoutMs?: number
  /** Bytes not yet taken by the network above which publishNow() refuses. Default 4 MiB. */
  readonly highWaterMarkBytes?: number
  /** Confirmed publishes under way at once; more of them wait. Default 100 000. */
  readonly maxInFlight?: number
  /** Publishes that may wait for room; one more is rejected. Default 100 000. */
  readonly maxWaiting?: number
  /** Unconfirmed publishes at a lost connection: sent again under their id, or rejected. */
  readonly onLostConnection?: 'resend' | 'reject'
  /** A WebSocket class other than the platform's. */
  readonly WebSocket?: WebSocketClass
}

export interface ClientEvents {
  state: (state: ClientState) => void
  error: (error: Error) => void
  /** publishNow() would succeed again. */
  drain: () => void
}

const CODECS = { msgpack: msgpackCodec, json: jsonCodec, bytes: bytesCodec } as const
/** Close codes from here on ask the client not to come back. */
const CLOSE_FINAL = 4500
const SHUTTING_DOWN = 'SHUTTING_DOWN'
const DRAIN_POLL_MS = 5

/**
 * Connects, and resolves with the client once the connection is open.
 * Rejects with ConnectionClosedError when that takes longer than `connectTimeoutMs`.
 * @example
 * const client = await connect('ws://localhost:8080/ws')
 * await client.publish('orders', { id: 1 })
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Client> {
  const WebSocketImpl = options.WebSocket ?? (await findWebSocket())
  const client = new Client(url, options, WebSocketImpl)
  await client.opened
  return client
}

export class Client extends EventEmitter<ClientEvents> {
  readonly url: string
  /** @internal Settles when the first connection is open, or is given up. */
  readonly opened: Promise<void>
  readonly #options: ConnectOptions
  readonly #WebSocket: WebSocketClass
  readonly #wire: Wire
  readonly #publisher: Publisher
  readonly #backoff: Backoff
  /** By topic or pattern; the broker takes one subscription to each per connection. */
  readonly #subscriptions = new Map<string, Subscriber>()
  /** Subscribes that wait for their ack. */
  readonly #subscribing = new Map<number, Subscriber>()
  #state: ClientState = 'connecting'
  #socket: Socket | undefined
  #openedAtMs = 0
  #heardAtMs = 0
  #reconnectAfterMs: number | undefined
  #reconnectTimer: ReturnType<typeof setTimeout> | undefined
  #heartbeat: ReturnType<typeof setInterval> | undefined
  #settleOpened: { resolve: () => void; reject: (error: Error) => void } | undefined

  /** @internal Use connect(). */
  constructor(url: string, options: ConnectOptions, WebSocketImpl: WebSocketClass) {
    super()
    this.url = url
    this.#options = options
    this.#WebSocket = WebSocketImpl
    this.#wire = options.encoding === 'json' ? jsonWire() : msgpackWire()
    const { codec = options.encoding ?? 'msgpack' } = options
    this.#backoff = new Backoff({
      baseMs: options.reconnectBaseMs ?? 100,
      maxMs: options.reconnectMaxMs ?? 30_000,
    })
    const client = this
    this.#publisher = new Publisher(
      this.#wire,
      {
        get isOpen() {
          return client.#isOpen
        },
        get bufferedBytes() {
          return client.#socket?.bufferedBytes ?? 0
        },
        send: (frame) => this.#socket?.send(frame),
      },
      {
        codec: typeof codec === 'string' ? CODECS[codec] : codec,
        highWaterMarkBytes: options.highWaterMarkBytes ?? 4 * 1024 * 1024,
        maxInFlight: options.maxInFlight ?? 100_000,
        maxWaiting: options.maxWaiting ?? 100_000,
        publishTimeoutMs: options.publishTimeoutMs ?? 10_000,
        onLostConnection: options.onLostConnection ?? 'resend',
      },
      () => this.emit('drain'),
    )
    this.opened = new Promise((resolve, reject) => {
      this.#settleOpened = { resolve, reject }
    })
    const timeoutMs = options.connectTimeoutMs ?? 10_000
    const timer = setTimeout(() => {
      const text = `no connection to ${url} within ${timeoutMs} ms`
      this.#end(new ConnectionClosedError(text, true))
    }, timeoutMs)
    this.opened.then(
      () => clearTimeout(timer),
      () => clearTimeout(timer),
    )
    this.#open()
  }

  get state(): ClientState {
    return this.#state
  }

  /**
   * Publishes and resolves once the message stands in the topic's log. Above the high-water mark it
   * waits. Rejects with PublishError, OverloadedError, TimeoutError or ConnectionClosedError.
   */
  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<PublishResult> {
    this.#options.onPublish?.(topic, payload)
    return this.#publisher.publish(topic, payload, options)
  }

  /**
   * Publishes without waiting for anything. Returns false, and has done nothing, when there is no
   * connection or too much is buffered: wait for the `drain` event. A refusal by the broker comes as
   * an `error` event. Throws InvalidPayloadError.
   */
  publishNow(topic: string, payload: unknown, options?: PublishOptions): boolean {
    const isTaken = this.#publisher.publishNow(topic, payload, options)
    if (isTaken) this.#options.onPublish?.(topic, payload)
    return isTaken
  }

  /** Publishes several messages that are stored together, or not at all. */
  publishBatch(
    topic: string,
    payloads: readonly unknown[],
    options?: Omit<PublishOptions, 'id'>,
  ): Promise<BatchResult> {
    for (const payload of payloads) this.#options.onPublish?.(topic, payload)
    return this.#publisher.publishBatch(topic, payloads, options)
  }

  /** Subscribes to a topic or pattern; iterate over what this returns. */
  subscribe<Payload = unknown>(text: string, options?: SubscribeOptions): Subscription<Payload>
  /** Subscribes to a topic or pattern with a handler. */
  subscribe<Payload = unknown>(
    text: string,
    handler: MessageHandler<Payload>,
    options?: SubscribeOptions,
  ): Subscription<Payload>
  subscribe<Payload = unknown>(
    text: string,
    handlerOrOptions?: MessageHandler<Payload> | SubscribeOptions,
    options: SubscribeOptions = {},
  ): Subscription<Payload> {
    if (this.#state === 'closed' || this.#state === 'draining') throw this.#closedError()
    if (this.#subscriptions.has(text)) {
      throw new SubscribeError('BAD_REQUEST', false, `${text} is subscribed already`)
    }
    const handler = typeof handlerOrOptions === 'function' ? handlerOrOptions : undefined
    const chosen = typeof handlerOrOptions === 'object' ? handlerOrOptions : options
    const host = {
      subscribe: (subscriber: Subscriber, fields: Readonly<Record<string, unknown>>) =>
        this.#sendSubscribe(subscriber, fields),
      unsubscribe: (subscriber: Subscriber) => this.#sendUnsubscribe(subscriber),
      onConsume: (message: Message) => this.#options.onConsume?.(message),
      onError: (error: Error) => this.#tell(error),
    }
    const subscription = new Subscription<Payload>(host, text, handler, chosen)
    this.#subscriptions.set(text, subscription)
    subscription.on('ended', () => {
      if (this.#subscriptions.get(text) === subscription) this.#subscriptions.delete(text)
    })
    if (this.#isOpen) subscription.onConnected()
    return subscription
  }

  /** Takes nothing new, lets confirmations and handlers finish, then closes. Bounded by timeoutMs. */
  async drain(timeoutMs = 10_000): Promise<void> {
    if (this.#state === 'closed') return
    this.#setState('draining')
    for (const subscription of this.#subscriptions.values()) subscription.pause()
    this.#publisher.flush()
    const deadline = Date.now() + timeoutMs
    const isBusy = () => {
      const { unconfirmed } = this.#publisher
      const buffered = this.#socket?.bufferedBytes ?? 0
      const handling = [...this.#subscriptions.values()].some(({ running }) => running > 0)
      return unconfirmed > 0 || buffered > 0 || handling
    }
    while (isBusy() && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS))
    }
    this.close()
  }

  /** Closes at once. What is not confirmed is rejected. */
  close(): void {
    this.#end(undefined)
  }

  get #isOpen(): boolean {
    return this.#state === 'open' || (this.#state === 'draining' && this.#openedAtMs > 0)
  }

  #open(): void {
    const socket = openSocket(this.#WebSocket, this.url, this.#wire.subprotocol, {
      onOpen: () => this.#onOpen(),
      onFrame: (data) => this.#onFrame(data),
      onClose: (code, reason) => {
        if (this.#socket === socket) this.#onClose(code, reason)
      },
    })
    this.#socket = socket
  }

  #onOpen(): void {
    this.#openedAtMs = Date.now()
    this.#heardAtMs = this.#openedAtMs
    this.#setState('open')
    this.#settleOpened?.resolve()
    this.#settleOpened = undefined
    const heartbeatMs = this.#options.heartbeatMs ?? 20_000
    this.#heartbeat = setInterval(() => this.#checkHeartbeat(heartbeatMs), heartbeatMs / 2)
    for (const subscription of [...this.#subscriptions.values()]) subscription.onConnected()
    this.#publisher.onConnected()
  }

  #onFrame(data: Uint8Array | string): void {
    this.#heardAtMs = Date.now()
    try {
      this.#wire.receive(data, {
        onAck: (requestId, result) => {
          if (this.#publisher.onAck(requestId, result)) return
          const subscription = this.#subscribing.get(requestId)
          this.#subscribing.delete(requestId)
          subscription?.onAck(result)
        },
        onMessage: (message) => {
          this.#subscriptions.get(message.pattern ?? message.topic)?.onMessage(message)
        },
        onError: (requestId, error) => this.#onError(requestId, error),
        onPong: () => {},
        onInfo: (info) => this.#onInfo(info),
      })
    } catch (error) {
      this.#tell(error as Error)
      // What comes after bytes that we do not understand cannot be trusted: begin again.
      if (error instanceof ProtocolError) this.#socket?.abandon()
    }
  }

  #onError(requestId: number | undefined, error: WireError): void {
    if (requestId !== undefined && this.#publisher.onError(requestId, error)) return
    const { code, message, retryable } = error
    const subscription = requestId === undefined ? undefined : this.#subscribing.get(requestId)
    const refusal = new SubscribeError(code, retryable, message)
    if (requestId !== undefined) this.#subscribing.delete(requestId)
    if (subscription !== undefined) subscription.onRefused(refusal)
    else this.#tell(refusal)
  }

  #onInfo(info: WireInfo): void {
    if (info.code === SHUTTING_DOWN) {
      this.#reconnectAfterMs = info.details['reconnect_after_ms'] as number
      this.#options.onShutdown?.(this.#reconnectAfterMs)
      return
    }
    const pattern = info.details['subscription'] as string | undefined
    const text = pattern ?? info.topic
    if (text !== undefined) this.#subscriptions.get(text)?.onInfo(info)
  }

  #onClose(code: number, reason: string): void {
    clearInterval(this.#heartbeat)
    const isOver = this.#state === 'closed'
    if (this.#openedAtMs > 0) this.#backoff.wasOpenFor(Date.now() - this.#openedAtMs)
    this.#openedAtMs = 0
    if (isOver) return
    this.#subscribing.clear()
    if (code >= CLOSE_FINAL && code < 5000) {
      this.#end(new ConnectionClosedError(`the broker closed with ${code} ${reason}`, false, code))
      return
    }
    if (this.#state === 'draining') {
      this.#end(new ConnectionClosedError('the connection was lost while draining', true, code))
      return
    }
    this.#setState(this.#settleOpened === undefined ? 'reconnecting' : 'connecting')
    this.#publisher.onDisconnected()
    // The broker's own slot counts once; it spreads the clients better than chance.
    const delay = this.#reconnectAfterMs ?? this.#backoff.next()
    this.#reconnectAfterMs = undefined
    this.#reconnectTimer = setTimeout(() => this.#open(), delay)
  }

  #end(error: RingcastError | undefined): void {
    if (this.#state === 'closed') return
    this.#setState('closed')
    clearTimeout(this.#reconnectTimer)
    clearInterval(this.#heartbeat)
    this.#openedAtMs = 0
    const reason = error ?? this.#closedError()
    this.#publisher.close(reason)
    for (const subscription of [...this.#subscriptions.values()]) subscription.end(error)
    this.#subscriptions.clear()
    this.#subscribing.clear()
    this.#socket?.close()
    this.#settleOpened?.reject(reason)
    this.#settleOpened = undefined
    if (error !== undefined) this.#tell(error)
  }

  #checkHeartbeat(heartbeatMs: number): void {
    const silentMs = Date.now() - this.#heardAtMs
    if (silentMs > heartbeatMs * 2) this.#socket?.abandon()
    else if (silentMs > heartbeatMs / 2) this.#socket?.send(this.#wire.ping())
  }

  #sendSubscribe(subscription: Subscriber, options: Readonly<Record<string, unknown>>): void {
    if (!this.#isOpen) return // onConnected() asks again.
    const requestId = this.#publisher.nextRequestId()
    this.#subscribing.set(requestId, subscription)
    this.#socket?.send(this.#wire.subscribe(requestId, subscription.text, options))
  }

  #sendUnsubscribe(subscription: Subscriber): void {
    if (!this.#isOpen) return
    for (const [id, waiting] of this.#subscribing) {
      if (waiting === subscription) this.#subscribing.delete(id)
    }
    const requestId = this.#publisher.nextRequestId()
    this.#socket?.send(this.#wire.unsubscribe(requestId, subscription.text))
  }

  #setState(state: ClientState): void {
    if (this.#state === state) return
    this.#state = state
    this.emit('state', state)
  }

  #tell(error: Error): void {
    this.#options.onError?.(error)
    this.emit('error', error)
  }

  #closedError(): ConnectionClosedError {
    return new ConnectionClosedError('the client is closed', false)
  }
}
