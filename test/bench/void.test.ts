import { expect, test } from 'vitest'
import { saturation } from '../../bench/load/result.js'
import { summariseThreads } from '../../bench/load/thread-summary.js'
import { cautions } from '../../bench/report/summary.js'
import { courseOf, resultOf } from './results.js'

const idle = { cpuShare: 0.2, ownLagP99Ms: 0.5 }

test.each([
  ['a publisher above 80 % of a core', [{ ...idle, cpuShare: 0.81 }, idle], [idle]],
  ['a subscriber above 80 % of a core', [idle], [idle, { cpuShare: 0.85 }]],
  ['lateness by own work', [idle, { ...idle, ownLagP99Ms: 2.5 }], [idle]],
])('an open-loop run is void by %s', (_, published, received) => {
  expect(saturation(true, published, received)).toMatch(/^generator /)
})

test('a run is not void when the generator had reserves, however busy the machine was', () => {
  expect(saturation(true, [idle], [idle])).toBeUndefined()
})

test('a closed-loop run is void only when a process was the stage that all waited for', () => {
  expect(saturation(false, [{ ...idle, cpuShare: 0.9 }], [idle])).toBeUndefined()
  expect(saturation(false, [{ ...idle, cpuShare: 0.97 }], [idle])).toBe(
    'generator used 97 % of a core',
  )
})

test('cautions() tell of a machine that let the generator wait, and of one that was full', () => {
  expect(cautions(resultOf([1]), 2)).toEqual([])
  const busy = resultOf([1], { lagP99Ms: 8, ownLagP99Ms: 0.3, machineCpu: 1.98, otherCpu: 1.1 })
  expect(cautions(busy, 2)).toEqual([
    'the machine let the generator wait: late p99 8.0 ms, of it by its own work 0.3 ms; the latencies contain it',
    'all 2 cores were busy, with other work than this 1.1 of them: whoever had something to do waited for a core',
  ])
  expect(cautions(resultOf([1], { voidReason: 'because' }), 2)).toEqual(['void: because'])
})

test('summariseThreads() takes counts from the end of the warm-up, and the worst of the seconds', () => {
  expect(summariseThreads(courseOf([1, 1, 1]))).toEqual([
    {
      name: 'front',
      gcCount: 6,
      gcTotalMs: 12,
      gcMaxMs: 3,
      delayMeanMs: 0.5,
      delayP99Ms: 3,
      delayMaxMs: 4,
    },
  ])
})
