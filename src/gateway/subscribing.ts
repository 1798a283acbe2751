/**
 * Subscribe, unsubscribe, and the end of subscriptions.
 * Runs on: the front thread. Owns: who subscribes to what, and how many there are of each.
 *
 * A subscribe goes to the shard (a pattern to every shard) and is acked when all have answered. The
 * shard is told when nobody is left, after whatever was asked of it before.
 */
import { Refusal, Reply, replyById } from '../errors.js'
import { ackFrame, errorFrame, infoFrame, type RequestId } from '../protocol/server-frames.js'
import { type SubscribeOptions, subscribeOptions } from '../protocol/subscribe-options.js'
import { type ControlNotice, type FilterRef, FORMATS, type Format } from '../ring/record.js'
import { isPattern, patternProblem } from '../routing/topic-name.js'
import type { FanOut } from './fan-out.js'
import type { Filters } from './filters.js'
import type { Outbox } from './outbox.js'
import { PatternAnswers } from './pattern-answers.js'
import { PatternGroups } from './pattern-groups.js'
import type { Requests } from './requests.js'
import type { Session } from './session.js'
import type { ShardLink } from './shard-link.js'
import type { Feed, PatternGroup, Subscription } from './subscription.js'
import { Tally } from './tally.js'
import type { TopicNames } from './topic-names.js'

export interface SubscribingOptions {
  readonly maxSubscriptionsPerConnection: number
  readonly maxSubscribersPerTopic: number
  readonly maxPatterns: number
  readonly slowConsumerPolicy: Subscription['policy']
}

type NoticeOf<Op extends ControlNotice['op']> = Extract<ControlNotice, { op: Op }>
type Answer = ControlNotice & { token: number }

export class Subscribing {
  readonly #links: readonly ShardLink[]
  readonly #fanOut: FanOut
  readonly #outbox: Outbox
  readonly #requests: Requests
  readonly #names: TopicNames
  readonly #options: SubscribingOptions
  readonly #filters: Filters
  readonly #groups: PatternGroups
  /** Subscriptions per topic or pattern, the ones still waiting for the shard included. */
  readonly #counts = new Tally()
  /** Plain subscribes on their way to a shard, by joiningKey(): the shard must not detach. */
  readonly #joining = new Tally()
  #total = 0

  constructor(
    links: readonly ShardLink[],
    fanOut: FanOut,
    outbox: Outbox,
    requests: Requests,
    names: TopicNames,
    filters: Filters,
    options: SubscribingOptions,
  ) {
    this.#links = links
    this.#fanOut = fanOut
    this.#outbox = outbox
    this.#requests = requests
    this.#names = names
    this.#options = options
    this.#filters = filters
    this.#groups = new PatternGroups(fanOut.groups, options.maxPatterns)
  }

  /** Subscriptions of all connections. */
  get total(): number {
    return this.#total
  }

  /**
   * Whether a message to this topic would reach anybody: a subscription to it or to a pattern that matches,
   * also one that is on its way to the shard, paused by its socket, or that of who asks.
   */
  hasListeners(topic: string): boolean {
    return this.#counts.has(topic) || this.#groups.match(topic)
  }

  /** Throws Refusal; otherwise the ack or the error follows when the shards have answered. */
  subscribe(
    session: Session,
    text: string,
    fields: Readonly<Record<string, unknown>>,
    requestId: RequestId,
  ): void {
    const isWild = isPattern(text)
    const problem = isWild ? patternProblem(text) : undefined
    if (problem !== undefined) throw new Refusal(Reply.badRequest, `topic ${problem}`)
    const options = subscribeOptions(fields, isWild, Date.now())
    const shard = isWild ? -1 : this.#names.byName(text).shard
    this.#admit(session, text)
    const filter = options.filter === undefined ? undefined : this.#filters.acquire(options.filter)
    try {
      if (isWild) this.#subscribePattern(session, text, options, filter, requestId)
      else this.#subscribeTopic(session, text, shard, options, filter, requestId)
    } catch (error) {
      if (filter !== undefined) this.#filters.release(filter)
      throw error
    }
  }

  /** Throws Refusal (TOPIC_NOT_FOUND) when there is no such subscription. */
  unsubscribe(session: Session, text: string, requestId: RequestId): void {
    const subscription = session.subscriptions?.get(text)
    if (subscription === undefined) {
      const message = `there is no subscription to ${JSON.stringify(text)} on this connection`
      throw new Refusal(Reply.topicNotFound, message)
    }
    this.end(subscription)
    this.#outbox.queue(session, ackFrame(session.format, requestId, text, {}, Date.now()))
  }

  /** Ends all subscriptions of a connection that is gone. */
  endAll(session: Session): void {
    for (const subscription of [...(session.subscriptions?.values() ?? [])]) this.end(subscription)
  }

  end(subscription: Subscription): void {
    if (subscription.isEnded) return
    subscription.isEnded = true
    const { session, text, feed, group } = subscription
    session.subscriptions?.delete(text)
    this.#count(text, -1)
    this.#fanOut.endLags(subscription)
    if (feed !== undefined) {
      feed.plain.delete(subscription)
      this.#releaseFeed(feed)
    }
    if (group !== undefined) {
      group.members.delete(subscription)
      this.#releaseGroup(group)
    }
    // Last: a shard forgets the filter after everything that was asked of it with the filter.
    if (subscription.filter !== undefined) this.#filters.release(subscription.filter)
  }

  /** A feed that the shard attached, perhaps for somebody who has left meanwhile. */
  onAttached(feed: Feed): void {
    if (!feed.isWanted) this.#releaseFeed(feed)
  }

  /** The topic is gone: tells whoever subscribed; plain subscriptions end. */
  onTopicDeleted(shard: number, { topicId, topic }: NoticeOf<'topicDeleted'>): void {
    for (const feed of this.#fanOut.feedsOfTopic(shard, topicId)) {
      for (const subscription of [...feed.plain]) {
        this.#tellDeleted(subscription, topic)
        subscription.feed = undefined // There is nothing left to detach from.
        this.end(subscription)
      }
      for (const group of feed.groups) {
        for (const subscription of group.members) this.#tellDeleted(subscription, topic)
      }
      this.#fanOut.removeFeed(feed)
    }
  }

  /** A chunk could not be read, twice: the subscription ends with an error. */
  onSetAside(lag: number): void {
    const subscription = this.#fanOut.onSetAside(lag)
    if (subscription === undefined) return
    const { session, text } = subscription
    const message = `the broker failed to read ${JSON.stringify(text)}; subscribe again`
    const frame = errorFrame(session.format, undefined, Reply.internal, message, Date.now())
    this.#outbox.queue(session, frame)
    this.end(subscription)
  }

  #admit(session: Session, text: string): void {
    const { maxSubscriptionsPerConnection, maxSubscribersPerTopic } = this.#options
    if (session.subscriptions?.has(text)) {
      const message = `topic ${JSON.stringify(text)} is subscribed already on this connection`
      throw new Refusal(Reply.badRequest, message)
    }
    const count = (session.subscriptions?.size ?? 0) + (session.memberships?.size ?? 0)
    if (count >= maxSubscriptionsPerConnection) {
      const message = `MAX_SUBSCRIPTIONS_PER_CONNECTION=${maxSubscriptionsPerConnection} reached`
      throw new Refusal(Reply.limitExceeded, message)
    }
    if (this.#counts.of(text) >= maxSubscribersPerTopic) {
      const message = `MAX_SUBSCRIBERS_PER_TOPIC=${maxSubscribersPerTopic} reached`
      throw new Refusal(Reply.limitExceeded, message)
    }
  }

  #subscribeTopic(
    session: Session,
    topic: string,
    shard: number,
    options: SubscribeOptions,
    filter: FilterRef | undefined,
    requestId: RequestId,
  ): void {
    const { format } = session
    const subscription = this.#newSubscription(session, topic, options, filter, undefined)
    const joining = joiningKey(format, filter?.id ?? 0, topic)
    const token = this.#requests.add({
      notice: (notice) => {
        this.#requests.delete(token)
        this.#joining.add(joining, -1)
        if (notice.op === 'subscribed') this.#onSubscribed(shard, subscription, notice, requestId)
        else this.#onRefused(subscription, notice, requestId)
      },
    })
    const { start } = options
    const link = this.#links[shard] as ShardLink
    if (!link.trySend({ op: 'subscribe', token, topic, format, start, ...withFilter(filter) })) {
      this.#requests.delete(token)
      throw overloaded()
    }
    this.#joining.add(joining, 1)
    this.#begin(subscription)
  }

  #onSubscribed(
    shard: number,
    subscription: Subscription,
    notice: NoticeOf<'subscribed'>,
    requestId: RequestId,
  ): void {
    const { session, filter } = subscription
    const feed = this.#fanOut.feed(shard, notice.topicId, session.format, filter?.id)
    if (feed === undefined) return // Deleted right after; onTopicDeleted() cannot know of us.
    const { epoch, startSeq, lastSeq, recovered } = notice
    const cursors = { [subscription.text]: { epoch, seq: startSeq } }
    const result = {
      epoch,
      seq: lastSeq,
      ...(recovered === null ? {} : { recovered }),
      ...(subscription.toldEpochs === undefined ? {} : { cursors }),
    }
    const ack = ackFrame(session.format, requestId, subscription.text, result, Date.now())
    this.#outbox.queue(session, ack) // Even if it was unsubscribed meanwhile: both get an answer.
    if (subscription.isEnded) {
      this.#releaseFeed(feed)
      return
    }
    subscription.isAcked = true
    subscription.feed = feed
    feed.plain.add(subscription)
    if (startSeq < feed.nextSeq) {
      this.#fanOut.addLag(subscription, feed, startSeq, false)
      this.#fanOut.pump(session)
    }
  }

  #onRefused(subscription: Subscription, notice: Answer, requestId: RequestId): void {
    if (notice.op !== 'refused') return
    const { session } = subscription
    const reply = replyById(notice.replyId)
    const frame = errorFrame(session.format, requestId, reply, notice.message, Date.now())
    this.#outbox.queue(session, frame)
    this.end(subscription)
  }

  #subscribePattern(
    session: Session,
    pattern: string,
    options: SubscribeOptions,
    filter: FilterRef | undefined,
    requestId: RequestId,
  ): void {
    const { format } = session
    this.#requests.reserve(this.#links.length)
    const group = this.#groups.findOrMake(pattern, format, filter?.id ?? 0)
    const subscription = this.#newSubscription(session, pattern, options, filter, group)
    const { start } = options
    const answers = new PatternAnswers(subscription, start, this.#links.length)
    for (const link of this.#links) {
      const token = this.#requests.add({
        notice: (notice) => {
          if (notice.op === 'match') {
            if (!answers.isNew(link.number, notice)) return
            answers.onMatch(notice, this.#onMatch(link.number, subscription, notice))
            return
          }
          this.#requests.delete(token)
          const refusal = notice.op === 'refused' ? notice : undefined
          const isLast = answers.onEnd(link.number, refusal)
          if (isLast) this.#onPatternAnswered(subscription, answers, requestId)
        },
      })
      const { id: patternId } = group
      const about = { token, patternId, pattern, format, start, ...withFilter(filter) }
      link.send({ op: 'subscribePattern', ...about })
    }
    this.#begin(subscription)
    group.members.add(subscription)
  }

  #onPatternAnswered(
    subscription: Subscription,
    { refusal, result }: PatternAnswers,
    requestId: RequestId,
  ): void {
    if (refusal !== undefined) {
      this.#onRefused(subscription, refusal, requestId)
      return
    }
    const { session, text } = subscription
    const ack = ackFrame(session.format, requestId, text, result, Date.now())
    this.#outbox.queue(session, ack)
    this.#fanOut.onAcked(subscription)
  }

  /** The feed of the topic that matched, unless it is gone or nobody wants it any more. */
  #onMatch(shard: number, subscription: Subscription, notice: NoticeOf<'match'>): Feed | undefined {
    const { session, group } = subscription
    const feed = this.#fanOut.feed(shard, notice.topicId, session.format, group?.filterId)
    if (feed === undefined || group === undefined) return undefined
    if (this.#groups.has(group)) this.#fanOut.linkGroup(feed, group)
    if (subscription.isEnded) {
      this.#releaseFeed(feed)
      return feed
    }
    // The ack comes first, so nothing is asked for until every shard has answered.
    if (notice.startSeq < feed.nextSeq) {
      this.#fanOut.addLag(subscription, feed, notice.startSeq, false)
    }
    return feed
  }

  #newSubscription(
    session: Session,
    text: string,
    options: SubscribeOptions,
    filter: FilterRef | undefined,
    group: PatternGroup | undefined,
  ): Subscription {
    return {
      session,
      text,
      policy: options.policy ?? this.#options.slowConsumerPolicy,
      clientId: options.clientId,
      batch: options.batch,
      filter,
      group,
      feed: undefined,
      joined: group === undefined ? undefined : new Uint8Array(this.#links.length),
      isAcked: false,
      isEnded: false,
      toldEpochs: options.epochs ? new WeakSet() : undefined,
      lags: undefined,
    }
  }

  #begin(subscription: Subscription): void {
    const { session, text } = subscription
    session.subscriptions ??= new Map()
    session.subscriptions.set(text, subscription)
    this.#count(text, 1)
  }

  #releaseFeed(feed: Feed): void {
    if (feed.plain.size > 0) return
    const { topicId, filterId } = feed
    let formats = 0
    for (const format of FORMATS) {
      const other = this.#fanOut.feed(feed.shard, topicId, format, filterId)
      const isJoining = this.#joining.has(joiningKey(format, filterId, feed.topic))
      if (isJoining || (other?.plain.size ?? 0) > 0) formats |= 1 << format
    }
    // A subscribe on its way keeps the feed; it comes back here if it ends.
    if ((formats & (1 << feed.format)) !== 0) return
    const link = this.#links[feed.shard] as ShardLink
    link.send({ op: 'interest', topicId, formats, ...(filterId === 0 ? {} : { filterId }) })
    if (!feed.isWanted) this.#fanOut.removeFeed(feed)
  }

  #releaseGroup(group: PatternGroup): void {
    if (group.members.size > 0) return
    this.#groups.remove(group)
    for (const link of this.#links) link.send({ op: 'dropPattern', patternId: group.id })
    for (const feed of [...group.feeds]) {
      feed.groups.delete(group)
      const isJoining = this.#joining.has(joiningKey(feed.format, feed.filterId, feed.topic))
      if (!feed.isWanted && !isJoining) this.#fanOut.removeFeed(feed)
    }
    group.feeds.clear()
  }

  #tellDeleted(subscription: Subscription, topic: string): void {
    const { session, group, text } = subscription
    const details = group === undefined ? {} : { subscription: text }
    const frame = infoFrame(session.format, 'TOPIC_DELETED', topic, details, Date.now())
    this.#outbox.queue(session, frame)
  }

  #count(text: string, change: number): void {
    this.#total += change
    this.#counts.add(text, change)
  }
}

function joiningKey(format: Format, filterId: number, topic: string): string {
  return `${format} ${filterId} ${topic}` // No topic has a space in it.
}

function withFilter(filter: FilterRef | undefined): { filter?: FilterRef } {
  return filter === undefined ? {} : { filter }
}

function overloaded(): Refusal {
  return new Refusal(Reply.overloaded, 'the ring to the shard is full, try again')
}
