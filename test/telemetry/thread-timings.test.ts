import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import {
  readThreadTimings,
  ThreadTimings,
  timingsBlock,
} from '../../src/telemetry/thread-timings.js'

const TRIES = 50

function measure() {
  const block = timingsBlock()
  const timings = new ThreadTimings(block)
  onTestFinished(() => timings.stop())
  return { timings, read: () => readThreadTimings('here', block) }
}

test('ThreadTimings find a pause of the event loop, wherever in the second it falls', async () => {
  const { read } = measure()
  const untilMs = performance.now() + 60
  while (performance.now() < untilMs);
  for (let i = 0; i < TRIES && read().event_loop_delay.max_ms === 0; i++) await sleep(50)
  const { mean_ms, p99_ms, max_ms } = read().event_loop_delay
  expect(max_ms).toBeGreaterThan(45)
  expect(p99_ms).toBeLessThanOrEqual(max_ms)
  expect(mean_ms).toBeLessThan(max_ms)
})

test('ThreadTimings count pauses of the garbage collector', async () => {
  const { read } = measure()
  expect(read().gc).toEqual({ count: 0, total_ms: 0, max_ms: 0, last_second_max_ms: 0 })
  let kept: unknown[] = []
  for (let i = 0; i < TRIES && read().gc.count === 0; i++) {
    kept = Array.from({ length: 200_000 }, (_, k) => ({ k }))
    await sleep(5)
  }
  const { count, total_ms, max_ms } = read().gc
  expect(kept.length).toBe(200_000)
  expect(count).toBeGreaterThan(0)
  expect(max_ms).toBeGreaterThan(0)
  expect(total_ms).toBeGreaterThanOrEqual(max_ms)
})

test('ThreadTimings.stop() ends it', async () => {
  const { timings, read } = measure()
  timings.stop()
  await sleep(1100)
  expect(read().event_loop_delay).toEqual({ mean_ms: 0, p99_ms: 0, max_ms: 0 })
})
