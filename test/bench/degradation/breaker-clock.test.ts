import { expect, test } from 'vitest'
import { BreakerClock } from '../../../bench/degradation/breaker-clock.js'

test('BreakerClock.openShare() counts open and half-open time since the restart', () => {
  const clock = new BreakerClock(0)
  clock.turn('open', 100)
  clock.turn('half-open', 150)
  clock.turn('closed', 160)
  expect(clock.openShare(200)).toBeCloseTo(0.3)
  clock.turn('open', 300)
  clock.restart(400)
  expect(clock.openShare(500)).toBe(1)
  clock.turn('closed', 550)
  expect(clock.openShare(600)).toBeCloseTo(0.75)
  expect(clock.state).toBe('closed')
})
