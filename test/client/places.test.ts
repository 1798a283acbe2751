import { expect, test } from 'vitest'
import { Places } from '../../src/client/places.js'

function start(text: string) {
  const told: unknown[] = []
  const places = new Places(text, /[*#]/.test(text), {
    onGap: ({ topic, fromSeq, toSeq, dropped }) => told.push([topic, fromSeq, toSeq, dropped]),
    onEpoch: (change) => told.push(change),
    onDeleted: (topic) => told.push(`${topic} deleted`),
  })
  const take = (topic: string, ...seqs: number[]) =>
    seqs.map((seq) => places.take(topic, seq) !== undefined)
  return { places, told, take }
}

const at = (epoch: string, seq: number) => ({ epoch, seq })

test('Places of a topic resume at what comes next', () => {
  const { places, take, told } = start('t')
  expect(places.resumeOptions()).toBeUndefined()
  places.onAck({ cursors: { t: at('e1', 5) } })
  expect(places.resumeOptions()).toEqual({ from_seq: 5, epoch: 'e1' })
  expect(take('t', 5, 6, 7)).toEqual([true, true, true])
  expect(places.resumeOptions()).toEqual({ from_seq: 8, epoch: 'e1' })
  expect(places.onAck({ recovered: true, cursors: { t: at('e1', 8) } })).toBe(true)
  expect(told).toEqual([])
})

test('Places take nothing twice; what is jumped over had expired, what is lost is told by GAP', () => {
  const { places, take, told } = start('t')
  places.onAck({ cursors: { t: at('e1', 1) } })
  expect(take('t', 1, 2, 2, 1, 5)).toEqual([true, true, false, false, true])
  expect(told).toEqual([])
  places.onGap('t', 4, 8)
  expect(take('t', 8, 9)).toEqual([false, true])
  expect(told).toEqual([['t', 6, 8, 3]])
})

test('Places tell what retention took as soon as the resume is acked', () => {
  const { places, take, told } = start('t')
  places.onAck({ cursors: { t: at('e1', 1) } })
  take('t', 1, 2)
  expect(places.onAck({ recovered: false, cursors: { t: at('e1', 10) } })).toBe(false)
  expect(told).toEqual([['t', 3, 9, 7]])
  expect(take('t', 10)).toEqual([true])
  expect(told.length).toBe(1)
})

test('Places tell a new epoch, and begin again in it', () => {
  const { places, take, told } = start('t')
  places.onAck({ cursors: { t: at('e1', 40) } })
  take('t', 40)
  expect(places.onAck({ recovered: false, cursors: { t: at('e2', 3) } })).toBe(false)
  expect(told).toEqual([
    { topic: 't', epoch: 'e2', previousEpoch: 'e1', lostFromSeq: 41 },
    ['t', 1, 2, 2],
  ])
  expect(places.take('t', 3)).toBe('e2')
  expect(take('t', 3)).toEqual([false])
})

test('Places begin where the user says, and tell what is gone by then', () => {
  const { places, told } = start('t')
  places.startAt(5, 'e1')
  places.onAck({ recovered: false, cursors: { t: at('e1', 8) } })
  expect(told).toEqual([['t', 5, 7, 3]])
})

test('Places of a pattern resume every topic, the silent ones too', () => {
  const { places, take } = start('*')
  places.onAck({ cursors: { a: at('ea', 5), silent: at('es', 100) } })
  take('a', 5)
  places.onEpoch('new', 'en')
  take('new', 1)
  expect(places.resumeOptions()).toEqual({
    cursors: { a: at('ea', 6), silent: at('es', 100), new: at('en', 2) },
  })
})

test('Places of a pattern know that a topic they never saw is new: what it lacks was missed', () => {
  const { places, take, told } = start('*')
  places.onAck({ cursors: {} })
  places.onEpoch('new', 'e1', 3)
  take('new', 3)
  expect(told).toEqual([['new', 1, 2, 2]])
  places.onAck({ recovered: true, cursors: { new: at('e1', 4), other: at('e2', 6) } })
  expect(told[1]).toEqual(['other', 1, 5, 5])
})

test('Places of a pattern know that a topic is gone: nothing of it was recovered', () => {
  const { places, told } = start('*')
  places.onAck({ cursors: { a: at('ea', 5), b: at('eb', 5) } })
  expect(places.onAck({ recovered: true, cursors: { a: at('ea', 5) } })).toBe(false)
  expect(told).toEqual(['b deleted'])
  places.onAck({ cursors: {} })
  expect(places.resumeOptions()).toEqual({ cursors: {} })
})

test('Places of a pattern with more topics than an ack can name guess no gaps', () => {
  const { places, take, told } = start('*')
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`t${n}`, at('e', 1)]))
  places.onAck({ cursors: many })
  places.onEpoch('t1000', 'e')
  take('t1000', 50)
  expect(told).toEqual([])
  const { cursors } = places.resumeOptions() as { cursors: object }
  expect(Object.keys(cursors).length).toBe(1000)
  expect(cursors).toHaveProperty('t1000', at('e', 51))
})

test('Places of a message before its ack keep what came', () => {
  const { places, take, told } = start('*')
  places.onEpoch('a', 'e1')
  expect(take('a', 7)).toEqual([true])
  places.onAck({ cursors: { a: at('e1', 7) } })
  expect(take('a', 7, 8)).toEqual([false, true])
  expect(told).toEqual([])
})

test('Places.onGap() tells only of what has not come', () => {
  const { places, take, told } = start('t')
  places.onAck({ cursors: { t: at('e1', 1) } })
  take('t', 1, 2, 3)
  places.onGap('t', 1, 3)
  places.onGap('t', 2, 6)
  expect(told).toEqual([['t', 4, 6, 3]])
  expect(take('t', 6, 7)).toEqual([false, true])
})

test('Places.skip() leaves the place where it was; a deleted topic takes what was skipped along', () => {
  const { places, take, told } = start('*')
  places.onAck({ cursors: { a: at('e1', 1) } })
  take('a', 1)
  places.skip('a', 2)
  places.skip('a', 3)
  places.skip('b', 4)
  expect(places.resumeOptions()).toMatchObject({ cursors: { a: at('e1', 2) } })
  places.onDeleted('a')
  places.onDeleted('b')
  expect(told).toEqual([['a', 2, 3, 2], 'a deleted', ['b', 4, 4, 1], 'b deleted'])
})
