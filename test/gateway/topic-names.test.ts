import { expect, test } from 'vitest'
import { TopicNames } from '../../src/gateway/topic-names.js'

test('TopicNames.byName() keeps the bytes of a name, and no memory beside them', () => {
  const names = new TopicNames(2, 10)
  const { bytes } = names.byName('orders.größe')
  expect(bytes.toString()).toBe('orders.größe')
  expect(bytes.buffer.byteLength).toBe(bytes.length)
})

test('TopicNames.byBytes() gives the same as byName(), also after the cache began anew', () => {
  const names = new TopicNames(2, 3)
  const first = names.byName('a.b')
  for (let number = 0; number < 10; number++) names.byName(`t.${number}`)
  const again = names.byBytes(Buffer.from('xa.bx'), 1, 3)
  expect(again).toEqual(first)
  expect(again).toBe(names.byName('a.b'))
})
