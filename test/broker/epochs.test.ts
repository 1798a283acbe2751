import { expect, test } from 'vitest'
import { type Json, JsonClient, MsgpackClient, startBroker } from './harness.js'

test('a subscribe with epochs is told in its ack what comes next in each topic', async () => {
  const { wsUrl, http } = await startBroker()
  const client = await JsonClient.connect(wsUrl)
  for (const topic of ['a.one', 'a.two']) {
    await client.ask({ type: 'publish', topic, message: { payload: 1 } })
  }
  const epochs = await Promise.all(
    ['a.one', 'a.two'].map(async (topic) => (await http('GET', `/topics/${topic}`)).body['epoch']),
  )
  const wild = await client.ask({ type: 'subscribe', topic: 'a.*', epochs: true })
  expect(wild['cursors']).toEqual({
    'a.one': { epoch: epochs[0], seq: 2 },
    'a.two': { epoch: epochs[1], seq: 2 },
  })
  const plain = await client.ask({ type: 'subscribe', topic: 'a.one', last_n: 1, epochs: true })
  expect(plain['cursors']).toEqual({ 'a.one': { epoch: epochs[0], seq: 1 } })
  const without = await client.ask({ type: 'subscribe', topic: '#' })
  expect(without).not.toHaveProperty('cursors')
})

test('a pattern with epochs is told the epoch of a new topic once, before its first event', async () => {
  const { wsUrl } = await startBroker()
  const client = await JsonClient.connect(wsUrl)
  await client.ask({ type: 'publish', topic: 'old', message: { payload: 1 } })
  await client.ask({ type: 'subscribe', topic: '*', epochs: true })
  await client.ask({ type: 'subscribe', topic: 'new', epochs: true })
  for (const topic of ['old', 'new', 'new']) {
    await client.ask({ type: 'publish', topic, message: { payload: 2 } })
  }
  await client.next(({ subscription, seq }) => subscription === '*' && seq === 2)
  await client.next(
    ({ subscription, topic, seq }) => subscription === '*' && topic === 'new' && seq === 2,
  )
  const told = client.frames.filter(({ subscription }) => subscription === '*')
  const ofNew = told
    .filter(({ topic }) => topic === 'new')
    .map((frame: Json) => frame['code'] ?? frame['seq'])
  const ofOld = told
    .filter(({ topic }) => topic === 'old')
    .map((frame: Json) => frame['code'] ?? frame['seq'])
  expect([ofNew, ofOld]).toEqual([['EPOCH', 1, 2], [2]])
  expect(
    client.frames.some(({ code, subscription }) => code === 'EPOCH' && subscription !== '*'),
  ).toBe(false)
})

test('an ack names a thousand topics at most', async () => {
  const { wsUrl } = await startBroker()
  const client = await MsgpackClient.connect(wsUrl)
  const count = 1010
  for (let n = 0; n < count; n++)
    client.send([1, n === count - 1 ? 'last' : null, `t.${n}`, [[1, Buffer.from('1')]]])
  await client.next(([op, id]) => op === 33 && id === 'last')
  const ack = await client.ask(2, 't.*', { epochs: true })
  expect(Object.keys((ack[3] as { cursors: object }).cursors).length).toBe(1000)
})
