import { expect, test } from 'vitest'
import { Buffers } from '../../src/client/buffers.js'

test('Buffers.take() gives what was given back, if it is large enough', () => {
  const buffers = new Buffers(1024)
  const small = buffers.take(10)
  const large = buffers.take(5000)
  expect([small.length, large.length]).toEqual([1024, 8192])
  buffers.giveBack(small)
  buffers.giveBack(large)
  expect(buffers.take(1025)).not.toBe(small)
  expect(buffers.take(4097)).toBe(large)
  expect(buffers.take(1024)).toBe(small)
  expect(buffers.take(1024)).not.toBe(small)
})

test('Buffers make none smaller than they are told', () => {
  const buffers = new Buffers(64)
  expect([1, 64, 65, 1024].map((bytes) => buffers.take(bytes).length)).toEqual([64, 64, 128, 1024])
})

test('Buffers keep no more than 2 MiB', () => {
  const buffers = new Buffers(1024)
  const given = Array.from({ length: 5 }, () => new Uint8Array(512 * 1024))
  for (const buffer of given) buffers.giveBack(buffer)
  const taken = given.map(({ length }) => buffers.take(length))
  expect(given.filter((buffer) => taken.includes(buffer)).length).toBe(4)
})
