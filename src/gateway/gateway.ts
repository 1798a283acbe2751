/**
 * The front of the broker: frames in, records to the shards; records back, frames out.
 * Runs on: the front thread. Owns: the sessions. It knows sockets only as session.ts describes them,
 * so a test can be one.
 */
import { Unpackr } from 'msgpackr'
import type { Logger } from 'pino'
import { Close, Refusal, Reply, type ReplyCode } from '../errors.js'
import { checkedGroupName, groupNameOf } from '../protocol/group-options.js'
import {
  type JsonRequest,
  jsonRequest,
  parseJsonFrame,
  requestIdOf,
  requestsIn,
} from '../protocol/json-frames.js'
import type { FrameLimits } from '../protocol/limits.js'
import { ID_BYTES, MsgpackFrameReader, Op } from '../protocol/msgpack-frames.js'
import { errorFrame, infoFrame, pongFrame, type RequestId } from '../protocol/server-frames.js'
import { memberOpOf, seqsField } from '../protocol/settle.js'
import { clientIdOf, isRecord } from '../protocol/subscribe-options.js'
import { Acks, type Format, HttpReply, Outbound, PUBLISH_BATCH } from '../ring/record.js'
import { type Doorbell, IDLE } from '../ring/wakeup.js'
import type { ShardMemory } from '../shared-memory.js'
import type { Counters, GatewayCounter } from '../telemetry/counters.js'
import { Cancelling } from './cancelling.js'
import { FanOut, type FanOutOptions } from './fan-out.js'
import { Filters } from './filters.js'
import { Forwarding } from './forwarding.js'
import {
  INBOX,
  Inboxes,
  isInbox,
  isInboxName,
  isInboxText,
  jsonReplies,
  packedReplies,
  type Replies,
} from './inboxes.js'
import { Members } from './members.js'
import { Outbox } from './outbox.js'
import { Publishing, type PublishingOptions } from './publishing.js'
import { Requests } from './requests.js'
import { Routes } from './routes.js'
import { Session, type Socket } from './session.js'
import { ShardLink } from './shard-link.js'
import { Subscribing, type SubscribingOptions } from './subscribing.js'
import { TopicNames } from './topic-names.js'

/** Malformed frames in a row after which a connection is closed. */
const MALFORMED_MAX = 10
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
  readonly #cancelling: Cancelling
  readonly #bell: Doorbell
  readonly #logger: Logger
  readonly #reader: MsgpackFrameReader
  /** 64-bit integers as numbers: other languages' encoders use them for every seq. */
  readonly #unpackr = new Unpackr({
    useRecords: false,
    mapsAsObjects: true,
    int64AsType: 'number',
  })
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
    this.#reader = new MsgpackFrameReader(options)
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
    this.#cancelling = new Cancelling(this.links, this.#outbox, this.requests, this.names)
    this.forwarding = new Forwarding(this.names, this.publishing, counters, logger)
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
    if (isBinary !== session.isBinary) {
      const wanted = session.isBinary ? 'binary, this connection speaks MessagePack' : 'text (JSON)'
      this.#onMalformed(session, undefined, `frames must be ${wanted}`)
    } else if (isBinary) {
      this.#onMsgpack(session, frame)
    } else {
      this.#onJson(session, Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength))
    }
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

  #onMsgpack(session: Session, frame: Uint8Array): void {
    const read = this.#reader
    let at = 0
    do {
      const isFrame = read.read(frame, at, frame.length)
      const requestId =
        read.requestLength === 0
          ? undefined
          : frame.subarray(read.requestStart, read.requestStart + read.requestLength)
      if (!isFrame && read.isMalformed) {
        this.#onMalformed(session, requestId, read.problem)
      } else {
        session.malformedInRow = 0
        try {
          if (!isFrame) throw new Refusal(read.reply, read.problem)
          this.#onOp(session, frame, requestId)
        } catch (error) {
          this.#onFailure(session, requestId, read.op === Op.publish, error)
        }
      }
      at = read.next
    } while (at < frame.length && session.isOpen)
  }

  #onOp(session: Session, frame: Uint8Array, requestId: RequestId): void {
    const read = this.#reader
    if (read.op === Op.publish) {
      if (isInbox(frame, read.topicStart, read.topicLength)) {
        const inbox = this.names.textOf(frame, read.topicStart, read.topicLength)
        this.#publishToInbox(session, inbox, packedReplies(frame, read), requestId)
        return
      }
      const topic = this.names.byBytes(frame, read.topicStart, read.topicLength)
      this.#admitPublish(session, topic.publishProblem, requestId !== undefined)
      this.admitRequests(topic.name, read.requests)
      this.publishing.msgpack(session.id, topic, frame, read)
      if (read.requests > 0) this.counters.add('requests', read.requests)
      if (requestId !== undefined) session.inFlight++
      return
    }
    if (read.op === Op.ping) {
      this.#outbox.queue(session, pongFrame(session.format, requestId, Date.now()))
      return
    }
    const text = this.names.textOf(frame, read.topicStart, read.topicLength)
    if (read.op === Op.cancel) {
      const id = frame.slice(read.idStart, read.idStart + ID_BYTES)
      this.#cancelling.cancel(session, text, id, requestId?.slice())
      return
    }
    const options = frame.slice(read.optionsStart, read.optionsStart + read.optionsLength)
    if (read.op >= Op.groupAck && read.op <= Op.groupRelease) {
      const group = this.names.textOf(frame, read.groupStart, read.groupLength)
      const seqs = read.seqsLength === 0 ? undefined : this.#unpackSeqs(frame, read)
      const fields = this.#unpackOptions(options)
      this.members.tell(session, memberOpOf(read.op), text, group, seqs, fields, requestId)
      return
    }
    const fields = this.#unpackOptions(options)
    // The frame's bytes are gone when the shard answers.
    const id = requestId?.slice()
    if (read.op === Op.subscribe) this.#subscribe(session, text, fields, id)
    else this.#unsubscribe(session, text, fields, id)
  }

  #subscribe(
    session: Session,
    text: string,
    fields: Readonly<Record<string, unknown>>,
    requestId: RequestId,
  ): void {
    this.#refuseWhileDraining()
    const group = groupNameOf(fields)
    if (group !== undefined) this.members.join(session, text, group, fields, requestId)
    else if (isInboxText(text)) this.inboxes.subscribe(session, text, fields, requestId)
    else this.subscribing.subscribe(session, text, fields, requestId)
  }

  #unsubscribe(
    session: Session,
    text: string,
    fields: Readonly<Record<string, unknown>>,
    requestId: RequestId,
  ): void {
    const group = groupNameOf(fields)
    if (group !== undefined) this.members.leave(session, text, group, requestId)
    else if (text === INBOX) this.inboxes.unsubscribe(session, requestId)
    else this.subscribing.unsubscribe(session, text, requestId)
  }

  #unpackSeqs(frame: Uint8Array, read: MsgpackFrameReader): unknown {
    try {
      return this.#unpackr.unpack(frame.slice(read.seqsStart, read.seqsStart + read.seqsLength))
    } catch {
      throw new Refusal(Reply.badRequest, 'seqs must be MessagePack without extensions')
    }
  }

  /** A publish to an inbox, which passes the shards by; see inboxes.ts. */
  #publishToInbox(session: Session, inbox: string, replies: Replies, requestId: RequestId): void {
    this.#refuseWhileDraining()
    this.inboxes.publish(session, inbox, replies, requestId)
  }

  #unpackOptions(bytes: Uint8Array): Readonly<Record<string, unknown>> {
    if (bytes.length === 0) return {}
    let fields: unknown
    try {
      fields = this.#unpackr.unpack(bytes)
    } catch {
      throw new Refusal(Reply.badRequest, 'options must be MessagePack without extensions')
    }
    if (!isRecord(fields)) throw new Refusal(Reply.badRequest, 'options must be a map or nil')
    return fields
  }

  #onJson(session: Session, text: Buffer): void {
    let frame: Readonly<Record<string, unknown>>
    try {
      frame = parseJsonFrame(text)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#onMalformed(session, undefined, error.message)
      return
    }
    session.malformedInRow = 0
    let requestId: Buffer | undefined
    try {
      const id = requestIdOf(frame)
      requestId = id === undefined ? undefined : Buffer.from(id)
      this.#onJsonRequest(session, jsonRequest(frame, text, this.options), requestId)
    } catch (error) {
      const { type } = frame
      this.#onFailure(session, requestId, type === 'publish' || type === 'publish_batch', error)
    }
  }

  #onJsonRequest(session: Session, request: JsonRequest, requestId: RequestId): void {
    if ('messages' in request) {
      const { messages } = request
      if (isInboxName(request.topic)) {
        this.#publishToInbox(session, request.topic, jsonReplies(messages), requestId)
        return
      }
      const topic = this.names.byName(request.topic)
      this.#admitPublish(session, topic.publishProblem, requestId !== undefined)
      const requests = requestsIn(messages)
      this.admitRequests(topic.name, requests)
      const flags = request.type === 'publish_batch' ? PUBLISH_BATCH : 0
      this.publishing.json(session.id, topic, messages, requestId, flags)
      if (requests > 0) this.counters.add('requests', requests)
      if (requestId !== undefined) session.inFlight++
    } else if (request.type === 'ping') {
      this.#outbox.queue(session, pongFrame(session.format, requestId, Date.now()))
    } else if (request.type === 'unsubscribe') {
      clientIdOf(request.fields)
      this.#unsubscribe(session, request.topic, request.fields, requestId)
    } else if (request.type === 'subscribe') {
      this.#subscribe(session, request.topic, request.fields, requestId)
    } else if (request.type === 'cancel') {
      this.#cancelling.cancel(session, request.topic, request.id, requestId)
    } else {
      const { type, topic, fields } = request
      const group = checkedGroupName(fields['group'], 'group')
      this.members.tell(session, type, topic, group, seqsField(fields), fields, requestId)
    }
  }

  /** What a request was refused for, or broke on, is told to the client and disturbs nobody else. */
  #onFailure(session: Session, requestId: RequestId, isPublish: boolean, error: unknown): void {
    if (isPublish) this.counters.add('publishesRefused')
    if (error instanceof Refusal) {
      this.#refuse(session, requestId, error.reply, error.message)
      return
    }
    const request = requestIdText(requestId)
    this.#logger.error({ err: error, session: session.id, request }, 'request failed')
    this.#refuse(session, requestId, Reply.internal, 'the broker failed on this request')
  }

  #admitPublish(session: Session, problem: string | undefined, wantsAck: boolean): void {
    this.#refuseWhileDraining()
    if (problem !== undefined) throw new Refusal(Reply.badRequest, problem)
    const { maxInFlightPublishes } = this.options
    if (wantsAck && session.inFlight >= maxInFlightPublishes) {
      const message = `MAX_IN_FLIGHT_PUBLISHES=${maxInFlightPublishes} wait for their ack, the message was not stored`
      throw new Refusal(Reply.overloaded, message)
    }
  }

  #refuseWhileDraining(): void {
    if (this.isDraining) throw new Refusal(Reply.shuttingDown, 'the broker is shutting down')
  }

  #onMalformed(session: Session, requestId: RequestId, problem: string): void {
    this.counters.add('framesMalformed')
    session.malformedInRow++
    this.#refuse(session, requestId, Reply.badRequest, problem)
    if (session.malformedInRow < MALFORMED_MAX) return
    this.#outbox.closeNow(session, Close.protocolError.code, Close.protocolError.reason)
  }

  #refuse(session: Session, requestId: RequestId, reply: ReplyCode, message: string): void {
    if (this.#logger.isLevelEnabled('debug')) {
      const request = requestIdText(requestId)
      this.#logger.debug({ session: session.id, request, code: reply.code, message }, 'refused')
    }
    const frame = errorFrame(session.format, requestId, reply, message, Date.now())
    this.#outbox.queue(session, frame)
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

/** A request id for the log. In MessagePack it may be a number; then its bytes say little, but something. */
function requestIdText(requestId: RequestId): string | undefined {
  return requestId === undefined ? undefined : Buffer.from(requestId).toString()
}
