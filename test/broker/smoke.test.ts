import { expect, test } from 'vitest'
import { JsonClient, MsgpackClient, startBroker } from './harness.js'

test('a message published in JSON reaches a MessagePack subscriber, and the other way round', async () => {
  const { wsUrl } = await startBroker()
  const json = await JsonClient.connect(wsUrl)
  const msgpack = await MsgpackClient.connect(wsUrl)
  await json.ask({ type: 'subscribe', topic: 'orders' })
  await msgpack.ask(2, 'orders')
  await json.ask({ type: 'publish', topic: 'orders', message: { payload: { n: 1 } } })
  await msgpack.ask(1, 'orders', [[1, Buffer.from('{"n":2}')]])
  await json.next((frame) => frame['seq'] === 2 && frame['type'] === 'event')
  expect(json.events.map(({ message }) => (message as { payload: unknown }).payload)).toEqual([
    { n: 1 },
    { n: 2 },
  ])
  expect(msgpack.entries.map((entry) => String(entry[3]))).toEqual(['{"n":1}', '{"n":2}'])
})
