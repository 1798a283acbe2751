/**
 * The client: what is published and subscribed over one connection that comes back.
 * Runs on: Node and browsers. Owns: the connection, the publisher, the readers.
 *
 *   connecting ──► open ──► draining ──► closed
 *                  ▲  │                    ▲
 *                  │  ▼                    │  close(), or the broker said never to come back
 *               reconnecting ──────────────┘
 */
import { Attachments } from './attachments.js'
import { type PublishResult, publishError } from './bundle.js'
import { Cancellation } from './cancellation.js'
import { Connection } from './connection.js'
import type { ConsumeHandler, ConsumeOptions } from './consume-options.js'
import type { Consumer } from './consumer.js'
import {
  ConnectionClosedError,
  ProtocolError,
  type RingcastError,
  SubscribeError,
} from './errors.js'
import type { MessageHandler } from './handler.js'
import type { Message } from './message.js'
import type { ClientHooks, Settings } from './options.js'
import type { BatchResult, PublishOptions } from './publish-options.js'
import { Publisher } from './publisher.js'
import { Readers } from './readers.js'
import type { Replies } from './replies.js'
import { Requester } from './request.js'
import type { RequestManyOptions, RequestOptions, RequestStats } from './request-options.js'
import { type RequestHandler, Responder } from './responder.js'
import { SafeEmitter, throwLater } from './safe-emitter.js'
import type { WebSocketClass } from './socket.js'
import type { SubscribeOptions, Subscription } from './subscription.js'
import { uuidBytes } from './uuid.js'
import type { AckResult, Wire, WireError, WireInfo, WireSink } from './wire.js'

/**
 * connecting: never open yet. open. reconnecting: lost, and trying again. draining: drain() was called.
 * closed: for good.
 */
export type ClientState = 'connecting' | 'open' | 'reconnecting' | 'draining' | 'closed'

/** Events of a client: `client.on('state', …)`. */
export interface ClientEvents {
  /** The state has changed to this. */
  state: (state: ClientState) => void
  /** What went wrong and no promise tells; nobody has to listen. */
  error: (error: Error) => void
  /** publishNow() returned false, and would succeed again. */
  drain: () => void
}

/** Close codes from here on ask the client not to come back. */
const CLOSE_FINAL = 4500
const CLOSE_CODES_END = 5000
const DRAIN_POLL_MS = 5
const REQUEST_ID_MAX = 2 ** 31 - 1

/**
 * A connection to the broker that comes back by itself. Made by connect().
 * @example
 * client.on('state', (state) => console.log(state))
 * client.on('error', (error) => console.error(error))
 */
export class Client extends SafeEmitter<ClientEvents> {
  /** Where it is connected to. */
  readonly url: string
  /** @internal Settles when the first connection is open, or is given up. */
  readonly opened: Promise<void>
  readonly #settings: Settings
  readonly #hooks: ClientHooks
  readonly #wire: Wire
  readonly #connection: Connection
  readonly #publisher: Publisher
  readonly #requester: Requester
  readonly #responder: Responder
  readonly #sink: WireSink
  readonly #attachments: Attachments
  readonly #readers: Readers
  #lastRequestId = 0
  #undeliveredReplies = 0
  #state: ClientState = 'connecting'
  #lastFailure = ''
  #openTimer: ReturnType<typeof setTimeout> | undefined
  #settleOpened: { resolve: () => void; reject: (error: Error) => void } | undefined
  #draining: Promise<void> | undefined
  #gone: Promise<void> = Promise.resolve()

  /** @internal Use connect(). */
  constructor(url: string, settings: Settings, WebSocketImpl: WebSocketClass) {
    super()
    this.url = url
    this.#settings = settings
    this.#hooks = settings.hooks
    this.#wire = settings.wire
    this.#connection = new Connection(
      { ...settings, url, subprotocol: this.#wire.subprotocol, WebSocket: WebSocketImpl },
      {
        onOpen: () => this.#onOpen(),
        onFrame: (data) => this.#onFrame(data),
        onLost: (code, reason) => this.#onLost(code, reason),
        onSilence: () => this.#connection.send(this.#wire.ping()),
      },
    )
    const connection = this.#connection
    const outlet = {
      line: connection,
      nextRequestId: () => this.#nextRequestId(),
      onDrain: () => this.emit('drain'),
      flush: () => this.#publisher.flush(),
      onConsume: (message: Message) => {
        if (this.#hooks.onConsume !== undefined) this.#callHook(this.#hooks.onConsume, message)
      },
      abandon: (reason: string) => connection.abandon(reason),
      onError: (error: Error) => this.#tell(error),
    }
    this.#attachments = new Attachments(this.#wire, outlet, settings.subscribeTimeoutMs)
    this.#readers = new Readers(this.#wire, settings.codec, this.#attachments, outlet)
    this.#publisher = new Publisher(this.#wire, outlet, settings)
    this.#requester = new Requester(this.#wire, outlet, settings)
    this.#responder = new Responder({
      codec: settings.codec,
      publish: (topic, message) => this.#publisher.publishEncoded(topic, message),
      onLate: () => this.#undeliveredReplies++,
      onError: (error) => this.#tell(error),
    })
    this.#sink = {
      onAck: (requestId, result) => this.#onAck(requestId, result),
      receiverOf: (text) => this.#attachments.get(text) ?? this.#requester.receiverOf(text),
      onError: (requestId, error) => this.#onError(requestId, error),
      onPong: () => {},
      onInfo: (info) => this.#onInfo(info),
    }
    this.opened = new Promise((resolve, reject) => {
      this.#settleOpened = { resolve, reject }
    })
    this.#connect()
  }

  /** Where the connection is; changes come as `state` events. */
  get state(): ClientState {
    return this.#state
  }

  /**
   * Publishes, and resolves with where the message stands in the topic's log. Above the high-water
   * mark, and while there is no connection, it waits. Calls of one turn of the event loop travel
   * together, in order.
   * @throws PublishError refused by the broker; nothing was stored
   * @throws OverloadedError too many wait already, here or at the broker; nothing was stored
   * @throws TimeoutError no ack within `publishTimeoutMs`; stored or not
   * @throws InvalidPayloadError cannot be encoded, or does not fit one frame
   * @throws ConnectionClosedError closed, or lost with `onLostConnection: 'reject'`; stored or not
   * @example
   * const { seq, epoch } = await client.publish('orders', order, { headers: { source: 'web' } })
   */
  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<PublishResult> {
    this.#callHook(this.#hooks.onPublish, topic, payload)
    return this.#publisher.publish(topic, payload, options)
  }

  /**
   * Publishes without waiting for anything; stored at most once. Returns false, and has done nothing,
   * when there is no connection or too much is buffered: wait for the `drain` event. A refusal by
   * the broker comes as an `error` event.
   * @throws InvalidPayloadError cannot be encoded, or does not fit one frame
   * @example
   * if (!client.publishNow('ticks', tick)) client.once('drain', goOn)
   */
  publishNow(topic: string, payload: unknown, options?: PublishOptions): boolean {
    const isTaken = this.#publisher.publishNow(topic, payload, options)
    if (isTaken && this.#hooks.onPublish !== undefined)
      this.#callHook(this.#hooks.onPublish, topic, payload)
    return isTaken
  }

  /**
   * Publishes several messages that are stored together, one after the other, or not at all. They
   * must fit one frame (`maxFrameBytes`) and the broker's MAX_BATCH_MESSAGES. Waits, and rejects, as
   * publish() does.
   * @example
   * const { firstSeq, lastSeq } = await client.publishBatch('orders', [one, two, three])
   */
  publishBatch(
    topic: string,
    payloads: readonly unknown[],
    options?: Omit<PublishOptions, 'id'>,
  ): Promise<BatchResult> {
    for (const payload of payloads) this.#callHook(this.#hooks.onPublish, topic, payload)
    return this.#publisher.publishBatch(topic, payloads, options)
  }

  /**
   * Takes back a message that waits for its time (`delayMs`, `deliverAt`), by the id it was published
   * with. False: none waits under this id, it was delivered or never there.
   * @throws CancelError refused by the broker; nothing was cancelled
   * @throws OverloadedError the broker is; nothing was cancelled
   * @throws InvalidPayloadError the id is no UUID
   * @throws TimeoutError, ConnectionClosedError no connection, or no answer: then cancelled or not
   * @example
   * await client.publish('mails', mail, { id, delayMs: 60_000 })
   * const isCancelled = await client.cancel('mails', id)
   */
  async cancel(topic: string, id: string): Promise<boolean> {
    if (!this.#connection.isOpen) throw new ConnectionClosedError('there is no connection', true)
    uuidBytes(id) // Throws for what is none, in both encodings.
    const { subscribeTimeoutMs } = this.#settings
    const forget = () => this.#attachments.forgetRequest(requestId)
    const cancellation = new Cancellation(topic, subscribeTimeoutMs, forget)
    const requestId = this.#attachments.newRequest(cancellation)
    const frame = this.#wire.cancel(requestId, topic, id)
    this.#publisher.flush() // What was published before is there before.
    this.#connection.send(frame)
    return cancellation.done
  }

  /**
   * Subscribes to a topic or pattern; iterate over what this returns. The type parameter is what you
   * expect payloads to be: nothing checks it.
   * @throws SubscribeError this text is subscribed already on this client
   * @throws ConnectionClosedError the client is draining or closed
   * @throws RangeError an option that cannot be
   * @example
   * for await (const { topic, payload } of client.subscribe<Order>('orders.*', { lastN: 10 })) …
   */
  subscribe<Payload = unknown>(text: string, options?: SubscribeOptions): Subscription<Payload>
  /**
   * Subscribes to a topic or pattern with a handler.
   * @throws SubscribeError this text is subscribed already on this client
   * @throws ConnectionClosedError the client is draining or closed
   * @throws RangeError an option that cannot be
   * @example
   * client.subscribe<Order>('orders.*', ({ payload }) => save(payload), { concurrency: 4 })
   */
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
    const handler = typeof handlerOrOptions === 'function' ? handlerOrOptions : undefined
    const chosen = typeof handlerOrOptions === 'object' ? handlerOrOptions : options
    return this.#readers.subscribe(text, handler, chosen)
  }

  /**
   * Becomes a member of a consumer group: every message of the topic goes to one member of the group,
   * and comes again until somebody has acked it, or it was tried too often. The group is made if it is
   * not there. The type parameter is what you expect payloads to be: nothing checks it.
   * @throws SubscribeError this client is a member of that group already
   * @throws ConnectionClosedError the client is draining or closed
   * @throws RangeError an option that cannot be
   * @example
   * client.consume<Order>('orders', 'billing', ({ payload }) => bill(payload), { concurrency: 4 })
   */
  consume<Payload = unknown>(
    topic: string,
    group: string,
    handler: ConsumeHandler<Payload>,
    options: ConsumeOptions = {},
  ): Consumer<Payload> {
    if (this.#state === 'closed' || this.#state === 'draining') throw this.#closedError()
    return this.#readers.consume(topic, group, handler, options)
  }

  /**
   * Asks, and resolves with the first reply. Sent at most once: a request may have been handled though no
   * reply came. It waits for a connection if there is none, and no longer than `timeoutMs` in all.
   * @throws NoRespondersError nobody listens to the topic; said at once
   * @throws TimeoutError no reply within `timeoutMs`
   * @throws RequestFailedError the responder failed; the message says why
   * @throws ConnectionClosedError closed, or lost before the reply came
   * @throws OverloadedError, PublishError, InvalidPayloadError as of publish()
   * @example
   * const { payload } = await client.request<number>('prices.get', 'tea', { timeoutMs: 1000 })
   */
  async request<Payload = unknown>(
    topic: string,
    payload: unknown,
    options?: RequestOptions,
  ): Promise<Message<Payload>> {
    this.#callHook(this.#hooks.onPublish, topic, payload)
    return (await this.#requester.request(topic, payload, options)) as Message<Payload>
  }

  /**
   * Asks everybody who listens, and gives their replies as they come: until there are `max`, `stallMs`
   * after one, and `timeoutMs` after the request at the latest. No reply at all is no error.
   * @throws RangeError an option that cannot be; all else is thrown by the iterator
   * @example
   * const replies = await client.requestMany('inventory.count', 'tea', { max: 3 }).collect()
   */
  requestMany<Payload = unknown>(
    topic: string,
    payload: unknown,
    options?: RequestManyOptions,
  ): Replies<Payload> {
    this.#callHook(this.#hooks.onPublish, topic, payload)
    return this.#requester.requestMany(topic, payload, options) as Replies<Payload>
  }

  /**
   * Answers requests to a topic or pattern: subscribes, and sends what the handler returns, or that it failed
   * for good, to who asked. Messages that ask for no reply are handled, too. Several responders each get
   * every request, and the first reply wins.
   * @throws as subscribe() does
   * @example
   * client.respond<string>('prices.get', ({ payload }) => prices[payload])
   */
  respond<Payload = unknown>(
    text: string,
    handler: RequestHandler<Payload, unknown>,
    options?: SubscribeOptions,
  ): Subscription<Payload> {
    const responder = this.#responder
    const subscription = this.subscribe(text, responder.handlerOf(handler), options)
    subscription.on('failure', (error, message) => responder.onFailure(message, error))
    return subscription
  }

  /** Counts of requests and replies, for monitoring. */
  get requestStats(): RequestStats {
    const { pending, lateReplies } = this.#requester
    return { pending, lateReplies, undeliveredReplies: this.#undeliveredReplies }
  }

  /**
   * Ends it gracefully: takes nothing more from the broker, lets handlers handle and iterators take
   * what was received (consumers of groups give back what no handler has begun), waits until every publish is confirmed or sent, then closes. Handlers may
   * still publish. Resolves when the connection is gone, not much later than `timeoutMs`.
   * @example
   * process.once('SIGTERM', () => client.drain(5000))
   */
  drain(timeoutMs = 10_000): Promise<void> {
    if (this.#state === 'closed') return this.#gone
    this.#draining ??= this.#drain(timeoutMs)
    return this.#draining
  }

  /** Closes at once. What is not confirmed is rejected, what is not handled is not. */
  close(): void {
    this.#end(undefined)
  }

  /** @internal */
  protected override onListenerError(error: unknown, event: string | symbol): void {
    if (event === 'error') throwLater(error)
    else this.#tell(error instanceof Error ? error : new Error(String(error)))
  }

  async #drain(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    const { subscriptions } = this.#readers
    this.#setState('draining')
    const isHandling = this.#readers.finish(subscriptions, timeoutMs)
    const isBusy = () => {
      const { unconfirmed, pendingBytes } = this.#publisher
      const isSending = pendingBytes > 0 || this.#connection.bufferedBytes > 0
      const isOwed = unconfirmed > 0 || isSending || this.#requester.pending > 0
      return isOwed || isHandling()
    }
    while (isBusy() && this.#state === 'draining' && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS))
    }
    this.close()
    await this.#gone
  }

  /** The first try; later ones are the connection's. */
  #connect(): void {
    try {
      this.#connection.connect()
    } catch (cause) {
      const text = `cannot connect to ${this.url}: ${(cause as Error).message}`
      this.#end(new ConnectionClosedError(text, false))
      return
    }
    const { connectTimeoutMs } = this.#settings
    this.#openTimer = setTimeout(() => {
      const why = this.#lastFailure === '' ? '' : `: ${this.#lastFailure}`
      const text = `no connection to ${this.url} within ${connectTimeoutMs} ms${why}`
      this.#end(new ConnectionClosedError(text, true))
    }, connectTimeoutMs)
  }

  #onOpen(): void {
    clearTimeout(this.#openTimer)
    if (this.#state !== 'draining') this.#setState('open')
    this.#settleOpened?.resolve()
    this.#settleOpened = undefined
    this.#attachments.onConnected()
    this.#publisher.onConnected()
    this.#requester.onConnected()
  }

  #onFrame(data: Uint8Array | string): void {
    try {
      this.#wire.receive(data, this.#sink)
    } catch (cause) {
      // What comes after bytes that we do not understand cannot be trusted: begin again.
      const isKnown = cause instanceof ProtocolError
      this.#tell(isKnown ? cause : new ProtocolError('a frame could not be read', { cause }))
      this.#connection.abandon('protocol error')
    }
  }

  #onAck(requestId: number, result: AckResult): void {
    if (this.#publisher.onAck(requestId, result)) return
    if (this.#requester.onAck(requestId, result)) return
    this.#attachments.onAck(requestId, result)
  }

  #onError(requestId: number | undefined, error: WireError): void {
    const { code, message, retryable } = error
    if (requestId !== undefined) {
      if (this.#publisher.onError(requestId, error)) return
      if (this.#requester.onError(requestId, error)) return
      this.#attachments.onError(requestId, error)
      return
    }
    // Of a publish that wanted no ack, or about the connection as a whole.
    const isSlow = code === 'SLOW_CONSUMER'
    this.#tell(isSlow ? new SubscribeError(code, retryable, message) : publishError(error))
  }

  #onInfo(info: WireInfo): void {
    if (info.code === 'SHUTTING_DOWN') {
      const afterMs = info.details['reconnect_after_ms'] as number
      this.#connection.setSlot(afterMs)
      this.#callHook(this.#hooks.onShutdown, afterMs)
      return
    }
    this.#attachments.onInfo(info)
  }

  #onLost(code: number, reason: string): void {
    this.#lastFailure = reason
    this.#attachments.loseRequests('the connection was lost before the answer came')
    this.#readers.onDisconnected()
    this.#attachments.onDisconnected()
    this.#publisher.onDisconnected()
    this.#requester.onDisconnected()
    if (this.#state === 'closed') return // By a listener of one of these.
    if (code >= CLOSE_FINAL && code < CLOSE_CODES_END) {
      this.#end(new ConnectionClosedError(`the broker closed with ${code} ${reason}`, false, code))
      return
    }
    if (this.#state === 'open') this.#setState('reconnecting')
    this.#connection.retry()
  }

  #end(error: RingcastError | undefined): void {
    if (this.#state === 'closed') return
    // First of all: what listeners do now must find it closed.
    this.#state = 'closed'
    clearTimeout(this.#openTimer)
    this.#publisher.flush()
    this.#readers.sendNow()
    this.#gone = this.#connection.close()
    const reason = error ?? this.#closedError()
    this.#publisher.close(reason)
    this.#requester.close(reason)
    this.#readers.end(error)
    this.#attachments.stop()
    this.#settleOpened?.reject(reason)
    this.#settleOpened = undefined
    this.emit('state', 'closed')
    if (error !== undefined) this.#tell(error)
  }

  #nextRequestId(): number {
    this.#lastRequestId = this.#lastRequestId === REQUEST_ID_MAX ? 1 : this.#lastRequestId + 1
    return this.#lastRequestId
  }

  #setState(state: ClientState): void {
    if (this.#state === state) return
    this.#state = state
    this.emit('state', state)
  }

  /** What a hook throws is told; it stops nothing. */
  #callHook<Values extends unknown[]>(
    hook: ((...values: Values) => void) | undefined,
    ...values: Values
  ): void {
    if (hook === undefined) return
    try {
      hook(...values)
    } catch (error) {
      this.#tell(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #tell(error: Error): void {
    try {
      this.#hooks.onError?.(error)
    } catch (thrown) {
      throwLater(thrown)
    }
    this.emit('error', error)
  }

  #closedError(): ConnectionClosedError {
    return new ConnectionClosedError(`the client is ${this.#state}`, false)
  }
}
