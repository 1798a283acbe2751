import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Backoff, STABLE_MS } from '../../src/client/backoff.js'

test('Backoff.next() doubles the longest delay with each attempt, up to maxMs', () => {
  const backoff = new Backoff({ baseMs: 100, maxMs: 1000 }, () => 1)
  expect([1, 2, 3, 4, 5, 6].map(() => backoff.next())).toEqual([100, 200, 400, 800, 1000, 1000])
  expect(backoff.attempts).toBe(6)
})

test('Backoff.next() is anywhere between nothing and the longest delay', () => {
  const randoms = [0, 0.25, 0.999]
  const backoff = new Backoff({ baseMs: 100, maxMs: 100 }, () => randoms.shift() as number)
  expect([backoff.next(), backoff.next(), backoff.next()]).toEqual([0, 25, 99.9])
})

test('Backoff.next() stays within bounds at any number of attempts', () => {
  const range = { min: 1, max: 100_000 }
  fc.assert(
    fc.property(fc.integer(range), fc.integer(range), fc.nat(2000), (baseMs, maxMs, attempts) => {
      const backoff = new Backoff({ baseMs, maxMs })
      for (let attempt = 0; attempt < attempts; attempt++) {
        const delay = backoff.next()
        if (!(delay >= 0 && delay <= maxMs)) return false
      }
      return true
    }),
    { numRuns: 50 },
  )
})

test('Backoff.wasOpenFor() begins again only after a connection that lasted', () => {
  const backoff = new Backoff({ baseMs: 100, maxMs: 1000 }, () => 1)
  backoff.next()
  backoff.next()
  backoff.wasOpenFor(STABLE_MS - 1)
  expect(backoff.next()).toBe(400)
  backoff.wasOpenFor(STABLE_MS)
  expect(backoff.next()).toBe(100)
})
