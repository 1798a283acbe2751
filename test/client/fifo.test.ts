import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Fifo } from '../../src/client/fifo.js'

test('Fifo is an array that gives from the front', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('push' as const), count: fc.integer({ min: 1, max: 3000 }) }),
    fc.record({ do: fc.constant('shift' as const), count: fc.integer({ min: 1, max: 3000 }) }),
    fc.record({ do: fc.constant('takeAll' as const), count: fc.constant(0) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const fifo = new Fifo<number>()
      const array: number[] = []
      let next = 0
      for (const { do: what, count } of steps) {
        for (let index = 0; index < count; index++) {
          if (what === 'push') {
            fifo.push(next)
            array.push(next)
            next++
          } else if (fifo.peek() !== array[0] || fifo.shift() !== array.shift()) return false
        }
        if (what === 'takeAll') expect(fifo.takeAll()).toEqual(array.splice(0))
        if (fifo.length !== array.length) return false
      }
      return true
    }),
    { numRuns: 50 },
  )
})
