import { expect, test } from 'vitest'
import { RequestFailedError, TimeoutError } from '../../src/client/errors.js'
import { Replies, type Reply } from '../../src/client/replies.js'

const [one, two] = [new RequestFailedError('one'), new RequestFailedError('two')]

test('Replies gives what came before and what comes after somebody asks, then ends', async () => {
  const replies = new Replies(() => {})
  replies.push(one)
  const iterator = replies[Symbol.asyncIterator]()
  expect(await iterator.next()).toEqual({ done: false, value: one })
  const [next, last] = [iterator.next(), iterator.next()]
  replies.push(two)
  replies.end(undefined)
  replies.push(one) // Nobody hears of it.
  expect(await next).toEqual({ done: false, value: two })
  expect(await last).toEqual({ done: true, value: undefined })
  expect(await iterator.next()).toEqual({ done: true, value: undefined })
})

test.each([true, false])(
  'Replies throws what ended it, once (somebody waits: %s)',
  async (waits) => {
    const replies = new Replies(() => {})
    replies.push(one)
    const iterator = replies[Symbol.asyncIterator]()
    const next = waits ? [iterator.next(), iterator.next()] : []
    const error = new TimeoutError('for a test')
    for (const result of next) result.catch(() => {})
    replies.end(error)
    const [first = iterator.next(), second = iterator.next()] = next
    expect(await first).toEqual({ done: false, value: one })
    await expect(second).rejects.toBe(error)
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  },
)

test('leaving a loop over Replies says so, and drops what was not taken', async () => {
  let left = 0
  const replies = new Replies(() => left++)
  replies.push(one)
  replies.push(two)
  const seen: Reply[] = []
  for await (const reply of replies) {
    seen.push(reply)
    break
  }
  expect([seen, left]).toEqual([[one], 1])
  expect(await replies.collect()).toEqual([])
})
