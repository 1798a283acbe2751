/** What becomes of entries in corners that the model does not come to. */
import { expect, test } from 'vitest'
import { deliveries, jsonMessage, only, replies, ShardRig } from '../shard/shard-rig.js'

const ACK = 1
const NACK = 2
const TERM = 3
const RETRY_MS = 1000

const seqsOf = (rig: ShardRig) => deliveries(rig.settle()).flatMap(({ seqs }) => seqs)

function letters(rig: ShardRig): string[] {
  const action = { do: 'list', fromSeq: 1, limit: 10, group: null, reason: null }
  const { body } = only(replies(rig.ask({ op: 'deadLetters', topic: 't', action } as never)))
  const found = body['dead_letters'] as { headers: Record<string, string> }[]
  return found.map(({ headers }) => `${headers['dlq-seq']} ${headers['dlq-reason']}`)
}

/** Changes options; returns what is delivered upon that. */
function update(rig: ShardRig, options: object): number[] {
  const action = { do: 'update', group: 'g', options }
  const records = rig.ask({ op: 'group', topic: 't', action } as never)
  return deliveries(records).flatMap(({ seqs }) => seqs)
}

test('what is given up waits for room with the dead letters, and never comes again', () => {
  const rig = new ShardRig({ plan: { maxTopics: 2 } })
  rig.ask({ op: 'create', topic: 'filler', options: {} } as never)
  rig.join(1, 'g', { options: { max_deliver: 2, backoff: [0] } })
  rig.publishNumbers('t', [1, 2])
  expect(seqsOf(rig)).toEqual([1, 2])
  rig.settleSeqs(1, TERM, [1, 1], { reason: 'no' }) // There is no topic for it, and none can be made.
  rig.settleSeqs(1, NACK, [2, 2])
  expect(seqsOf(rig)).toEqual([2])
  rig.settleSeqs(1, NACK, [2, 2])
  expect(seqsOf(rig)).toEqual([])
  for (let round = 0; round < 3; round++) {
    rig.advance(RETRY_MS + 1)
    expect(seqsOf(rig)).toEqual([])
    expect(letters(rig)).toEqual([])
    if (round === 1) rig.restart()
  }
  rig.ask({ op: 'delete', topic: 'filler' } as never)
  rig.advance(RETRY_MS + 1)
  rig.settle()
  expect(letters(rig).toSorted()).toEqual(['1 term', '2 max_deliver'])
})

test('a group that is ordered from now on waits for everything of a key that is under way', () => {
  const keyed = [...jsonMessage(1), null, null, { key: 'k' }]
  const rig = new ShardRig()
  rig.join(1, 'g', { options: { backoff: [60_000] } })
  rig.publish('t', [keyed, keyed, keyed])
  expect(seqsOf(rig)).toEqual([1, 2, 3])
  expect(update(rig, { ordered: 'key' })).toEqual([])
  rig.publish('t', [keyed, keyed])
  expect(seqsOf(rig)).toEqual([])
  rig.settleSeqs(1, ACK, [2, 2]) // In the middle of the line.
  rig.settleSeqs(1, ACK, [1, 1])
  expect(seqsOf(rig)).toEqual([])
  rig.settleSeqs(1, NACK, [3, 3])
  expect(seqsOf(rig)).toEqual([])
  rig.advance(60_001)
  expect(seqsOf(rig)).toEqual([3])
  rig.settleSeqs(1, ACK, [3, 3])
  expect(seqsOf(rig)).toEqual([4])
  expect(update(rig, { ordered: 'none' })).toEqual([5])
  rig.publish('t', [keyed])
  expect(seqsOf(rig)).toEqual([6])
})
