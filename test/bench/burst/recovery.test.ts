import { expect, test } from 'vitest'
import { CALM_WINDOWS, recoveryOf, WINDOW_MS } from '../../../bench/burst/recovery.js'

const BURST_MS = 1000

/** A probe each 5 ms, the burst at 1 s. */
function probes(untilMs: number, latencyAt: (sinceBurstMs: number, n: number) => number) {
  return Array.from({ length: untilMs / 5 }, (_, n) => ({
    sentMs: n * 5,
    latencyMs: n * 5 < BURST_MS ? 2 : latencyAt(n * 5 - BURST_MS, n),
  }))
}

test('recoveryOf() finds when latency is normal again, and how bad it was', () => {
  const seen = probes(4000, (since) => (since < 700 ? 700 - since : 3))
  const recovery = recoveryOf(seen, BURST_MS)
  expect(recovery).toMatchObject({ normalMs: 2, boundMs: 6, peakMs: 700, recoveredMs: 800 })
})

test('recoveryOf() is not undone by one late probe in a window', () => {
  const seen = probes(4000, (_, n) => (n % 40 === 0 ? 100 : 2))
  expect(recoveryOf(seen, BURST_MS).recoveredMs).toBe(0)
})

test('recoveryOf() is not made by one calm window', () => {
  const calm = { from: 400, until: 400 + WINDOW_MS }
  const seen = probes(4000, (since) => (since >= calm.from && since < calm.until ? 2 : 50))
  expect(recoveryOf(seen, BURST_MS).recoveredMs).toBe(undefined)
})

test('recoveryOf() does not call silence normal', () => {
  const seen = probes(4000, () => 2).filter(({ sentMs }) => sentMs < 1100 || sentMs > 2000)
  expect(recoveryOf(seen, BURST_MS).recoveredMs).toBe(1000)
  expect(recoveryOf(seen.slice(0, 220), BURST_MS).recoveredMs).toBe(undefined)
})

test('recoveryOf() waits until enough calm windows were seen', () => {
  const windows = CALM_WINDOWS * WINDOW_MS
  expect(
    recoveryOf(
      probes(BURST_MS + windows - WINDOW_MS, () => 2),
      BURST_MS,
    ).recoveredMs,
  ).toBe(undefined)
  expect(
    recoveryOf(
      probes(BURST_MS + windows, () => 2),
      BURST_MS,
    ).recoveredMs,
  ).toBe(0)
})
