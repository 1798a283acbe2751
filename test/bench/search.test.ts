import fc from 'fast-check'
import { expect, test } from 'vitest'
import { findHighestRate, type SearchOptions } from '../../bench/search.js'

const LIMITS: SearchOptions = {
  start: 50_000,
  min: 1000,
  max: 1_000_000,
  precision: 1.1,
  probesMax: 40,
  tries: 1,
}

/** A system that holds every rate up to its limit. */
function systemWith(limit: number) {
  return async (rate: number) => ({ holds: rate <= limit, note: '' })
}

test('findHighestRate() comes within the precision of the limit, from below', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1000, max: 999_999 }),
      fc.integer({ min: 1, max: 2_000_000 }),
      async (limit, start) => {
        const { rate, probes } = await findHighestRate({ ...LIMITS, start }, systemWith(limit))
        expect(rate).toBeLessThanOrEqual(limit)
        expect(rate * LIMITS.precision).toBeGreaterThanOrEqual(limit - 1)
        expect(probes.every(({ rate }) => rate >= LIMITS.min && rate <= LIMITS.max)).toBe(true)
      },
    ),
  )
})

test('findHighestRate() tries neither more than `max` nor, once that holds, anything else', async () => {
  const { rate, probes } = await findHighestRate(LIMITS, systemWith(Number.POSITIVE_INFINITY))
  expect(rate).toBe(LIMITS.max)
  expect(probes.map((probe) => probe.rate)).toEqual([50_000, 200_000, 800_000, 1_000_000])
})

test('findHighestRate() is 0 when not even `min` holds, and stops there', async () => {
  const { rate, probes } = await findHighestRate(LIMITS, systemWith(0))
  expect(rate).toBe(0)
  expect(probes.map((probe) => probe.rate)).toEqual([50_000, 12_500, 3125, 1000])
})

test('findHighestRate() makes no more than `probesMax` probes and says what held', async () => {
  const { rate, probes } = await findHighestRate({ ...LIMITS, probesMax: 3 }, systemWith(70_000))
  expect(probes.map((probe) => [probe.rate, probe.holds])).toEqual([
    [50_000, true],
    [200_000, false],
    [100_000, false],
  ])
  expect(rate).toBe(50_000)
})

test('findHighestRate() with two tries forgives one failure of a rate', async () => {
  const seen = new Set<number>()
  const stumbling = async (rate: number) => {
    const isFirst = !seen.has(rate)
    seen.add(rate)
    return { holds: rate <= 300_000 && !isFirst, note: '' }
  }
  const { rate } = await findHighestRate({ ...LIMITS, tries: 2 }, stumbling)
  expect(rate).toBeLessThanOrEqual(300_000)
  expect(rate * LIMITS.precision).toBeGreaterThanOrEqual(300_000 - 1)
})
