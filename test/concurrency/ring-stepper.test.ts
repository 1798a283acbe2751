/**
 * Both sides of a ring, one atomic step at a time, in every order (stepper.ts).
 *
 *   Allowed    every record that was published is read exactly once, in order, untorn
 *              a claim is refused while, as of its own look at head, there is too little room
 *              a thread sleeps while it has nothing to do
 *   Forbidden  a gap, a repeat, another record's bytes, a record read before it was published
 *              a claim refused although all that it needs was released before it began
 *              everybody asleep while there is work (or room that somebody waits for)
 */
import assert from 'node:assert/strict'
import { describe, expect, test } from 'vitest'
import {
  HEAD_OFFSET,
  ringBytes,
  type SharedViews,
  TAIL_OFFSET,
  viewsOf,
} from '../../src/ring/layout.js'
import { BACK_PRESSURED, maxRecordLength, setHead, setTail } from '../../src/ring/spsc-ring.js'
import { BLOCKED, IDLE } from '../../src/ring/wakeup.js'
import { BASE, POSITIONS } from '../ring/rings.js'
import {
  everySchedule,
  randomNumbers,
  randomSchedule,
  run,
  type Schedule,
  type SteppedRing,
  type Steps,
  sleepOn,
  steppedRing,
} from './stepper.js'

const stepped = steppedRing()
const CAPACITY = 64
const HEAD = (BASE + HEAD_OFFSET) / 4
const TAIL = (BASE + TAIL_OFFSET) / 4
const EVERY = Number.POSITIVE_INFINITY

interface Scene {
  readonly views: SharedViews
  readonly producer: InstanceType<SteppedRing['RingProducer']>
  readonly consumer: InstanceType<SteppedRing['RingConsumer']>
  /** Of the consumer, who parks IDLE, and of the producer, who parks BLOCKED. */
  readonly consumerBell: InstanceType<SteppedRing['Doorbell']>
  readonly producerBell: InstanceType<SteppedRing['Doorbell']>
  readonly received: number[][]
}

function scene(position: number, { RingProducer, RingConsumer, Doorbell } = stepped): Scene {
  const bells = BASE + ringBytes(CAPACITY)
  const views = viewsOf(new SharedArrayBuffer(bells + 128))
  setTail(views, BASE, position)
  setHead(views, BASE, position)
  return {
    views,
    producer: new RingProducer(views, BASE, CAPACITY),
    consumer: new RingConsumer(views, BASE, CAPACITY),
    consumerBell: new Doorbell(views.ints, bells),
    producerBell: new Doorbell(views.ints, bells + 64),
    received: [],
  }
}

/** Writes a record of `length` bytes that all say `number`. */
function* tryWrite({ views, producer }: Scene, number: number, length: number): Steps<boolean> {
  const start = yield* producer.tryClaim(length)
  if (start < 0) {
    assert.equal(start, BACK_PRESSURED)
    return false
  }
  views.bytes.fill(number, start, start + length)
  yield* producer.commit(number, length)
  return true
}

/** Reads one record; false when there is none. */
function* tryRead({ views, consumer, received }: Scene): Steps<boolean> {
  if (!(yield* consumer.next())) return false
  const { kind, start, end } = consumer
  // No expect() here, nor in other inner steps: these run a million times, and it is slow.
  assert(
    views.bytes.subarray(start, end).every((byte) => byte === kind),
    `record ${kind} is torn`,
  )
  received.push([kind, end - start])
  return true
}

describe.each(POSITIONS)('a ring whose positions start at %s', (_, position) => {
  /** One try per record: what is refused is left out. */
  function* offering(some: Scene, lengths: readonly number[], written: number[][]): Steps<void> {
    for (const [index, length] of lengths.entries()) {
      const number = index + 1
      if (yield* tryWrite(some, number, length)) {
        yield* some.producer.publish()
        written.push([number, length])
      }
    }
  }

  function* polling(some: Scene, polls: number): Steps<void> {
    for (let poll = 0; poll < polls; poll++) {
      yield* tryRead(some)
      yield* some.consumer.release()
    }
  }

  test.each([
    ['records that fill the ring exactly', [24, 24, 24, 24]],
    ['records that need padding at the wrap', [20, 9, 20, 24]],
    ['records of half the ring', [24, maxRecordLength(CAPACITY), 1, 24]],
    ['records without bytes', [0, 24, 0, 24, 0]],
  ])(
    'RingConsumer.next() and RingProducer.tryClaim() meet in every order: %s',
    (_name, lengths) => {
      let refused = 0
      const runs = everySchedule(EVERY, (schedule) => {
        const some = scene(position)
        const written: number[][] = []
        run([offering(some, lengths, written), polling(some, 3)], schedule)
        run([polling(some, lengths.length)], () => 0)
        assert.deepEqual(some.received, written)
        assert.equal(Atomics.load(some.views.ints, HEAD), Atomics.load(some.views.ints, TAIL))
        if (written.length < lengths.length) refused++
      })
      expect(runs).toBeGreaterThan(200)
      // Both outcomes were seen: with room in time, and without.
      expect(refused).toBeGreaterThan(0)
      expect(refused).toBeLessThan(runs)
    },
  )

  test('RingConsumer.next() sees records that are published together all or not at all', () => {
    const seen = new Set<number>()
    everySchedule(EVERY, (schedule) => {
      const some = scene(position)
      function* batch(): Steps<void> {
        for (const number of [1, 2, 3]) yield* tryWrite(some, number, 5)
        yield* some.producer.publish()
      }
      function* reading(): Steps<void> {
        while (yield* tryRead(some));
      }
      run([batch(), reading()], schedule)
      seen.add(some.received.length)
    })
    expect([...seen].sort()).toEqual([0, 3])
  })

  test('RingProducer.tryClaim() is never refused after all was released', () => {
    everySchedule(EVERY, (schedule) => {
      const some = scene(position)
      const length = maxRecordLength(CAPACITY)
      function* writing(): Steps<void> {
        for (let number = 1; number <= 3; ) {
          const wasEmpty = yield* some.producer.isEmpty()
          const isWritten = yield* tryWrite(some, number, length)
          assert(isWritten || !wasEmpty, 'refused by an empty ring')
          if (!isWritten) return
          yield* some.producer.publish()
          number++
        }
      }
      run([writing(), polling(some, 3)], schedule)
    })
  })

  test('RingConsumer.unread() and RingProducer.room() never leave [0, capacity]', () => {
    everySchedule(EVERY, (schedule) => {
      const some = scene(position)
      function* writing(): Steps<void> {
        for (const number of [1, 2, 3]) {
          if (yield* tryWrite(some, number, 12)) yield* some.producer.publish()
          const room = yield* some.producer.room()
          assert(room >= 0 && room <= CAPACITY, `room=${room}`)
        }
      }
      function* reading(): Steps<void> {
        for (let poll = 0; poll < 2; poll++) {
          yield* tryRead(some)
          const unread = yield* some.consumer.unread()
          assert(unread >= 0 && unread <= CAPACITY, `unread=${unread}`)
          yield* some.consumer.release()
        }
      }
      run([writing(), reading()], schedule)
    })
  })
})

describe('the doorbell', () => {
  /** Publishes `count` records and rings; the ring has room for them all. */
  function* ringing(some: Scene, count: number): Steps<void> {
    for (let number = 1; number <= count; number++) {
      assert(yield* tryWrite(some, number, 1))
      yield* some.producer.publish()
      yield* some.consumerBell.ring()
    }
  }

  /** Reads all there is, sleeps, and so on, as duty-cycle.ts does. */
  function* parking(some: Scene, count: number): Steps<void> {
    for (;;) {
      while (yield* tryRead(some));
      yield* some.consumer.release()
      yield* some.producerBell.ringIfBlocked()
      if (some.received.length >= count) return
      const mayWork = function* (): Steps<boolean> {
        return !(yield* some.consumer.isEmpty())
      }
      yield* sleepOn(yield* some.consumerBell.park(IDLE, mayWork))
    }
  }

  /** Writes records, and sleeps while there is no room for the next one. */
  function* pushing(some: Scene, lengths: readonly number[]): Steps<void> {
    for (const [index, length] of lengths.entries()) {
      while (!(yield* tryWrite(some, index + 1, length))) {
        const mayWork = function* (): Steps<boolean> {
          return (yield* some.producer.room()) === CAPACITY
        }
        yield* sleepOn(yield* some.producerBell.park(BLOCKED, mayWork))
      }
      yield* some.producer.publish()
      yield* some.consumerBell.ring()
    }
  }

  function numbered(lengths: readonly number[]): number[][] {
    return lengths.map((length, index) => [index + 1, length])
  }

  test('Doorbell.ring() leaves nobody asleep with work, in every order of one record', () => {
    const runs = everySchedule(EVERY, (schedule) => {
      const some = scene(0)
      run([ringing(some, 1), parking(some, 1)], schedule)
      assert.deepEqual(some.received, [[1, 1]])
    })
    expect(runs).toBeGreaterThan(50)
  })

  test('Doorbell.ring() leaves nobody asleep with work, two records, up to 5 preemptions', () => {
    const runs = everySchedule(5, (schedule) => {
      const some = scene(0)
      run([ringing(some, 2), parking(some, 2)], schedule)
      assert.equal(some.received.length, 2)
    })
    expect(runs).toBeGreaterThan(1000)
  })

  test('Doorbell.ringIfBlocked() leaves nobody asleep with room, up to 3 preemptions', () => {
    const lengths = [8, 16, 24, 9]
    const runs = everySchedule(3, (schedule) => {
      const some = scene(-CAPACITY)
      run([pushing(some, lengths), parking(some, lengths.length)], schedule)
      assert.deepEqual(some.received, numbered(lengths))
    })
    expect(runs).toBeGreaterThan(1000)
  })

  test('both bells carry random programs over both wraps, in random orders', () => {
    const seed = Date.now() & 0xffff_ffff
    for (let round = 0; round < 300; round++) {
      const random = randomNumbers(seed + round)
      const count = 1 + Math.floor(random() * 40)
      const lengths = Array.from({ length: count }, () =>
        Math.floor(random() * (maxRecordLength(CAPACITY) + 1)),
      )
      const [, position] = POSITIONS[round % POSITIONS.length] as (typeof POSITIONS)[number]
      const some = scene(position)
      try {
        run([pushing(some, lengths), parking(some, count)], randomSchedule(seed + round))
        assert.deepEqual(some.received, numbered(lengths))
      } catch (error) {
        throw new Error(`seed=${seed}, round=${round}`, { cause: error })
      }
    }
  })

  // The stepper itself: each of these breaks the source in one place, and must be found out.
  test.each<[what: string, from: string, to: string]>([
    [
      'park() looks for work before it says that it sleeps',
      'Atomics.store(this.#ints, this.#index, state) // Pairs with the loads in ring().\n    if (mayWork()) {',
      'const may = mayWork()\n    Atomics.store(this.#ints, this.#index, state)\n    if (may) {',
    ],
    ['park() does not look for work again', 'if (mayWork()) {', 'if (false) {'],
    [
      'ring() does not notify',
      '!== AWAKE) {\n      Atomics.notify(this.#ints, this.#index)',
      '!== AWAKE) {',
    ],
    ['ring() wakes the blocked only', '!== AWAKE) this.#wake()', '=== BLOCKED) this.#wake()'],
    ['ringIfBlocked() wakes nobody', '=== BLOCKED) this.#wake()', '=== 9) this.#wake()'],
    ['next() reads past tail', 'if (this.#position === this.#tailSeen) return false', ''],
    ['tryClaim() forgets the padding', '< needed + padding) {', '< needed) {'],
    [
      'tryClaim() does not look again',
      '< needed + padding) return BACK_PRESSURED',
      '< needed) return BACK_PRESSURED',
    ],
    ['release() gives back nothing', 'this.#headIndex, this.#position)', 'this.#headIndex, 0)'],
    ['next() takes padding for a record', 'if (length < 0) {', 'if (false) {'],
  ])('the stepper finds out that %s', (_what, from, to) => {
    let hasChanged = false
    const broken = steppedRing((source) => {
      if (!source.includes(from)) return source
      hasChanged = true
      return source.replace(from, to)
    })
    expect(hasChanged).toBe(true)
    const lengths = [8, 16, 24, 9]
    const explore = (schedule: Schedule) => {
      const some = scene(-CAPACITY, broken)
      run([stopping(pushing(some, lengths)), stopping(parking(some, lengths.length))], schedule)
      assert.deepEqual(some.received, numbered(lengths))
    }
    expect(() => everySchedule(3, explore)).toThrow()
  })

  /** Ends a program that goes on for ever, as broken ones may. */
  function* stopping(steps: Steps<void>): Steps<void> {
    let answer: unknown
    for (let step = 0; step < 300; step++) {
      const next = steps.next(answer)
      if (next.done) return
      answer = yield next.value
    }
    throw new Error('no end in 300 steps')
  }
})
