/**
 * Inboxes: where replies go, from one socket to another. No shard, no log, no seq.
 * Runs on: the front thread. Owns: the table from name to inbox; one per connection that asked for it,
 * so MAX_CONNECTIONS bounds it.
 *
 * The name is the only key to an inbox. It is random, told to its connection alone, and never listed:
 * whoever knows it has got it in the `reply_to` of a request.
 */
import { randomBytes } from 'node:crypto'
import { Refusal, Reply } from '../errors.js'
import { type JsonMessage, messagesBytes, writeMessages } from '../protocol/json-frames.js'
import type { MsgpackFrameReader } from '../protocol/msgpack-frames.js'
import { ackFrame, type RequestId } from '../protocol/server-frames.js'
import { subscribeOptions } from '../protocol/subscribe-options.js'
import type { Counters, GatewayCounter } from '../telemetry/counters.js'
import { inboxFrames } from './inbox-frames.js'
import type { Outbox } from './outbox.js'
import type { Session } from './session.js'

/** What a client subscribes to for an inbox; every inbox's name goes on from here. */
export const INBOX = '$inbox'
const PREFIX_TEXT = `${INBOX}.`
const PREFIX = Buffer.from(PREFIX_TEXT)
/** 128 bits: nobody finds one by trying. */
const TOKEN_BYTES = 16

/** Messages on their way to an inbox: MessagePack, back to back, checked. */
export interface Replies {
  readonly messages: Buffer
  readonly count: number
  readonly isDelayed: boolean
}

/**
 * Frames of one publish to an inbox. MessagePack grows when a JSON client gets it; this and the high-water mark
 * stay below what a socket may buffer, so that nobody's replies get their requester closed.
 */
const REPLIES_BYTES_MAX = 4 * 1024 * 1024

export class Inboxes {
  readonly #sessions = new Map<string, Session>()
  readonly #outbox: Outbox
  readonly #counters: Counters<GatewayCounter>
  readonly #highWaterMarkBytes: number

  constructor(outbox: Outbox, counters: Counters<GatewayCounter>, highWaterMarkBytes: number) {
    this.#outbox = outbox
    this.#counters = counters
    this.#highWaterMarkBytes = highWaterMarkBytes
  }

  get size(): number {
    return this.#sessions.size
  }

  /** Gives the connection its inbox; the ack names it. Throws Refusal. */
  subscribe(
    session: Session,
    text: string,
    fields: Readonly<Record<string, unknown>>,
    requestId: RequestId,
  ): void {
    if (text !== INBOX) {
      const message = `topic "${INBOX}" gives an inbox of your own; nobody subscribes to others'`
      throw new Refusal(Reply.badRequest, message)
    }
    if (session.inbox !== undefined) {
      const message = `topic "${INBOX}" is subscribed already on this connection`
      throw new Refusal(Reply.badRequest, message)
    }
    if (subscribeOptions(fields, false, Date.now()).start.from !== 'live') {
      throw new Refusal(Reply.badRequest, 'an inbox keeps nothing that could be replayed')
    }
    const inbox = `${PREFIX_TEXT}${randomBytes(TOKEN_BYTES).toString('base64url')}`
    session.inbox = inbox
    this.#sessions.set(inbox, session)
    this.#ack(session, requestId, text, { inbox })
  }

  /** Throws Refusal (TOPIC_NOT_FOUND) when it has none. */
  unsubscribe(session: Session, requestId: RequestId): void {
    if (session.inbox === undefined) {
      const message = `there is no subscription to "${INBOX}" on this connection`
      throw new Refusal(Reply.topicNotFound, message)
    }
    this.close(session)
    this.#ack(session, requestId, INBOX, {})
  }

  /** The connection is gone, or wants its inbox no more. */
  close(session: Session): void {
    if (session.inbox === undefined) return
    this.#sessions.delete(session.inbox)
    session.inbox = undefined
  }

  /** Passes a client's replies on to an inbox, and acks them. Throws Refusal. */
  publish(from: Session, inbox: string, replies: Replies, requestId: RequestId): void {
    if (replies.isDelayed) {
      const message = 'a message to an inbox cannot be delayed: nothing keeps it'
      throw new Refusal(Reply.badRequest, message)
    }
    this.#deliver(inbox, replies)
    if (requestId !== undefined) this.#ack(from, requestId, inbox, { delivered: replies.count })
  }

  /** A reply is handed over or refused, never kept. */
  #deliver(name: string, { messages, count }: Replies): void {
    const session = this.#sessions.get(name)
    if (session === undefined) {
      this.#counters.add('repliesDropped', count)
      throw new Refusal(Reply.noResponders, 'this inbox is gone, the reply was dropped')
    }
    const waiting = session.outboxBytes + session.socket.getBufferedAmount()
    if (session.isCongested || waiting > this.#highWaterMarkBytes) {
      this.#counters.add('repliesDropped', count)
      const message = 'the connection of this inbox does not keep up, the reply was dropped'
      throw new Refusal(Reply.overloaded, message)
    }
    const frames = inboxFrames(session.format, name, messages, count, Date.now())
    let bytes = 0
    for (const frame of frames) bytes += frame.length
    if (bytes > REPLIES_BYTES_MAX) {
      this.#counters.add('repliesDropped', count)
      const message = `replies of one publish may have ${REPLIES_BYTES_MAX} bytes as the requester gets them, got ${bytes}`
      throw new Refusal(Reply.payloadTooLarge, message)
    }
    for (const frame of frames) this.#outbox.queue(session, frame)
    this.#counters.add('repliesDelivered', count)
  }

  #ack(
    session: Session,
    requestId: RequestId,
    topic: string,
    result: Readonly<Record<string, unknown>>,
  ): void {
    this.#outbox.queue(session, ackFrame(session.format, requestId, topic, result, Date.now()))
  }
}

/** The messages of a MessagePack frame that was read, where they stand. */
export function packedReplies(frame: Uint8Array, read: MsgpackFrameReader): Replies {
  const { messagesStart, messagesEnd, count, delayed } = read
  const from = frame.byteOffset + messagesStart
  const messages = Buffer.from(frame.buffer, from, messagesEnd - messagesStart)
  return { messages, count, isDelayed: delayed > 0 }
}

/** The messages of a JSON frame, as a MessagePack client would have sent them. */
export function jsonReplies(replies: readonly JsonMessage[]): Replies {
  const messages = Buffer.allocUnsafe(messagesBytes(replies))
  writeMessages(messages, 0, replies)
  const isDelayed = replies.some((reply) => reply.isDelayed)
  return { messages, count: replies.length, isDelayed }
}

/** Whether a subscription to this is about inboxes: one's own, or those of others. */
export function isInboxText(text: string): boolean {
  return text === INBOX || isInboxName(text)
}

/** Whether this is the name of an inbox, as far as the beginning says. */
export function isInbox(bytes: Uint8Array, start: number, length: number): boolean {
  if (length < PREFIX.length) return false
  for (let index = 0; index < PREFIX.length; index++) {
    if (bytes[start + index] !== PREFIX[index]) return false
  }
  return true
}

/** The same for a name as text; a pattern may begin so, too. */
export function isInboxName(text: string): boolean {
  return text.startsWith(PREFIX_TEXT)
}
