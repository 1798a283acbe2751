import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compare } from '../../../bench/regress/rule.js'

const CALM = [99, 100, 101, 100, 100]
const WILD = [40, 100, 160, 70, 130]
const times = (runs: readonly number[], factor: number) => runs.map((run) => run * factor)

test.each([
  ['the same throughput', 'throughput', CALM, 1, 'ok'],
  ['throughput at 0.86', 'throughput', CALM, 0.86, 'ok'],
  ['throughput at 0.84', 'throughput', CALM, 0.84, 'regression'],
  ['more throughput', 'throughput', CALM, 2, 'ok'],
  ['p99 at 1.24', 'p99', CALM, 1.24, 'ok'],
  ['p99 at 1.26', 'p99', CALM, 1.26, 'regression'],
  ['a lower p99', 'p99', CALM, 0.5, 'ok'],
  ['throughput at 0.8 in much noise', 'throughput', WILD, 0.8, 'within noise'],
  ['p99 at 1.5 in much noise', 'p99', WILD, 1.5, 'within noise'],
  ['the same in much noise', 'throughput', WILD, 1, 'too noisy to tell'],
  ['a collapse in much noise', 'p99', WILD, 1000, 'within noise'],
] as const)('compare() of %s', (_, metric, base, factor, verdict) => {
  expect(compare(metric, base, times(base, factor)).verdict).toBe(verdict)
})

test('compare() reports medians, their ratio and the noise of the base', () => {
  const compared = compare('throughput', [90, 100, 110], [95, 120, 400])
  expect(compared).toMatchObject({ base: 100, head: 120, ratio: 1.2 })
  expect(compared.baseNoise).toBeCloseTo(0.148, 3)
})

test('compare() never fails within the threshold, nor for a side that did not run', () => {
  const runs = fc.array(fc.double({ min: 1, max: 1e6, noNaN: true }), {
    minLength: 5,
    maxLength: 9,
  })
  fc.assert(
    fc.property(runs, runs, (base, head) => {
      const { verdict, ratio } = compare('throughput', base, head)
      return ratio < 0.85 || verdict === 'ok' || verdict === 'too noisy to tell'
    }),
  )
  expect(compare('throughput', [], CALM).verdict).toBe('regression')
})
