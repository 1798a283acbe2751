/**
 * The gateway's ends of one shard's two rings.
 * Runs on: the front thread. Owns: the producer of the inbound ring, the consumer of the outbound
 * ring, and control requests that must not be lost but found no room: one per feed or pattern that
 * nobody wants any more, and those of clients who wait for an answer (bounded by REQUESTS_MAX).
 */
import { Packr, Unpackr } from 'msgpackr'
import { type SharedViews, viewsOf } from '../ring/layout.js'
import {
  type ControlNotice,
  type ControlRequest,
  eventsBytesMax,
  Inbound,
  Pull,
} from '../ring/record.js'
import { RingConsumer, RingProducer } from '../ring/spsc-ring.js'
import { Doorbell } from '../ring/wakeup.js'
import { SHARD_BELL, type ShardMemory } from '../shared-memory.js'
import type { Lag } from './subscription.js'

/** A sleeping shard that has so much to read begins while the front thread goes on reading sockets. */
const WAKE_AT_BYTES = 4096
/** Chunks that one PULL asks for at most. */
const CHUNKS_MAX = 8

export class ShardLink {
  readonly number: number
  readonly views: SharedViews
  readonly in: RingProducer
  readonly out: RingConsumer
  /** True while there is no thread behind the rings. */
  isDown = false
  readonly #bell: Doorbell
  readonly #packr = new Packr({ useRecords: false, variableMapSize: true })
  readonly #unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true })
  readonly #deferred: ControlRequest[] = []
  #endOfTurn: NodeJS.Immediate | undefined
  /** How far the shard was when holding a publisher back last was in vain. */
  #stuckAt: number | undefined

  constructor(memory: ShardMemory) {
    const { layout } = memory
    this.number = memory.shard
    this.views = viewsOf(memory.memory)
    this.in = new RingProducer(this.views, layout.inbound, layout.ringCapacity)
    this.out = new RingConsumer(this.views, layout.outbound, layout.ringCapacity)
    this.#bell = new Doorbell(this.views.ints, SHARD_BELL)
  }

  /** Bytes that wait in either ring: records that the shard, or we, have not read yet. */
  get depth(): { readonly inbound_bytes: number; readonly outbound_bytes: number } {
    return { inbound_bytes: this.in.unread(), outbound_bytes: this.out.unread() }
  }

  /**
   * Sends what was committed to the inbound ring. A shard that sleeps is woken at the end of this turn
   * of the event loop, once for all that the sockets brought; at once when it has enough to begin with.
   */
  publish(): void {
    this.in.publish()
    if (!this.#bell.isParked) return
    if (this.in.unread() >= WAKE_AT_BYTES) this.wake()
    else this.#endOfTurn ??= setImmediate(() => this.wake())
  }

  /** Gives the room of the records read so far back to the shard. */
  release(): void {
    this.out.release()
    this.#bell.ringIfBlocked()
  }

  /** Wakes the shard if it sleeps. Whoever waits for it within a turn does so first. */
  wake(): void {
    if (this.#endOfTurn !== undefined) clearImmediate(this.#endOfTurn)
    this.#endOfTurn = undefined
    this.#bell.ring()
  }

  /**
   * True when the shard has nothing left to do and we have read all that it said. Empty rings alone
   * do not say so: events that found no room wait in the shard.
   */
  get isDrained(): boolean {
    return this.#bell.isIdle && this.in.isEmpty() && this.out.isEmpty()
  }

  /** True while waiting for room could help: the shard lives, and moved since we last gave up. */
  get isWorthWaiting(): boolean {
    return !this.isDown && this.#stuckAt !== this.in.consumed()
  }

  /** Waiting was in vain; until the shard moves there will be no more of it. */
  giveUp(): void {
    this.#stuckAt = this.in.consumed()
  }

  /** Sends a request that the client may repeat. False when there is no room, or others wait for it. */
  trySend(request: ControlRequest): boolean {
    return this.#deferred.length === 0 && this.#write(request)
  }

  /** Sends a request that must not be lost, now or as soon as there is room. */
  send(request: ControlRequest): void {
    if (!this.trySend(request)) this.#deferred.push(request)
  }

  get hasDeferred(): boolean {
    return this.#deferred.length > 0
  }

  sendDeferred(): void {
    let sent = 0
    while (sent < this.#deferred.length && this.#write(this.#deferred[sent] as ControlRequest)) {
      sent++
    }
    if (sent > 0) this.#deferred.splice(0, sent)
  }

  /** Asks for a subscription's next chunks. False when there is no room. */
  tryPull(lag: Lag, queueSize: number): boolean {
    const start = this.in.tryClaim(Pull.headerBytes)
    if (start < 0) return false
    const { ints, floats } = this.views
    const field = start >> 2
    ints[field + Pull.lag] = lag.id
    ints[field + Pull.topicId] = lag.feed.topicId
    ints[field + Pull.format] = lag.feed.format
    ints[field + Pull.filter] = lag.feed.filterId
    ints[field + Pull.chunks] = this.#chunks()
    ints[field + Pull.queueSize] = lag.isLimited ? queueSize : 0
    floats[(start >> 3) + Pull.fromSeq] = lag.nextSeq
    this.in.commit(Inbound.pull, Pull.headerBytes)
    this.publish()
    return true
  }

  /**
   * A subscription behind a full ring would get one chunk for all the publishes that its PULL waits
   * behind, and fall back further: it asks for about as much as waits there.
   */
  #chunks(): number {
    const waiting = Math.floor(this.in.unread() / eventsBytesMax(this.in.maxLength))
    return Math.min(1 + waiting, CHUNKS_MAX)
  }

  /** The notice that stands in the outbound record read last. */
  readNotice(): ControlNotice {
    // A private copy: msgpackr reads shared memory 12–20 times slower.
    return this.#unpackr.unpack(Buffer.from(this.views.bytes.slice(this.out.start, this.out.end)))
  }

  #write(request: ControlRequest): boolean {
    const bytes = this.#packr.pack(request)
    const start = this.in.tryClaim(bytes.length)
    if (start < 0) return false
    this.views.bytes.set(bytes, start)
    this.in.commit(Inbound.control, bytes.length)
    this.publish()
    return true
  }
}
