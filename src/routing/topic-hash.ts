/**
 * Topic name → hash → shard.
 * Runs on: any thread; all must get the same answer for the same bytes. Owns: nothing; pure.
 *
 * FNV-1a, then murmur3's finalizer. FNV-1a alone is not enough: it multiplies the last byte only
 * once, so topic.1, topic.2, … differ too little in the high bits, from which shardOf() chooses. Of
 * topic.0 to topic.99 it put 59 on one of 8 shards; with the finalizer the fullest holds 17.
 */

const FNV_OFFSET_BASIS = 0x811c9dc5
const FNV_PRIME = 0x01000193
const TWO_TO_32 = 2 ** 32

/** Hashes bytes[offset, offset + length) to a uint32. The range must lie within bytes. */
export function hashTopic(bytes: Uint8Array, offset: number, length: number): number {
  const end = offset + length
  let hash = FNV_OFFSET_BASIS
  for (let index = offset; index < end; index++) {
    hash = Math.imul(hash ^ (bytes[index] as number), FNV_PRIME)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Topics beside a topic: they live in the shard of the topic whose name follows the prefix. */
const COMPANION_PREFIXES = ['$dlq.', '$events.'].map((prefix) => Buffer.from(prefix))

/**
 * The hash that decides on the shard: of the name without `$dlq.` and `$events.`, so that what moves
 * between a topic and its companions never crosses shards.
 */
export function routingHash(name: Uint8Array): number {
  let start = 0
  let prefix: Uint8Array | undefined
  do {
    prefix = COMPANION_PREFIXES.find((bytes) => startsWith(name, start, bytes))
    start += prefix?.length ?? 0
  } while (prefix !== undefined)
  return hashTopic(name, start, name.length - start)
}

function startsWith(name: Uint8Array, start: number, prefix: Uint8Array): boolean {
  if (name.length - start <= prefix.length) return false
  return prefix.every((byte, index) => name[start + index] === byte)
}

/**
 * Maps a uint32 hash to [0, shards): equal slices of the hash's range, to within one hash in 2^32.
 * Exact in a double, as hash * shards stays below 2^53 up to two million shards.
 */
export function shardOf(hash: number, shards: number): number {
  return Math.floor((hash * shards) / TWO_TO_32)
}
