/**
 * Outbound EVENTS to subscriptions, LIVE and PULLING.
 * Runs on: the front thread. Owns: feeds, pattern groups, lags.
 *
 *               socket full: next seq = the first not sent
 *        ┌─────────────────────────────────────────────────┐
 *      LIVE                                               ▼
 *   every EVENTS record                                PULLING  chunk after chunk, the next ones when the
 *        ▲                                                 │     socket is writable
 *        └─────────────────────────────────────────────────┘
 *               a chunk that ends where the log ends
 *
 * The outbound ring is in order and a shard is one thread, so a chunk that ends at seq N comes
 * before the EVENTS that begin at N + 1: PULLING becomes LIVE without a gap or a repeat. The same
 * holds for first subscribes, resumes, slow consumers and a shard that died: all of them are lags.
 */
import { Close, Reply } from '../errors.js'
import { errorFrame, infoFrame } from '../protocol/server-frames.js'
import {
  type ControlNotice,
  EVENTS_AT_END,
  EVENTS_CONTINUED,
  EVENTS_TOPIC_GONE,
  Events,
  FORMATS,
  type Format,
} from '../ring/record.js'
import type { Counters, GatewayCounter } from '../telemetry/counters.js'
import { EventFrames } from './event-frames.js'
import type { Outbox } from './outbox.js'
import type { Session } from './session.js'
import type { ShardLink } from './shard-link.js'
import { Feed, type Lag, type PatternGroup, type Subscription } from './subscription.js'

const LAG_ID_MAX = 2 ** 31 - 1

type AttachNotice = Extract<ControlNotice, { op: 'attach' }>

export interface FanOutOptions {
  readonly subscriberQueueSize: number
}

export class FanOut {
  /** Pattern groups by id. */
  readonly groups = new Map<number, PatternGroup>()
  readonly #links: readonly ShardLink[]
  readonly #outbox: Outbox
  readonly #counters: Counters<GatewayCounter>
  readonly #options: FanOutOptions
  /** Per shard: feeds without a filter by topicId * 2 + format. */
  readonly #feeds: readonly Map<number, Feed>[]
  /** Per shard and topicId: feeds through filters by filterId * 2 + format. */
  readonly #filtered: readonly Map<number, Map<number, Feed>>[]
  readonly #lags = new Map<number, Lag>()
  #lastLagId = 0
  /** Sessions whose PULL found no room in a ring. */
  readonly #waiting = new Set<Session>()

  constructor(
    links: readonly ShardLink[],
    outbox: Outbox,
    counters: Counters<GatewayCounter>,
    options: FanOutOptions,
  ) {
    this.#links = links
    this.#outbox = outbox
    this.#counters = counters
    this.#options = options
    this.#feeds = links.map(() => new Map())
    this.#filtered = links.map(() => new Map())
  }

  feed(shard: number, topicId: number, format: Format, filterId = 0): Feed | undefined {
    if (filterId === 0) return this.#feedsOf(shard).get(topicId * 2 + format)
    return this.#filteredOf(shard)
      .get(topicId)
      ?.get(filterId * 2 + format)
  }

  /** Every feed of the topic, one per format and filter that somebody reads it in. */
  feedsOfTopic(shard: number, topicId: number): Feed[] {
    const plain = FORMATS.map((format) => this.feed(shard, topicId, format))
    const filtered = this.#filteredOf(shard).get(topicId)?.values() ?? []
    return [...plain.filter((feed) => feed !== undefined), ...filtered]
  }

  get lagCount(): number {
    return this.#lags.size
  }

  get feedCount(): number {
    const plain = this.#feeds.reduce((count, feeds) => count + feeds.size, 0)
    const filtered = this.#filtered.flatMap((topics) => [...topics.values()])
    return filtered.reduce((count, feeds) => count + feeds.size, plain)
  }

  get isWaiting(): boolean {
    return this.#waiting.size > 0
  }

  /** EVENTS of a topic will follow. After a shard's death: how far the log had got meanwhile. */
  onAttach(shard: number, notice: AttachNotice): Feed {
    const { topicId, topic, epoch, format, filterId = 0, lastSeq, patternIds } = notice
    let feed = this.feed(shard, topicId, format, filterId)
    const isNew = feed === undefined
    if (feed === undefined) {
      feed = new Feed(shard, topicId, topic, epoch, format, filterId, lastSeq)
      this.#addFeed(feed)
    } else if (feed.nextSeq <= lastSeq) {
      this.#lagEverybody(feed)
      feed.nextSeq = lastSeq + 1
    }
    for (const id of patternIds) {
      const group = this.groups.get(id)
      if (group !== undefined) this.linkGroup(feed, group)
    }
    // Patterns hear of a topic when it is made. If its shard died before it could tell, it may hold
    // entries by now, and all of them are new.
    if (isNew && lastSeq > 0) this.#lagMembers(feed, 1)
    return feed
  }

  linkGroup(feed: Feed, group: PatternGroup): void {
    feed.groups.add(group)
    group.feeds.add(feed)
  }

  removeFeed(feed: Feed): void {
    const { shard, topicId, format, filterId } = feed
    if (filterId === 0) {
      this.#feedsOf(shard).delete(topicId * 2 + format)
    } else {
      const feeds = this.#filteredOf(shard).get(topicId)
      feeds?.delete(filterId * 2 + format)
      if (feeds?.size === 0) this.#filteredOf(shard).delete(topicId)
    }
    for (const group of feed.groups) group.feeds.delete(feed)
    for (const lag of feed.lags) this.#endLag(lag)
  }

  /** An EVENTS record: for all LIVE subscriptions, or a chunk that one lag asked for. */
  onEvents(link: ShardLink): void {
    const { ints } = link.views
    const field = link.out.start >> 2
    const lagId = ints[field + Events.lag] as number
    if (lagId !== 0) {
      this.#onChunk(link, lagId)
      return
    }
    const topicId = ints[field + Events.topicId] as number
    const format = ints[field + Events.format] as Format
    const feed = this.feed(link.number, topicId, format, ints[field + Events.filter] as number)
    if (feed === undefined) return // Nobody wants it any more; the shard will hear of that.
    const frames = new EventFrames(link.views, link.out.start, link.out.end, feed)
    if (frames.lastSeq < feed.nextSeq) return
    if (frames.firstSeq !== feed.nextSeq) {
      // Something in between was dropped before it could be sent: whoever was LIVE pulls it.
      this.#lagEverybody(feed)
      feed.nextSeq = frames.lastSeq + 1
      return
    }
    if (frames.count === 0) {
      feed.nextSeq = frames.lastSeq + 1 // All of it had expired.
      return
    }
    let delivered = 0
    for (const subscription of feed.plain) {
      if (this.#deliver(subscription, feed, frames)) delivered++
    }
    for (const group of feed.groups) {
      for (const subscription of group.members) {
        if (subscription.joined?.[feed.shard] !== 1) continue
        if (this.#deliver(subscription, feed, frames)) delivered++
      }
    }
    this.#counters.add('messagesDelivered', delivered * frames.count)
    feed.nextSeq = frames.lastSeq + 1
    if (feed.lags.size > 0) this.#closeLaggards(feed)
  }

  /** A subscription that is not LIVE on the feed but reads on from `nextSeq`. */
  addLag(subscription: Subscription, feed: Feed, nextSeq: number, isLimited: boolean): void {
    if (subscription.lags?.has(feed)) return
    do {
      this.#lastLagId = this.#lastLagId === LAG_ID_MAX ? 1 : this.#lastLagId + 1
    } while (this.#lags.has(this.#lastLagId))
    const lag = { id: this.#lastLagId, subscription, feed, nextSeq, isLimited }
    this.#lags.set(lag.id, lag)
    feed.lags.add(lag)
    subscription.lags ??= new Map()
    subscription.lags.set(feed, lag)
    if (subscription.isAcked) this.#schedule(lag)
  }

  /** The client knows that it is subscribed: what has waited for that may be pulled. */
  onAcked(subscription: Subscription): void {
    subscription.isAcked = true
    for (const lag of subscription.lags?.values() ?? []) this.#schedule(lag)
    this.pump(subscription.session)
  }

  endLags(subscription: Subscription): void {
    for (const lag of subscription.lags?.values() ?? []) this.#endLag(lag)
  }

  /** Asks for the session's next chunks, unless its socket is full or some are on their way. */
  pump(session: Session): void {
    while (session.isOpen && !session.isCongested && session.pulling === undefined) {
      const lag = session.lags?.[0]
      if (lag === undefined) return
      if (!this.#lags.has(lag.id)) {
        session.lags?.shift() // Ended meanwhile.
        continue
      }
      const link = this.#links[lag.feed.shard] as ShardLink
      if (!link.tryPull(lag, this.#options.subscriberQueueSize)) {
        this.#waiting.add(session)
        return
      }
      session.lags?.shift()
      session.pulling = lag
    }
  }

  /** Tries again for the sessions whose PULL found no room. */
  pumpWaiting(): void {
    const sessions = [...this.#waiting]
    this.#waiting.clear()
    for (const session of sessions) this.pump(session)
  }

  /** The shard could not read this chunk, twice: the subscription cannot go on. */
  onSetAside(lagId: number): Subscription | undefined {
    const lag = this.#lags.get(lagId)
    if (lag === undefined) return undefined
    const { session } = lag.subscription
    session.pulling = undefined
    this.#endLag(lag)
    return lag.subscription
  }

  #onChunk(link: ShardLink, lagId: number): void {
    const lag = this.#lags.get(lagId)
    const { ints } = link.views
    const flags = ints[(link.out.start >> 2) + Events.flags] as number
    if (lag === undefined) return // Ended while the chunk was on its way; #endLag() saw to the rest.
    const { subscription, feed } = lag
    const { session } = subscription
    const isLast = (flags & EVENTS_CONTINUED) === 0
    if (isLast) session.pulling = undefined
    if ((flags & EVENTS_TOPIC_GONE) !== 0) {
      this.#endLag(lag) // TOPIC_DELETED comes, or came, by itself.
      this.pump(session)
      return
    }
    const frames = new EventFrames(link.views, link.out.start, link.out.end, feed)
    if (frames.gapTo > 0 && !this.#onGap(lag, frames.gapFrom, frames.gapTo)) return
    if (frames.count > 0) {
      this.#tellEpoch(subscription, feed, frames.firstSeq)
      for (const frame of frames.of(subscription)) this.#outbox.queue(session, frame)
      this.#counters.add('messagesDelivered', frames.count)
    }
    lag.nextSeq = frames.lastSeq + 1
    // Past the feed's own next seq when what lies between did not come through its filter.
    if ((flags & EVENTS_AT_END) !== 0 && lag.nextSeq >= feed.nextSeq) this.#endLag(lag)
    else if (isLast) session.lags?.push(lag)
    // Frames that were queued lead to a pump() once they are sent, when we know if they fitted.
    if (frames.count === 0) this.pump(session)
  }

  /** Tells of a loss. False when the policy is to disconnect instead. */
  #onGap(lag: Lag, fromSeq: number, toSeq: number): boolean {
    const { subscription, feed } = lag
    const { session } = subscription
    if (subscription.policy === 'disconnect') {
      this.closeSlow(session, feed.topic, toSeq - fromSeq + 1)
      return false
    }
    const dropped = toSeq - fromSeq + 1
    this.#counters.add('gaps')
    this.#counters.add('messagesDropped', dropped)
    const details = {
      ...(subscription.group === undefined ? {} : { subscription: subscription.text }),
      from_seq: fromSeq,
      to_seq: toSeq,
      dropped,
    }
    this.#outbox.queue(session, infoFrame(session.format, 'GAP', feed.topic, details, Date.now()))
    return true
  }

  /** Ends a connection that cannot keep up, with the reason. */
  closeSlow(session: Session, topic: string, behind: number): void {
    if (!session.isOpen) return
    this.#counters.add('slowConsumersClosed')
    const message = `topic ${JSON.stringify(topic)}: ${behind} messages behind`
    const frame = errorFrame(session.format, undefined, Reply.slowConsumer, message, Date.now())
    this.#outbox.queue(session, frame)
    this.#outbox.closeNow(session, Close.slowConsumer.code, Close.slowConsumer.reason)
  }

  #deliver(subscription: Subscription, feed: Feed, frames: EventFrames): boolean {
    if (subscription.lags?.has(feed)) return false
    const { session } = subscription
    if (!subscription.isAcked) {
      this.addLag(subscription, feed, frames.firstSeq, false)
      return false
    }
    if (session.isCongested) {
      this.#counters.add('subscriptionsLagged')
      this.addLag(subscription, feed, frames.firstSeq, true)
      return false
    }
    this.#tellEpoch(subscription, feed, frames.firstSeq)
    for (const frame of frames.of(subscription)) this.#outbox.queue(session, frame)
    return true
  }

  /** A pattern's client learns the epoch of each topic before its first event, if it asked to. */
  #tellEpoch(
    { toldEpochs, session, text, group }: Subscription,
    feed: Feed,
    firstSeq: number,
  ): void {
    if (toldEpochs === undefined || group === undefined || toldEpochs.has(feed)) return
    toldEpochs.add(feed)
    const details = { subscription: text, epoch: feed.epoch, seq: firstSeq }
    this.#outbox.queue(session, infoFrame(session.format, 'EPOCH', feed.topic, details, Date.now()))
  }

  /** Everybody who is LIVE on the feed reads on from what comes next for them. */
  #lagEverybody(feed: Feed): void {
    for (const subscription of feed.plain) this.#lagBehind(subscription, feed, feed.nextSeq)
    this.#lagMembers(feed, feed.nextSeq)
  }

  #lagMembers(feed: Feed, nextSeq: number): void {
    for (const group of feed.groups) {
      for (const subscription of group.members) {
        if (subscription.joined?.[feed.shard] !== 1) continue
        this.#lagBehind(subscription, feed, nextSeq)
      }
    }
  }

  /** The delay is ours, so SUBSCRIBER_QUEUE_SIZE bounds only those who are slow themselves. */
  #lagBehind(subscription: Subscription, feed: Feed, nextSeq: number): void {
    if (subscription.lags?.has(feed)) return
    this.addLag(subscription, feed, nextSeq, subscription.session.isCongested)
    this.pump(subscription.session)
  }

  /** Closes those whose policy is to be closed rather than to lose entries. */
  #closeLaggards(feed: Feed): void {
    const { subscriberQueueSize } = this.#options
    for (const lag of [...feed.lags]) {
      const behind = feed.nextSeq - lag.nextSeq
      const { policy, session } = lag.subscription
      if (lag.isLimited && policy === 'disconnect' && behind > subscriberQueueSize) {
        this.closeSlow(session, feed.topic, behind)
      }
    }
  }

  #schedule(lag: Lag): void {
    const { session } = lag.subscription
    session.lags ??= []
    session.lags.push(lag)
  }

  #endLag(lag: Lag): void {
    this.#lags.delete(lag.id)
    lag.feed.lags.delete(lag)
    lag.subscription.lags?.delete(lag.feed)
    const { session } = lag.subscription
    if (session.pulling === lag) {
      session.pulling = undefined // Its chunk will be ignored.
      this.pump(session)
    }
  }

  #addFeed(feed: Feed): void {
    const { shard, topicId, format, filterId } = feed
    if (filterId === 0) {
      this.#feedsOf(shard).set(topicId * 2 + format, feed)
      return
    }
    const topics = this.#filteredOf(shard)
    const feeds = topics.get(topicId) ?? new Map<number, Feed>()
    topics.set(topicId, feeds.set(filterId * 2 + format, feed))
  }

  #filteredOf(shard: number): Map<number, Map<number, Feed>> {
    return this.#filtered[shard] as Map<number, Map<number, Feed>>
  }

  #feedsOf(shard: number): Map<number, Feed> {
    return this.#feeds[shard] as Map<number, Feed>
  }
}
