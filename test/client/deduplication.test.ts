/**
 * Effectively once: the connection is cut between the store and the ack, the SDK sends again, and the
 * topic's deduplication window knows the message.
 */
import { expect, test } from 'vitest'
import { type Json, startBroker } from '../broker/harness.js'
import { CuttingProxy, open, waitUntil } from './harness.js'

test.each(['msgpack', 'json'] as const)(
  '%s: a publish whose ack is cut at any byte is stored once, and its promise says where',
  async (encoding) => {
    const { broker, http } = await startBroker({ WORKERS: '1' })
    await http('POST', '/topics', { name: 'once', options: { dedup_window_ms: 60_000 } })
    const proxy = await CuttingProxy.start(broker.port)
    const client = await open(proxy.url, { encoding, reconnectBaseMs: 1, reconnectMaxMs: 2 })
    const results: { seq: number; duplicate?: true }[] = []
    const round = async (number: number) => {
      const [one, two] = await Promise.all([
        client.publish('once', number),
        client.publish('once', -number),
      ])
      results.push(one, two)
    }
    const before = proxy.passed.toClient
    await round(1)
    const bytes = proxy.passed.toClient - before
    const rounds = bytes + 2
    for (let number = 2; number < rounds; number++) {
      proxy.cutAfter('toClient', number - 2)
      await round(number)
      proxy.disarm()
      await waitUntil(() => client.state === 'open')
    }
    const { body } = await http('GET', '/topics/once/messages?limit=1000')
    const messages = body['messages'] as Json[]
    const wanted = Array.from({ length: rounds - 1 }, (_, index) => [index + 1, -index - 1]).flat()
    expect(messages.map(({ payload }) => payload)).toEqual(wanted)
    expect(results.map(({ seq }) => seq)).toEqual(wanted.map((_, index) => index + 1))
    // Nearly all of the acks were lost; those messages were found again.
    expect(results.filter(({ duplicate }) => duplicate).length).toBeGreaterThan(bytes)
    client.close()
  },
)

test('publishBatch() that is sent again resolves with where it stands', async () => {
  const { broker, http } = await startBroker({ WORKERS: '1' })
  await http('POST', '/topics', { name: 'once', options: { dedup_window_ms: 60_000 } })
  const proxy = await CuttingProxy.start(broker.port)
  const client = await open(proxy.url, { reconnectBaseMs: 1, reconnectMaxMs: 2 })
  await client.publish('once', 0)
  proxy.cutAfter('toClient', 0)
  const { firstSeq, lastSeq } = await client.publishBatch('once', [1, 2, 3])
  expect([firstSeq, lastSeq]).toEqual([2, 4])
  const { body } = await http('GET', '/topics/once')
  expect(body['last_seq']).toBe(4)
  client.close()
})
