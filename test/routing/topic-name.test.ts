/**
 * Names and patterns: which are refused, and in which words.
 * Runs on: the test thread.
 */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  isPattern,
  isReserved,
  patternProblem,
  segmentsOf,
  TOPIC_BYTES_MAX,
  TOPIC_SEGMENTS_MAX,
  topicNameProblem,
} from '../../src/routing/topic-name.js'

const LONE_HIGH = '\ud83d'
const LONE_LOW = '\ude00'

/** Names that both functions accept. */
const GOOD_NAMES = [
  'a',
  'orders',
  'orders.eu.created',
  'Orders.EU',
  '$',
  '$SYS.stats',
  'a$b',
  'größe.zürich',
  '注文.作成',
  'заказы.новый',
  'party.👩‍👩‍👧', // Joined by U+200D, a format character.
  '__proto__.constructor',
  'a-b_c/d:e|f"g',
  'x'.repeat(TOPIC_BYTES_MAX),
  Array(TOPIC_SEGMENTS_MAX).fill('a').join('.'),
]

/** Texts that both functions refuse, with the same words. */
const BAD_TEXTS: [text: string, problem: string][] = [
  ['', 'must be 1 to 255 bytes of UTF-8, got 0'],
  ['x'.repeat(256), 'must be 1 to 255 bytes of UTF-8, got 256'],
  ['x'.repeat(300), 'must be 1 to 255 bytes of UTF-8, got 300'],
  [Array(17).fill('a').join('.'), 'must have at most 16 segments, got 17'],
  [Array(20).fill('a').join('.'), 'must have at most 16 segments, got 20'],
  ['.', 'must not have an empty segment'],
  ['.a', 'must not have an empty segment'],
  ['a.', 'must not have an empty segment'],
  ['a..b', 'must not have an empty segment'],
  ...[...' \t\n\u00a0\u2028\u3000\ufeff\0\u001f\u007f\u0085'].map((character): [string, string] => [
    `a${character}b`,
    'must not contain white space or control characters',
  ]),
  [`a${LONE_HIGH}`, 'must be well-formed Unicode, got a lone surrogate'],
  [`${LONE_HIGH}.a`, 'must be well-formed Unicode, got a lone surrogate'],
  [`${LONE_LOW}a`, 'must be well-formed Unicode, got a lone surrogate'],
  [LONE_LOW + LONE_HIGH, 'must be well-formed Unicode, got a lone surrogate'],
]

describe('topicNameProblem()', () => {
  test.each(GOOD_NAMES)('topicNameProblem() accepts %j', (name) => {
    expect(topicNameProblem(name)).toBeUndefined()
  })

  test.each(BAD_TEXTS)('topicNameProblem() refuses %j', (name, problem) => {
    expect(topicNameProblem(name)).toBe(problem)
  })

  test.each(['*', '#', 'orders.*', 'orders.#', '#.created', 'ord*', 'a#b'])(
    'topicNameProblem() refuses the wildcard in %j',
    (name) => {
      expect(topicNameProblem(name)).toBe('must not contain * or #')
    },
  )

  test('topicNameProblem() counts bytes, not characters', () => {
    expect(topicNameProblem('é'.repeat(127))).toBeUndefined()
    expect(topicNameProblem(`${'é'.repeat(127)}a`)).toBeUndefined()
    expect(topicNameProblem('é'.repeat(128))).toBe('must be 1 to 255 bytes of UTF-8, got 256')
    expect(topicNameProblem('注'.repeat(85))).toBeUndefined()
    expect(topicNameProblem('注'.repeat(86))).toBe('must be 1 to 255 bytes of UTF-8, got 258')
    expect(topicNameProblem('😀'.repeat(63))).toBeUndefined()
    expect(topicNameProblem('😀'.repeat(64))).toBe('must be 1 to 255 bytes of UTF-8, got 256')
  })

  test('topicNameProblem() accepts only names that survive a journey through UTF-8', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '.', '$', 'é', '😀', LONE_HIGH, LONE_LOW) })
    fc.assert(
      fc.property(text, (name) => {
        if (topicNameProblem(name) === undefined) {
          expect(Buffer.from(name, 'utf8').toString('utf8')).toBe(name)
        }
      }),
    )
  })
})

describe('patternProblem()', () => {
  test.each(GOOD_NAMES)('patternProblem() accepts the topic name %j', (name) => {
    expect(patternProblem(name)).toBeUndefined()
  })

  test.each(['*', '#', '*.*', '#.#', 'orders.*', 'orders.#', '#.created', 'a.#.b', '$SYS.#'])(
    'patternProblem() accepts %j',
    (pattern) => {
      expect(patternProblem(pattern)).toBeUndefined()
    },
  )

  test.each(BAD_TEXTS)('patternProblem() refuses %j', (pattern, problem) => {
    expect(patternProblem(pattern)).toBe(problem)
  })

  test.each(['ord*', '*a', 'a#', '**', '##', '*#', 'orders.a*b', '#x.created', '$*'])(
    'patternProblem() refuses %j, whose wildcard does not stand alone',
    (pattern) => {
      expect(patternProblem(pattern)).toBe('must have * and # stand alone as a segment')
    },
  )

  test('patternProblem() counts wildcards as segments', () => {
    expect(patternProblem(Array(16).fill('#').join('.'))).toBeUndefined()
    expect(patternProblem(Array(17).fill('#').join('.'))).toBe(
      'must have at most 16 segments, got 17',
    )
  })

  test('patternProblem() and topicNameProblem() agree on every text without a wildcard', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '.', ' ', '$', '\0', LONE_LOW) })
    fc.assert(
      fc.property(text, (name) => {
        expect(patternProblem(name)).toBe(topicNameProblem(name))
      }),
    )
  })
})

test('isPattern() is true for any text with * or #, well formed or not', () => {
  expect(['*', '#', 'a.*', '#.a', 'a*', '##'].every(isPattern)).toBe(true)
  expect(['', 'a', 'a.b', '$SYS', '+', '?'].some(isPattern)).toBe(false)
})

test('isReserved() looks at the first character only', () => {
  expect(['$', '$SYS', '$SYS.stats', '$.a'].every(isReserved)).toBe(true)
  expect(['', 'a', 'a$', 'a.$b'].some(isReserved)).toBe(false)
})

test('segmentsOf() splits at every dot', () => {
  expect(segmentsOf('orders')).toEqual(['orders'])
  expect(segmentsOf('orders.eu.created')).toEqual(['orders', 'eu', 'created'])
})
