import { expect, test } from 'vitest'
import { Tally } from '../../bench/load/tally.js'

function tallyOf(...numbers: number[]): Tally {
  const tally = new Tally(2)
  for (const number of numbers) tally.note(1, number)
  return tally
}

const NONE = { lost: 0, repeated: 0, outOfOrder: 0, unexpected: 0 }

test.each([
  ['nothing wrong', [0, 1, 2, 3], NONE],
  ['a loss in the middle', [0, 1, 3], { ...NONE, lost: 1 }],
  ['a loss at the beginning', [2, 3], { ...NONE, lost: 2 }],
  ['a loss at the end', [0, 1], { ...NONE, lost: 2 }],
  ['everything lost', [], { ...NONE, lost: 4 }],
  ['a repeat', [0, 1, 1, 2, 3], { ...NONE, repeated: 1 }],
  ['a late repeat', [0, 1, 2, 3, 0], { ...NONE, repeated: 1 }],
  ['two swapped', [0, 2, 1, 3], { ...NONE, outOfOrder: 1 }],
  ['late and repeated', [0, 2, 1, 1, 3], { ...NONE, outOfOrder: 1, repeated: 1 }],
  ['one that nobody published', [0, 1, 2, 3, 4], { ...NONE, unexpected: 1 }],
])('Tally.losses() finds %s', (_, numbers, expected) => {
  expect(tallyOf(...numbers).losses([0, 4])).toEqual(expected)
})

test('Tally.losses() keeps received = published − lost + repeated beyond its list', () => {
  const tally = tallyOf(0, 500_000, 500_000, 3, 400_000)
  const { lost, repeated } = tally.losses([0, 500_001])
  expect(tally.received).toBe(500_001 - lost + repeated)
})

test('Tally.isComplete() waits for the last message and for what is missing', () => {
  expect(tallyOf(0, 1, 2).isComplete([0, 4])).toBe(false)
  expect(tallyOf(0, 1, 3).isComplete([0, 4])).toBe(false)
  expect(tallyOf(0, 1, 3, 2).isComplete([0, 4])).toBe(true)
})

test('Tally.note() throws on a stream that is not of this run', () => {
  expect(() => tallyOf().note(2, 0)).toThrow(/unknown stream/)
})
