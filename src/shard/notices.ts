/**
 * What a shard tells the gateway outside the hot path: CONTROL notices and HTTP replies.
 * Runs on: the shard. Owns: nothing; writes to the outbound ring, in which the caller has made sure
 * that OUTPUT_ROOM is free.
 */
import assert from 'node:assert'
import { Packr } from 'msgpackr'
import type { ReplyCode } from '../errors.js'
import type { SharedViews } from '../ring/layout.js'
import { type ControlNotice, HttpReply, Outbound } from '../ring/record.js'
import type { RingProducer } from '../ring/spsc-ring.js'

export class Notices {
  readonly #views: SharedViews
  readonly #out: RingProducer
  readonly #packr = new Packr({ useRecords: false, variableMapSize: true })

  constructor(views: SharedViews, out: RingProducer) {
    this.#views = views
    this.#out = out
  }

  send(notice: ControlNotice): void {
    assert(this.trySend(notice), `no room for a notice, op=${notice.op}`)
  }

  /** The same for a notice that may be large. False when there is no room now. */
  trySend(notice: ControlNotice): boolean {
    return this.#write(Outbound.control, this.#packr.pack(notice))
  }

  refuse(token: number, reply: ReplyCode, message: string): void {
    this.send({ op: 'refused', token, replyId: reply.id, message })
  }

  /** Answers an HTTP request. False when there is no room now. */
  tryReply(token: number, status: number, body: string): boolean {
    const bytes = Buffer.from(body)
    const fields = Buffer.alloc(HttpReply.headerBytes)
    fields.writeInt32LE(token, HttpReply.token * 4)
    fields.writeInt32LE(status, HttpReply.status * 4)
    return this.#write(Outbound.reply, Buffer.concat([fields, bytes]))
  }

  reply(token: number, status: number, body: object): void {
    const isSent = this.tryReply(token, status, JSON.stringify(body))
    assert(isSent, 'no room for a reply')
  }

  #write(kind: number, bytes: Uint8Array): boolean {
    const start = this.#out.tryClaim(bytes.length)
    if (start < 0) return false
    this.#views.bytes.set(bytes, start)
    this.#out.commit(kind, bytes.length)
    return true
  }
}
