/**
 * Messages on their way out: collected per topic for one turn of the event loop, sent as one frame,
 * remembered until they are confirmed.
 * Runs on: Node and browsers. Owns: open batches, batches in flight, and those who wait for room.
 *
 *   publish ──► open batch ──(end of turn)──► socket ──► in flight ──(ack)──► resolved
 *      │ above the high-water mark                          │ connection lost
 *      └► waits for room, bounded by maxWaiting             └► sent again, or rejected
 *
 * Every stage is bounded: open batches and the socket's buffer by highWaterMarkBytes together,
 * what is in flight by maxInFlight messages, those who wait by maxWaiting.
 */
import { encodePayload, type PayloadCodec } from './codecs.js'
import { ConnectionClosedError, OverloadedError, PublishError, TimeoutError } from './errors.js'
import { nextTurn } from './next-turn.js'
import { uuidBytes } from './uuid.js'
import type { AckResult, Frame, OutgoingBatch, Wire, WireError } from './wire.js'

/** A frame leaves early when it has this many messages or bytes; the broker takes more. */
const BATCH_MESSAGES_MAX = 1024
const BATCH_BYTES_MAX = 128 * 1024
/** How often the socket is asked whether it has room again: it does not tell. */
const DRAIN_POLL_MS = 4
/** How often overdue confirmations are looked for. */
const TIMEOUT_POLL_MS = 250
const REQUEST_ID_MAX = 2 ** 31 - 1

export interface PublishOptions {
  readonly headers?: Readonly<Record<string, string>>
  /** A UUID; the broker gives one if absent. */
  readonly id?: string
}

/** Where a confirmed message stands. */
export interface PublishResult {
  readonly seq: number
  readonly epoch: string
}

export interface BatchResult {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly epoch: string
}

export interface PublisherOptions {
  readonly codec: PayloadCodec
  readonly highWaterMarkBytes: number
  readonly maxInFlight: number
  readonly maxWaiting: number
  readonly publishTimeoutMs: number
  /** What becomes of unconfirmed publishes when the connection is lost. */
  readonly onLostConnection: 'resend' | 'reject'
}

/** What the publisher needs of the connection, whichever socket is behind it. */
export interface Outlet {
  readonly isOpen: boolean
  readonly bufferedBytes: number
  send(frame: Frame): void
}

interface Confirmation {
  resolve(result: PublishResult): void
  reject(error: Error): void
}

/** Messages of one topic that travel together, and who waits for each of them. */
interface Bundle {
  readonly topic: string
  readonly batch: OutgoingBatch
  /** By position in the batch; undefined where nobody waits. */
  readonly confirmations: (Confirmation | undefined)[]
  confirmed: number
  dueMs: number
}

export class Publisher {
  readonly #wire: Wire
  readonly #outlet: Outlet
  readonly #options: PublisherOptions
  readonly #onDrain: () => void
  readonly #open = new Map<string, Bundle>()
  readonly #inFlight = new Map<number, Bundle>()
  /** Bundles that were in flight when the connection was lost. */
  #lost: Bundle[] = []
  readonly #waiting: (() => void)[] = []
  #openBytes = 0
  #unconfirmed = 0
  #lastRequestId = 0
  #isFlushScheduled = false
  #isWatching = false
  #timer: ReturnType<typeof setTimeout> | undefined
  #closedBy: Error | undefined

  constructor(wire: Wire, outlet: Outlet, options: PublisherOptions, onDrain: () => void) {
    this.#wire = wire
    this.#outlet = outlet
    this.#options = options
    this.#onDrain = onDrain
  }

  /** Messages that wait for their confirmation. */
  get unconfirmed(): number {
    return this.#unconfirmed
  }

  /** True while publishNow() would refuse. */
  get isFull(): boolean {
    return this.#openBytes + this.#outlet.bufferedBytes > this.#options.highWaterMarkBytes
  }

  /** A request id that no publish uses; subscribes share the numbers. */
  nextRequestId(): number {
    this.#lastRequestId = this.#lastRequestId === REQUEST_ID_MAX ? 1 : this.#lastRequestId + 1
    return this.#lastRequestId
  }

  publishNow(topic: string, payload: unknown, options?: PublishOptions): boolean {
    if (this.#closedBy !== undefined || !this.#outlet.isOpen) return false
    if (this.isFull) {
      this.#watchForDrain()
      return false
    }
    this.#add(topic, payload, options, undefined)
    return true
  }

  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<PublishResult> {
    return new Promise((resolve, reject) => {
      if (this.#closedBy !== undefined) throw this.#closedBy
      const send = () => {
        try {
          if (this.#closedBy !== undefined) throw this.#closedBy
          this.#add(topic, payload, options, { resolve, reject })
        } catch (error) {
          reject(error as Error)
        }
      }
      if (this.#hasRoom()) send()
      else this.#wait(send)
    })
  }

  /** All of them are stored in one piece, or none. */
  async publishBatch(
    topic: string,
    payloads: readonly unknown[],
    options?: Omit<PublishOptions, 'id'>,
  ): Promise<BatchResult> {
    if (payloads.length === 0) throw new RangeError('payloads must not be empty')
    await new Promise<void>((resolve) => {
      if (this.#hasRoom()) resolve()
      else this.#wait(resolve)
    })
    if (this.#closedBy !== undefined) throw this.#closedBy
    const bundle = this.#newBundle(topic)
    const results = payloads.map(
      (payload) =>
        new Promise<PublishResult>((resolve, reject) => {
          this.#addTo(bundle, payload, options, { resolve, reject })
        }),
    )
    const settled = Promise.all(results)
    this.#flushTopic(topic) // What was published to the topic before goes before.
    this.#openBytes -= bundle.batch.bytes
    this.#send(bundle)
    const all = await settled
    const [first, last] = [all[0] as PublishResult, all[all.length - 1] as PublishResult]
    return { firstSeq: first.seq, lastSeq: last.seq, epoch: first.epoch }
  }

  /** True when the id was one of ours. */
  onAck(requestId: number, result: AckResult): boolean {
    const bundle = this.#inFlight.get(requestId)
    if (bundle === undefined) return false
    this.#inFlight.delete(requestId)
    const { epoch = '', seq, first_seq: firstSeq = seq ?? 0 } = result
    bundle.confirmations.forEach((confirmation, index) => {
      confirmation?.resolve({ seq: firstSeq + index, epoch })
    })
    this.#settled(bundle)
    return true
  }

  /** True when the id was one of ours. */
  onError(requestId: number, error: WireError): boolean {
    const bundle = this.#inFlight.get(requestId)
    if (bundle === undefined) return false
    this.#inFlight.delete(requestId)
    const isOneToBlame = error.code === 'BAD_REQUEST' || error.code === 'PAYLOAD_TOO_LARGE'
    if (isOneToBlame && bundle.batch.count > 1) {
      this.#sendOneByOne(bundle)
      return true
    }
    this.#rejectAll(bundle, publishError(error))
    return true
  }

  /** The connection is gone. */
  onDisconnected(): void {
    const lost = [...this.#inFlight.values()]
    this.#inFlight.clear()
    if (this.#options.onLostConnection === 'resend') {
      this.#lost.push(...lost)
      return
    }
    const error = new ConnectionClosedError('the connection was lost before the ack came', true)
    for (const bundle of lost) this.#rejectAll(bundle, error)
  }

  /** There is a connection again. */
  onConnected(): void {
    const lost = this.#lost
    this.#lost = []
    for (const bundle of lost) this.#send(bundle)
    this.flush()
    this.#wakeWaiting()
    this.#watchForDrain()
  }

  /** Sends everything that was collected. */
  flush(): void {
    if (!this.#outlet.isOpen) return
    for (const topic of [...this.#open.keys()]) this.#flushTopic(topic)
  }

  /** Rejects everything that is not confirmed, and everything that comes after. */
  close(error: Error): void {
    if (this.#closedBy !== undefined) return
    this.#closedBy = error
    const bundles = [...this.#lost, ...this.#inFlight.values(), ...this.#open.values()]
    this.#lost = []
    this.#inFlight.clear()
    this.#open.clear()
    this.#openBytes = 0
    for (const bundle of bundles) this.#rejectAll(bundle, error)
    for (const wake of this.#waiting.splice(0)) wake()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #hasRoom(): boolean {
    return (
      !this.isFull && this.#unconfirmed < this.#options.maxInFlight && this.#waiting.length === 0
    )
  }

  #wait(wake: () => void): void {
    const { maxWaiting } = this.#options
    if (this.#waiting.length >= maxWaiting) {
      throw new OverloadedError(`${maxWaiting} publishes wait for room already`)
    }
    this.#waiting.push(wake)
    this.#watchForDrain()
  }

  #wakeWaiting(): void {
    while (
      this.#waiting.length > 0 &&
      !this.isFull &&
      this.#unconfirmed < this.#options.maxInFlight
    ) {
      this.#waiting.shift()?.()
    }
  }

  #add(
    topic: string,
    payload: unknown,
    options: PublishOptions | undefined,
    confirmation: Confirmation | undefined,
  ): void {
    let bundle = this.#open.get(topic)
    if (bundle === undefined) {
      bundle = this.#newBundle(topic)
      this.#open.set(topic, bundle)
    }
    this.#addTo(bundle, payload, options, confirmation)
    const { count, bytes } = bundle.batch
    if (count >= BATCH_MESSAGES_MAX || bytes >= BATCH_BYTES_MAX) {
      if (this.#outlet.isOpen) this.#flushTopic(topic)
    } else if (!this.#isFlushScheduled) {
      this.#isFlushScheduled = true
      nextTurn(() => {
        this.#isFlushScheduled = false
        this.flush()
      })
    }
  }

  #addTo(
    bundle: Bundle,
    payload: unknown,
    options: PublishOptions | undefined,
    confirmation: Confirmation | undefined,
  ): void {
    const { codec, onLostConnection } = this.#options
    // Sent again, a message must be the same message: it keeps its id.
    const needsId = confirmation !== undefined && onLostConnection === 'resend'
    const id = options?.id !== undefined || needsId ? uuidBytes(options?.id) : undefined
    const bytesBefore = bundle.batch.bytes
    bundle.batch.add({
      encoding: codec.encoding,
      payload: encodePayload(codec, payload),
      id,
      headers: options?.headers,
    })
    this.#openBytes += bundle.batch.bytes - bytesBefore
    bundle.confirmations.push(confirmation)
    if (confirmation !== undefined) {
      bundle.confirmed++
      this.#unconfirmed++
    }
  }

  #newBundle(topic: string): Bundle {
    const batch = this.#wire.newBatch(topic)
    return { topic, batch, confirmations: [], confirmed: 0, dueMs: 0 }
  }

  #flushTopic(topic: string): void {
    const bundle = this.#open.get(topic)
    if (bundle === undefined) return
    this.#open.delete(topic)
    this.#openBytes -= bundle.batch.bytes
    this.#send(bundle)
  }

  #send(bundle: Bundle): void {
    if (!this.#outlet.isOpen) {
      this.#lost.push(bundle)
      return
    }
    let requestId: number | undefined
    if (bundle.confirmed > 0) {
      requestId = this.nextRequestId()
      bundle.dueMs = Date.now() + this.#options.publishTimeoutMs
      this.#inFlight.set(requestId, bundle)
      this.#watchForTimeouts()
    }
    this.#outlet.send(bundle.batch.frame(requestId))
  }

  #sendOneByOne(bundle: Bundle): void {
    bundle.batch.split().forEach((batch, index) => {
      const confirmation = bundle.confirmations[index]
      this.#send({
        topic: bundle.topic,
        batch,
        confirmations: [confirmation],
        // Nobody waits for it, yet its refusal must be told apart from the others'.
        confirmed: confirmation === undefined ? 0 : 1,
        dueMs: 0,
      })
    })
  }

  #rejectAll(bundle: Bundle, error: Error): void {
    for (const confirmation of bundle.confirmations) confirmation?.reject(error)
    this.#settled(bundle)
  }

  #settled(bundle: Bundle): void {
    this.#unconfirmed -= bundle.confirmed
    this.#wakeWaiting()
  }

  #watchForTimeouts(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      const now = Date.now()
      for (const [requestId, bundle] of this.#inFlight) {
        if (bundle.dueMs > now) break // They were sent in order.
        this.#inFlight.delete(requestId)
        const ms = this.#options.publishTimeoutMs
        this.#rejectAll(
          bundle,
          new TimeoutError(`no ack within ${ms} ms; the message may be stored or not`),
        )
      }
      if (this.#inFlight.size > 0) this.#watchForTimeouts()
    }, TIMEOUT_POLL_MS)
  }

  /** Looks now and then whether a full socket has room again, and says so. */
  #watchForDrain(): void {
    if (this.#isWatching || !this.isFull) return
    this.#isWatching = true
    const look = () => {
      if (this.#closedBy === undefined && this.#outlet.isOpen && this.isFull) {
        setTimeout(look, DRAIN_POLL_MS)
        return
      }
      this.#isWatching = false
      if (this.#closedBy !== undefined || !this.#outlet.isOpen) return // onConnected() goes on.
      this.#wakeWaiting()
      this.#onDrain()
    }
    setTimeout(look, DRAIN_POLL_MS)
  }
}

function publishError(error: WireError): Error {
  const { code, message, retryable } = error
  if (code === 'OVERLOADED') return new OverloadedError(message)
  return new PublishError(code, retryable, message)
}
