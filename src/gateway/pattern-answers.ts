/**
 * What the shards answer to one subscribe to a pattern, until all have.
 * Runs on: the front thread. Owns: what was told so far, at most CURSORS_MAX cursors of it.
 */
import { CURSORS_MAX } from '../protocol/limits.js'
import type { Cursor, Start } from '../protocol/subscribe-options.js'
import type { ControlNotice } from '../ring/record.js'
import type { Feed, Subscription } from './subscription.js'

type NoticeOf<Op extends ControlNotice['op']> = Extract<ControlNotice, { op: Op }>

export class PatternAnswers {
  readonly #subscription: Subscription
  readonly #start: Start
  #waiting: number
  #recovered: boolean | null = null
  #refusal: NoticeOf<'refused'> | undefined
  /** Per shard the topics that it told: one that dies half way tells them again. */
  readonly #told: readonly Set<number>[]
  /** Topics with a cursor that no shard has told of yet: what is left in the end is lost. */
  readonly #missing: Set<string>
  /** What comes next in each topic: with this the client can resume those that stay silent, too. */
  readonly #cursors: Map<string, Cursor> | undefined

  constructor(subscription: Subscription, start: Start, shards: number) {
    this.#subscription = subscription
    this.#start = start
    this.#waiting = shards
    this.#told = Array.from({ length: shards }, () => new Set<number>())
    this.#missing = new Set(start.from === 'cursors' ? Object.keys(start.cursors) : [])
    this.#cursors = subscription.toldEpochs === undefined ? undefined : new Map()
  }

  /** True when the shard has not told of this topic before. */
  isNew(shard: number, { topicId }: NoticeOf<'match'>): boolean {
    const told = this.#told[shard] as Set<number>
    if (told.has(topicId)) return false
    told.add(topicId)
    return true
  }

  /** A topic matches; without a feed it is gone, or nobody wants it any more. */
  onMatch({ recovered, startSeq }: NoticeOf<'match'>, feed: Feed | undefined): void {
    if (recovered !== null) this.#recovered = (this.#recovered ?? true) && recovered
    if (feed === undefined) return
    this.#missing.delete(feed.topic)
    if (this.#cursors === undefined || this.#cursors.size >= CURSORS_MAX) return
    this.#cursors.set(feed.topic, { epoch: feed.epoch, seq: startSeq })
    this.#subscription.toldEpochs?.add(feed)
  }

  /** A shard has told all there is to tell. True when it was the last one. */
  onEnd(shard: number, refusal: NoticeOf<'refused'> | undefined): boolean {
    const { joined } = this.#subscription
    if (refusal !== undefined) this.#refusal = refusal
    else if (joined !== undefined) joined[shard] = 1
    this.#waiting--
    return this.#waiting === 0
  }

  /** Why some shard could not do it. */
  get refusal(): NoticeOf<'refused'> | undefined {
    return this.#refusal
  }

  /** What the ack says. */
  get result(): Readonly<Record<string, unknown>> {
    const isResume = this.#start.from === 'cursors'
    const recovered = isResume
      ? (this.#recovered ?? true) && this.#missing.size === 0
      : this.#recovered
    return {
      ...(recovered === null ? {} : { recovered }),
      ...(this.#cursors === undefined ? {} : { cursors: Object.fromEntries(this.#cursors) }),
    }
  }
}
