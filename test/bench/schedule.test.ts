import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SendSchedule } from '../../bench/load/schedule.js'

test('SendSchedule.dueAfterMs() is every interval when there is no ramp', () => {
  const schedule = new SendSchedule(2, 0)
  expect([0, 1, 2.5].map((frame) => schedule.dueAfterMs(frame))).toEqual([0, 2, 5])
  expect(schedule.framesWithin(5)).toBe(2.5)
})

test('SendSchedule.dueAfterMs() rises in a line: half the frames of a full second in a ramp of one', () => {
  const schedule = new SendSchedule(1, 1000)
  expect(schedule.framesWithin(1000)).toBe(500)
  expect(schedule.dueAfterMs(500)).toBe(1000)
  // Half way up the rate is half: a quarter of the ramp's frames are out.
  expect(schedule.framesWithin(500)).toBe(125)
  expect(schedule.dueAfterMs(125)).toBe(500)
  // And behind the ramp one each interval.
  expect(schedule.dueAfterMs(501)).toBeCloseTo(1001, 9)
})

test('SendSchedule.framesWithin() is the inverse of dueAfterMs(), and both only grow', () => {
  const numbers = fc.double({ min: 0.001, max: 1e4, noNaN: true })
  fc.assert(
    fc.property(numbers, fc.nat(60_000), fc.nat(1e6), (intervalMs, rampMs, frame) => {
      const schedule = new SendSchedule(intervalMs, rampMs)
      const dueMs = schedule.dueAfterMs(frame)
      expect(schedule.framesWithin(dueMs) / Math.max(1, frame)).toBeCloseTo(frame === 0 ? 0 : 1, 6)
      expect(schedule.dueAfterMs(frame + 1)).toBeGreaterThan(dueMs)
    }),
  )
})
