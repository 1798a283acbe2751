import fc from 'fast-check'
import { expect, test } from 'vitest'
import { editDistance, findMisspellings } from '../src/misspellings.js'

test.each([
  ['', '', 0],
  ['', 'abc', 3],
  ['abc', '', 3],
  ['PORT', 'PORT', 0],
  ['PROT', 'PORT', 2],
  ['MAX_TOPIC', 'MAX_TOPICS', 1],
  ['kitten', 'sitting', 3],
])('editDistance(%s, %s) is %i', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance)
})

test('editDistance() is a metric', () => {
  const word = fc.string({ maxLength: 12 })
  fc.assert(
    fc.property(word, word, word, (a, b, c) => {
      expect(editDistance(a, b)).toBe(editDistance(b, a))
      expect(editDistance(a, b) === 0).toBe(a === b)
      expect(editDistance(a, c)).toBeLessThanOrEqual(editDistance(a, b) + editDistance(b, c))
    }),
  )
})

test('findMisspellings() leaves short names alone unless they carry the prefix', () => {
  expect(findMisspellings({ PORTS: '', HOSTS: '' }, ['PORT', 'HOST'])).toEqual([])
  expect(findMisspellings({ RINGCAST_PORTS: '' }, ['PORT', 'HOST'])).toHaveLength(1)
})
