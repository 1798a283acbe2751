/**
 * Messages on their way out: collected per topic for one turn of the event loop, sent as one frame,
 * remembered until they are confirmed.
 * Runs on: Node and browsers. Owns: every message from the call of publish() to its confirmation.
 *
 *   publish ──► open bundle ──(end of turn)──► ready ──(slot, connection)──► in flight ──► resolved
 *      │                                         ▲                             │
 *      └► waits for room                         └─── connection lost ─────────┘ or rejected
 *
 *   stage           bound
 *   open, ready     highWaterMarkBytes, together with what the socket has buffered
 *   in flight       FRAMES_IN_FLIGHT_MAX frames; beyond it bundles stay open and grow
 *   up to there     maxInFlight messages that want an ack, maxHeldBytes
 *   waits for room  maxWaiting calls, maxHeldBytes; one more is rejected
 */
import {
  type Bundle,
  type Confirmation,
  confirmAsOne,
  confirmedPart,
  isOneToBlame,
  oneByOne,
  type PublishResult,
  publishError,
  rejectBundle,
  resolveBundle,
} from './bundle.js'
import { encodePayload, type PayloadCodec } from './codecs.js'
import type { Line } from './connection.js'
import { ConnectionClosedError, InvalidPayloadError, TimeoutError } from './errors.js'
import { Fifo } from './fifo.js'
import { InFlight } from './in-flight.js'
import { nextTurn } from './next-turn.js'
import { isForLater, propertiesOf } from './properties.js'
import type { BatchResult, PublishOptions } from './publish-options.js'
import { uuidBytes } from './uuid.js'
import { WaitingRoom, type WaitingRoomOptions } from './waiting-room.js'
import type { AckResult, OutgoingMessage, Properties, Wire, WireError } from './wire.js'

/** A frame leaves early when it has this many messages or bytes; the broker takes more. */
const BATCH_MESSAGES_MAX = 1024
const BATCH_BYTES_MAX = 128 * 1024
/** Bundles of one turn that begin as large as the last frame was; who has more topics has smaller ones. */
const SIZED_OPEN_MAX = 8
/** How often the socket is asked whether it has room again: it does not tell. */
const ROOM_POLL_MS = 4
/** How often overdue confirmations are looked for, at most. */
const TIMEOUT_POLL_MS = 250
/** About what a message costs in a frame beside payload and topic. */
const MESSAGE_OVERHEAD_BYTES = 32
const SHUTTING_DOWN = 'SHUTTING_DOWN'

export interface PublisherOptions extends WaitingRoomOptions {
  readonly codec: PayloadCodec
  readonly highWaterMarkBytes: number
  readonly maxInFlight: number
  readonly maxFrameBytes: number
  readonly onLostConnection: 'resend' | 'reject'
}

/** What the publisher needs of the connection, whichever socket is behind it. */
export interface Outlet {
  readonly line: Line
  /** A number that no other request has. */
  nextRequestId(): number
  /** publishNow() would succeed again. */
  onDrain(): void
}

export class Publisher {
  readonly #wire: Wire
  readonly #outlet: Outlet
  readonly #line: Line
  readonly #options: PublisherOptions
  /** By topic. */
  readonly #open = new Map<string, Bundle>()
  /** The one that was added to last: most publishers stay with a topic for a while. */
  #lastOpen: Bundle | undefined
  /** Bytes of the frame that left last; the next one is likely to have as many. */
  #lastFrameBytes = 0
  #ready = new Fifo<Bundle>()
  readonly #inFlight = new InFlight()
  /** Refused by a broker that shuts down; for the next one. */
  #postponed: Bundle[] = []
  readonly #waiting: WaitingRoom
  /** Bytes that may be pending, by what the socket had buffered when it was looked at last. */
  #roomBytes = 0
  /** Bytes not yet given to the socket. */
  #pendingBytes = 0
  #unconfirmed = 0
  #lastOrder = 0
  #isFlushScheduled = false
  #owesDrain = false
  #roomTimer: ReturnType<typeof setTimeout> | undefined
  #timeoutTimer: ReturnType<typeof setTimeout> | undefined
  #closedBy: Error | undefined

  constructor(wire: Wire, outlet: Outlet, options: PublisherOptions) {
    this.#wire = wire
    this.#outlet = outlet
    this.#line = outlet.line
    this.#options = options
    this.#waiting = new WaitingRoom(options)
  }

  /** Messages that wait for their confirmation, or for room. */
  get unconfirmed(): number {
    return this.#unconfirmed + this.#waiting.length
  }

  /** Bytes that have not been given to the socket. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  publishNow(topic: string, payload: unknown, options?: PublishOptions): boolean {
    if (this.#closedBy !== undefined) return false
    // Who waits was first; overtaking them would change the order of the topic.
    if (!this.#line.isOpen || this.#isFull || this.#waiting.length > 0) {
      this.#owesDrain = true
      this.#watchForRoom()
      return false
    }
    const { codec } = this.#options
    const bytes = encodePayload(codec, payload)
    const id = options?.id === undefined ? undefined : uuidBytes(options.id)
    const properties = options === undefined ? undefined : propertiesOf(options)
    this.#add(topic, codec.encoding, bytes, id, options?.headers, properties, undefined)
    return true
  }

  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<PublishResult> {
    return new Promise((resolve, reject) => {
      if (this.#closedBy !== undefined) throw this.#closedBy
      const { codec } = this.#options
      const bytes = encodePayload(codec, payload)
      const id = this.#idOf(options)
      const properties = options === undefined ? undefined : propertiesOf(options)
      const confirmation = { resolve, reject }
      this.#publish(topic, codec.encoding, bytes, id, options?.headers, properties, confirmation)
    })
  }

  /** The same for a message that is encoded already. */
  publishEncoded(topic: string, message: OutgoingMessage): Promise<PublishResult> {
    const { encoding, payload, id, headers, properties } = message
    return new Promise((resolve, reject) => {
      if (this.#closedBy !== undefined) throw this.#closedBy
      this.#publish(topic, encoding, payload, id, headers, properties, { resolve, reject })
    })
  }

  /** All of them are stored in one piece, or none. */
  publishBatch(
    topic: string,
    payloads: readonly unknown[],
    options?: Omit<PublishOptions, 'id'>,
  ): Promise<BatchResult> {
    return new Promise((resolve, reject) => {
      if (payloads.length === 0) throw new RangeError('payloads must not be empty')
      if (this.#closedBy !== undefined) throw this.#closedBy
      const { codec } = this.#options
      const bundle = this.#newBundle(topic, true)
      const { batch, confirmations } = bundle
      const properties = options === undefined ? undefined : propertiesOf(options)
      for (const payload of payloads) {
        const bytes = encodePayload(codec, payload)
        batch.add(codec.encoding, bytes, this.#idOf(undefined), options?.headers, properties)
      }
      this.#checkFrame(batch.bytes, topic)
      confirmAsOne(confirmations, payloads.length, resolve, reject)
      const send = () => {
        this.#close(topic) // What was published to the topic before goes before.
        bundle.confirmed = payloads.length
        this.#unconfirmed += payloads.length
        this.#pendingBytes += batch.bytes
        this.#ready.push(bundle)
        this.#pump()
        this.#watchForTimeouts()
      }
      if (this.#hasRoom) send()
      else this.#wait(batch.bytes, send, reject)
    })
  }

  /** True when the id was one of ours. */
  onAck(requestId: number, result: AckResult): boolean {
    const bundle = this.#inFlight.take(requestId)
    if (bundle === undefined) return false
    resolveBundle(bundle, result)
    this.#settled(bundle)
    bundle.batch.release() // What the broker has acked, it has read.
    return true
  }

  /** True when the id was one of ours. */
  onError(requestId: number, error: WireError): boolean {
    const bundle = this.#inFlight.take(requestId)
    if (bundle === undefined) return false
    if (error.code === SHUTTING_DOWN && this.#options.onLostConnection === 'resend') {
      this.#postpone(bundle)
    } else if (isOneToBlame(bundle, error)) {
      const rest = this.#ready.takeAll()
      for (const one of oneByOne(bundle)) {
        this.#pendingBytes += one.batch.bytes
        this.#ready.push(one)
      }
      for (const next of rest) this.#ready.push(next)
      this.#pump()
    } else {
      this.#reject(bundle, publishError(error))
    }
    return true
  }

  /** The connection is gone. */
  onDisconnected(): void {
    const lost = this.#inFlight.takeAll()
    if (this.#options.onLostConnection === 'resend') {
      for (const bundle of lost) this.#postpone(bundle)
    } else {
      const error = new ConnectionClosedError('the connection was lost before the ack came', true)
      for (const bundle of lost) this.#reject(bundle, error)
    }
  }

  /** There is a connection again. */
  onConnected(): void {
    const again = [...this.#postponed, ...this.#ready.takeAll()]
    this.#postponed = []
    again.sort((one, other) => one.order - other.order)
    for (const bundle of again) this.#ready.push(bundle)
    this.flush()
    this.#watchForRoom()
  }

  /** Sends what was collected, as far as there are slots. */
  flush(): void {
    this.#pump()
    const { isOpen } = this.#line
    for (const [topic, bundle] of this.#open) {
      if (isOpen && bundle.confirmed > 0 && !this.#inFlight.hasSlot) return // An ack will bring us back.
      this.#close(topic)
      this.#pump()
    }
  }

  /** Rejects everything that is not confirmed, and everything that comes after. */
  close(error: Error): void {
    if (this.#closedBy !== undefined) return
    this.#closedBy = error
    clearTimeout(this.#roomTimer)
    clearTimeout(this.#timeoutTimer)
    const bundles = [
      ...this.#inFlight.takeAll(),
      ...this.#postponed,
      ...this.#ready.takeAll(),
      ...this.#open.values(),
    ]
    this.#postponed = []
    this.#open.clear()
    this.#lastOpen = undefined
    this.#pendingBytes = 0
    for (const bundle of bundles) this.#reject(bundle, error)
    this.#waiting.rejectAll(error)
  }

  /** True while publishNow() would refuse. */
  get #isFull(): boolean {
    // Looked at again only when it matters: since it was, the socket can have taken bytes, and what it
    // was given since then is counted by #send().
    if (this.#pendingBytes <= this.#roomBytes) return false
    this.#roomBytes = this.#options.highWaterMarkBytes - this.#line.bufferedBytes
    return this.#pendingBytes > this.#roomBytes
  }

  /** True while publish() need not wait, if nobody else does. */
  get #isBelowBounds(): boolean {
    const { maxInFlight, maxHeldBytes } = this.#options
    const held = this.#pendingBytes + this.#inFlight.bytes
    return this.#unconfirmed < maxInFlight && held < maxHeldBytes && !this.#isFull
  }

  get #hasRoom(): boolean {
    return this.#waiting.length === 0 && this.#isBelowBounds
  }

  /** Sent again, a message must be the same message: it keeps its id. Valid until the next call. */
  #idOf(options: PublishOptions | undefined): Uint8Array | undefined {
    const needsId = this.#options.onLostConnection === 'resend'
    return options?.id !== undefined || needsId ? uuidBytes(options?.id) : undefined
  }

  /** Now, or when there is room; the bytes may be used again by their owner meanwhile. */
  #publish(
    topic: string,
    encoding: 0 | 1 | 2,
    payload: Uint8Array,
    id: Uint8Array | undefined,
    headers: PublishOptions['headers'],
    properties: Properties | undefined,
    confirmation: Confirmation,
  ): void {
    if (this.#hasRoom) {
      this.#add(topic, encoding, payload, id, headers, properties, confirmation)
      return
    }
    const [bytes, keptId] = [payload.slice(), id?.slice()]
    const go = () => this.#add(topic, encoding, bytes, keptId, headers, properties, confirmation)
    this.#wait(bytes.length, go, confirmation.reject)
  }

  #wait(bytes: number, go: () => void, reject: (error: Error) => void): void {
    this.#waiting.enter(bytes, go, reject)
    this.#watchForRoom()
    this.#watchForTimeouts()
  }

  #add(
    topic: string,
    encoding: 0 | 1 | 2,
    payload: Uint8Array,
    id: Uint8Array | undefined,
    headers: PublishOptions['headers'],
    properties: Properties | undefined,
    confirmation: Confirmation | undefined,
  ): void {
    this.#checkFrame(payload.length, topic)
    // What is kept for later stands in a frame of its own: the broker takes no mixed ones.
    const isDelayed = properties !== undefined && isForLater(properties)
    if (isDelayed) this.#close(topic)
    const last = this.#lastOpen
    const bundle = last?.topic === topic ? last : this.#openBundle(topic)
    const { batch } = bundle
    const bytesBefore = batch.bytes
    batch.add(encoding, payload, id, headers, properties)
    this.#pendingBytes += batch.bytes - bytesBefore
    if (confirmation !== undefined) {
      bundle.confirmations[batch.count - 1] = confirmation
      bundle.confirmed++
      this.#unconfirmed++
      this.#watchForTimeouts()
    }
    if (isDelayed || batch.count >= BATCH_MESSAGES_MAX || batch.bytes >= BATCH_BYTES_MAX) {
      this.#close(topic)
      this.#pump()
    } else if (!this.#isFlushScheduled) {
      this.#isFlushScheduled = true
      nextTurn(() => {
        this.#isFlushScheduled = false
        this.flush()
      })
    }
  }

  /** A frame that the broker does not take would cost the connection, again and again. */
  #checkFrame(bytes: number, topic: string): void {
    const { maxFrameBytes } = this.#options
    const length = bytes + topic.length + MESSAGE_OVERHEAD_BYTES
    if (length <= maxFrameBytes) return
    const text = `about ${length} bytes in one frame, maxFrameBytes=${maxFrameBytes}`
    throw new InvalidPayloadError(text)
  }

  #openBundle(topic: string): Bundle {
    let bundle = this.#open.get(topic)
    if (bundle === undefined) {
      bundle = this.#newBundle(topic, false)
      this.#open.set(topic, bundle)
    }
    this.#lastOpen = bundle
    return bundle
  }

  #newBundle(topic: string, isWhole: boolean): Bundle {
    return {
      topic,
      batch: this.#wire.newBatch(
        topic,
        this.#open.size < SIZED_OPEN_MAX ? this.#lastFrameBytes : 0,
      ),
      confirmations: [],
      confirmed: 0,
      order: ++this.#lastOrder,
      dueMs: Date.now() + this.#options.publishTimeoutMs,
      isWhole,
    }
  }

  /** Nothing more is added to the topic's open bundle. */
  #close(topic: string): void {
    const bundle = this.#open.get(topic)
    if (bundle === undefined) return
    this.#open.delete(topic)
    this.#lastOpen = undefined
    this.#ready.push(bundle)
  }

  #pump(): void {
    for (;;) {
      const bundle = this.#ready.peek()
      if (bundle === undefined || !this.#line.isOpen) return
      if (bundle.confirmed > 0 && !this.#inFlight.hasSlot) return
      this.#ready.shift()
      this.#pendingBytes -= bundle.batch.bytes
      this.#send(bundle)
    }
  }

  #send(bundle: Bundle): void {
    let requestId: number | undefined
    if (bundle.confirmed > 0) {
      requestId = this.#outlet.nextRequestId()
      this.#inFlight.add(requestId, bundle)
    }
    const { batch } = bundle
    this.#lastFrameBytes = batch.bytes
    this.#line.send(batch.frame(requestId))
    const { bufferedBytes } = this.#line
    this.#roomBytes = this.#options.highWaterMarkBytes - bufferedBytes
    // Sockets copy what they are given, or have written it by now.
    if (requestId === undefined && bufferedBytes === 0) batch.release()
  }

  /** Keeps what is to be sent again over the next connection. */
  #postpone(bundle: Bundle): void {
    const part = confirmedPart(bundle)
    this.#pendingBytes += part.batch.bytes
    this.#postponed.push(part)
  }

  #reject(bundle: Bundle, error: Error): void {
    rejectBundle(bundle, error)
    this.#settled(bundle)
  }

  #settled(bundle: Bundle): void {
    this.#unconfirmed -= bundle.confirmed
    if (this.#closedBy !== undefined) return
    if (this.#line.isOpen && (this.#ready.length > 0 || this.#open.size > 0)) {
      if (!this.#isFlushScheduled) this.flush()
      else this.#pump()
    }
    this.#waiting.wake(() => this.#isBelowBounds)
  }

  #watchForTimeouts(): void {
    if (this.#timeoutTimer !== undefined) return
    const pollMs = Math.min(TIMEOUT_POLL_MS, this.#options.publishTimeoutMs / 2)
    this.#timeoutTimer = setTimeout(() => {
      this.#timeoutTimer = undefined
      this.#rejectOverdue(Date.now())
      if (this.unconfirmed > 0 && this.#closedBy === undefined) this.#watchForTimeouts()
    }, pollMs)
  }

  #rejectOverdue(nowMs: number): void {
    const { publishTimeoutMs } = this.#options
    const overdue = this.#inFlight.takeOverdue(nowMs)
    const isOverdue = (bundle: Bundle) => bundle.confirmed > 0 && bundle.dueMs <= nowMs
    const stay = (bundle: Bundle) => {
      if (!isOverdue(bundle)) return true
      this.#pendingBytes -= bundle.batch.bytes
      overdue.push(bundle)
      return false
    }
    this.#postponed = this.#postponed.filter(stay)
    const oldest = this.#ready.peek()
    if (oldest !== undefined && isOverdue(oldest)) {
      for (const bundle of this.#ready.takeAll()) if (stay(bundle)) this.#ready.push(bundle)
    }
    const text = `no ack within ${publishTimeoutMs} ms; the message may be stored or not`
    for (const bundle of overdue) this.#reject(bundle, new TimeoutError(text))
    this.#waiting.rejectOverdue(nowMs)
  }

  /** Looks now and then whether a full socket has room again, and says so. */
  #watchForRoom(): void {
    const isWatched = this.#roomTimer !== undefined || this.#closedBy !== undefined
    if (isWatched || !this.#line.isOpen) return // onConnected() goes on.
    if (!this.#owesDrain && this.#waiting.length === 0) return
    this.#roomTimer = setTimeout(() => {
      this.#roomTimer = undefined
      if (!this.#line.isOpen) return
      this.#waiting.wake(() => this.#isBelowBounds)
      if (this.#owesDrain && !this.#isFull && this.#waiting.length === 0) {
        this.#owesDrain = false
        this.#outlet.onDrain()
      }
      this.#watchForRoom()
    }, ROOM_POLL_MS)
  }
}
