/**
 * One pattern, one topic: by example, against two oracles, and with its work counted.
 * Runs on: the test thread.
 */

import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compilePattern } from '../../src/routing/pattern.js'
import { patternProblem, segmentsOf, topicNameProblem } from '../../src/routing/topic-name.js'

/** qlobber has no types of its own. */
interface Qlobber {
  add(pattern: string, value: number): void
  match(topic: string): number[]
}
const require = createRequire(import.meta.url)
const { Qlobber } = require('qlobber') as {
  Qlobber: new (options: { max_wildcard_somes: number }) => Qlobber
}

const EXAMPLES: [pattern: string, matching: string[], others: string[]][] = [
  ['orders', ['orders'], ['order', 'orders.eu', 'Orders', 'x.orders']],
  ['orders.eu', ['orders.eu'], ['orders', 'orders.us', 'orders.eu.x', 'ordersxeu']],
  ['*', ['a', 'orders'], ['a.b', '$SYS']],
  ['*.*', ['a.b'], ['a', 'a.b.c', '$SYS.a']],
  ['orders.*', ['orders.eu', 'orders.$x'], ['orders', 'orders.eu.x', 'x.eu']],
  ['*.created', ['orders.created'], ['created', 'a.b.created', '$SYS.created']],
  ['a.*.c', ['a.b.c', 'a.c.c'], ['a.c', 'a.b.b.c']],
  ['#', ['a', 'a.b', 'a.b.c.d.e.f'], ['$SYS', '$SYS.stats', '$']],
  ['orders.#', ['orders', 'orders.eu', 'orders.eu.x'], ['ordersx', 'x.orders']],
  [
    '#.created',
    ['created', 'a.created', 'a.b.created', 'created.created'],
    ['created.a', '$a.created'],
  ],
  ['a.#.b', ['a.b', 'a.x.b', 'a.x.y.b', 'a.b.b', 'a.a.b'], ['a', 'b', 'a.b.c', 'x.a.b']],
  ['a.#.b.#.c', ['a.b.c', 'a.c.b.c', 'a.b.b.x.c', 'a.x.b.y.z.c'], ['a.c', 'a.c.b', 'a.b.c.d']],
  ['#.*', ['a', 'a.b', 'a.b.c'], ['$SYS', '$SYS.a']],
  ['*.#', ['a', 'a.b', 'a.b.c'], ['$SYS', '$SYS.a']],
  ['a.#.*.b', ['a.x.b', 'a.x.y.b', 'a.b.b'], ['a.b', 'a']],
  ['#.#', ['a', 'a.b'], ['$SYS']],
  ['a.#.#.#', ['a', 'a.b', 'a.b.c.d'], ['b', 'b.a']],
  ['$SYS', ['$SYS'], ['$SYS.a', 'SYS']],
  ['$SYS.#', ['$SYS', '$SYS.a', '$SYS.a.b'], ['$SYSTEM', 'SYS.a', '$SYS2.a']],
  ['$SYS.*', ['$SYS.a'], ['$SYS', '$SYS.a.b']],
  ['größe.*', ['größe.é', 'größe.👩‍👩‍👧'], ['grösse.é']],
  ['#.作成', ['作成', '注文.作成'], ['注文.作']],
  // The same letter, composed and decomposed: names are compared byte by byte.
  ['\u00e9', ['\u00e9'], ['e\u0301']],
]

describe('CompiledPattern.matches()', () => {
  describe.each(EXAMPLES)('of %j', (pattern, matching, others) => {
    test.each(matching)('CompiledPattern.matches() accepts %j', (topic) => {
      expect(matches(pattern, topic)).toBe(true)
    })
    test.each(others)('CompiledPattern.matches() refuses %j', (topic) => {
      expect(matches(pattern, topic)).toBe(false)
    })
  })

  test('every example is a valid pattern or a valid topic', () => {
    for (const [pattern, matching, others] of EXAMPLES) {
      expect(patternProblem(pattern)).toBeUndefined()
      for (const topic of [...matching, ...others]) expect(topicNameProblem(topic)).toBeUndefined()
    }
  })

  test('compilePattern() keeps the text', () => {
    expect(compilePattern('a.#.b').text).toBe('a.#.b')
  })

  test('CompiledPattern.matches() gives the same answer each time it is asked', () => {
    const pattern = compilePattern('a.#.b')
    const answers = ['a.b', 'a.c', 'a.b', 'a.x.b'].map((topic) =>
      pattern.matches(segmentsOf(topic)),
    )
    expect(answers).toEqual([true, false, true, true])
  })
})

// Few different segments, so that many patterns match; $a and é for the rules that are ours alone.
const segment = fc.constantFrom('a', 'b', 'é', '$a')
const topics = fc.array(segment, { minLength: 1, maxLength: 7 })
const patterns = fc.array(fc.oneof(segment, fc.constantFrom('*', '#')), {
  minLength: 1,
  maxLength: 7,
})
const RUNS = { numRuns: 2000 }

describe('CompiledPattern.matches() and its oracles', () => {
  test('CompiledPattern.matches() agrees with a naive recursive matcher', () => {
    fc.assert(
      fc.property(patterns, topics, (pattern, topic) => {
        expect(compilePattern(pattern.join('.')).matches(topic)).toBe(naiveMatches(pattern, topic))
      }),
      RUNS,
    )
  })

  test('CompiledPattern.matches() agrees with qlobber on topics that do not begin with $', () => {
    const ordinary = topics.filter((topic) => topic[0] !== '$a')
    fc.assert(
      fc.property(patterns, ordinary, (pattern, topic) => {
        const qlobber = new Qlobber({ max_wildcard_somes: 7 })
        qlobber.add(pattern.join('.'), 1)
        const expected = qlobber.match(topic.join('.')).length > 0
        expect(compilePattern(pattern.join('.')).matches(topic)).toBe(expected)
      }),
      RUNS,
    )
  })

  test('CompiledPattern.matches() accepts a topic hidden behind wildcards', () => {
    const hidden = fc.array(fc.tuple(segment, fc.constantFrom('keep', '*', '#', '##')), {
      minLength: 1,
      maxLength: 8,
    })
    fc.assert(
      fc.property(hidden, (parts) => {
        const topic = ['top', ...parts.map(([name]) => name)]
        const pattern = ['top', ...parts.map(([name, how]) => patternPart(name, how))].join('.')
        expect(matches(pattern, topic.join('.'))).toBe(true)
      }),
      RUNS,
    )
  })
})

describe('CompiledPattern.matches() does bounded work', () => {
  const SEGMENTS = 16
  // A step reads the length and one segment; there is at most one for each pair of positions.
  const READS_MAX = 2 * (SEGMENTS + 1) * (SEGMENTS + 1)

  test.each([
    ['#.#.#.a', 'b'],
    [`${'#.'.repeat(15)}z`, 'a'],
    [`${'#.a.'.repeat(7)}#.z`, 'a'],
    [`${'#.*.'.repeat(7)}#.z`, 'a'],
    [`${'*.#.'.repeat(7)}z`, 'a'],
    [`#.${'a.'.repeat(7)}z`, 'a'],
  ])('CompiledPattern.matches() of %j refuses 16 times %j in few steps', (pattern, name) => {
    const counted = countReads(new Array<string>(SEGMENTS).fill(name))
    expect(patternProblem(pattern)).toBeUndefined()
    expect(compilePattern(pattern).matches(counted.segments)).toBe(false)
    expect(counted.reads()).toBeGreaterThan(0)
    expect(counted.reads()).toBeLessThanOrEqual(READS_MAX)
  })

  test('CompiledPattern.matches() does bounded work for any pattern', () => {
    const name = fc.constantFrom('a', 'b')
    const anyPattern = fc.array(fc.oneof(name, fc.constantFrom('*', '#')), {
      minLength: 1,
      maxLength: SEGMENTS,
    })
    const anyTopic = fc.array(name, { minLength: 1, maxLength: SEGMENTS })
    fc.assert(
      fc.property(anyPattern, anyTopic, (pattern, topic) => {
        const counted = countReads(topic)
        compilePattern(pattern.join('.')).matches(counted.segments)
        expect(counted.reads()).toBeLessThanOrEqual(READS_MAX)
      }),
      RUNS,
    )
  })
})

function matches(pattern: string, topic: string): boolean {
  return compilePattern(pattern).matches(segmentsOf(topic))
}

/** The rules as PROTOCOL.md says them, with no thought for speed. */
function naiveMatches(pattern: readonly string[], topic: readonly string[]): boolean {
  const first = pattern[0]
  if (topic[0]?.startsWith('$') && (first === '*' || first === '#')) return false
  return rest(pattern, topic)

  function rest(wanted: readonly string[], segments: readonly string[]): boolean {
    const [want, ...wantedRest] = wanted
    const [have, ...segmentsRest] = segments
    if (want === undefined) return have === undefined
    if (want === '#') {
      return rest(wantedRest, segments) || (have !== undefined && rest(wanted, segmentsRest))
    }
    return have !== undefined && (want === '*' || want === have) && rest(wantedRest, segmentsRest)
  }
}

function patternPart(name: string, how: 'keep' | '*' | '#' | '##'): string {
  if (how === 'keep') return name
  return how === '##' ? `#.${name}.#` : how
}

/** An array that counts how often it is looked at: an index, its length, anything. */
function countReads(values: string[]): { segments: readonly string[]; reads: () => number } {
  let reads = 0
  const segments = new Proxy(values, {
    get(target, key, receiver) {
      reads += 1
      return Reflect.get(target, key, receiver)
    },
  })
  return { segments, reads: () => reads }
}
