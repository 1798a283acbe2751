import { expect, test } from 'vitest'
import { Accounts } from '../../../bench/burst/accounts.js'

const GOOD = { refusedOtherwise: 0, unaccounted: 0, misplaced: 0, repeated: 0 }

test('Accounts.counts() has every message acked, refused, delivered or announced', () => {
  const accounts = new Accounts(5)
  accounts.ack(0, 1)
  accounts.refused('OVERLOADED')
  accounts.ack(2, 2)
  accounts.ack(3, 3)
  accounts.ack(4, 4)
  accounts.event(1, 0)
  accounts.gap(2, 3)
  accounts.event(4, 4)
  const counts = { stored: 4, acked: 4, overloaded: 1, received: 2, announced: 2, tookMs: 7 }
  expect(accounts.counts(4, 7)).toEqual({ ...GOOD, ...counts })
  expect([accounts.answered, accounts.refusals, accounts.lastSeq]).toEqual([5, 1, 4])
})

test('Accounts.counts() finds what was stored and never came', () => {
  const accounts = new Accounts(4)
  accounts.event(1, 0)
  accounts.event(3, 2)
  expect(accounts.counts(3, 0).unaccounted).toBe(1)
  expect(accounts.counts(4, 0).unaccounted).toBe(2)
})

test('Accounts.counts() finds acks whose seq holds another message, or nothing', () => {
  const accounts = new Accounts(3)
  accounts.ack(0, 1)
  accounts.ack(1, 2)
  accounts.ack(2, 3)
  accounts.event(1, 1)
  accounts.event(2, 1)
  expect(accounts.counts(3, 0)).toMatchObject({ misplaced: 2, unaccounted: 1 })
})

test('Accounts.counts() finds repeats, disorder and other refusals', () => {
  const accounts = new Accounts(3)
  accounts.event(2, 0)
  accounts.event(2, 0)
  accounts.event(1, 1)
  accounts.refused('INTERNAL')
  expect(accounts.counts(2, 0)).toMatchObject({ repeated: 2, refusedOtherwise: 1 })
})
