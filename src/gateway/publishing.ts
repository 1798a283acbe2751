/**
 * Publishes on their way into a shard's inbound ring: one record, one copy.
 * Runs on: the front thread. Owns: nothing.
 *
 * When the ring is full the publisher is held back for a bounded time: the front thread does nothing
 * but move what the shards have produced, so TCP holds everybody back. After that the message is
 * refused. A ring whose shard does not move at all is not waited for twice.
 */
import { Refusal, Reply } from '../errors.js'
import { type JsonMessage, messagesBytes, writeMessages } from '../protocol/json-frames.js'
import type { MsgpackFrameReader } from '../protocol/msgpack-frames.js'
import { copyToShared } from '../ring/copy.js'
import {
  Inbound,
  PUBLISH_CLAIMS_JSON,
  PUBLISH_DELAYED,
  PUBLISH_JSON,
  PUBLISH_PROPERTIES,
  PUBLISH_ROUTED,
  Publish,
} from '../ring/record.js'
import { TOO_LARGE } from '../ring/spsc-ring.js'
import type { Counters, GatewayCounter } from '../telemetry/counters.js'
import type { ShardLink } from './shard-link.js'
import type { TopicRef } from './topic-names.js'

/** One sleep while a publisher is held back: long enough for a shard to make room, short for peers. */
const HOLD_STEP_MS = 0.2

export interface PublishingOptions {
  /** How long one publish may hold the front thread. */
  readonly publishWaitMs: number
}

export class Publishing {
  readonly #links: readonly ShardLink[]
  readonly #counters: Counters<GatewayCounter>
  readonly #options: PublishingOptions
  readonly #drain: () => void
  readonly #sleepWord = new Int32Array(new SharedArrayBuffer(4))

  /** `drain` moves what the shards have produced to the sockets. */
  constructor(
    links: readonly ShardLink[],
    counters: Counters<GatewayCounter>,
    options: PublishingOptions,
    drain: () => void,
  ) {
    this.#links = links
    this.#counters = counters
    this.#options = options
    this.#drain = drain
  }

  /** A MessagePack PUBLISH that stands in `frame`. Throws Refusal (OVERLOADED) when it is not stored. */
  msgpack(requester: number, topic: TopicRef, frame: Uint8Array, read: MsgpackFrameReader): void {
    // From the op's array to the end of its messages, as it came: offsets say where what is.
    const from = read.requestLength > 0 ? read.requestStart : read.topicStart
    const length = read.messagesEnd - from
    const link = this.#links[topic.shard] as ShardLink
    const start = this.claim(link, Publish.headerBytes + length)
    const { ints } = link.views
    const field = start >> 2
    const shift = Publish.headerBytes - from
    ints[field + Publish.requester] = requester
    ints[field + Publish.flags] =
      (read.claimsJson ? PUBLISH_CLAIMS_JSON : 0) |
      propertyFlags(read.hasProperties, read.delayed > 0)
    ints[field + Publish.topicHash] = topic.hash
    ints[field + Publish.topicStart] = read.topicStart + shift
    ints[field + Publish.topicLength] = read.topicLength
    ints[field + Publish.requestStart] = read.requestStart + shift
    ints[field + Publish.requestLength] = read.requestLength
    ints[field + Publish.messagesStart] = read.messagesStart + shift
    ints[field + Publish.messagesEnd] = read.messagesEnd + shift
    ints[field + Publish.count] = read.count
    const source = frame.subarray(from, read.messagesEnd)
    copyToShared(link.views, start + Publish.headerBytes, source)
    link.in.commit(Inbound.publish, Publish.headerBytes + length)
    link.publish()
  }

  /** A JSON publish; `flags` are PUBLISH_BATCH and, when requester is the token of one, PUBLISH_HTTP. */
  json(
    requester: number,
    topic: TopicRef,
    messages: readonly JsonMessage[],
    requestId: Uint8Array | undefined,
    flags: number,
  ): void {
    const link = this.#links[topic.shard] as ShardLink
    const requestLength = requestId?.length ?? 0
    const requestStart = Publish.headerBytes + topic.bytes.length
    const messagesStart = requestStart + requestLength
    const messagesEnd = messagesStart + messagesBytes(messages)
    const start = this.claim(link, messagesEnd)
    const { ints, bytes } = link.views
    const field = start >> 2
    ints[field + Publish.requester] = requester
    const hasProperties = messages.some(({ properties }) => properties !== undefined)
    const isDelayed = hasProperties && messages[0]?.isDelayed === true
    ints[field + Publish.flags] = PUBLISH_JSON | flags | propertyFlags(hasProperties, isDelayed)
    ints[field + Publish.topicHash] = topic.hash
    ints[field + Publish.topicStart] = Publish.headerBytes
    ints[field + Publish.topicLength] = topic.bytes.length
    ints[field + Publish.requestStart] = requestStart
    ints[field + Publish.requestLength] = requestLength
    ints[field + Publish.messagesStart] = messagesStart
    ints[field + Publish.messagesEnd] = messagesEnd
    ints[field + Publish.count] = messages.length
    bytes.set(topic.bytes, start + Publish.headerBytes)
    if (requestId !== undefined) bytes.set(requestId, start + requestStart)
    writeMessages(bytes, start + messagesStart, messages)
    link.in.commit(Inbound.publish, messagesEnd)
    link.publish()
  }

  /**
   * Copies that a routing rule made, as they stand in a PUBLISH record. Negative when there is no room
   * now, TOO_LARGE when there never will be; never waits.
   */
  tryRouted(topic: TopicRef, messages: Uint8Array, count: number, hasProperties: boolean): number {
    const link = this.#links[topic.shard] as ShardLink
    const messagesStart = Publish.headerBytes + topic.bytes.length
    const length = messagesStart + messages.length
    const start = link.in.tryClaim(length)
    if (start < 0) return start
    const { ints, bytes } = link.views
    const field = start >> 2
    ints[field + Publish.requester] = 0
    // Their payloads were checked when they were stored first.
    ints[field + Publish.flags] =
      PUBLISH_JSON | PUBLISH_ROUTED | (hasProperties ? PUBLISH_PROPERTIES : 0)
    ints[field + Publish.topicHash] = topic.hash
    ints[field + Publish.topicStart] = Publish.headerBytes
    ints[field + Publish.topicLength] = topic.bytes.length
    ints[field + Publish.requestStart] = messagesStart
    ints[field + Publish.requestLength] = 0
    ints[field + Publish.messagesStart] = messagesStart
    ints[field + Publish.messagesEnd] = length
    ints[field + Publish.count] = count
    bytes.set(topic.bytes, start + Publish.headerBytes)
    bytes.set(messages, start + messagesStart)
    link.in.commit(Inbound.publish, length)
    link.publish()
    return start
  }

  /**
   * Room for a record that must not be refused lightly: a full ring holds us for a while.
   * Throws Refusal (OVERLOADED).
   */
  claim(link: ShardLink, length: number, what = 'the message was not stored'): number {
    let start = link.in.tryClaim(length)
    if (start >= 0) return start
    if (start !== TOO_LARGE && link.isWorthWaiting) {
      this.#counters.add('publishesHeld')
      const deadline = performance.now() + this.#options.publishWaitMs
      do {
        // Shards are woken when a turn ends, and this one does not for a while.
        for (const each of this.#links) each.wake()
        this.#drain()
        start = link.in.tryClaim(length)
        if (start >= 0) return start
        Atomics.wait(this.#sleepWord, 0, 0, HOLD_STEP_MS)
      } while (performance.now() < deadline && !link.isDown)
      link.giveUp()
    }
    const why =
      start === TOO_LARGE
        ? `a record of ${length} bytes is more than half of RING_BYTES`
        : 'the broker is saturated'
    throw new Refusal(Reply.overloaded, `${why}, ${what}`)
  }
}

function propertyFlags(hasProperties: boolean, isDelayed: boolean): number {
  return (hasProperties ? PUBLISH_PROPERTIES : 0) | (isDelayed ? PUBLISH_DELAYED : 0)
}
