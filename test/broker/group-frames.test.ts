/** What members of consumer groups say and hear on the wire, in both encodings. */
import { describe, expect, test } from 'vitest'
import { open } from '../client/harness.js'
import { GroupMember } from './group-member.js'
import { type Json, JsonClient, MsgpackClient, sleep, startBroker, waitUntil } from './harness.js'
import type { Encoding } from './load.js'

const ENCODINGS: readonly Encoding[] = ['msgpack', 'json']
const EARLIEST = { start: 'earliest' }

async function brokerWith(topic: string, count: number, properties: Json = {}) {
  const broker = await startBroker({ WORKERS: '1' })
  const messages = Array.from({ length: count }, (_, index) => ({
    payload: index + 1,
    ...properties,
  }))
  if (count > 0) await broker.http('POST', `/topics/${topic}/messages`, { messages })
  const info = async (group: string) =>
    (await broker.http('GET', `/topics/${topic}/groups/${group}`)).body
  return { broker, info, wsUrl: broker.wsUrl }
}

const seqsOf = ({ delivered }: GroupMember) => delivered.map(({ seq }) => seq)

describe.each(ENCODINGS)('in %s', (encoding) => {
  test('a join is acked with the state of the group, and a leave gives back what the member had', async () => {
    const { wsUrl, info } = await brokerWith('work', 3)
    const one = await GroupMember.join(wsUrl, encoding, 'work', 'all', { ...EARLIEST, window: 100 })
    expect(one.joined).toMatchObject({ group: 'all', seq: 3, ack_floor: 0, created: true })
    expect(one.joined?.['options']).toMatchObject({ window: 100, ack_wait_ms: 30_000 })
    await waitUntil(() => one.delivered.length === 3)
    expect(await one.say('ack', 2)).toMatchObject({ settled: 1 })
    const two = await GroupMember.join(wsUrl, encoding, 'work', 'all')
    expect(two.joined).toMatchObject({ created: false, ack_floor: 0 })
    expect(await one.leave()).toMatchObject({ group: 'all' })
    await waitUntil(() => two.delivered.length === 2)
    expect(two.delivered.map(({ seq, attempt }) => [seq, attempt])).toEqual([
      [1, 2],
      [3, 2],
    ])
    expect(await two.say('ack', [[1, 3]])).toMatchObject({ settled: 2 })
    expect(await info('all')).toMatchObject({ ack_floor: 3, lag: 0, members: 1 })
  })

  test('seqs are a number, a list with ranges, or up_to; what was settled before does not count', async () => {
    const { wsUrl, info } = await brokerWith('work', 10)
    const member = await GroupMember.join(wsUrl, encoding, 'work', 'all', EARLIEST)
    await waitUntil(() => member.delivered.length === 10)
    expect(await member.say('ack', [1, [3, 5], 1])).toMatchObject({ settled: 4 })
    expect(await member.say('ack', { up_to: 7 })).toMatchObject({ settled: 3 })
    expect(await member.say('ack', [[1, 2 ** 50]])).toMatchObject({ settled: 3 })
    expect(await member.say('ack', [11, 2 ** 50])).toMatchObject({ settled: 0 })
    expect(await info('all')).toMatchObject({ acked: 10, lag: 0 })
  })

  test('nack, term, working, pause and resume do what they say', async () => {
    const { wsUrl, info, broker } = await brokerWith('work', 3)
    const options = { ...EARLIEST, ack_wait_ms: 400, backoff: [10] }
    const member = await GroupMember.join(wsUrl, encoding, 'work', 'all', options)
    await waitUntil(() => member.delivered.length === 3)
    expect(await member.say('nack', 1, { delay_ms: 0, reason: 'later' })).toMatchObject({
      settled: 1,
    })
    await waitUntil(() => member.delivered.length === 4)
    expect(member.delivered[3]).toMatchObject({ seq: 1, attempt: 2 })
    expect(await member.say('term', [1, 2], { reason: 'never' })).toMatchObject({ settled: 2 })
    for (let times = 0; times < 4; times++) {
      await sleep(150)
      expect(await member.say('working', 3)).toMatchObject({ settled: 1 })
    }
    expect(member.delivered.length).toBe(4) // 600 ms later nobody else got 3.
    expect(await member.say('pause')).toMatchObject({ paused: true })
    await broker.http('POST', '/topics/work/messages', { message: { payload: 4 } })
    expect(await member.say('ack', 3)).toMatchObject({ settled: 1 })
    expect(await info('all')).toMatchObject({ lag: 1, dead_lettered: 2 })
    expect(member.delivered.length).toBe(4)
    expect(await member.say('resume')).toMatchObject({ paused: false })
    await waitUntil(() => member.delivered.length === 5)
    expect(member.delivered[4]).toMatchObject({ seq: 4, attempt: 1 })
  })

  test('release gives back what nobody looked at: it goes to others at once, and is no attempt', async () => {
    const { wsUrl, info } = await brokerWith('work', 4)
    const options = { ...EARLIEST, max_deliver: 2, backoff: [60_000] }
    const one = await GroupMember.join(wsUrl, encoding, 'work', 'all', options)
    await waitUntil(() => one.delivered.length === 4)
    await one.say('pause')
    expect(await one.say('release', [1, [3, 9]])).toMatchObject({ settled: 3 })
    expect(await one.say('release', 1)).toMatchObject({ settled: 0 }) // It is nobody's any more.
    expect(await one.say('ack', 1)).toMatchObject({ settled: 0 }) // And was never delivered.
    const two = await GroupMember.join(wsUrl, encoding, 'work', 'all')
    await waitUntil(() => two.delivered.length === 3)
    expect(two.delivered.map(({ seq, attempt }) => [seq, attempt])).toEqual([
      [1, 1],
      [3, 1],
      [4, 1],
    ])
    expect(await one.say('release', 3)).toMatchObject({ settled: 0 }) // It is another's.
    expect(await two.say('nack', 3, { delay_ms: 0 })).toMatchObject({ settled: 1 })
    await waitUntil(() => two.delivered.length === 4)
    expect(two.delivered[3]).toMatchObject({ seq: 3, attempt: 2 })
    // The last attempt, released: there is one left, still.
    await two.say('pause')
    expect(await two.say('release', 3)).toMatchObject({ settled: 1 })
    await two.say('resume')
    await waitUntil(() => two.delivered.length === 5)
    expect(two.delivered[4]).toMatchObject({ seq: 3, attempt: 2 })
    expect((await two.say('release', { up_to: 4 }))?.message).toBe('up_to is for ack only')
    expect(await info('all')).toMatchObject({ dead_lettered: 0, outstanding: 4 })
  })

  test('what is not so is refused with the field and the rule, and settles nothing', async () => {
    const { wsUrl, info } = await brokerWith('work', 2)
    const member = await GroupMember.join(wsUrl, encoding, 'work', 'all', EARLIEST)
    await waitUntil(() => member.delivered.length === 2)
    const refusals: [unknown, string][] = [
      [0, 'seqs must be whole numbers of at least 1'],
      [-1, 'seqs must be whole numbers of at least 1'],
      [1.5, 'seqs must be whole numbers of at least 1'],
      [[], 'seqs must have 1 to 4096 elements, got 0'],
      [Array.from({ length: 4097 }, () => 1), 'seqs must have 1 to 4096 elements, got 4097'],
      [[[2, 1]], 'a range in seqs must be [first, last]'],
      [[[1, 2, 3]], 'a range in seqs must be [first, last]'],
      [[[]], 'seqs must be whole numbers of at least 1'],
      ['1', 'seq must be a seq'],
    ]
    for (const [seqs, text] of refusals) {
      const answer = await member.say('ack', seqs)
      expect(answer?.code).toBe('BAD_REQUEST')
      expect(answer?.message).toContain(text)
    }
    const upTo = await member.say('nack', { up_to: 1 })
    expect(upTo?.message).toBe('up_to is for ack only')
    for (const details of [{ delay_ms: -1 }, { delay_ms: 1e12 }, { reason: 'x'.repeat(257) }]) {
      expect((await member.say('nack', 1, details))?.code).toBe('BAD_REQUEST')
    }
    expect(await info('all')).toMatchObject({ outstanding: 2, acked: 0 })
    const stranger = new GroupMember(wsUrl, encoding, 'work', 'none', EARLIEST)
    await stranger.connect()
    await stranger.leave()
    expect((await stranger.say('ack', 1))?.code).toBe('GROUP_NOT_FOUND')
    expect((await stranger.leave())?.code).toBe('GROUP_NOT_FOUND')
  })

  test('a member acks nothing that nobody was given', async () => {
    const { wsUrl, info } = await brokerWith('work', 20)
    const options = { ...EARLIEST, max_in_flight: 5 }
    const member = await GroupMember.join(wsUrl, encoding, 'work', 'all', options)
    await waitUntil(() => member.delivered.length === 5)
    expect(await member.say('ack', [[6, 20]])).toMatchObject({ settled: 0 })
    expect(await info('all')).toMatchObject({ acked: 0, ack_floor: 0 })
    expect(await member.say('ack', { up_to: 20 })).toMatchObject({ settled: 5 })
    await waitUntil(() => member.delivered.length === 10)
    expect(seqsOf(member)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  })

  test('a member that sits on its messages stalls nobody, and neither does a poisoned message', async () => {
    const { wsUrl, info } = await brokerWith('work', 200)
    const options = { ...EARLIEST, max_in_flight: 10, ack_wait_ms: 300, max_deliver: 4 }
    const common = { ...options, backoff: [10] }
    const stuck = await GroupMember.join(wsUrl, encoding, 'work', 'all', common)
    await waitUntil(() => stuck.delivered.length === 10)
    await stuck.say('pause') // It gets no more, so that all of them can be handled by the other.
    const member = new GroupMember(wsUrl, encoding, 'work', 'all', common)
    const acked = new Set<number>()
    member.onDelivered = (delivered) => {
      for (const { seq } of delivered) {
        if (seq === 50) void member.say('nack', seq, { reason: 'poison' })
        else acked.add(seq)
      }
      const done = delivered.map(({ seq }) => seq).filter((seq) => seq !== 50)
      if (done.length > 0) void member.say('ack', done)
    }
    await member.connect()
    await waitUntil(() => acked.size === 199)
    for (let tries = 0; tries < 500 && (await info('all'))['lag'] !== 0; tries++) await sleep(5)
    expect(await info('all')).toMatchObject({ lag: 0, acked: 199, dead_lettered: 1 })
    expect(member.delivered.filter(({ seq }) => seq === 50).map(({ attempt }) => attempt)).toEqual([
      1, 2, 3, 4,
    ])
    // Everything that the stuck member did not have was there before its time was over.
    const firsts = member.delivered.filter(({ attempt }) => attempt === 1).length
    expect(firsts).toBe(190)
  })

  test('GROUP_DELETED and TOPIC_DELETED end a membership; GAP tells what the log dropped', async () => {
    const { wsUrl, broker } = await brokerWith('work', 0)
    const member = await GroupMember.join(wsUrl, encoding, 'work', 'all', EARLIEST)
    await broker.http('DELETE', '/topics/work/groups/all')
    await waitUntil(() => member.infos.length === 1)
    expect(member.infos[0]).toMatchObject({ code: 'GROUP_DELETED', topic: 'work', group: 'all' })
    expect((await member.say('ack', 1))?.code).toBe('GROUP_NOT_FOUND')
    const other = await GroupMember.join(wsUrl, encoding, 'work', 'other', EARLIEST)
    await broker.http('DELETE', '/topics/work')
    await waitUntil(() => other.infos.length === 1)
    expect(other.infos[0]).toMatchObject({ code: 'TOPIC_DELETED', group: 'other' })
  })
})

test('a group loses what its topic drops, and says so once', async () => {
  const broker = await startBroker({
    WORKERS: '1',
    TOPIC_HISTORY_SIZE: '100',
    SUBSCRIBER_QUEUE_SIZE: '100',
  })
  const member = await GroupMember.join(broker.wsUrl, 'json', 'work', 'all', {
    ...EARLIEST,
    max_in_flight: 1,
  })
  const client = await open(broker.wsUrl, { codec: 'json' })
  for (let batch = 0; batch < 5; batch++) {
    await client.publishBatch(
      'work',
      Array.from({ length: 80 }, (_, index) => index),
    )
  }
  await member.say('ack', { up_to: 1 })
  await waitUntil(() => member.infos.some(({ code }) => code === 'GAP'))
  const lost = member.infos
    .filter(({ code }) => code === 'GAP')
    .reduce((sum, { dropped }) => sum + Number(dropped), 0)
  await waitUntil(() => member.delivered.length >= 2)
  expect(member.delivered[1]?.seq).toBe(lost + 2)
})

test('a thousand groups on one topic each get everything', async () => {
  const { wsUrl, broker } = await brokerWith('work', 0)
  const client = await MsgpackClient.connect(wsUrl)
  for (let group = 0; group < 1000; group++) {
    client.send([2, group, 'work', { group: `group-${group}`, max_in_flight: 20 }])
  }
  await waitUntil(() => client.frames.filter(([op]) => op === 33).length === 1000)
  const publisher = await open(wsUrl, { codec: 'json' })
  await publisher.publishBatch('work', [1, 2, 3, 4, 5])
  const delivered = () =>
    client.frames
      .filter(([op]) => op === 38)
      .reduce((sum, frame) => sum + (frame[5] as unknown[]).length, 0)
  await waitUntil(() => delivered() === 5000)
  for (let group = 0; group < 1000; group++) {
    client.send([5, null, 'work', `group-${group}`, [[1, 5]]])
  }
  const isSettled = async () => {
    const { body } = await broker.http('GET', '/topics/work/groups')
    const groups = body['groups'] as { lag: number }[]
    expect(groups.length).toBe(1000)
    return groups.every(({ lag }) => lag === 0)
  }
  let tries = 0
  while (!(await isSettled()) && tries++ < 500) await sleep(10)
  expect(await isSettled()).toBe(true)
}, 30_000)

test('a group counts as one of the MAX_SUBSCRIPTIONS_PER_CONNECTION, whichever comes first', async () => {
  const { wsUrl } = await startBroker({ WORKERS: '1', MAX_SUBSCRIPTIONS_PER_CONNECTION: '2' })
  const join = { type: 'subscribe', topic: 'work', group: 'all' }
  const subscribe = (topic: string) => ({ type: 'subscribe', topic })
  for (const [one, other] of [
    [join, subscribe('a')],
    [subscribe('a'), join],
  ] as const) {
    const client = await JsonClient.connect(wsUrl)
    expect(await client.ask(one)).toMatchObject({ type: 'ack' })
    expect(await client.ask(other)).toMatchObject({ type: 'ack' })
    for (const third of [subscribe('b'), { ...join, group: 'others' }]) {
      const refused = { type: 'error', error: { code: 'LIMIT_EXCEEDED' } }
      expect(await client.ask(third)).toMatchObject(refused)
    }
  }
})

test('nonsense on the wire is refused, and the connection lives', async () => {
  const { wsUrl } = await brokerWith('work', 1)
  const client = await MsgpackClient.connect(wsUrl)
  const frames: unknown[][] = [
    [5, 1, 'work', 'all'],
    [5, 2, 'work', 7, 1],
    [5, 3, 'work', 'all', 1, {}],
    [6, 4, 'work', 'all', 1, 'later'],
    [9, 5, 'work', 'all', 1],
    [2, 6, 'work', { group: 'two words' }],
    [2, 7, 'work.*', { group: 'all' }],
    [2, 8, 'work', { group: 'all', ack_wait_ms: 1 }],
    [2, 9, 'work', { group: 'all', backoff: [] }],
    // As JSON, quotes escaped, more than a group's slot holds.
    [2, 10, 'work', { group: 'all', filter: `key == '${'"'.repeat(700)}'` }],
    [2, 10, 'work', { group: 'all', start: 'earliest', last_n: 3 }],
    [3, 11, 'work', { group: 'all' }],
    [10, 12, 'work', 'all'],
  ]
  client.send(...frames)
  await waitUntil(() => client.frames.length === frames.length)
  for (const frame of client.frames) {
    expect(frame[0]).toBe(35)
    expect(['BAD_REQUEST', 'GROUP_NOT_FOUND']).toContain(frame[2])
  }
  expect((await client.ask(4))[0]).toBe(36)
  const json = await JsonClient.connect(wsUrl)
  for (const frame of [
    { type: 'ack', topic: 'work', group: 'all' },
    { type: 'ack', topic: 'work', seq: 1 },
    { type: 'nack', topic: 'work', group: 'all', seq: 1, delay_ms: 'soon' },
  ]) {
    expect((await json.ask(frame))['type']).toBe('error')
  }
})
