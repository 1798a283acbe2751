/**
 * recorded-profile.json: 40 ms in src/shard, 30 ms asleep, 10 ms in a package, sampled each ms by
 * node:inspector, paths shortened.
 */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parseCpuProfile, selfTimes } from '../../../bench/profile/cpu-profile.js'
import { stageOf, stageTimes } from '../../../bench/profile/stages.js'

const recorded = parseCpuProfile(
  readFileSync(new URL('./recorded-profile.json', import.meta.url), 'utf8'),
)

test('selfTimes() divides all of the recorded time among functions', () => {
  const times = selfTimes(recorded)
  const of = (name: string) =>
    times.find(({ frame }) => frame.functionName === name)?.us ?? Number.NaN
  expect(times[0]?.frame).toMatchObject({ functionName: 'busy' })
  for (const [name, us] of [
    ['busy', 40_000],
    ['packed', 10_000],
  ] as const) {
    expect(of(name)).toBeGreaterThan(us * 0.8)
    expect(of(name)).toBeLessThan(us * 1.2)
  }
  // But for the time before the first sample.
  const all = times.reduce((sum, { us }) => sum + us, 0)
  const beforeFirst = recorded.timeDeltas[0] ?? 0
  expect(all).toBeCloseTo(recorded.endTime - recorded.startTime - beforeFirst, 0)
})

test('selfTimes() counts only what lies between the two moments', () => {
  const from = recorded.startTime + 10_000
  const times = selfTimes(recorded, from, from + 20_000)
  expect(times[0]?.frame.functionName).toBe('busy')
  expect(times.map(({ frame }) => frame.functionName)).not.toContain('packed')
  expect(times.reduce((sum, { us }) => sum + us, 0)).toBeCloseTo(20_000, 0)
  expect(selfTimes(recorded, recorded.endTime, recorded.endTime + 1000)).toEqual([])
})

test('selfTimes() gives a sample the time until the next one', () => {
  const node = (id: number, functionName: string) => ({
    id,
    callFrame: { functionName, url: '', lineNumber: 0 },
  })
  const profile = {
    nodes: [node(1, 'a'), node(2, 'b')],
    startTime: 1000,
    endTime: 1100,
    samples: [1, 2, 1],
    timeDeltas: [10, 20, 40],
  }
  const times = selfTimes(profile).map(({ frame, us }) => [frame.functionName, us])
  expect(times).toEqual([
    ['a', 50],
    ['b', 40],
  ])
})

test('parseCpuProfile() refuses what is no profile', () => {
  expect(() => parseCpuProfile('{"nodes":[]}')).toThrow('not a CPU profile')
})

test('stageTimes() shares the CPU time out by folder, and what no sample shows to native code', () => {
  const times = selfTimes(recorded)
  const share = (cpuUs: number) =>
    new Map(stageTimes(times, cpuUs).map(({ stage, share }) => [stage, share]))
  const known = share(0)
  expect([...known.keys()].slice(0, 2)).toEqual(['src/shard', 'package pack'])
  expect([...known.values()].reduce((sum, part) => sum + part)).toBeCloseTo(1)
  const unknown = share(200_000)
  expect(unknown.get('native, outside JavaScript')).toBeGreaterThan(0.6)
  expect(unknown.get('src/shard')).toBeCloseTo(0.2, 1)
  expect([...unknown.values()].reduce((sum, part) => sum + part)).toBeCloseTo(1)
})

test.each([
  ['(idle)', '', undefined],
  ['(program)', '', 'native, outside JavaScript'],
  ['(garbage collector)', '', 'garbage collection'],
  ['send', '', 'native, called from JavaScript'],
  ['f', 'node:internal/timers', 'node'],
  ['f', 'file:///x/node_modules/msgpackr/pack.js', 'package msgpackr'],
  ['f', 'file:///x/node_modules/@nats-io/core/a/b.js', 'package @nats-io/core'],
  ['f', 'file:///x/dist/src/gateway/outbox.js', 'src/gateway'],
  ['f', 'file:///x/dist/src/broker.js', 'src/*.ts'],
  ['f', 'file:///x/dist/workers/shard.js', 'workers'],
  ['f', 'file:///x/dist/bench/threads/preload.js', 'bench'],
  ['f', 'file:///x/elsewhere.js', 'other'],
])('stageOf() of %s %s is %s', (functionName, url, stage) => {
  expect(stageOf({ functionName, url, lineNumber: 0 })).toBe(stage)
})
