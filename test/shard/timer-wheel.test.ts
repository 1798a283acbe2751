import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NO_TIMER, TimerWheel } from '../../src/shard/timer-wheel.js'

const START_MS = Date.UTC(2026, 0, 1)
const TICK_MS = 16
const DAY_MS = 86_400_000

/** Ids that fire until `nowMs`, in order. */
function fired(wheel: TimerWheel, nowMs: number): number[] {
  const ids: number[] = []
  wheel.advance(nowMs, (id) => ids.push(id))
  return ids
}

describe('TimerWheel', () => {
  test('fires a timer once, never early and within one tick', () => {
    const wheel = new TimerWheel(START_MS, 10)
    wheel.add(START_MS + 100, 7)
    expect(fired(wheel, START_MS + 99)).toEqual([])
    expect(fired(wheel, START_MS + 100 + TICK_MS)).toEqual([7])
    expect(fired(wheel, START_MS + DAY_MS)).toEqual([])
    expect([wheel.size, wheel.nextDueMs]).toEqual([0, Number.POSITIVE_INFINITY])
  })

  test('fires what is overdue when it is added at the next tick, also from within advance()', () => {
    const wheel = new TimerWheel(START_MS, 10)
    expect(fired(wheel, START_MS + 1000)).toEqual([])
    wheel.add(START_MS, 1)
    expect(fired(wheel, START_MS + 1000)).toEqual([])
    const ids: number[] = []
    wheel.advance(START_MS + 1100, (id) => {
      ids.push(id)
      if (id < 4) wheel.add(START_MS, id + 1)
    })
    expect(ids).toEqual([1, 2, 3, 4])
    // One that adds itself again and again does so once per tick, not for ever.
    wheel.add(START_MS, 9)
    let count = 0
    wheel.advance(START_MS + 1100 + 10 * TICK_MS, (id) => {
      count++
      wheel.add(START_MS, id)
    })
    expect(count).toBeLessThanOrEqual(11)
    expect(wheel.size).toBe(1)
  })

  test('cancel() takes a timer away at any level, and its place is used again', () => {
    const wheel = new TimerWheel(START_MS, 4)
    const dues = [10, 5000, 3_600_000, 400 * DAY_MS]
    const handles = dues.map((due, id) => wheel.add(START_MS + due, id))
    expect(wheel.add(START_MS, 9)).toBe(NO_TIMER)
    for (const handle of handles) wheel.cancel(handle)
    expect([wheel.size, wheel.nextDueMs]).toEqual([0, Number.POSITIVE_INFINITY])
    for (const id of dues.keys()) expect(wheel.add(START_MS + 20, id)).not.toBe(NO_TIMER)
    expect(fired(wheel, START_MS + 100).sort()).toEqual([0, 1, 2, 3])
  })

  test('reaches the year 9999, and a clock that jumps', () => {
    const wheel = new TimerWheel(START_MS, 4)
    const far = Date.UTC(9999, 11, 31)
    wheel.add(far, 1)
    wheel.add(START_MS + 40 * 365 * DAY_MS, 2)
    expect(fired(wheel, START_MS + 39 * 365 * DAY_MS)).toEqual([])
    expect(fired(wheel, START_MS + 41 * 365 * DAY_MS)).toEqual([2])
    expect(fired(wheel, far - TICK_MS)).toEqual([])
    expect(fired(wheel, far + TICK_MS)).toEqual([1])
  })

  test('a clock that goes back fires nothing', () => {
    const wheel = new TimerWheel(START_MS, 4)
    expect(fired(wheel, START_MS + 1000)).toEqual([])
    wheel.add(START_MS + 1100, 1)
    expect(fired(wheel, START_MS - DAY_MS)).toEqual([])
    expect(fired(wheel, START_MS + 1200)).toEqual([1])
  })

  test('agrees with a list, whatever is added, cancelled and waited for', () => {
    const due = fc.oneof(
      fc.integer({ min: -100, max: 200 }),
      fc.integer({ min: 0, max: 100_000 }),
      fc.integer({ min: 0, max: 100 * DAY_MS }),
    )
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ add: due }) },
      { weight: 1, arbitrary: fc.record({ cancel: fc.nat(50) }) },
      { weight: 3, arbitrary: fc.record({ wait: due.map(Math.abs) }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const wheel = new TimerWheel(START_MS, 1000)
        const waiting = new Map<number, { dueMs: number; lateMs: number; handle: number }>()
        let nowMs = START_MS
        let nextId = 0
        for (const action of steps) {
          if ('add' in action) {
            const dueMs = nowMs + action.add
            waiting.set(nextId, {
              dueMs,
              lateMs: Math.max(dueMs, nowMs),
              handle: wheel.add(dueMs, nextId),
            })
            nextId++
          } else if ('cancel' in action) {
            const id = [...waiting.keys()][action.cancel]
            const timer = id === undefined ? undefined : waiting.get(id)
            if (id === undefined || timer === undefined) continue
            wheel.cancel(timer.handle)
            waiting.delete(id)
          } else {
            nowMs += action.wait
            wheel.advance(nowMs, (id, dueMs) => {
              expect(waiting.get(id)?.dueMs).toBe(dueMs)
              expect(dueMs).toBeLessThanOrEqual(nowMs)
              waiting.delete(id)
            })
            for (const { lateMs } of waiting.values()) {
              expect(lateMs).toBeGreaterThan(nowMs - 2 * TICK_MS)
            }
          }
          expect(wheel.size).toBe(waiting.size)
          const earliest = Math.min(...[...waiting.values()].map((timer) => timer.dueMs))
          expect(wheel.nextDueMs).toBeLessThanOrEqual(Math.max(earliest, nowMs) + 2 * TICK_MS)
          if (waiting.size > 0) expect(wheel.nextDueMs).toBeGreaterThan(nowMs - TICK_MS)
        }
      }),
    )
  })
})
