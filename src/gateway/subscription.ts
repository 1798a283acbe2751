/**
 * What subscribes to what. Plain data; fan-out.ts and subscribing.ts move it.
 * Runs on: the front thread.
 *
 *   Feed          one topic in one format and through one filter or none, as far as this gateway is
 *                 interested in it
 *   PatternGroup  one pattern in one format and through one filter or none, with everybody who
 *                 subscribed to it
 *   Subscription  one client's interest in a topic or a pattern
 *   Lag           a subscription that is not LIVE on a feed, and where it is
 *
 * A subscription without a lag on a feed is LIVE there: its next seq is the feed's own.
 */
import { strBytes } from '../protocol/msgpack.js'
import { Op } from '../protocol/msgpack-frames.js'
import type { SlowConsumerPolicy } from '../protocol/subscribe-options.js'
import type { FilterRef, Format } from '../ring/record.js'
import type { Session } from './session.js'

export interface Subscription {
  readonly session: Session
  /** The topic or pattern. */
  readonly text: string
  readonly policy: SlowConsumerPolicy
  readonly clientId: string | undefined
  /** JSON only: events may come as one frame with a list. */
  readonly batch: boolean
  /** Undefined: all messages are wanted. */
  readonly filter: FilterRef | undefined
  /** The pattern's group; undefined for a plain subscription. */
  readonly group: PatternGroup | undefined
  /** The topic's feed; undefined for a pattern, and before the shard has answered. */
  feed: Feed | undefined
  /** Per shard: 1 once the shard has told every topic that matches. */
  readonly joined: Uint8Array | undefined
  /** False until the client was told: no event may come before the ack. */
  isAcked: boolean
  isEnded: boolean
  /** Feeds whose epoch the client was told; undefined when it did not ask for them. */
  readonly toldEpochs: WeakSet<Feed> | undefined
  /** Feeds on which it is not LIVE. */
  lags: Map<Feed, Lag> | undefined
}

export class Feed {
  readonly shard: number
  readonly topicId: number
  readonly topic: string
  readonly epoch: string
  readonly format: Format
  /** 0: none. */
  readonly filterId: number
  /** The seq after the newest that LIVE subscriptions were given. */
  nextSeq: number
  readonly plain = new Set<Subscription>()
  readonly groups = new Set<PatternGroup>()
  readonly lags = new Set<Lag>()
  /** What EVENTS frames begin with, up to where the subscription stands. */
  readonly eventsHead: Buffer
  readonly jsonTopic: string

  constructor(
    shard: number,
    topicId: number,
    topic: string,
    epoch: string,
    format: Format,
    filterId: number,
    lastSeq: number,
  ) {
    this.shard = shard
    this.topicId = topicId
    this.topic = topic
    this.epoch = epoch
    this.format = format
    this.filterId = filterId
    this.nextSeq = lastSeq + 1
    this.eventsHead = Buffer.concat([Buffer.of(0x94, Op.events), strBytes(topic)])
    this.jsonTopic = JSON.stringify(topic)
  }

  get isWanted(): boolean {
    return this.plain.size > 0 || this.groups.size > 0
  }

  get subscribers(): number {
    let count = this.plain.size
    for (const group of this.groups) count += group.members.size
    return count
  }
}

export class PatternGroup {
  readonly id: number
  readonly text: string
  readonly format: Format
  readonly filterId: number
  readonly members = new Set<Subscription>()
  readonly feeds = new Set<Feed>()
  readonly strText: Buffer
  readonly jsonText: string

  constructor(id: number, text: string, format: Format, filterId: number) {
    this.id = id
    this.text = text
    this.format = format
    this.filterId = filterId
    this.strText = strBytes(text)
    this.jsonText = JSON.stringify(text)
  }
}

export interface Lag {
  readonly id: number
  readonly subscription: Subscription
  readonly feed: Feed
  /** First seq not handed to the socket yet. */
  nextSeq: number
  /** True once it had been LIVE: then SUBSCRIBER_QUEUE_SIZE bounds it. A replay may be deeper. */
  isLimited: boolean
}
