/**
 * Topic names: hashed for every publish, matched with every pattern when a topic appears.
 * Runs on: whoever runs the benchmarks.
 */
import { PatternSet } from '../../src/routing/pattern-set.js'
import { hashTopic, shardOf } from '../../src/routing/topic-hash.js'
import { keep, type MicroCase, type MicroGroup } from './case.js'

const HASHES = 1024
const MATCHES = 64
const TOPIC = 'orders.eu.created.42'

export function matcher(): MicroGroup {
  return {
    name: 'matcher',
    cases: [match(1), match(100), match(1000), hash(8), hash(20), hash(64)],
  }
}

function match(patterns: number): MicroCase {
  const set = new PatternSet()
  for (let id = 0; id < patterns; id++) set.add(patternOf(id), id + 1)
  return {
    name: `match a topic of 4 segments with ${patterns} patterns, ${set.match(TOPIC).length} of which fit`,
    operations: MATCHES,
    run() {
      for (let index = 0; index < MATCHES; index++) keep(set.match(TOPIC).length)
    },
  }
}

/** Literals, * and # in turn; every tenth fits the topic. */
function patternOf(id: number): string {
  if (id % 10 === 0) return id % 20 === 0 ? 'orders.*.created.#' : '#.42'
  const kinds = [
    `orders.*.deleted.${id}`,
    `region${id}.#`,
    `orders.eu.*.${id + 1000}`,
    `*.us.${id}.#`,
  ]
  return kinds[id % kinds.length] as string
}

function hash(length: number): MicroCase {
  const name = Buffer.from('segment.'.repeat(8)).subarray(0, length)
  return {
    name: `hash a name of ${length} B and choose its shard`,
    operations: HASHES,
    bytes: length,
    run() {
      for (let index = 0; index < HASHES; index++) keep(shardOf(hashTopic(name, 0, length), 4))
    },
  }
}
