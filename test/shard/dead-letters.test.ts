import { expect, test } from 'vitest'
import {
  deliveries,
  jsonMessage,
  type Message,
  only,
  type ReplyRecord,
  replies,
  ShardRig,
} from './shard-rig.js'

const NACK = 2
const TERM = 3

interface Listed {
  readonly seq: number
  readonly payload: unknown
  readonly headers: Readonly<Record<string, string>>
}

function ask(rig: ShardRig, action: object, topic = 't'): ReplyRecord['body'] {
  return only(replies(rig.ask({ op: 'deadLetters', topic, action } as never))).body
}

function list(rig: ShardRig, filter: object = {}): Listed[] {
  const wish = { do: 'list', fromSeq: 1, limit: 100, group: null, reason: null, ...filter }
  return ask(rig, wish)['dead_letters'] as Listed[]
}

function replay(rig: ShardRig, wish: object): ReplyRecord['body'] {
  const all = { do: 'replay', seqs: null, fromSeq: 1, group: null, maxRounds: 10, delayMs: 0 }
  return ask(rig, { ...all, ...wish })
}

/** A topic with one member of `g`, and these messages termed by it. */
function withDead(...messages: Message[]): ShardRig {
  const rig = new ShardRig()
  rig.join(1, 'g')
  rig.publish('t', messages)
  rig.settle()
  rig.settleSeqs(1, TERM, [1, messages.length], { reason: 'cannot be read' })
  rig.settle()
  return rig
}

test('a termed message is copied with payload, id, headers and key, and says what became of it', () => {
  const id = Buffer.alloc(16, 7)
  const rig = withDead([1, Buffer.from('"x"'), id, { source: 'web' }, { key: 'k', ttl_ms: 60_000 }])
  const [letter] = list(rig)
  expect(letter).toMatchObject({
    seq: 1,
    payload: 'x',
    id: '07070707-0707-0707-0707-070707070707',
    key: 'k',
    headers: {
      source: 'web',
      'dlq-topic': 't',
      'dlq-group': 'g',
      'dlq-seq': '1',
      'dlq-reason': 'term',
      'dlq-attempts': '1',
      'dlq-error': 'cannot be read',
      'dlq-member': 'member-1',
      'dlq-times': new Date(rig.nowMs).toISOString(),
    },
  })
})

test('attempts that are used up lead there too, with the time of each', () => {
  const rig = new ShardRig()
  rig.join(1, 'g', { options: { max_deliver: 3, backoff: [100] } })
  rig.publish('t', [jsonMessage('poison'), jsonMessage('fine')])
  rig.settle()
  const begin = rig.nowMs
  for (let attempt = 1; attempt <= 3; attempt++) {
    rig.settleSeqs(1, NACK, [1, 1], { reason: `no ${attempt}` })
    rig.settle()
    rig.advance(100)
    rig.settle()
  }
  const [letter] = list(rig)
  expect(letter?.headers).toMatchObject({
    'dlq-reason': 'max_deliver',
    'dlq-attempts': '3',
    'dlq-error': 'no 3',
    'dlq-times': [0, 100, 200].map((ms) => new Date(begin + ms).toISOString()).join(','),
  })
  expect(deliveries(rig.taken).flatMap(({ seqs }) => seqs)).toEqual([1, 2, 1, 1])
})

test('the list can be filtered by group and reason, and read page by page', () => {
  const rig = withDead(...[1, 2, 3].map(jsonMessage))
  expect(list(rig, { group: 'other' })).toEqual([])
  expect(list(rig, { reason: 'expired' })).toEqual([])
  expect(list(rig, { group: 'g', reason: 'term' })).toHaveLength(3)
  const page = { do: 'list', fromSeq: 1, limit: 2, group: null, reason: null }
  expect(ask(rig, page)).toMatchObject({ next_seq: 3 })
  expect(ask(rig, { ...page, fromSeq: 3 })).toMatchObject({ next_seq: null })
})

test('replayed, a message comes again to its group once, and is no dead letter any more', () => {
  const rig = withDead(...['a', 'b', 'c'].map(jsonMessage))
  const before = rig.taken.length
  expect(replay(rig, { seqs: [2, 99] })).toMatchObject({ replayed: 1, skipped: 1 })
  expect(list(rig).map(({ seq }) => seq)).toEqual([1, 3])
  expect(replay(rig, { seqs: [2] })).toMatchObject({ replayed: 0, skipped: 1 })
  expect(replay(rig, {})).toMatchObject({ replayed: 2, skipped: 1, next_seq: null })
  expect(list(rig)).toEqual([])
  const again = deliveries(rig.taken.slice(before))
  expect(again.flatMap(({ payloads }) => payloads)).toEqual(['b', 'a', 'c'])
  expect(again.every(({ attempt }) => attempt === 1)).toBe(true)
})

test('replayed with a delay, it waits until then, and is no dead letter meanwhile', () => {
  const rig = withDead(jsonMessage('a'))
  const before = rig.taken.length
  expect(replay(rig, { delayMs: 5000 })).toMatchObject({ replayed: 1 })
  expect(list(rig)).toEqual([])
  rig.restart()
  rig.advance(4000)
  rig.settle()
  expect(deliveries(rig.taken.slice(before))).toEqual([])
  rig.advance(1100)
  rig.settle()
  const again = deliveries(rig.taken.slice(before))
  expect(again.flatMap(({ payloads }) => payloads)).toEqual(['a'])
})

test('what has come back max_rounds times stays', () => {
  const rig = withDead(jsonMessage('a'))
  for (let round = 1; round <= 2; round++) {
    expect(replay(rig, { maxRounds: 2 })).toMatchObject({ replayed: 1 })
    rig.settleSeqs(1, TERM, [1 + round, 1 + round])
    rig.settle()
    expect(list(rig).at(-1)?.headers).toMatchObject({ 'dlq-round': String(round) })
  }
  expect(replay(rig, { maxRounds: 2 })).toMatchObject({ replayed: 0 })
  expect(list(rig)).toHaveLength(1)
})

test('purged, they are gone, and a topic without any says so', () => {
  const rig = withDead(...[1, 2].map(jsonMessage))
  expect(ask(rig, { do: 'purge' })).toMatchObject({ purged: 2 })
  expect(list(rig)).toEqual([])
  rig.ask({ op: 'create', topic: 'quiet' } as never)
  expect(ask(rig, { do: 'purge' }, 'quiet')).toMatchObject({ purged: 0 })
  expect(replay(rig, {})).toMatchObject({ replayed: 0, next_seq: null })
})

test('a successor knows what was replayed', () => {
  const rig = withDead(...[1, 2].map(jsonMessage))
  replay(rig, { seqs: [1] })
  rig.restart()
  rig.settle()
  expect(list(rig).map(({ seq }) => seq)).toEqual([2])
})
