import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bestSplit, oneGateway, rateOf } from '../../../bench/profile/model.js'

const costs = { f: 1000, s: 500, e: 100 }

test('rateOf() is the rate of the side that saturates first', () => {
  expect(rateOf(costs, 1, 1)).toBe(1e6)
  expect(rateOf(costs, 2, 1)).toBeCloseTo(1e9 / 600)
  expect(rateOf(costs, 3, 4)).toBe(3e6)
})

test('oneGateway() takes no more shards than it can feed', () => {
  expect(oneGateway(costs, 16)).toEqual({ gateways: 1, shards: 1, rate: 1e6 })
  expect(oneGateway({ ...costs, s: 2500 }, 16)).toEqual({ gateways: 1, shards: 3, rate: 1e6 })
  expect(oneGateway({ ...costs, s: 2500 }, 2)).toEqual({ gateways: 1, shards: 1, rate: 4e5 })
})

test('bestSplit() is never worse than one gateway, nor than any other split', () => {
  const ns = fc.integer({ min: 1, max: 10_000 })
  fc.assert(
    fc.property(ns, ns, ns, fc.integer({ min: 2, max: 32 }), (f, s, e, cores) => {
      const best = bestSplit({ f, s, e }, cores)
      expect(best.gateways + best.shards).toBeLessThanOrEqual(cores)
      expect(best.rate).toBe(rateOf({ f, s, e }, best.gateways, best.shards))
      for (let gateways = 1; gateways < cores; gateways++) {
        expect(best.rate).toBeGreaterThanOrEqual(rateOf({ f, s, e }, gateways, cores - gateways))
      }
    }),
  )
})
