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

  /** Gives the connection its inbox, and returns the name. Throws Refusal when it has one. */
  open(session: Session): string {
    if (session.inbox !== undefined) {
      const message = `topic "${INBOX}" is subscribed already on this connection`
      throw new Refusal(Reply.badRequest, message)
    }
    const inbox = `${PREFIX_TEXT}${randomBytes(TOKEN_BYTES).toString('base64url')}`
    session.inbox = inbox
    this.#sessions.set(inbox, session)
    return inbox
  }

  /** False when it had none. */
  close(session: Session): boolean {
    if (session.inbox === undefined) return false
    this.#sessions.delete(session.inbox)
    session.inbox = undefined
    return true
  }

  /**
   * Passes messages (MessagePack, back to back, checked) on to the inbox of this name. Throws Refusal when
   * it is gone, or when its connection does not read: a reply is handed over or refused, never kept.
   */
  deliver(name: string, messages: Buffer, count: number): void {
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
