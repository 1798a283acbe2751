/**
 * Many patterns at once: by example, against two oracles, and with its work counted.
 * Runs on: the test thread.
 */

import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compilePattern } from '../../src/routing/pattern.js'
import { PatternSet } from '../../src/routing/pattern-set.js'
import { segmentsOf } from '../../src/routing/topic-name.js'

/** qlobber has no types of its own. */
interface Qlobber {
  add(pattern: string, value: number): void
  remove(pattern: string, value: number): void
  match(topic: string): number[]
}
const require = createRequire(import.meta.url)
const { Qlobber } = require('qlobber') as {
  Qlobber: new (options: { max_wildcard_somes: number }) => Qlobber
}

describe('PatternSet.match()', () => {
  test('PatternSet.match() finds nothing in an empty set', () => {
    expect(new PatternSet().match('orders')).toEqual([])
  })

  test('PatternSet.match() finds a pattern without wildcards', () => {
    const set = setOf(['orders.eu', 1], ['orders.us', 2], ['orders', 3])
    expect(matched(set, 'orders.eu')).toEqual([1])
    expect(matched(set, 'orders')).toEqual([3])
    expect(matched(set, 'orders.eu.x')).toEqual([])
  })

  test('PatternSet.match() finds a pattern whose * stands for one segment', () => {
    const set = setOf(['orders.*', 1], ['*.eu', 2], ['*.*', 3], ['*', 4])
    expect(matched(set, 'orders.eu')).toEqual([1, 2, 3])
    expect(matched(set, 'orders')).toEqual([4])
    expect(matched(set, 'orders.eu.x')).toEqual([])
  })

  test('PatternSet.match() finds a pattern whose # stands for zero segments', () => {
    const set = setOf(['orders.#', 1], ['#.orders', 2], ['#.orders.#', 3], ['orders.#.#', 4])
    expect(matched(set, 'orders')).toEqual([1, 2, 3, 4])
    expect(matched(setOf(['a.#.b', 1]), 'a.b')).toEqual([1])
  })

  test('PatternSet.match() finds a pattern whose # stands for many segments', () => {
    const set = setOf(['a.#', 1], ['a.#.e', 2], ['#.e', 3], ['a.#.c.#.e', 4], ['#', 5], ['b.#', 6])
    expect(matched(set, 'a.b.c.d.e')).toEqual([1, 2, 3, 4, 5])
  })

  test('PatternSet.match() gives an id once when several of its patterns match', () => {
    const set = setOf(['a.b', 1], ['a.*', 1], ['a.#', 1], ['#', 1], ['#.#', 1], ['#.b', 2])
    expect(matched(set, 'a.b')).toEqual([1, 2])
  })

  test('PatternSet.match() gives every id of one pattern', () => {
    const set = setOf(['a.#', 3], ['a.#', 1], ['a.#', 2])
    expect(matched(set, 'a.x')).toEqual([1, 2, 3])
  })

  test('PatternSet.match() hides $ topics from patterns that begin with a wildcard', () => {
    const set = setOf(['#', 1], ['*', 2], ['*.a', 3], ['#.a', 4], ['$SYS.#', 5], ['$SYS.a', 6])
    expect(matched(set, '$SYS.a')).toEqual([5, 6])
    expect(matched(set, '$SYS')).toEqual([5])
    expect(matched(set, '$other.a')).toEqual([])
    expect(matched(set, 'SYS.a')).toEqual([1, 3, 4])
    expect(matched(setOf(['a.*', 1], ['a.#', 2]), 'a.$b')).toEqual([1, 2])
  })

  test('PatternSet.match() takes names as they are: unicode, __proto__, any case', () => {
    const set = setOf(['größe.*', 1], ['__proto__.#', 2], ['A.b', 3], ['#.作成', 4])
    expect(matched(set, 'größe.é')).toEqual([1])
    expect(matched(set, '__proto__')).toEqual([2])
    expect(matched(set, 'constructor')).toEqual([])
    expect(matched(set, 'a.b')).toEqual([])
    expect(matched(set, '注文.作成')).toEqual([4])
  })
})

describe('PatternSet.add() and remove()', () => {
  test('PatternSet.add() returns false, and changes nothing, when the id has the pattern', () => {
    const set = new PatternSet()
    expect(set.add('a.*', 1)).toBe(true)
    expect(set.add('a.*', 1)).toBe(false)
    expect(set.size).toBe(1)
    expect(set.remove('a.*', 1)).toBe(true)
    expect(set.match('a.b')).toEqual([])
  })

  test('PatternSet.size counts pairs of pattern and id', () => {
    const set = setOf(['a', 1], ['a', 2], ['b', 1])
    expect(set.size).toBe(3)
    set.remove('a', 2)
    expect(set.size).toBe(2)
  })

  test.each(['b', 'a.b', 'a', 'a.*.d', 'a.*.c.d', '#', 'a.#.c'])(
    'PatternSet.remove() returns false, and changes nothing, for %j, which is not there',
    (pattern) => {
      const set = setOf(['a.*.c', 1])
      const nodes = set.nodeCount
      expect(set.remove(pattern, 1)).toBe(false)
      expect([set.size, set.nodeCount]).toEqual([1, nodes])
      expect(matched(set, 'a.b.c')).toEqual([1])
    },
  )

  test('PatternSet.remove() returns false for an id that the pattern does not have', () => {
    const set = setOf(['a', 1])
    expect(set.remove('a', 2)).toBe(false)
    expect(matched(set, 'a')).toEqual([1])
  })

  test('PatternSet.remove() leaves the other ids of the pattern', () => {
    const set = setOf(['a.#', 1], ['a.#', 2])
    set.remove('a.#', 1)
    expect(matched(set, 'a.b')).toEqual([2])
  })

  test('PatternSet.remove() leaves patterns that go through the one removed, and before it', () => {
    const set = setOf(['a', 1], ['a.b', 2], ['a.b.c', 3])
    set.remove('a.b', 2)
    expect(matched(set, 'a.b')).toEqual([])
    expect(matched(set, 'a.b.c')).toEqual([3])
    set.remove('a.b.c', 3)
    expect(matched(set, 'a')).toEqual([1])
  })

  test('PatternSet.remove() prunes the nodes that nothing needs any more', () => {
    const set = setOf(['a', 1], ['a.b.c.d', 2], ['a.b.x', 3])
    expect(set.nodeCount).toBe(6) // root, a, b, c, d, x
    set.remove('a.b.c.d', 2)
    expect(set.nodeCount).toBe(4)
    set.remove('a.b.x', 3)
    expect(set.nodeCount).toBe(2)
    set.remove('a', 1)
    expect(set.nodeCount).toBe(1)
  })
})

const segment = fc.constantFrom('a', 'b', '$a')
const topicText = fc.array(segment, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('.'))
const patternText = fc
  .array(fc.oneof(segment, fc.constantFrom('*', '#')), { minLength: 1, maxLength: 6 })
  .map((parts) => parts.join('.'))
const pair = fc.tuple(patternText, fc.nat({ max: 5 }))
const RUNS = { numRuns: 500 }

describe('PatternSet and its oracles', () => {
  test('PatternSet.match() agrees with asking every pattern in turn', () => {
    const pairs = fc.array(pair, { maxLength: 40 })
    fc.assert(
      fc.property(pairs, topicText, (somePairs, topic) => {
        const expected = somePairs.filter(([pattern]) => matchesAlone(pattern, topic))
        expect(matched(setOf(...somePairs), topic)).toEqual(uniqueIds(expected))
      }),
      RUNS,
    )
  })

  test('PatternSet.match() agrees with qlobber on topics that do not begin with $', () => {
    const pairs = fc.array(pair, { maxLength: 40 })
    const ordinary = topicText.filter((topic) => !topic.startsWith('$'))
    fc.assert(
      fc.property(pairs, ordinary, (somePairs, topic) => {
        const qlobber = new Qlobber({ max_wildcard_somes: 6 })
        for (const [pattern, id] of somePairs) qlobber.add(pattern, id)
        const expected = [...new Set(qlobber.match(topic))].sort(ascending)
        expect(matched(setOf(...somePairs), topic)).toEqual(expected)
      }),
      RUNS,
    )
  })

  test('PatternSet is a set of pairs through any sequence of add() and remove()', () => {
    const steps = fc.array(fc.tuple(fc.boolean(), pair), { maxLength: 80 })
    fc.assert(
      fc.property(steps, topicText, (someSteps, topic) => {
        const set = new PatternSet()
        const model = new Map<string, [string, number]>()
        for (const [adding, [pattern, id]] of someSteps) {
          const key = `${pattern} ${id}`
          const had = model.has(key)
          if (adding) model.set(key, [pattern, id])
          else model.delete(key)
          expect(adding ? set.add(pattern, id) : set.remove(pattern, id)).toBe(adding ? !had : had)
        }

        const held = [...model.values()]
        expect(set.size).toBe(held.length)
        expect(set.nodeCount).toBe(nodesNeeded(held.map(([pattern]) => pattern)))
        const expected = held.filter(([pattern]) => matchesAlone(pattern, topic))
        expect(matched(set, topic)).toEqual(uniqueIds(expected))

        for (const [pattern, id] of held) set.remove(pattern, id)
        expect([set.size, set.nodeCount]).toEqual([0, 1])
      }),
      RUNS,
    )
  })
})

describe('PatternSet.match() does bounded work', () => {
  const SEGMENTS = 16
  const LOOKUPS_PER_NODE = 4 // the segment, *, # behind each of them; # behind itself

  test.each([
    [`${'#.'.repeat(15)}z`],
    [`${'#.a.'.repeat(7)}#.z`],
    [`${'#.*.'.repeat(7)}#.z`],
    [`${'*.#.'.repeat(7)}z`],
  ])('PatternSet.match() of %j refuses 16 segments in few look-ups', (pattern) => {
    const set = setOf([pattern, 1])
    const topic = new Array<string>(SEGMENTS).fill('a').join('.')
    const { result, lookups } = countLookups(() => set.match(topic))
    expect(result).toEqual([])
    expect(lookups).toBeGreaterThan(0)
    expect(lookups).toBeLessThanOrEqual(LOOKUPS_PER_NODE * set.nodeCount * (SEGMENTS + 1))
  })

  test('PatternSet.match() looks at few of ten thousand patterns', () => {
    const set = new PatternSet()
    for (let id = 0; id < 10_000; id++) set.add(`tenant.${id}.#.created`, id)
    const { result, lookups } = countLookups(() => set.match('tenant.77.orders.eu.created'))
    expect(result).toEqual([77])
    expect(lookups).toBeLessThan(50)
  })
})

function setOf(...pairs: [pattern: string, id: number][]): PatternSet {
  const set = new PatternSet()
  for (const [pattern, id] of pairs) set.add(pattern, id)
  return set
}

/** The order of match() is not promised, so sort. Repeats are kept: there must be none. */
function matched(set: PatternSet, topic: string): number[] {
  return set.match(topic).sort(ascending)
}

function matchesAlone(pattern: string, topic: string): boolean {
  return compilePattern(pattern).matches(segmentsOf(topic))
}

function uniqueIds(pairs: [pattern: string, id: number][]): number[] {
  return [...new Set(pairs.map(([, id]) => id))].sort(ascending)
}

/** One for each different beginning of a pattern, the empty one included. */
function nodesNeeded(patterns: string[]): number {
  const beginnings = new Set([''])
  for (const pattern of patterns) {
    const segments = segmentsOf(pattern)
    for (let end = 1; end <= segments.length; end++) {
      beginnings.add(segments.slice(0, end).join('.'))
    }
  }
  return beginnings.size
}

/** Counts the calls of Map.get() while work runs: each is one edge of the trie looked up. */
function countLookups<T>(work: () => T): { result: T; lookups: number } {
  const original = Map.prototype.get
  let lookups = 0
  Map.prototype.get = function (this: Map<unknown, unknown>, key: unknown) {
    lookups += 1
    return original.call(this, key)
  }
  try {
    const result = work()
    return { result, lookups }
  } finally {
    Map.prototype.get = original
  }
}

function ascending(a: number, b: number): number {
  return a - b
}
