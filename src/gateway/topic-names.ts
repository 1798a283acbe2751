/**
 * Topic names that clients used lately: checked, hashed and routed once, not per message.
 * Runs on: the front thread. Owns: a bounded cache; hostile names cost no more than a miss each.
 */
import { Refusal, Reply } from '../errors.js'
import { hashTopic, routingHash, shardOf } from '../routing/topic-hash.js'
import { isReserved, topicNameProblem } from '../routing/topic-name.js'

export interface TopicRef {
  readonly name: string
  readonly bytes: Buffer
  readonly hash: number
  readonly shard: number
  /** Why clients may not publish to it, if they may not. */
  readonly publishProblem: string | undefined
}

export class TopicNames {
  readonly #shards: number
  readonly #max: number
  readonly #byName = new Map<string, TopicRef>()
  readonly #byHash = new Map<number, TopicRef>()
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

  constructor(shards: number, max: number) {
    this.#shards = shards
    this.#max = max
  }

  /** Throws Refusal (BAD_REQUEST) when this is no topic name. */
  byName(name: string): TopicRef {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    const problem = topicNameProblem(name)
    if (problem !== undefined) throw new Refusal(Reply.badRequest, `topic ${problem}`)
    return this.#remember(name)
  }

  /** The same for the bytes of a name, without making a string of one that is known. */
  byBytes(bytes: Uint8Array, start: number, length: number): TopicRef {
    const hash = hashTopic(bytes, start, length)
    const known = this.#byHash.get(hash)
    if (known !== undefined && isSame(known.bytes, bytes, start, length)) return known
    return this.byName(this.textOf(bytes, start, length))
  }

  /** Bytes of a topic or pattern as text, not checked further. Throws Refusal when they are no UTF-8. */
  textOf(bytes: Uint8Array, start: number, length: number): string {
    try {
      return this.#decoder.decode(bytes.subarray(start, start + length))
    } catch {
      throw new Refusal(Reply.badRequest, 'topic must be UTF-8')
    }
  }

  #remember(name: string): TopicRef {
    // Starting over is cheap and rare; keeping the names in order of use would cost every publish.
    if (this.#byName.size >= this.#max) {
      this.#byName.clear()
      this.#byHash.clear()
    }
    // Memory of its own: Buffer.from() would cut it from a block of 8 KiB, and a name that is kept for
    // long would keep all of that, and whatever passing things were cut from it.
    const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(name))
    bytes.write(name)
    const hash = hashTopic(bytes, 0, bytes.length)
    const publishProblem = isReserved(name)
      ? 'topic must not begin with $, such topics belong to the broker'
      : undefined
    const shard = shardOf(routingHash(bytes), this.#shards)
    const ref = { name, bytes, hash, shard, publishProblem }
    this.#byName.set(name, ref)
    this.#byHash.set(hash, ref) // Of two names with one hash the later is found faster; both work.
    return ref
  }
}

function isSame(name: Uint8Array, bytes: Uint8Array, start: number, length: number): boolean {
  if (name.length !== length) return false
  for (let index = 0; index < length; index++) {
    if (name[index] !== bytes[start + index]) return false
  }
  return true
}
