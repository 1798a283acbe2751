import fc from 'fast-check'
import { expect, test } from 'vitest'
import { median, quantile, relativeErrorOfMedian, robustSigma } from '../../bench/statistics.js'

test('median() is the middle, or halfway between the two middles, whatever the order', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect(median([])).toBeNaN()
  const values = fc.array(fc.float({ noNaN: true, min: -1e6, max: 1e6 }), { minLength: 1 })
  fc.assert(
    fc.property(values, (some) => {
      const below = some.filter((value) => value < median(some)).length
      const above = some.filter((value) => value > median(some)).length
      return below <= some.length / 2 && above <= some.length / 2
    }),
  )
})

test('quantile() leaves that share of the values below', () => {
  const values = Array.from({ length: 100 }, (_, n) => 99 - n)
  expect(quantile(values, 0.5)).toBe(50)
  expect(quantile(values, 0.99)).toBe(99)
  expect(quantile(values, 1)).toBe(99)
})

test('robustSigma() does not heed one wild value', () => {
  const calm = [98, 99, 100, 101, 102]
  expect(robustSigma([...calm, 100_000])).toBeLessThan(2 * robustSigma([...calm, 103]))
  expect(robustSigma([5, 5, 5])).toBe(0)
})

test('relativeErrorOfMedian() falls with the root of the number of values', () => {
  const some = [90, 95, 100, 105, 110]
  const four = [...some, ...some, ...some, ...some]
  expect(relativeErrorOfMedian(four) / relativeErrorOfMedian(some)).toBeCloseTo(0.5)
})
