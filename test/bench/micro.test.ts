import { expect, test } from 'vitest'
import { GROUPS, type GroupName, runGroup } from '../../bench/micro/all.js'

const groups = Object.keys(GROUPS) as GroupName[]

// That they run, not how fast: a test that asserts a speed fails on somebody else's machine.
test.each(groups)('micro-benchmarks of %s run and give a figure each', async (name) => {
  const results = await runGroup(name, 'quick')
  expect(results.length).toBeGreaterThan(0)
  expect(new Set(results.map((result) => result.name)).size).toBe(results.length)
  for (const result of results) {
    expect(Number.isFinite(result.nanoseconds), result.name).toBe(true)
    expect(result.nanoseconds, result.name).toBeGreaterThan(0)
    expect(result.perSecond, result.name).toBeGreaterThan(0)
  }
})
