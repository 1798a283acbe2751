import { describe, expect, test } from 'vitest'
import { Refusal, Reply } from '../../src/errors.js'
import { clientIdOf, isRecord, subscribeOptions } from '../../src/protocol/subscribe-options.js'

const NOW = Date.parse('2025-08-25T10:00:00Z')

function options(fields: Readonly<Record<string, unknown>>, isPattern = false) {
  return subscribeOptions(fields, isPattern, NOW)
}

describe('subscribeOptions()', () => {
  test('subscribeOptions() of nothing are live, with the defaults of the broker', () => {
    const nothing = {
      start: { from: 'live' },
      policy: undefined,
      clientId: undefined,
      batch: false,
      epochs: false,
    }
    expect(options({})).toEqual(nothing)
    const nulls = { last_n: null, from_seq: null, epoch: null, since: null, cursors: null }
    expect(options({ ...nulls, policy: null, client_id: null, batch: null })).toEqual(nothing)
    expect(options({ unknown: 1, topic: 't' })).toEqual(nothing)
  })

  test.each([
    [{ last_n: 0 }, { from: 'live' }],
    [{ last_n: 5 }, { from: 'lastN', count: 5 }],
    [{ from_seq: 1 }, { from: 'seq', seq: 1, epoch: null }],
    [
      { from_seq: 2 ** 40, epoch: 'e' },
      { from: 'seq', seq: 2 ** 40, epoch: 'e' },
    ],
    [{ since: '30s' }, { from: 'time', timeMs: NOW - 30_000 }],
    [{ since: '5m' }, { from: 'time', timeMs: NOW - 300_000 }],
    [{ since: '250ms' }, { from: 'time', timeMs: NOW - 250 }],
    [{ since: '2h' }, { from: 'time', timeMs: NOW - 7_200_000 }],
    [{ since: '0s' }, { from: 'time', timeMs: NOW }],
    [{ since: '2025-08-25T09:00:00.5Z' }, { from: 'time', timeMs: NOW - 3_599_500 }],
    [{ since: '2025-08-25T12:00:00+02:00' }, { from: 'time', timeMs: NOW }],
    [{ since: '2025-08-25' }, { from: 'time', timeMs: Date.parse('2025-08-25T00:00:00Z') }],
  ])('subscribeOptions(%o) starts there', (fields, start) => {
    expect(options(fields).start).toEqual(start)
  })

  test('subscribeOptions() takes cursors for a pattern, by any topic name', () => {
    const cursors = JSON.parse('{"a":{"epoch":"e","seq":3},"__proto__":{"epoch":"f","seq":1}}')
    const { start } = options({ cursors }, true)
    expect(start.from === 'cursors' && Object.entries(start.cursors)).toEqual([
      ['a', { epoch: 'e', seq: 3 }],
      ['__proto__', { epoch: 'f', seq: 1 }],
    ])
    expect(options({ last_n: 3 }, true).start).toEqual({ from: 'lastN', count: 3 })
    expect(options({ since: '1s' }, true).start).toEqual({ from: 'time', timeMs: NOW - 1000 })
  })

  test('subscribeOptions() takes both policies, batch and client_id', () => {
    expect(options({ policy: 'drop_oldest', batch: true }).policy).toBe('drop_oldest')
    const all = options({ policy: 'disconnect', batch: true, client_id: 'é'.repeat(64) })
    expect(all).toMatchObject({ policy: 'disconnect', batch: true, clientId: 'é'.repeat(64) })
  })

  const many = Object.fromEntries(
    Array.from({ length: 1001 }, (_, n) => [`t${n}`, { epoch: 'e', seq: 1 }]),
  )
  const exclusive =
    'last_n, from_seq, since and cursors exclude each other: give one of them at most'
  const since = 'since must be an ISO 8601 time or a duration such as "30s" or "5m"'
  const cursors = 'cursors must be a map of topic to {epoch, seq}'
  test.each<[problem: string, fields: Record<string, unknown>, isPattern?: boolean]>([
    ['policy must be "drop_oldest" or "disconnect"', { policy: 'block' }],
    ['batch must be true or false', { batch: 1 }],
    ['client_id must be a string of at most 128 bytes', { client_id: `${'é'.repeat(64)}x` }],
    ['client_id must be a string of at most 128 bytes', { client_id: 5 }],
    [exclusive, { last_n: 1, from_seq: 1 }],
    [exclusive, { since: '1s', cursors: {} }, true],
    ['epoch needs from_seq beside it', { epoch: 'e' }],
    ['epoch needs from_seq beside it', { epoch: 'e', last_n: 1 }],
    ['last_n must be a whole number of at least 0', { last_n: -1 }],
    ['last_n must be a whole number of at least 0', { last_n: 1.5 }],
    ['last_n must be a whole number of at least 0', { last_n: '5' }],
    ['last_n must be a whole number of at least 0', { last_n: 2 ** 53 }],
    ['last_n must be a whole number of at least 0', { last_n: Number.NaN }],
    ['from_seq must be a whole number of at least 1', { from_seq: 0 }],
    ['from_seq must be a whole number of at least 1', { from_seq: 1n }],
    ['epoch must be a string', { from_seq: 1, epoch: 5 }],
    ['from_seq needs a topic, a pattern takes cursors instead', { from_seq: 1 }, true],
    ['cursors needs a pattern, a topic takes from_seq and epoch instead', { cursors: {} }],
    [since, { since: 5 }],
    [since, { since: '1' }],
    [since, { since: '5d' }],
    [since, { since: '-5s' }],
    [since, { since: '1234567890s' }],
    [since, { since: 'yesterday' }],
    [since, { since: '2025-13-45' }],
    [cursors, { cursors: [] }, true],
    [cursors, { cursors: { t: 5 } }, true],
    [cursors, { cursors: { t: { seq: 1 } } }, true],
    ['cursors.seq must be a whole number of at least 1', { cursors: { t: { epoch: 'e' } } }, true],
    ['cursors must have at most 1000 topics, got 1001', { cursors: many }, true],
  ])('%s', (problem, fields, isPattern) => {
    let refusal: unknown
    try {
      options(fields, isPattern)
    } catch (error) {
      refusal = error
    }
    expect(refusal).toBeInstanceOf(Refusal)
    expect(refusal).toMatchObject({ message: problem, reply: Reply.badRequest })
  })

  test('subscribeOptions() looks at own fields only', () => {
    const inherited = Object.create({ last_n: -1, policy: 'x' }) as Record<string, unknown>
    expect(options(inherited).start).toEqual({ from: 'live' })
  })
})

test('clientIdOf() is the label, or undefined', () => {
  expect(clientIdOf({ client_id: 's1' })).toBe('s1')
  expect(clientIdOf({})).toBeUndefined()
  expect(clientIdOf({ client_id: null })).toBeUndefined()
})

test('isRecord() is true for objects that are no arrays', () => {
  expect([{}, [], null, 'a', 1, undefined].map(isRecord)).toEqual([
    true,
    false,
    false,
    false,
    false,
    false,
  ])
})
