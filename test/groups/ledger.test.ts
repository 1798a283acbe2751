/** What becomes of entries in corners that the model does not come to. */
import { expect, test } from 'vitest'
import { CLIENT_ID_BYTES_MAX } from '../../src/protocol/limits.js'
import { deliveries, jsonMessage, only, replies, ShardRig } from '../shard/shard-rig.js'
import { loadStepped, settleThroughDeath } from '../shard/stepped.js'

const ACK = 1
const NACK = 2
const TERM = 3
const RELEASE = 7
const RETRY_MS = 1000

const seqsOf = (rig: ShardRig) => deliveries(rig.settle()).flatMap(({ seqs }) => seqs)

function letters(rig: ShardRig): string[] {
  const action = { do: 'list', fromSeq: 1, limit: 10, group: null, reason: null }
  const { body } = only(replies(rig.ask({ op: 'deadLetters', topic: 't', action } as never)))
  const found = body['dead_letters'] as { headers: Record<string, string> }[]
  return found.map(({ headers }) => `${headers['dlq-seq']} ${headers['dlq-reason']}`)
}

function ask(rig: ShardRig, action: object): Readonly<Record<string, unknown>> {
  return only(replies(rig.ask({ op: 'group', topic: 't', action } as never))).body
}

/** Makes a group without members, whose expired messages are dead letters. */
function buryExpired(rig: ShardRig): void {
  const start = { from: 'seq', seq: 1, epoch: null }
  ask(rig, { do: 'create', group: 'g', options: { dead_letter_expired: true }, start })
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

test('in a group that is ordered from now on nothing that comes again overtakes its key', () => {
  const keyed = [...jsonMessage(1), null, null, { key: 'k' }]
  const rig = new ShardRig()
  rig.join(1, 'g', { options: { backoff: [1000] } })
  rig.publish('t', [keyed, keyed, keyed])
  expect(seqsOf(rig)).toEqual([1, 2, 3])
  rig.settleSeqs(1, NACK, [1, 3])
  expect(seqsOf(rig)).toEqual([])
  expect(update(rig, { ordered: 'key' })).toEqual([])
  rig.advance(1001)
  expect(seqsOf(rig)).toEqual([1])
  rig.settleSeqs(1, NACK, [1, 1], { delayMs: 0 })
  expect(seqsOf(rig)).toEqual([1])
  rig.settleSeqs(1, ACK, [1, 1])
  expect(seqsOf(rig)).toEqual([2])
  rig.settleSeqs(1, ACK, [2, 2])
  expect(seqsOf(rig)).toEqual([3])
  rig.settleSeqs(1, ACK, [3, 3])
  seqsOf(rig)
  expect(ask(rig, { do: 'info', group: 'g' })).toMatchObject({ outstanding: 0, ack_floor: 3 })
})

test('what the log has dropped is lost, and is not looked at when entries expire', () => {
  const rig = new ShardRig()
  rig.ask({ op: 'create', topic: 't', options: { ttl_ms: 1000, max_age_ms: 500 } } as never)
  rig.publishNumbers('t', [1, 2, 3, 4, 5])
  rig.settle()
  buryExpired(rig)
  rig.advance(600)
  rig.shard.evictExpired() // By the duty cycle, between two batches.
  rig.advance(500)
  rig.settle()
  expect(ask(rig, { do: 'info', group: 'g' })).toMatchObject({
    outstanding: 0,
    lost: 5,
    ack_floor: 5,
  })
  expect(letters(rig)).toEqual([])
})

test('all that expired goes to the dead letters when there is room again, also without members', () => {
  const rig = new ShardRig({ plan: { maxTopics: 2 } })
  rig.ask({ op: 'create', topic: 'filler', options: {} } as never)
  rig.ask({ op: 'create', topic: 't', options: { ttl_ms: 1000 } } as never)
  buryExpired(rig)
  rig.publishNumbers('t', [1, 2, 3])
  rig.settle()
  rig.advance(1100)
  rig.settle()
  expect(letters(rig)).toEqual([])
  expect(ask(rig, { do: 'info', group: 'g' })).toMatchObject({ expired: 1, outstanding: 3 })
  rig.ask({ op: 'delete', topic: 'filler' } as never)
  rig.advance(RETRY_MS + 1)
  rig.settle()
  expect(letters(rig)).toEqual(['1 expired', '2 expired', '3 expired'])
})

test('whenever the shard dies, what waits for room with the dead letters keeps its reason', async () => {
  const stepper = await loadStepped()
  let deaths = 0
  for (let crashAt = 0; ; crashAt++) {
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    const rig = new ShardRig({ shardClass: stepper.Shard, plan: { maxTopics: 2 } })
    rig.ask({ op: 'create', topic: 'filler', options: {} } as never)
    rig.join(1, 'g')
    rig.publishNumbers('t', [1])
    rig.settle()
    rig.settleSeqs(1, TERM, [1, 1], { reason: 'no' })
    stepper.crashAfter(crashAt)
    const hasDied = settleThroughDeath(stepper, rig)
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    rig.ask({ op: 'delete', topic: 'filler' } as never)
    rig.advance(RETRY_MS + 1)
    rig.settle()
    expect(letters(rig), `after a death at ${crashAt}`).toEqual(['1 term'])
    if (!hasDied) break
    deaths++
  }
  expect(deaths).toBeGreaterThan(50)
}, 120_000)

test('whenever the shard dies, what was released on a later attempt goes again at once', async () => {
  const stepper = await loadStepped()
  let deaths = 0
  for (let crashAt = 0; ; crashAt++) {
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    const rig = new ShardRig({ shardClass: stepper.Shard })
    rig.join(1, 'g', { options: { backoff: [0] } })
    rig.publishNumbers('t', [1])
    rig.settle()
    rig.settleSeqs(1, NACK, [1, 1])
    rig.settle()
    const before = deliveries(rig.taken).length
    rig.settleSeqs(1, RELEASE, [1, 1])
    stepper.crashAfter(crashAt)
    const hasDied = settleThroughDeath(stepper, rig)
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    rig.take()
    const again = deliveries(rig.taken).slice(before)
    const what = `after a death at ${crashAt}`
    expect(
      again.map(({ attempt }) => attempt),
      what,
    ).toEqual([2])
    if (!hasDied) break
    deaths++
  }
  expect(deaths).toBeGreaterThan(50)
}, 120_000)

test('the longest label of a member outlives its shard', () => {
  const rig = new ShardRig()
  rig.ask({ op: 'create', topic: 't', options: {} } as never)
  const name = 'é'.repeat(CLIENT_ID_BYTES_MAX / 2)
  rig.join(1, 'g', { name })
  rig.join(2, 'g', { name: 'next to it' })
  rig.restart()
  const members = ask(rig, { do: 'info', group: 'g' })['member_list'] as { client_id: string }[]
  expect(members.map(({ client_id }) => client_id).toSorted()).toEqual(['next to it', name])
})

test('an ack of everything up to a seq leaves what was given back', () => {
  const rig = new ShardRig()
  rig.join(1, 'g', { options: { backoff: [1000] } })
  rig.publishNumbers('t', [1, 2, 3, 4])
  expect(seqsOf(rig)).toEqual([1, 2, 3, 4])
  rig.send({ op: 'pauseMember', member: 1, isPaused: true })
  rig.settleSeqs(1, NACK, [1, 1])
  rig.settleSeqs(1, RELEASE, [2, 2])
  rig.settleSeqs(1, ACK, [1, 4], { isUpTo: true })
  rig.settle()
  expect(ask(rig, { do: 'info', group: 'g' })).toMatchObject({ outstanding: 2, acked: 2 })
  expect(deliveries(rig.join(2, 'g'))).toMatchObject([{ seqs: [2], attempt: 1 }])
  rig.advance(1000)
  expect(seqsOf(rig)).toEqual([1])
})

test('whenever the shard dies, an ack of everything up to a seq leaves what was never sent', async () => {
  const stepper = await loadStepped()
  const published = [1, 2, 3, 4]
  let deaths = 0
  for (let crashAt = 0; ; crashAt++) {
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    const rig = new ShardRig({ shardClass: stepper.Shard })
    rig.join(1, 'g', { options: { backoff: [0] } })
    rig.publishNumbers('t', published)
    rig.settle()
    rig.send({ op: 'leave', member: 1 })
    rig.settle()
    const before = deliveries(rig.taken).length
    rig.requestJoin(2, 'g', { maxInFlight: 3 })
    stepper.crashAfter(crashAt)
    const hasDied = settleThroughDeath(stepper, rig)
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    const all = () => {
      rig.take()
      return deliveries(rig.taken)
        .slice(before)
        .flatMap(({ seqs }) => seqs)
    }
    rig.settleSeqs(2, ACK, [1, Math.max(...all())], { isUpTo: true })
    rig.settle()
    expect(all().toSorted(), `after a death at ${crashAt}`).toEqual(published)
    if (!hasDied) break
    deaths++
  }
  expect(deaths).toBeGreaterThan(50)
}, 120_000)
