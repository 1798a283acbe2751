import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Random } from '../../../bench/random.js'
import { type Sample, T_CRITICAL, trendOf } from '../../../bench/soak/trend.js'

const PER_MINUTE = 30

/** `minutes` of samples, each by its time and a noise of σ = 1. */
function samples(
  minutes: number,
  seed: number,
  valueAt: (minute: number, noise: number) => number,
): Sample[] {
  const random = new Random(seed)
  return Array.from({ length: minutes * PER_MINUTE }, (_, n) => {
    const sum = Array.from({ length: 12 }, () => random.next()).reduce((a, b) => a + b)
    return { minutes: n / PER_MINUTE, value: valueAt(n / PER_MINUTE, sum - 6) }
  })
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 })

test('trendOf() finds a slope that is there, within its error', () => {
  const slopes = fc.double({ min: 0.05, max: 5, noNaN: true })
  fc.assert(
    fc.property(seeds, slopes, (seed, perMinute) => {
      const trend = trendOf(
        samples(60, seed, (minute, noise) => 100 + perMinute * minute + noise),
        0.5,
      )
      expect(trend.verdict).toBe('grows')
      const off = Math.abs(trend.slopePerHour / 60 - perMinute)
      // Twice what it calls significant: wrong once in a million.
      expect(off).toBeLessThan((2 * T_CRITICAL * trend.errorPerHour) / 60)
    }),
  )
})

test('trendOf() calls flat noise flat, but for one in a thousand', () => {
  let grows = 0
  for (let seed = 0; seed < 1000; seed++) {
    const { verdict } = trendOf(
      samples(10, seed, (_, noise) => 100 + noise),
      0,
    )
    if (verdict !== 'flat') grows++
  }
  expect(grows).toBeLessThanOrEqual(6) // One is expected; 7 or more come once in 100 000.
})

test('trendOf() is not deceived by a heap that climbs and is collected', () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 3, max: 40 }), (seed, period) => {
      const sawtooth = samples(
        60,
        seed,
        (minute, noise) => 20 + ((minute * PER_MINUTE) % period) + noise,
      )
      expect(trendOf(sawtooth, 1).verdict).not.toBe('grows')
    }),
  )
})

test('trendOf() sees a leak below the teeth of a saw', () => {
  const leaking = samples(60, 1, (minute, noise) => 20 + ((minute * 30) % 17) + noise + minute)
  expect(trendOf(leaking, 1).verdict).toBe('grows')
})

test('trendOf() does not look at the first half, where caches fill', () => {
  const filling = samples(60, 2, (minute, noise) => Math.min(minute, 25) * 10 + noise)
  expect(trendOf(filling, 0).verdict).toBe('flat')
})

test('trendOf() forgives growth below the tolerance, and nothing above', () => {
  const slow = samples(60, 3, (minute, noise) => 100 + minute / 10 + noise / 100)
  expect(trendOf(slow, 3.5)).toMatchObject({ verdict: 'drifts' })
  expect(trendOf(slow, 2.5)).toMatchObject({ verdict: 'grows' })
  expect(trendOf(slow, 3.5).growth).toBeCloseTo(3, 1)
})

test('trendOf() calls a constant flat, and a fall', () => {
  expect(
    trendOf(
      samples(10, 4, () => 0.1),
      0,
    ).verdict,
  ).toBe('flat')
  const falling = samples(10, 4, (minute, noise) => 100 - minute + noise / 10)
  expect(trendOf(falling, 0).verdict).toBe('flat')
})

test('trendOf() has no verdict on few samples, or on what could not be read', () => {
  expect(
    trendOf(
      samples(1, 5, () => 1),
      0,
    ),
  ).toMatchObject({ verdict: 'too short', mean: 1 })
  expect(trendOf([], 0).verdict).toBe('too short')
  const holes = samples(60, 5, (minute) => (minute > 50 ? Number.NaN : 1))
  expect(trendOf(holes, 0).verdict).toBe('too short')
})
