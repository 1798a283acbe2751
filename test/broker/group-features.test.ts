/** Priority, expiry and members that come and go, of consumer groups over real sockets. */
import { describe, expect, test } from 'vitest'
import { GroupMember } from './group-member.js'
import { type Json, startBroker, waitUntil } from './harness.js'
import type { Encoding } from './load.js'

const ENCODINGS: readonly Encoding[] = ['msgpack', 'json']
/** Nothing here waits for a deadline. */
const ACK_WAIT_MS = 600_000
const PRIORITIES = ['low', 'normal', 'high'] as const
const OF_EACH = 120

async function brokerWith(group: Json) {
  const broker = await startBroker({ WORKERS: '1' })
  await broker.http('POST', '/topics', { name: 'work' })
  const options = { name: 'all', start: 'earliest', ack_wait_ms: ACK_WAIT_MS, ...group }
  expect((await broker.http('POST', '/topics/work/groups', options)).status).toBe(201)
  const publish = async (messages: Json[]) => {
    const { status } = await broker.http('POST', '/topics/work/messages', { messages })
    expect(status).toBe(200)
  }
  const info = async () => (await broker.http('GET', '/topics/work/groups/all')).body
  return { broker, wsUrl: broker.wsUrl, publish, info }
}

/** Acks everything that the member gets. */
function ackAll(member: GroupMember): void {
  member.onDelivered = (delivered) => {
    const seqs = delivered.map(({ seq }) => seq)
    void member.say('ack', seqs)
  }
}

describe.each(ENCODINGS)('in %s', (encoding) => {
  test('high goes before normal before low, and none of them starves', async () => {
    const { wsUrl, publish, info } = await brokerWith({})
    for (const priority of PRIORITIES) {
      await publish(Array.from({ length: OF_EACH }, () => ({ payload: 1, priority })))
    }
    const member = new GroupMember(wsUrl, encoding, 'work', 'all', { max_in_flight: 1 })
    ackAll(member)
    await member.connect()
    await waitUntil(() => member.delivered.length === 3 * OF_EACH)
    const order = member.delivered.map(({ seq }) => Math.floor((seq - 1) / OF_EACH))
    const [low, normal, high] = [0, 1, 2]
    // 8 of high, then one of a lower; of those every ninth is low.
    expect(order.slice(0, 9)).toEqual([...Array.from({ length: 8 }, () => high), normal])
    expect(order.indexOf(low)).toBe(80)
    const highDone = order.lastIndexOf(high)
    expect(highDone).toBeLessThan(OF_EACH * 1.2)
    // Within a priority it is the order of the log.
    for (const level of [low, normal, high]) {
      const seqs = member.delivered
        .map(({ seq }) => seq)
        .filter((seq) => Math.floor((seq - 1) / OF_EACH) === level)
      expect(seqs).toEqual(seqs.toSorted((one, other) => one - other))
    }
    expect(await info()).toMatchObject({ lag: 0, delivered: 3 * OF_EACH, redelivered: 0 })
  })

  test('what expires while it waits is not delivered; with dead_letter_expired it is a dead letter', async () => {
    const { broker, wsUrl, publish, info } = await brokerWith({ dead_letter_expired: true })
    const plain = { name: 'plain', start: 'earliest' }
    await broker.http('POST', '/topics/work/groups', plain)
    const messages = [1, 2, 3, 4, 5, 6].map((payload) => ({
      payload,
      ...(payload === 4 ? {} : { ttl_ms: 40 }),
    }))
    await publish(messages)
    // Nobody is a member, and what expired at the old end has left the log. It is not lost all the same.
    const letters = async () =>
      (await broker.http('GET', '/topics/work/dead-letters')).body['dead_letters'] as Json[]
    await expect.poll(async () => (await letters()).length).toBe(5)
    expect((await letters()).map(({ headers }) => headers)).toMatchObject(
      [1, 2, 3, 5, 6].map((seq) => ({
        'dlq-seq': String(seq),
        'dlq-group': 'all',
        'dlq-reason': 'expired',
        'dlq-attempts': '0',
      })),
    )
    for (const group of ['all', 'plain']) {
      const member = await GroupMember.join(wsUrl, encoding, 'work', group)
      await waitUntil(() => member.delivered.length === 1)
      expect(member.delivered[0]).toMatchObject({ seq: 4, attempt: 1 })
      expect(await member.say('ack', 4)).toMatchObject({ settled: 1 })
      expect(member.infos).toEqual([]) // No GAP.
    }
    expect(await info()).toMatchObject({ lag: 0, expired: 5, dead_lettered: 5, lost: 0 })
    const { body } = await broker.http('GET', '/topics/work/groups/plain')
    expect(body).toMatchObject({ lag: 0, expired: 5, dead_lettered: 0, lost: 0 })
  })

  test('a stuck member that is restarted stalls nobody: what it had goes to others at once', async () => {
    const { wsUrl, publish, info } = await brokerWith({ max_in_flight: 10, max_deliver: 3 })
    const stuck = await GroupMember.join(wsUrl, encoding, 'work', 'all')
    await publish(Array.from({ length: 100 }, (_, index) => ({ payload: index + 1 })))
    await waitUntil(() => stuck.delivered.length === 10)
    const busy = new GroupMember(wsUrl, encoding, 'work', 'all')
    ackAll(busy)
    await busy.connect()
    // The others do not wait for it …
    await waitUntil(() => busy.delivered.length === 90)
    expect(await info()).toMatchObject({ outstanding: 10, acked: 90 })
    // … nor for its deadline, ten minutes from now.
    ackAll(stuck)
    await stuck.cut(0)
    const all = () => [...busy.delivered, ...stuck.delivered]
    await waitUntil(() => all().length === 110)
    const again = all().filter(({ attempt }) => attempt === 2)
    expect(again.map(({ seq }) => seq).toSorted((one, other) => one - other)).toEqual(
      stuck.delivered.slice(0, 10).map(({ seq }) => seq),
    )
    await expect.poll(async () => (await info())['lag']).toBe(0)
  })
})
