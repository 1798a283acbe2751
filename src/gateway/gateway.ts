/**
 * The front of the broker: frames in, records to the shards; records back, frames out.
 * Runs on: the front thread. Owns: the sessions. It knows sockets only as session.ts describes them,
 * so a test can be one.
 */
import type { Logger } from 'pino'
import { Close, Refusal, Reply } from '../errors.js'
import type { FrameLimits } from '../protocol/limits.js'
import { infoFrame } from '../protocol/server-frames.js'
import { Acks, type Format, HttpReply, Outbound } from '../ring/record.js'
import { type Doorbell, IDLE } from '../ring/wakeup.js'
import type { ShardMemory } from '../shared-memory.js'
import type { Counters, GatewayCounter } from '../telemetry/counters.js'
import { ClientFrames } from './client-frames.js'
import { FanOut, type FanOutOptions } from './fan-out.js'
import { Filters } from './filters.js'
import { Forwarding } from './forwarding.js'
import { Inboxes } from './inboxes.js'
import { Members } from './members.js'
import { Outbox } from './outbox.js'
import { Publishing, type PublishingOptions } from './publishing.js'
import { Requests } from './requests.js'
import { Routes } from './routes.js'
import { Session, type Socket } from './session.js'
import { ShardLink } from './shard-link.js'
import { Subscribing, type SubscribingOptions } from './subscribing.js'
import { TopicNames } from './topic-names.js'

/** Bytes of records that one turn moves before the sockets get theirs. */
const TURN_BYTES_MAX = 1024 * 1024
/** How soon a request that found no room in a ring is tried again. */
const RETRY_MS = 5
/** How late a wake-up that got lost is noticed at worst. */
const TICK_MS = 1000
/** Names kept beyond the topics that can exist. */
const NAMES_MARGIN = 1000
/** Reconnecting clients come back one after the other, but not later than this. */
const RECONNECT_SPREAD_MS_MAX = 30_000
const RECONNECT_STEP_MS = 5
const RECONNECT_FIRST_MS = 500
const SESSION_ID_MAX = 2 ** 31 - 1

export interface GatewayOptions
  extends FanOutOptions,
    PublishingOptions,
    SubscribingOptions,
    FrameLimits {
  readonly maxConnections: number
  readonly maxTopics: number
  readonly maxInFlightPublishes: number
  readonly maxFilters: number
  readonly highWaterMarkBytes: number
}

export class Gateway {
  readonly sessions = new Map<number, Session>()
  readonly links: readonly ShardLink[]
  readonly names: TopicNames
  readonly requests = new Requests()
  readonly publishing: Publishing
  readonly subscribing: Subscribing
  readonly members: Members
  readonly fanOut: FanOut
  readonly filters: Filters
  readonly routes: Routes
  readonly forwarding: Forwarding
  readonly inboxes: Inboxes
  readonly counters: Counters<GatewayCounter>
  readonly options: GatewayOptions
  /** True once the broker is going away: nothing new is taken. */
  isDraining = false

  readonly #outbox: Outbox
  readonly #frames: ClientFrames
  readonly #bell: Doorbell
  readonly #logger: Logger
  #lastSessionId = 0
  #isStopped = false
  #retry: NodeJS.Timeout | undefined
  #tick: NodeJS.Timeout | undefined
  #turns = 0

  constructor(
    memories: readonly ShardMemory[],
    options: GatewayOptions,
    bell: Doorbell,
    counters: Counters<GatewayCounter>,
    logger: Logger,
  ) {
    this.options = options
    this.counters = counters
    this.#bell = bell
    this.#logger = logger
    this.links = memories.map((memory) => new ShardLink(memory))
    this.names = new TopicNames(this.links.length, options.maxTopics + NAMES_MARGIN)
    this.#outbox = new Outbox(options.highWaterMarkBytes, counters, (session) => {
      this.fanOut.pump(session)
    })
    this.filters = new Filters(this.links, options.maxFilters)
    this.routes = new Routes(this.links, this.filters)
    this.inboxes = new Inboxes(this.#outbox, counters, options.highWaterMarkBytes)
    this.fanOut = new FanOut(this.links, this.#outbox, counters, options)
    this.subscribing = new Subscribing(
      this.links,
      this.fanOut,
      this.#outbox,
      this.requests,
      this.names,
      this.filters,
      options,
    )
    this.publishing = new Publishing(this.links, counters, options, () => this.#moveAll())
    this.members = new Members(
      this.links,
      this.publishing,
      this.#outbox,
      this.requests,
      this.names,
      counters,
      options,
    )
    this.forwarding = new Forwarding(this.names, this.publishing, counters, logger)
    this.#frames = new ClientFrames(this, this.#outbox, logger)
  }

  /** Begins to move what the shards produce. */
  start(): void {
    this.#turn()
    this.#tick = setInterval(() => this.wake(), TICK_MS)
    this.#tick.unref()
  }

  /**
   * Looks at the rings now. A shard that dies between waking us and having woken us leaves the bell
   * silent for ever, so its death, and now and then the clock, make us look.
   */
  wake(): void {
    if (this.links.some(({ out }) => !out.isEmpty())) this.#turn()
  }

  /** Ends the turns; what the shards produce after this stays in the rings. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#retry)
    clearInterval(this.#tick)
  }

  get isFull(): boolean {
    return this.sessions.size >= this.options.maxConnections
  }

  onOpen(socket: Socket, format: Format): Session {
    do {
      this.#lastSessionId = this.#lastSessionId === SESSION_ID_MAX ? 1 : this.#lastSessionId + 1
    } while (this.sessions.has(this.#lastSessionId))
    const session = new Session(this.#lastSessionId, socket, format)
    this.sessions.set(session.id, session)
    this.counters.add('connectionsOpened')
    this.#logger.debug({ session: session.id, format }, 'connection opened')
    return session
  }

  onClose(session: Session): void {
    session.isOpen = false
    this.sessions.delete(session.id)
    this.subscribing.endAll(session)
    this.members.endAll(session)
    this.inboxes.close(session)
    this.counters.add('connectionsClosed')
    this.#logger.debug({ session: session.id }, 'connection closed')
    this.#retryIfNeeded()
  }

  /** The socket took some of what was buffered. */
  onWritable(session: Session): void {
    session.wasHeard = true
    const buffered = session.socket.getBufferedAmount()
    // Resume at half of where we stopped, or every frame would stop us again.
    if (session.isCongested && buffered < this.options.highWaterMarkBytes / 2) {
      session.isCongested = false
      this.fanOut.pump(session)
      this.#retryIfNeeded()
    }
  }

  /** One WebSocket frame; the bytes are valid only during the call. */
  onFrame(session: Session, frame: Uint8Array, isBinary: boolean): void {
    session.wasHeard = true
    this.counters.add('framesReceived')
    this.#frames.onFrame(session, frame, isBinary)
    this.#outbox.flush()
    this.#retryIfNeeded()
  }

  /**
   * A publish with so many messages that want a reply: refused at once, and not stored, when nobody listens.
   * Throws Refusal (NO_RESPONDERS).
   */
  admitRequests(topic: string, count: number): void {
    if (count === 0 || this.subscribing.hasListeners(topic) || this.members.has(topic)) return
    this.counters.add('requestsUnanswered', count)
    throw new Refusal(Reply.noResponders, `nobody listens to ${JSON.stringify(topic)} now`)
  }

  /** Tells every connection when to come back, each at another time, and closes it. */
  closeAll(): void {
    const count = Math.max(1, this.sessions.size)
    const step = Math.min(RECONNECT_STEP_MS, RECONNECT_SPREAD_MS_MAX / count)
    let slot = 0
    for (const session of [...this.sessions.values()]) {
      const details = { reconnect_after_ms: Math.round(RECONNECT_FIRST_MS + slot * step) }
      slot++
      const frame = infoFrame(session.format, 'SHUTTING_DOWN', null, details, Date.now())
      this.#outbox.queue(session, frame)
      this.#outbox.closeNow(session, Close.shuttingDown.code, Close.shuttingDown.reason)
    }
  }

  /** True when everything that was taken has been moved as far as the sockets would have it. */
  get isDrained(): boolean {
    const isMoved = this.links.every((link) => link.isDrained) && !this.forwarding.isWaiting
    return isMoved && this.fanOut.lagCount === 0
  }

  /** Bytes that sockets have yet to take. */
  get bufferedBytes(): number {
    let bytes = 0
    for (const session of this.sessions.values()) bytes += session.socket.getBufferedAmount()
    return bytes
  }

  /** What the caller queued outside of onFrame() and the turns leaves now. */
  flush(): void {
    this.#outbox.flush()
    this.#retryIfNeeded()
  }

  /** One turn: moves what is there, then sleeps on the bell or lets the sockets have their turn. */
  #turn(): void {
    if (this.#isStopped) return
    const turn = ++this.#turns
    const again = () => {
      // Unless somebody else has had a turn since: then the one who comes after that one sees to it.
      if (turn === this.#turns) this.#turn()
    }
    if (this.#moveAll()) {
      setImmediate(again)
      return
    }
    const rung = this.#bell.park(IDLE, () => this.links.some(({ out }) => !out.isEmpty()))
    if (rung === undefined) setImmediate(again)
    else rung.then(again, (error: unknown) => this.#logger.fatal({ err: error }, 'turn failed'))
  }

  /** Moves up to TURN_BYTES_MAX from every shard. True when a ring still holds something. */
  #moveAll(): boolean {
    let isMore = false
    for (const link of this.links) if (this.#moveFrom(link)) isMore = true
    this.#retryIfNeeded()
    return isMore
  }

  #moveFrom(link: ShardLink): boolean {
    const { out } = link
    let bytes = 0
    while (bytes < TURN_BYTES_MAX && out.next()) {
      bytes += out.end - out.start
      this.#onRecord(link)
    }
    if (bytes === 0) return false
    this.#outbox.flush() // Frames are views of the ring: they leave before it is released.
    link.release()
    return !out.isEmpty()
  }

  #onRecord(link: ShardLink): void {
    switch (link.out.kind) {
      case Outbound.events:
        this.fanOut.onEvents(link)
        return
      case Outbound.acks:
        this.#onAcks(link)
        return
      case Outbound.reply:
        this.#onReply(link)
        return
      case Outbound.control:
        this.#onNotice(link)
        return
      case Outbound.deliver:
        this.members.onDeliver(link)
        return
      case Outbound.forward:
        this.forwarding.onForward(link)
        return
      default:
        throw new RangeError(`kind=${link.out.kind}`)
    }
  }

  #onAcks(link: ShardLink): void {
    const { ints, bytes } = link.views
    const { start } = link.out
    const field = start >> 2
    const session = this.sessions.get(ints[field + Acks.session] as number)
    if (session === undefined) return // Gone; what it published is stored all the same.
    session.inFlight -= ints[field + Acks.answered] as number
    const frames = ints[field + Acks.frames] as number
    let at = start + Acks.headerBytes + frames * 4
    for (let index = 0; index < frames; index++) {
      const length = ints[field + 3 + index] as number
      this.#outbox.queue(session, bytes.subarray(at, at + length))
      at += length
    }
  }

  #onReply(link: ShardLink): void {
    const { start, end } = link.out
    const token = link.views.ints[(start >> 2) + HttpReply.token] as number
    const status = link.views.ints[(start >> 2) + HttpReply.status] as number
    const requester = this.requests.get(token)
    this.requests.delete(token)
    const body = link.views.bytes.slice(start + HttpReply.headerBytes, end)
    requester?.reply?.(status, Buffer.from(body.buffer))
  }

  #onNotice(link: ShardLink): void {
    const notice = link.readNotice()
    switch (notice.op) {
      case 'attach':
        this.subscribing.onAttached(this.fanOut.onAttach(link.number, notice))
        return
      case 'topicDeleted':
        this.subscribing.onTopicDeleted(link.number, notice)
        this.members.onTopicDeleted(notice)
        return
      case 'setAside':
        this.subscribing.onSetAside(notice.lag)
        return
      case 'groupGap':
        this.members.onGap(link.number, notice)
        return
      case 'groupDeleted':
        this.members.onDeleted(link.number, notice)
        return
      default:
        this.requests.get(notice.token)?.notice(notice, link.number)
    }
  }

  /** What found no room in a ring is tried again soon: a shard does not tell when there is some. */
  #retryIfNeeded(): void {
    if (this.#retry !== undefined || this.#isStopped) return
    const isWaiting = this.fanOut.isWaiting || this.forwarding.isWaiting
    const isNeeded = isWaiting || this.links.some((link) => link.hasDeferred)
    if (!isNeeded) return
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      for (const link of this.links) link.sendDeferred()
      this.forwarding.retry()
      this.fanOut.pumpWaiting()
      this.#retryIfNeeded()
    }, RETRY_MS)
  }
}
