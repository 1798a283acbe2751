import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Arrivals } from '../../bench/load/arrivals.js'
import { CoarseHistogram } from '../../bench/load/coarse-histogram.js'

describe('CoarseHistogram', () => {
  test('is off by 3 % at most, over its whole range', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60_000_000 }), (us) => {
        const histogram = new CoarseHistogram()
        histogram.record(us, 1)
        expect(Math.abs(histogram.percentile(100) - us)).toBeLessThanOrEqual(0.016 * us)
      }),
    )
  })

  test('percentile() counts from below, and is NaN of nothing', () => {
    const histogram = new CoarseHistogram()
    expect(histogram.percentile(50)).toBeNaN()
    histogram.record(3, 99)
    histogram.record(31, 1)
    expect([50, 99, 99.9].map((percent) => histogram.percentile(percent))).toEqual([3, 3, 31])
  })

  test('add() takes what take() gave, and take() empties', () => {
    const [one, sum] = [new CoarseHistogram(), new CoarseHistogram()]
    one.record(10, 2)
    one.record(5_000, 7)
    sum.record(10, 1)
    sum.add(one.take())
    expect([one.total, sum.total]).toEqual([0, 10])
    expect(sum.percentile(30)).toBe(10)
    expect(sum.take()).toEqual(expect.arrayContaining([10, 3]))
  })
})

describe('Arrivals', () => {
  const SCHEDULE = { startMs: 0, fromMs: 1000, untilMs: 3000 }

  test('count deliveries by arrival, and latencies by when a message was due', () => {
    const arrivals = new Arrivals()
    arrivals.begin(SCHEDULE)
    arrivals.note(1001, 999) // Due in the warm-up, came in the measured time.
    arrivals.note(1500, 1490)
    arrivals.note(3100, 2990) // Due in the measured time, came after it.
    expect(arrivals.delivered).toBe(2)
    const whole = arrivals.finished()
    expect(whole.totalCount).toBe(2)
    expect(whole.maxValue / 1e3).toBeCloseTo(110, 0)
    expect(arrivals.early).toBe(0)
    arrivals.note(3200, 3201)
    expect(arrivals.early).toBe(1)
  })

  test('tryRoll() gives each second once it is over, warm-up and quiet ones too', () => {
    const arrivals = new Arrivals()
    arrivals.begin(SCHEDULE)
    arrivals.note(500, 499)
    expect(arrivals.tryRoll(999)).toBeUndefined()
    expect(arrivals.tryRoll(1000)).toMatchObject({ second: -1, delivered: 1, maxUs: 1000 })
    expect(arrivals.tryRoll(1000)).toBeUndefined()
    // Nothing came for a while: the seconds follow each other.
    expect(arrivals.tryRoll(3500)).toMatchObject({ second: 0, delivered: 0, maxUs: 0 })
    expect(arrivals.tryRoll(3500)).toMatchObject({ second: 1, delivered: 0 })
    expect(arrivals.tryRoll(9000)).toBeUndefined() // After the end there are none.
  })
})
