/**
 * Frames of clients: checked, and handed to who does what they ask; what cannot be done is refused.
 * Runs on: the front thread. Owns: the readers of frames.
 */
import { Unpackr } from 'msgpackr'
import type { Logger } from 'pino'
import { Close, Refusal, Reply, type ReplyCode } from '../errors.js'
import { checkedGroupName, groupNameOf } from '../protocol/group-options.js'
import {
  type JsonMessage,
  type JsonRequest,
  jsonRequest,
  parseJsonFrame,
  requestIdOf,
  requestsIn,
} from '../protocol/json-frames.js'
import { JsonPublishReader } from '../protocol/json-publish.js'
import { ID_BYTES, MsgpackFrameReader, Op } from '../protocol/msgpack-frames.js'
import { errorFrame, pongFrame, type RequestId } from '../protocol/server-frames.js'
import { memberOpOf, seqsField } from '../protocol/settle.js'
import { clientIdOf, isRecord } from '../protocol/subscribe-options.js'
import { PUBLISH_BATCH } from '../ring/record.js'
import type { Counters, GatewayCounter } from '../telemetry/counters.js'
import { Cancelling } from './cancelling.js'
import type { Gateway, GatewayOptions } from './gateway.js'
import {
  INBOX,
  type Inboxes,
  isInbox,
  isInboxName,
  isInboxText,
  jsonReplies,
  packedReplies,
  type Replies,
} from './inboxes.js'
import type { Members } from './members.js'
import type { Outbox } from './outbox.js'
import type { Publishing } from './publishing.js'
import type { Session } from './session.js'
import type { Subscribing } from './subscribing.js'
import type { TopicNames, TopicRef } from './topic-names.js'

/** Malformed frames in a row after which a connection is closed. */
const MALFORMED_MAX = 10

export class ClientFrames {
  readonly #gateway: Gateway
  readonly #options: GatewayOptions
  readonly #names: TopicNames
  readonly #publishing: Publishing
  readonly #subscribing: Subscribing
  readonly #members: Members
  readonly #inboxes: Inboxes
  readonly #cancelling: Cancelling
  readonly #outbox: Outbox
  readonly #counters: Counters<GatewayCounter>
  readonly #logger: Logger
  readonly #reader: MsgpackFrameReader
  readonly #jsonReader: JsonPublishReader
  /** 64-bit integers as numbers: other languages' encoders use them for every seq. */
  readonly #unpackr = new Unpackr({
    useRecords: false,
    mapsAsObjects: true,
    int64AsType: 'number',
  })

  constructor(gateway: Gateway, outbox: Outbox, logger: Logger) {
    this.#gateway = gateway
    this.#options = gateway.options
    this.#names = gateway.names
    this.#publishing = gateway.publishing
    this.#subscribing = gateway.subscribing
    this.#members = gateway.members
    this.#inboxes = gateway.inboxes
    this.#cancelling = new Cancelling(gateway.links, outbox, gateway.requests, gateway.names)
    this.#outbox = outbox
    this.#counters = gateway.counters
    this.#logger = logger
    this.#reader = new MsgpackFrameReader(gateway.options)
    this.#jsonReader = new JsonPublishReader(gateway.options)
  }

  /** One WebSocket frame; the bytes are valid only during the call. */
  onFrame(session: Session, frame: Uint8Array, isBinary: boolean): void {
    if (isBinary !== session.isBinary) {
      const wanted = session.isBinary ? 'binary, this connection speaks MessagePack' : 'text (JSON)'
      this.#onMalformed(session, undefined, `frames must be ${wanted}`)
    } else if (isBinary) {
      this.#onMsgpack(session, frame)
    } else if (this.#jsonReader.read(frame)) {
      this.#onJsonPublish(session, frame)
    } else {
      this.#onJson(session, Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength))
    }
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
        const inbox = this.#names.textOf(frame, read.topicStart, read.topicLength)
        this.#publishToInbox(session, inbox, packedReplies(frame, read), requestId)
        return
      }
      const topic = this.#names.byBytes(frame, read.topicStart, read.topicLength)
      this.#admitPublish(session, topic.publishProblem, requestId !== undefined)
      this.#gateway.admitRequests(topic.name, read.requests)
      this.#publishing.msgpack(session.id, topic, frame, read)
      if (read.requests > 0) this.#counters.add('requests', read.requests)
      if (requestId !== undefined) session.inFlight++
      return
    }
    if (read.op === Op.ping) {
      this.#outbox.queue(session, pongFrame(session.format, requestId, Date.now()))
      return
    }
    const text = this.#names.textOf(frame, read.topicStart, read.topicLength)
    if (read.op === Op.cancel) {
      const id = frame.slice(read.idStart, read.idStart + ID_BYTES)
      this.#cancelling.cancel(session, text, id, requestId?.slice())
      return
    }
    const options = frame.slice(read.optionsStart, read.optionsStart + read.optionsLength)
    if (read.op >= Op.groupAck && read.op <= Op.groupRelease) {
      const group = this.#names.textOf(frame, read.groupStart, read.groupLength)
      const seqs = read.seqsLength === 0 ? undefined : this.#unpackSeqs(frame, read)
      const fields = this.#unpackOptions(options)
      this.#members.tell(session, memberOpOf(read.op), text, group, seqs, fields, requestId)
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
    if (group !== undefined) this.#members.join(session, text, group, fields, requestId)
    else if (isInboxText(text)) this.#inboxes.subscribe(session, text, fields, requestId)
    else this.#subscribing.subscribe(session, text, fields, requestId)
  }

  #unsubscribe(
    session: Session,
    text: string,
    fields: Readonly<Record<string, unknown>>,
    requestId: RequestId,
  ): void {
    const group = groupNameOf(fields)
    if (group !== undefined) this.#members.leave(session, text, group, requestId)
    else if (text === INBOX) this.#inboxes.unsubscribe(session, requestId)
    else this.#subscribing.unsubscribe(session, text, requestId)
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
    this.#inboxes.publish(session, inbox, replies, requestId)
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
      this.#onJsonRequest(session, jsonRequest(frame, text, this.#options), requestId)
    } catch (error) {
      const { type } = frame
      this.#onFailure(session, requestId, type === 'publish' || type === 'publish_batch', error)
    }
  }

  /** A publish of the usual form, which has been read. */
  #onJsonPublish(session: Session, frame: Uint8Array): void {
    session.malformedInRow = 0
    const { type, topicStart, topicLength, requestStart, requestLength, messages } =
      this.#jsonReader
    const requestId =
      requestLength === 0 ? undefined : frame.subarray(requestStart, requestStart + requestLength)
    try {
      if (isInbox(frame, topicStart, topicLength)) {
        const inbox = this.#names.textOf(frame, topicStart, topicLength)
        this.#publishToInbox(session, inbox, jsonReplies(messages), requestId)
      } else {
        const topic = this.#names.byBytes(frame, topicStart, topicLength)
        this.#publishJson(session, topic, messages, requestId, type === 'publish_batch')
      }
    } catch (error) {
      this.#onFailure(session, requestId, true, error)
    }
  }

  #publishJson(
    session: Session,
    topic: TopicRef,
    messages: readonly JsonMessage[],
    requestId: RequestId,
    isBatch: boolean,
  ): void {
    this.#admitPublish(session, topic.publishProblem, requestId !== undefined)
    const requests = requestsIn(messages)
    this.#gateway.admitRequests(topic.name, requests)
    const flags = isBatch ? PUBLISH_BATCH : 0
    this.#publishing.json(session.id, topic, messages, requestId, flags)
    if (requests > 0) this.#counters.add('requests', requests)
    if (requestId !== undefined) session.inFlight++
  }

  #onJsonRequest(session: Session, request: JsonRequest, requestId: RequestId): void {
    if ('messages' in request) {
      const { messages } = request
      if (isInboxName(request.topic)) {
        this.#publishToInbox(session, request.topic, jsonReplies(messages), requestId)
        return
      }
      const topic = this.#names.byName(request.topic)
      const isBatch = request.type === 'publish_batch'
      this.#publishJson(session, topic, messages, requestId, isBatch)
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
      this.#members.tell(session, type, topic, group, seqsField(fields), fields, requestId)
    }
  }

  /** What a request was refused for, or broke on, is told to the client and disturbs nobody else. */
  #onFailure(session: Session, requestId: RequestId, isPublish: boolean, error: unknown): void {
    if (isPublish) this.#counters.add('publishesRefused')
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
    const { maxInFlightPublishes } = this.#options
    if (wantsAck && session.inFlight >= maxInFlightPublishes) {
      const message = `MAX_IN_FLIGHT_PUBLISHES=${maxInFlightPublishes} wait for their ack, the message was not stored`
      throw new Refusal(Reply.overloaded, message)
    }
  }

  #refuseWhileDraining(): void {
    if (this.#gateway.isDraining)
      throw new Refusal(Reply.shuttingDown, 'the broker is shutting down')
  }

  #onMalformed(session: Session, requestId: RequestId, problem: string): void {
    this.#counters.add('framesMalformed')
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
}

/** A request id for the log. In MessagePack it may be a number; then its bytes say little, but something. */
function requestIdText(requestId: RequestId): string | undefined {
  return requestId === undefined ? undefined : Buffer.from(requestId).toString()
}
