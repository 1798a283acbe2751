/**
 * A shard dies in the middle of one request, at every step of it: the request is answered all the
 * same, once, and its effect is what the answer says.
 */
import { expect, test } from 'vitest'
import { FAULTY_SHARD, type Fault, injector } from './faults.js'
import { type Json, JsonClient, startBroker, type TestBroker, waitUntil } from './harness.js'

const STORED = 3

/** Where the shard dies: before and after each call, and each of the first calls of some. */
const POINTS: readonly (readonly [type: string, method: string, calls?: number])[] = [
  ['Journal', 'begin'],
  ['TopicDirectory', 'tryTake'],
  ['TopicDirectory', 'activate'],
  ['TopicDirectory', 'setPlainFormats'],
  ['TopicDirectory', 'release'],
  ['TopicLog', 'free'],
  ['PatternTable', 'add'],
  ['PatternTable', 'remove'],
  ['Shard', 'create'],
  ['Shard', 'delete'],
  ['Shard', 'attach'],
  ['Notices', 'send', 0],
  ['Notices', 'send', 1],
  ['Notices', 'send', 2],
  ['Notices', 'tryReply'],
  ['EventWriter', 'write'],
  ['Journal', 'applied'],
  ['Journal', 'end'],
  ['Journal', 'commitBatch'],
  ['RingProducer', 'publish'],
  ['RingConsumer', 'release'],
  ['Journal', 'batchDone'],
]

interface Scene {
  readonly broker: TestBroker
  /** Has subscribed to the topic. */
  readonly watcher: JsonClient
  readonly client: JsonClient
  readonly topic: string
}

const subscribed = async ({ broker, client, topic }: Scene, subscription: string) => {
  await client.next(({ seq, type }) => type === 'event' && seq === STORED)
  await broker.http('POST', `/topics/${topic}/messages`, { message: { payload: 'after' } })
  await client.next(({ seq, type }) => type === 'event' && seq === STORED + 1)
  expect(client.events.map(({ seq }) => seq)).toEqual([1, 2, 3, 4])
  const answer = await client.ask({ type: 'unsubscribe', topic: subscription })
  expect(answer['type']).toBe('ack')
}

const requests: Record<string, (scene: Scene, die: () => Promise<unknown>) => Promise<void>> = {
  'a subscribe': async (scene, die) => {
    const { client, topic } = scene
    await die()
    const ack = await client.ask({ type: 'subscribe', topic, last_n: STORED })
    expect(ack).toMatchObject({ type: 'ack', seq: STORED })
    await subscribed(scene, topic)
  },

  'a subscribe to a pattern': async (scene, die) => {
    const { client, topic } = scene
    const pattern = `${topic}.#`
    await die()
    const ack = await client.ask({ type: 'subscribe', topic: pattern, last_n: STORED })
    expect(ack).toMatchObject({ type: 'ack' })
    await subscribed(scene, pattern)
  },

  'an unsubscribe': async ({ client, topic, broker }, die) => {
    await client.ask({ type: 'subscribe', topic, last_n: STORED })
    await client.next(({ seq, type }) => type === 'event' && seq === STORED)
    await client.ask({ type: 'subscribe', topic: `${topic}.#` })
    await die()
    await client.ask({ type: 'unsubscribe', topic })
    await client.ask({ type: 'unsubscribe', topic: `${topic}.#` })
    await broker.http('POST', `/topics/${topic}/messages`, { message: { payload: 'after' } })
    expect(client.events.length).toBe(STORED)
  },

  'a create': async ({ broker, topic }, die) => {
    const name = `${topic}.new`
    await die()
    const { status, body } = await broker.http('POST', '/topics', { name })
    expect({ status, body }).toEqual({ status: 201, body: { status: 'created', topic: name } })
    expect((await broker.http('GET', `/topics/${name}`)).status).toBe(200)
  },

  'a delete': async ({ broker, topic, watcher }, die) => {
    await die()
    const { status, body } = await broker.http('DELETE', `/topics/${topic}`)
    expect({ status, body }).toEqual({ status: 200, body: { status: 'deleted', topic } })
    const isNotice = (frame: Json) => frame['code'] === 'TOPIC_DELETED'
    await watcher.next(isNotice)
    expect(watcher.frames.filter(isNotice).length).toBe(1)
    expect((await broker.http('GET', `/topics/${topic}`)).status).toBe(404)
    expect(broker.broker.gateway.fanOut.feedCount).toBe(0)
  },

  'a history': async ({ broker, topic }, die) => {
    await die()
    const { body } = await broker.http('GET', `/topics/${topic}/messages`)
    expect((body['messages'] as Json[]).map(({ seq }) => seq)).toEqual([1, 2, 3])
  },

  'a list': async ({ broker, topic }, die) => {
    await die()
    const { body } = await broker.http('GET', '/topics')
    expect(body['topics']).toContainEqual({ name: topic, subscribers: 1 })
  },
}

for (const [name, request] of Object.entries(requests)) {
  test(`${name} at work when its shard dies is answered once and done once`, async () => {
    const broker = await startBroker({ WORKERS: '1' }, FAULTY_SHARD)
    const inject = injector()
    const failures: string[] = []
    let hits = 0
    for (const [index, [type, method, calls = 0]] of POINTS.entries()) {
      for (const isAfter of [false, true]) {
        const fault: Fault = { kind: 'throw', shard: 0, type, method, isAfter, calls }
        const scene = await setScene(broker, `${index}.${isAfter ? 'after' : 'before'}`)
        try {
          await request(scene, () => inject(fault))
        } catch (error) {
          failures.push(`${isAfter ? 'after' : 'before'} ${type}.${method}(${calls}): ${error}`)
        }
        if (await inject({ kind: 'disarm', shard: 0 })) hits++
        scene.client.socket.terminate()
        scene.watcher.socket.terminate()
        const { sessions, links } = broker.broker.gateway
        await waitUntil(() => sessions.size === 0 && links[0]?.isDown === false)
      }
    }
    expect(failures).toEqual([])
    expect(hits).toBeGreaterThan(10)
    expect(broker.fatal).toEqual([])
  })
}

async function setScene(broker: TestBroker, topic: string): Promise<Scene> {
  for (let stored = 1; stored <= STORED; stored++) {
    await broker.http('POST', `/topics/${topic}/messages`, { message: { payload: stored } })
  }
  const watcher = await JsonClient.connect(broker.wsUrl)
  await watcher.ask({ type: 'subscribe', topic })
  const client = await JsonClient.connect(broker.wsUrl)
  return { broker, watcher, client, topic }
}
