import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Deadlines, type Timed } from '../../src/client/deadlines.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function at(ms: number): Timed {
  return { dueMs: performance.now() + ms, heapIndex: -1 }
}

test('Deadlines calls for each item when it is due, the earliest first, with one timer', () => {
  const due: number[] = []
  const started = performance.now()
  const deadlines = new Deadlines<Timed>(({ dueMs }) => due.push(Math.round(dueMs - started)))
  for (const ms of [50, 10, 30, 20, 40, 30]) deadlines.add(at(ms))
  expect(vi.getTimerCount()).toBe(1)
  vi.advanceTimersByTime(9)
  expect(due).toEqual([])
  vi.advanceTimersByTime(21)
  expect(due).toEqual([10, 20, 30, 30])
  vi.advanceTimersByTime(20)
  expect(due).toEqual([10, 20, 30, 30, 40, 50])
  expect([deadlines.size, vi.getTimerCount()]).toEqual([0, 0])
})

test('Deadlines.remove() of the last one leaves no timer, of one that is not there does nothing', () => {
  const deadlines = new Deadlines<Timed>(() => expect.unreachable())
  const items = [at(10), at(20)]
  for (const item of items) deadlines.add(item)
  for (const item of [...items, ...items, at(5)]) deadlines.remove(item)
  expect([deadlines.size, vi.getTimerCount()]).toEqual([0, 0])
})

test('Deadlines takes what is added and removed while it calls', () => {
  const due: Timed[] = []
  const [first, second, third] = [at(10), at(10), at(15)]
  const deadlines = new Deadlines<Timed>((item) => {
    due.push(item)
    if (item !== first) return
    deadlines.remove(second)
    deadlines.add(third)
  })
  deadlines.add(first)
  deadlines.add(second)
  vi.advanceTimersByTime(20)
  expect(due).toEqual([first, third])
  expect(vi.getTimerCount()).toBe(0)
})

test('Deadlines waits for what is further away than a timer can be set', () => {
  const due: Timed[] = []
  const deadlines = new Deadlines<Timed>((item) => due.push(item))
  const item = at(2 ** 31 + 1000)
  deadlines.add(item)
  vi.advanceTimersByTime(2 ** 31)
  expect(due).toEqual([])
  vi.advanceTimersByTime(1000)
  expect(due).toEqual([item])
})

test('Deadlines keeps the order whatever is added and removed', () => {
  const step = fc.record({ delay: fc.integer({ min: 0, max: 50 }), remove: fc.nat(20) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const due: Timed[] = []
      const deadlines = new Deadlines<Timed>((item) => due.push(item))
      const kept: Timed[] = []
      for (const { delay, remove } of steps) {
        const item = at(delay)
        deadlines.add(item)
        kept.push(item)
        const [gone] = remove < kept.length && remove % 2 === 0 ? kept.splice(remove, 1) : []
        if (gone !== undefined) deadlines.remove(gone)
      }
      expect(deadlines.size).toBe(kept.length)
      vi.advanceTimersByTime(60)
      expect(due.map(({ dueMs }) => dueMs)).toEqual(
        kept.map(({ dueMs }) => dueMs).sort((a, b) => a - b),
      )
      expect(new Set(due)).toEqual(new Set(kept))
      expect(vi.getTimerCount()).toBe(0)
    }),
  )
})
