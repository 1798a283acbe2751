import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RECORDS_OFFSET } from '../../src/ring/layout.js'
import {
  BACK_PRESSURED,
  CAPACITY_MAX,
  maxRecordLength,
  RingConsumer,
  RingProducer,
  setHead,
  setTail,
  TOO_LARGE,
} from '../../src/ring/spsc-ring.js'
import { BASE, POSITIONS, read, ring, tryWrite } from './rings.js'

describe('RingProducer', () => {
  test('RingProducer.tryClaim() returns an offset aligned to 8, inside the records', () => {
    const { producer } = ring(128)
    for (const length of [0, 1, 7, 8, 9]) {
      const start = producer.tryClaim(length)
      expect(start % 8).toBe(0)
      expect(start).toBeGreaterThanOrEqual(BASE + RECORDS_OFFSET)
      expect(start + length).toBeLessThanOrEqual(BASE + RECORDS_OFFSET + 128)
      producer.commit(1, length)
    }
  })

  test('RingProducer.tryClaim() refuses a record the consumer has not made room for', () => {
    const some = ring(128)
    expect(tryWrite(some, 1, 56)).toBe(true)
    expect(tryWrite(some, 2, 56)).toBe(true)
    expect(some.producer.tryClaim(0)).toBe(BACK_PRESSURED)

    read(some) // Read is not released.
    expect(some.producer.tryClaim(0)).toBe(BACK_PRESSURED)
    some.consumer.release()
    expect(tryWrite(some, 3, 56)).toBe(true)
    expect([read(some), read(some), read(some)]).toEqual([[2, 56], [3, 56], undefined])
  })

  test('RingProducer.unread() is what was published until the consumer releases it', () => {
    const some = ring(128)
    expect(some.producer.unread()).toBe(0)
    tryWrite(some, 1, 40)
    expect(some.producer.unread()).toBe(48)
    read(some)
    expect(some.producer.unread()).toBe(48)
    some.consumer.release()
    expect(some.producer.unread()).toBe(0)
  })

  test('RingProducer.tryClaim() changes nothing when it refuses', () => {
    const some = ring(128)
    tryWrite(some, 1, 40)
    tryWrite(some, 2, 40)
    const { tail } = some.producer
    const before = some.views.bytes.slice()
    expect(some.producer.tryClaim(40)).toBe(BACK_PRESSURED) // 32 bytes are left at the end: padding.
    expect(some.producer.tryClaim(57)).toBe(TOO_LARGE)
    expect(some.producer.tail).toBe(tail)
    expect(some.views.bytes.slice()).toEqual(before)
  })

  test('RingProducer.tryClaim() pads up to the end and begins again at the start', () => {
    const some = ring(128)
    tryWrite(some, 1, 40)
    tryWrite(some, 2, 40) // 32 bytes are left.
    read(some)
    some.consumer.release() // And 48 at the start.
    expect(tryWrite(some, 3, 33)).toBe(true)
    expect(some.producer.room()).toBe(0)
    expect(read(some)).toEqual([2, 40])
    expect(read(some)).toEqual([3, 33])
    expect(some.consumer.start).toBe(BASE + RECORDS_OFFSET + 8)
    expect(read(some)).toBeUndefined()
    some.consumer.release()
    expect(some.producer.room()).toBe(128)
    expect(some.producer.isEmpty()).toBe(true)
  })

  test('RingProducer.tryClaim() needs no padding for a record that ends where the ring ends', () => {
    const some = ring(128)
    tryWrite(some, 1, 40)
    tryWrite(some, 2, 40)
    expect(tryWrite(some, 3, 24)).toBe(true)
    expect(some.producer.room()).toBe(0)
    expect([read(some), read(some), read(some)]).toEqual([
      [1, 40],
      [2, 40],
      [3, 24],
    ])
  })

  test('RingProducer.tryClaim() refuses more than half the ring up front', () => {
    const { producer } = ring(256)
    expect(producer.maxLength).toBe(maxRecordLength(256))
    expect(producer.tryClaim(producer.maxLength + 1)).toBe(TOO_LARGE)
    expect(producer.tryClaim(2 ** 31)).toBe(TOO_LARGE)
  })

  test('RingProducer.tryClaim() takes half the ring from every position of an empty ring', () => {
    for (let position = 0; position < 256; position += 8) {
      const some = ring(256, position)
      expect(tryWrite(some, 7, maxRecordLength(256))).toBe(true)
      expect(read(some)).toEqual([7, maxRecordLength(256)])
    }
  })

  test('RingProducer.commit() gives back what was claimed and not used', () => {
    const some = ring(128)
    const start = some.producer.tryClaim(56)
    some.views.bytes.fill(5, start, start + 3)
    some.producer.commit(5, 3)
    some.producer.publish()
    expect(some.producer.room()).toBe(128 - 16)
    expect(read(some)).toEqual([5, 3])
    expect(read(some)).toBeUndefined()
  })

  test('RingProducer.commit() may use less than a claim that wrapped', () => {
    const some = ring(128, 96)
    const start = some.producer.tryClaim(56)
    expect(start).toBe(BASE + RECORDS_OFFSET + 8)
    some.views.bytes.fill(5, start, start + 3)
    some.producer.commit(5, 3)
    some.producer.publish()
    expect(some.producer.room()).toBe(128 - 32 - 16)
    expect(read(some)).toEqual([5, 3])
  })

  test('RingProducer.commit() throws for more than was claimed, and without a claim', () => {
    const { producer } = ring(128)
    expect(() => producer.commit(1, 0)).toThrow('length=0, claimed=0')
    producer.tryClaim(8)
    expect(() => producer.commit(1, 9)).toThrow('length=9, claimed=16')
    producer.commit(1, 8)
    expect(() => producer.commit(1, 8)).toThrow(RangeError)
  })

  test('RingProducer.publish() shows all records committed so far, and none before', () => {
    const some = ring(128)
    for (const kind of [1, 2]) {
      const start = some.producer.tryClaim(1)
      some.views.bytes[start] = kind
      some.producer.commit(kind, 1)
    }
    expect(some.consumer.isEmpty()).toBe(true)
    expect(some.consumer.unread()).toBe(0)
    expect(read(some)).toBeUndefined()
    some.producer.publish()
    expect(some.consumer.isEmpty()).toBe(false)
    expect(some.consumer.unread()).toBe(32)
    expect([read(some), read(some), read(some)]).toEqual([[1, 1], [2, 1], undefined])
  })

  test('RingProducer.room() counts what is committed and not what is read but unreleased', () => {
    const some = ring(128)
    expect(some.producer.room()).toBe(128)
    some.producer.tryClaim(8)
    expect(some.producer.room()).toBe(128) // Claimed only.
    some.producer.commit(1, 8)
    expect(some.producer.room()).toBe(112)
    some.producer.publish()
    some.consumer.next()
    expect(some.producer.room()).toBe(112)
    some.consumer.release()
    expect(some.producer.room()).toBe(128)
  })

  test('RingProducer.consumed() moves with the consumer only', () => {
    const some = ring(128, -16)
    expect(some.producer.consumed()).toBe(-16)
    tryWrite(some, 1, 8)
    expect(some.producer.consumed()).toBe(-16)
    read(some)
    some.consumer.release()
    expect(some.producer.consumed()).toBe(0)
  })

  test('RingProducer takes over from a predecessor what was published, not what was committed', () => {
    const some = ring(128)
    tryWrite(some, 1, 8)
    some.producer.tryClaim(8)
    some.producer.commit(2, 8)
    const successor = { ...some, producer: new RingProducer(some.views, BASE, 128) }
    expect(successor.producer.tail).toBe(16)
    tryWrite(successor, 3, 8)
    expect([read(some), read(some), read(some)]).toEqual([[1, 8], [3, 8], undefined])
  })

  test.each([0, 3, 96, -64, CAPACITY_MAX * 2])('RingProducer refuses a capacity of %i', (bytes) => {
    const { views } = ring(64)
    expect(() => new RingProducer(views, BASE, bytes)).toThrow('is not a power of two')
    expect(() => new RingConsumer(views, BASE, bytes)).toThrow('is not a power of two')
  })

  test('RingProducer and RingConsumer refuse a base that is not aligned', () => {
    const { views } = ring(64)
    expect(() => new RingProducer(views, 4, 64)).toThrow('base=4')
    expect(() => new RingConsumer(views, 4, 64)).toThrow('base=4')
  })
})

describe('RingConsumer', () => {
  test('RingConsumer.putBack() makes next() find the same record again', () => {
    const some = ring(128)
    tryWrite(some, 1, 5)
    tryWrite(some, 2, 6)
    expect(read(some)).toEqual([1, 5])
    expect(read(some)).toEqual([2, 6])
    some.consumer.putBack()
    expect(some.consumer.unread()).toBe(16)
    some.consumer.release() // The first record only.
    expect(some.producer.room()).toBe(112)
    expect(read(some)).toEqual([2, 6])
    expect(read(some)).toBeUndefined()
  })

  test('RingConsumer.putBack() finds a record again that stands behind padding', () => {
    const some = ring(128, 104)
    tryWrite(some, 9, 50)
    expect(read(some)).toEqual([9, 50])
    some.consumer.putBack()
    expect(some.consumer.isEmpty()).toBe(false)
    expect(read(some)).toEqual([9, 50])
    expect(some.consumer.recordPosition).toBe(128)
    expect(some.consumer.position).toBe(192)
  })

  test('RingConsumer.next() keeps records valid until release()', () => {
    const some = ring(128)
    tryWrite(some, 1, 50)
    tryWrite(some, 2, 50)
    read(some)
    const { start, end } = some.consumer
    read(some)
    expect(tryWrite(some, 3, 1)).toBe(false)
    expect(some.views.bytes.subarray(start, end).every((byte) => byte === 1)).toBe(true)
  })

  test('RingConsumer finds again what its predecessor read and did not release', () => {
    const some = ring(128)
    tryWrite(some, 1, 8)
    tryWrite(some, 2, 8)
    read(some)
    some.consumer.release()
    read(some)
    const successor = { ...some, consumer: new RingConsumer(some.views, BASE, 128) }
    expect([read(successor), read(successor)]).toEqual([[2, 8], undefined])
  })

  test('RingConsumer.recordPosition differs for records that are unreleased together', () => {
    const some = ring(256, -64)
    const positions = new Set<number>()
    for (let kind = 0; tryWrite(some, kind, 0); kind++) {
      read(some)
      positions.add(some.consumer.recordPosition)
    }
    expect(positions.size).toBe(256 / 8)
  })
})

describe.each(POSITIONS)('a ring whose positions start at %s', (_, position) => {
  test('RingConsumer.next() finds every record once, in order, untorn, whatever their sizes', () => {
    const capacity = 256
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.integer({ min: 0, max: maxRecordLength(capacity) }) },
      { weight: 2, arbitrary: fc.constantFrom('read', 'release', 'read+release', 'putBack') },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const some = ring(capacity, position)
        const written: [number, number][] = []
        let readCount = 0
        let releasedCount = 0
        let mayPutBack = false
        for (const now of steps) {
          if (typeof now === 'number') {
            const isWritten = tryWrite(some, written.length, now)
            if (isWritten) written.push([written.length, now])
            else expect(releasedCount).toBeLessThan(written.length) // Never refused when empty.
          }
          if (now === 'putBack' && mayPutBack) {
            some.consumer.putBack()
            readCount--
            mayPutBack = false
          }
          if (now === 'read' || now === 'read+release') {
            expect(read(some)).toEqual(written[readCount])
            mayPutBack = readCount < written.length
            if (mayPutBack) readCount++
          }
          if (now === 'release' || now === 'read+release') {
            some.consumer.release()
            releasedCount = readCount
            mayPutBack = false
          }
          expect(some.producer.room()).toBeGreaterThanOrEqual(0)
          expect(some.producer.room()).toBeLessThanOrEqual(capacity)
        }
        while (readCount < written.length) expect(read(some)).toEqual(written[readCount++])
        expect(read(some)).toBeUndefined()
        some.consumer.release()
        expect(some.producer.room()).toBe(capacity)
        expect(some.producer.isEmpty()).toBe(true)
        expect(some.consumer.isEmpty()).toBe(true)
        // Positions are told modulo 2^32 by all who tell them.
        const positions = [some.producer.tail, some.producer.consumed(), some.consumer.position]
        expect(new Set(positions).size).toBe(1)
      }),
      { numRuns: 300 },
    )
  })

  test('RingProducer.tryClaim() holds back exactly when the records do not fit', () => {
    const some = ring(64, position)
    for (let kind = 0; kind < 40; kind++) {
      expect(tryWrite(some, kind, 24)).toBe(true)
      expect(tryWrite(some, kind, 24)).toBe(true)
      expect(some.producer.tryClaim(0)).toBe(BACK_PRESSURED)
      expect([read(some), read(some), read(some)]).toEqual([[kind, 24], [kind, 24], undefined])
      some.consumer.release()
    }
  })
})

test('setTail() and setHead() finish what a predecessor had begun', () => {
  const some = ring(128)
  const start = some.producer.tryClaim(1)
  some.views.bytes[start] = 4
  some.producer.commit(4, 1)
  setTail(some.views, BASE, some.producer.tail)
  expect(read(some)).toEqual([4, 1])
  setHead(some.views, BASE, some.consumer.position)
  expect(some.producer.isEmpty()).toBe(true)
})
