/**
 * Routed copies on their way from the shard that read them to the shards of their targets.
 * Runs on: the front thread. Owns: one chunk of copies per shard, copied out of its ring.
 *
 * Nothing here waits: what finds no room in a ring is tried again. A shard gets its next chunk out
 * only when this one is in, so what is held is bounded by one chunk per shard, whatever is slow.
 */
import type { Logger } from 'pino'
import { Forward } from '../ring/record.js'
import { TOO_LARGE } from '../ring/spsc-ring.js'
import type { Counters, GatewayCounter } from '../telemetry/counters.js'
import type { Publishing } from './publishing.js'
import type { ShardLink } from './shard-link.js'
import type { TopicNames, TopicRef } from './topic-names.js'

interface Copies {
  readonly topic: TopicRef
  readonly messages: Uint8Array
  readonly count: number
  readonly hasProperties: boolean
}

interface Chunk {
  readonly link: ShardLink
  readonly id: number
  readonly rest: Copies[]
}

export class Forwarding {
  readonly #names: TopicNames
  readonly #publishing: Publishing
  readonly #counters: Counters<GatewayCounter>
  readonly #logger: Logger
  /** By shard; a successor's chunk comes behind its predecessor's. */
  #chunks: Chunk[] = []

  constructor(
    names: TopicNames,
    publishing: Publishing,
    counters: Counters<GatewayCounter>,
    logger: Logger,
  ) {
    this.#names = names
    this.#publishing = publishing
    this.#counters = counters
    this.#logger = logger
  }

  /** Copies that found no room yet. */
  get isWaiting(): boolean {
    return this.#chunks.length > 0
  }

  /** A FORWARD record, which stands in the outbound ring. */
  onForward(link: ShardLink): void {
    const { start, end } = link.out
    const bytes = link.views.bytes.slice(start, end)
    const ints = new Int32Array(bytes.buffer, 0, bytes.length >> 2)
    const rest: Copies[] = []
    let field = Forward.headerBytes >> 2
    for (let group = ints[Forward.groups] as number; group > 0; group--) {
      const nameStart = field * 4 + Forward.groupBytes
      const messagesStart = nameStart + (ints[field + Forward.topicLength] as number)
      const messagesEnd = messagesStart + (ints[field + Forward.messagesLength] as number)
      rest.push({
        topic: this.#names.byBytes(bytes, nameStart, messagesStart - nameStart),
        messages: bytes.subarray(messagesStart, messagesEnd),
        count: ints[field + Forward.count] as number,
        hasProperties: ints[field + Forward.hasProperties] === 1,
      })
      field = (messagesEnd + 3) >> 2
    }
    const chunk = { link, id: ints[Forward.chunk] as number, rest }
    if (!this.#send(chunk)) this.#chunks.push(chunk)
  }

  /** Tries again what found no room. */
  retry(): void {
    if (this.#chunks.length === 0) return
    this.#chunks = this.#chunks.filter((chunk) => !this.#send(chunk))
  }

  /** True when the whole chunk is in the rings of its targets, and its shard may send the next. */
  #send({ link, id, rest }: Chunk): boolean {
    let sent = 0
    for (const { topic, messages, count, hasProperties } of rest) {
      const result = this.#publishing.tryRouted(topic, messages, count, hasProperties)
      if (result === TOO_LARGE) {
        this.#counters.add('copiesDropped', count)
        const about = { topic: topic.name, count, bytes: messages.length }
        this.#logger.warn(about, 'routed copies were dropped: over half of RING_BYTES')
      } else if (result < 0) {
        break
      }
      sent++
    }
    rest.splice(0, sent)
    if (rest.length > 0) return false
    link.send({ op: 'forwarded', chunk: id })
    return true
  }
}
