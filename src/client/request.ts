/**
 * Requests: messages that ask for replies, and the replies to them.
 * Runs on: Node and browsers. Owns: the inbox of the connection, and every call from request() to its end.
 *
 *   request ──► waits for connection and inbox ──► open bundle ──(end of turn)──► sent ──► replied
 *                                                                                  └─► failed
 *
 *   waiting, sent   maxRequests calls together; one more is rejected
 *   waiting         maxHeldBytes of payloads
 *   sent            highWaterMarkBytes buffered by the socket; beyond it calls are rejected
 *
 * One inbox per connection serves all calls; the correlation id tells replies apart. A call is sent at
 * most once: those that were sent when the connection is lost are rejected, never sent again. So this
 * does not go through the publisher, whose promise is the opposite one.
 */
import { isAboutContent } from './bundle.js'
import { type Call, checkMs, type RequestBundle, replyOf, requestError } from './call.js'
import { encodePayload, type PayloadCodec } from './codecs.js'
import type { Line } from './connection.js'
import { Deadlines } from './deadlines.js'
import {
  ConnectionClosedError,
  InvalidPayloadError,
  OverloadedError,
  TimeoutError,
} from './errors.js'
import { Message, type MessageSource } from './message.js'
import { nextTurn } from './next-turn.js'
import { Replies } from './replies.js'
import type { RequestManyOptions, RequestOptions } from './request-options.js'
import { WaitingCalls } from './waiting-calls.js'
import type { AckResult, MessageReceiver, OutgoingMessage, Wire, WireError } from './wire.js'

/** What is subscribed to for an inbox; the ack names it. */
const INBOX = '$inbox'
/** A frame leaves early when it has this many requests or bytes. */
const BATCH_REQUESTS_MAX = 1024
const BATCH_BYTES_MAX = 128 * 1024
/** Replies that one requestMany() takes unless told. */
const REPLIES_MAX = 1000
/** About what a request costs in a frame beside payload and topic: reply_to and correlation_id. */
const REQUEST_OVERHEAD_BYTES = 160

export interface RequesterOptions {
  readonly codec: PayloadCodec
  readonly requestTimeoutMs: number
  readonly maxRequests: number
  readonly maxHeldBytes: number
  readonly maxFrameBytes: number
  readonly highWaterMarkBytes: number
}

/** What the requester needs of the connection. */
export interface RequestHost {
  readonly line: Line
  nextRequestId(): number
  /** Sends what was published so far, so that it comes before. */
  flush(): void
  onConsume(message: Message): void
}

export class Requester {
  readonly #wire: Wire
  readonly #host: RequestHost
  readonly #options: RequesterOptions
  /** Every call that is not over, by correlation id. */
  readonly #calls = new Map<string, Call>()
  /** Those that could not be sent yet. */
  readonly #waiting: WaitingCalls
  readonly #deadlines = new Deadlines<Call>((call) => this.#onDue(call))
  /** By topic: what this turn collects. */
  readonly #open = new Map<string, RequestBundle>()
  /** By request id: what the broker has not answered. */
  readonly #sent = new Map<number, RequestBundle>()
  #inbox: string | undefined
  /** Request id of the question for an inbox, while there is no answer. */
  #asking: number | undefined
  #lastCorrelation = 0
  #isFlushScheduled = false
  #lateReplies = 0
  #closedBy: Error | undefined

  constructor(wire: Wire, host: RequestHost, options: RequesterOptions) {
    this.#wire = wire
    this.#host = host
    this.#options = options
    this.#waiting = new WaitingCalls(options.maxHeldBytes)
  }

  get pending(): number {
    return this.#calls.size
  }

  get lateReplies(): number {
    return this.#lateReplies
  }

  request(topic: string, payload: unknown, options: RequestOptions = {}): Promise<Message> {
    return new Promise((resolve, reject) => {
      const call = this.#newCall(topic, options, {
        onReply: (reply) => {
          this.#over(call)
          if (reply instanceof Message) resolve(reply)
          else reject(reply)
        },
        onTimeout: () => {
          const text = `no reply to ${topic} within ${call.timeoutMs} ms; it may have been handled`
          reject(new TimeoutError(text))
        },
        onError: reject,
      })
      this.#begin(call, payload, options)
    })
  }

  requestMany(topic: string, payload: unknown, options: RequestManyOptions = {}): Replies {
    const { max = REPLIES_MAX, stallMs } = options
    checkMs('stallMs', stallMs ?? 1)
    if (!(Number.isInteger(max) && max >= 1)) {
      throw new RangeError(`max=${max} must be a whole number of at least 1`)
    }
    let received = 0
    const replies = new Replies(() => this.#over(call))
    const call = this.#newCall(topic, options, {
      onReply: (reply) => {
        received++
        replies.push(reply)
        if (received === max) {
          this.#over(call)
          replies.end(undefined)
        } else if (stallMs !== undefined) {
          this.#deadlines.remove(call)
          call.dueMs = Math.min(deadlineMs, performance.now() + stallMs)
          this.#deadlines.add(call)
        }
      },
      onTimeout: () => replies.end(undefined),
      onError: (error) => replies.end(error),
    })
    const deadlineMs = call.dueMs
    try {
      this.#begin(call, payload, options)
    } catch (error) {
      replies.end(error as Error)
    }
    return replies
  }

  /** True when the id was one of ours. */
  onAck(requestId: number, result: AckResult): boolean {
    if (requestId === this.#asking) {
      this.#asking = undefined
      this.#inbox = result.inbox
      this.#sendWaiting()
      return true
    }
    return this.#sent.delete(requestId)
  }

  /** True when the id was one of ours. */
  onError(requestId: number, error: WireError): boolean {
    if (requestId === this.#asking) {
      this.#asking = undefined
      for (const call of this.#waiting.all()) this.#fail(call, requestError(error))
      return true
    }
    const bundle = this.#sent.get(requestId)
    if (bundle === undefined) return false
    this.#sent.delete(requestId)
    if (isAboutContent(error) && bundle.calls.length > 1) this.#sendOneByOne(bundle)
    else for (const call of bundle.calls) this.#fail(call, requestError(error))
    return true
  }

  /** Ourselves, when this is our inbox. */
  receiverOf(text: string): MessageReceiver | undefined {
    return text === this.#inbox ? this : undefined
  }

  /** A reply. */
  onMessage(source: MessageSource, at: number, seq: number): void {
    const message = new Message(source, at, seq, '', this.#options.codec)
    const call = this.#calls.get(message.correlationId ?? '')
    if (call === undefined) {
      this.#lateReplies++
      return
    }
    this.#host.onConsume(message)
    call.onReply(replyOf(message))
  }

  /** There is a connection again. */
  onConnected(): void {
    this.#askIfNeeded()
  }

  /** The connection is gone, and the inbox with it. */
  onDisconnected(): void {
    this.#inbox = undefined
    this.#asking = undefined
    this.#open.clear()
    this.#sent.clear()
    const text = 'the connection was lost before the reply came; the request may have been handled'
    for (const call of [...this.#calls.values()]) {
      if (!this.#waiting.has(call)) this.#fail(call, new ConnectionClosedError(text, true))
    }
  }

  /** Rejects everything, and whatever comes after. */
  close(error: Error): void {
    if (this.#closedBy !== undefined) return
    this.#closedBy = error
    this.#inbox = undefined
    for (const call of [...this.#calls.values()]) this.#fail(call, error)
    this.#open.clear()
    this.#sent.clear()
  }

  #newCall(
    topic: string,
    { timeoutMs = this.#options.requestTimeoutMs }: RequestOptions,
    events: Pick<Call, 'onReply' | 'onTimeout' | 'onError'>,
  ): Call {
    checkMs('timeoutMs', timeoutMs)
    this.#lastCorrelation++
    return {
      ...events,
      topic,
      timeoutMs,
      correlationId: this.#lastCorrelation.toString(36),
      dueMs: performance.now() + timeoutMs,
      heapIndex: -1,
      message: undefined,
      bundle: undefined,
    }
  }

  /** Throws when the call cannot begin. */
  #begin(call: Call, payload: unknown, { headers }: RequestOptions): void {
    if (this.#closedBy !== undefined) throw this.#closedBy
    const { codec, maxRequests, maxFrameBytes, highWaterMarkBytes } = this.#options
    if (this.#calls.size >= maxRequests) {
      throw new OverloadedError(`maxRequests=${maxRequests} wait for a reply already`)
    }
    if (this.#host.line.bufferedBytes > highWaterMarkBytes) {
      throw new OverloadedError(`highWaterMarkBytes=${highWaterMarkBytes} wait for the network`)
    }
    const bytes = encodePayload(codec, payload)
    const length = bytes.length + call.topic.length + REQUEST_OVERHEAD_BYTES
    if (length > maxFrameBytes) {
      const text = `about ${length} bytes in one frame, maxFrameBytes=${maxFrameBytes}`
      throw new InvalidPayloadError(text)
    }
    const { encoding } = codec
    const message = { encoding, payload: bytes, id: undefined, headers, properties: undefined }
    if (this.#inbox === undefined) this.#waiting.add(call, { ...message, payload: bytes.slice() })
    else this.#add(call, message, this.#inbox)
    this.#calls.set(call.correlationId, call)
    this.#deadlines.add(call)
    this.#askIfNeeded()
  }

  /** An inbox costs the broker a little, so only who has something to ask gets one. */
  #askIfNeeded(): void {
    const isNeeded = this.#waiting.size > 0 && this.#inbox === undefined
    if (!isNeeded || this.#asking !== undefined || !this.#host.line.isOpen) return
    this.#asking = this.#host.nextRequestId()
    this.#host.line.send(this.#wire.subscribe(this.#asking, INBOX, {}))
  }

  #sendWaiting(): void {
    const inbox = this.#inbox
    if (inbox === undefined) return
    for (const call of this.#waiting.all()) {
      const message = call.message as OutgoingMessage
      this.#waiting.remove(call)
      try {
        this.#add(call, message, inbox)
      } catch (error) {
        this.#fail(call, error as Error)
      }
    }
  }

  #add(call: Call, message: OutgoingMessage, inbox: string): void {
    const { topic, correlationId } = call
    let bundle = this.#open.get(topic)
    if (bundle === undefined) {
      const batch = this.#wire.newBatch(topic, 0)
      bundle = { topic, batch, calls: [], waiting: 0, requestId: undefined }
      this.#open.set(topic, bundle)
    }
    // Whoever comes upon it later need not answer: nobody waits any more.
    const properties = {
      reply_to: inbox,
      correlation_id: correlationId,
      ttl_ms: Math.ceil(call.timeoutMs),
    }
    const { encoding, payload, id, headers } = message
    bundle.batch.add(encoding, payload, id, headers, properties)
    bundle.calls.push(call)
    bundle.waiting++
    call.bundle = bundle
    const { count, bytes } = bundle.batch
    if (count >= BATCH_REQUESTS_MAX || bytes >= BATCH_BYTES_MAX) {
      this.#sendOpen(bundle)
    } else if (!this.#isFlushScheduled) {
      this.#isFlushScheduled = true
      nextTurn(() => {
        this.#isFlushScheduled = false
        for (const one of [...this.#open.values()]) this.#sendOpen(one)
      })
    }
  }

  #sendOpen(bundle: RequestBundle): void {
    this.#open.delete(bundle.topic)
    this.#host.flush()
    this.#send(bundle)
  }

  #send(bundle: RequestBundle): void {
    if (bundle.waiting === 0 || !this.#host.line.isOpen) return
    bundle.requestId = this.#host.nextRequestId()
    this.#sent.set(bundle.requestId, bundle)
    this.#host.line.send(bundle.batch.frame(bundle.requestId))
  }

  /** One of them was refused for what it is; the others need not share its fate. */
  #sendOneByOne({ topic, batch, calls }: RequestBundle): void {
    for (const [index, call] of calls.entries()) {
      if (!this.#calls.has(call.correlationId)) continue
      const one = batch.pick([index])
      const bundle = { topic, batch: one, calls: [call], waiting: 1, requestId: undefined }
      call.bundle = bundle
      this.#send(bundle)
    }
  }

  #onDue(call: Call): void {
    this.#over(call)
    call.onTimeout()
  }

  #fail(call: Call, error: Error): void {
    if (!this.#calls.has(call.correlationId)) return
    this.#over(call)
    call.onError(error)
  }

  /** Leaves nothing of it. */
  #over(call: Call): void {
    if (!this.#calls.delete(call.correlationId)) return
    this.#deadlines.remove(call)
    this.#waiting.remove(call)
    const { bundle } = call
    call.bundle = undefined
    if (bundle === undefined) return
    bundle.waiting--
    if (bundle.waiting > 0) return
    // Nobody waits for what the broker says of it any more.
    if (bundle.requestId !== undefined) this.#sent.delete(bundle.requestId)
  }
}
