import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { STREAMS_MAX, streamCount, subscriberCount } from '../../bench/load/topics.js'
import { SCENARIOS } from '../../bench/scenarios/all.js'
import { loadConfig } from '../../src/config.js'

const COMMAND = fileURLToPath(new URL('../../dist/bench/run.js', import.meta.url))
const run = promisify(execFile)

test('every scenario has a name of its own', () => {
  expect(new Set(SCENARIOS.map(({ name }) => name)).size).toBe(SCENARIOS.length)
})

test.each(SCENARIOS)('$name is a load that the generator can play', ({ plan }) => {
  expect(streamCount(plan)).toBeLessThanOrEqual(STREAMS_MAX)
  expect(subscriberCount(plan)).toBeGreaterThan(0)
  expect(plan.topicGroups ?? 1).toBeLessThanOrEqual(plan.topics)
  // Each topic has a subscriber, or messages would be published for nobody.
  if (plan.patternSubscribers === undefined) {
    expect(plan.subscribers).toBeGreaterThanOrEqual(plan.topics)
  } else expect(plan.patternSubscribers).toBeGreaterThanOrEqual(plan.topicGroups ?? 1)
})

test.each(SCENARIOS)('the broker of $name has room for what is under way', (scenario) => {
  const { plan, brokerEnv } = scenario
  const { config } = loadConfig(brokerEnv)
  expect(plan.payloadBytes).toBeLessThanOrEqual(config.maxPayloadBytes)
  if (plan.load.kind === 'open') return
  const perTopic = (plan.load.window * plan.publishers) / plan.topics
  expect(perTopic).toBeLessThanOrEqual(config.subscriberQueueSize)
  expect(perTopic * plan.payloadBytes).toBeLessThanOrEqual(config.topicBytesMax / 2)
})

test.each([
  ['wildcard-fan-out', undefined],
  ['replay-storm', /^500 subscribers resumed 1000 messages each/],
] as const)('`npm run bench -- %s` runs, and nothing is lost', async (name, companion) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-bench-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const json = join(folder, 'result.json')
  const options = ['--runs', '1', '--seconds', '1', '--no-control', '--json', json]
  await run(process.execPath, [COMMAND, name, ...options])
  const { results } = JSON.parse(readFileSync(json, 'utf8'))
  const [result] = results[0].systems
  expect(result).toMatchObject({ system: 'ringcast', failures: [] })
  const [{ received, expected, lost, repeated, outOfOrder }] = result.runs
  expect({ received, lost, repeated, outOfOrder }).toEqual({
    received: expected,
    lost: 0,
    repeated: 0,
    outOfOrder: 0,
  })
  expect(received).toBeGreaterThan(0)
  if (companion) expect(result.companions[0]).toMatch(companion)
})
