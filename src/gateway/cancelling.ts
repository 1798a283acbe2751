/**
 * Delayed messages that a client takes back before they are due.
 * Runs on: the front thread. Owns: nothing; which messages wait only the shard knows.
 */
import { Refusal, Reply, replyById } from '../errors.js'
import { ackFrame, errorFrame, type RequestId } from '../protocol/server-frames.js'
import type { Outbox } from './outbox.js'
import type { Requests } from './requests.js'
import type { Session } from './session.js'
import type { ShardLink } from './shard-link.js'
import type { TopicNames } from './topic-names.js'

export class Cancelling {
  readonly #links: readonly ShardLink[]
  readonly #outbox: Outbox
  readonly #requests: Requests
  readonly #names: TopicNames

  constructor(links: readonly ShardLink[], outbox: Outbox, requests: Requests, names: TopicNames) {
    this.#links = links
    this.#outbox = outbox
    this.#requests = requests
    this.#names = names
  }

  /** Throws Refusal; otherwise the ack or the error follows when the shard has answered. */
  cancel(session: Session, text: string, id: Uint8Array, requestId: RequestId): void {
    const { format } = session
    const { name: topic, shard } = this.#names.byName(text)
    const token = this.#requests.add({
      notice: (notice) => {
        this.#requests.delete(token)
        if (notice.op !== 'refused') return
        const reply = replyById(notice.replyId)
        const frame = errorFrame(format, requestId, reply, notice.message, Date.now())
        this.#outbox.queue(session, frame)
      },
      reply: (_status, body) => {
        if (requestId === undefined) return
        const { count } = JSON.parse(body.toString()) as { count: number }
        this.#outbox.queue(session, ackFrame(format, requestId, topic, { count }, Date.now()))
      },
    })
    const link = this.#links[shard] as ShardLink
    if (link.trySend({ op: 'cancel', token, topic, id })) return
    this.#requests.delete(token)
    throw new Refusal(Reply.overloaded, 'the ring to the shard is full, try again')
  }
}
