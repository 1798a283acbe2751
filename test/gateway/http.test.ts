/**
 * The HTTP door without sockets: a request in, one answer out.
 * Runs on: the test thread. What HTTP itself does with it is tested with real sockets in test/broker.
 */
import { describe, expect, test } from 'vitest'
import { type HttpAnswer, HttpDoor } from '../../src/gateway/http.js'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { makeRig, type Rig, type RigOptions, range } from './rig.js'

const KiB = 1024

class Door {
  readonly rig: Rig
  readonly #door: HttpDoor

  constructor(options: RigOptions = {}) {
    this.rig = makeRig(options)
    this.#door = new HttpDoor(this.rig.gateway, {
      startedAtMs: Date.now(),
      topicCount: () => this.rig.topicCount,
      shardCounters: () => this.rig.shards.map(({ counters }) => counters.snapshot()),
      about: () => ({ process: { version: 'of the test' } }),
    })
  }

  /** The answers so far; there must be exactly one in the end. */
  begin(method: string, path: string, body: unknown = ''): HttpAnswer[] {
    const answers: HttpAnswer[] = []
    const [pathname = '', query = ''] = path.split('?')
    const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
    const request = { method, path: pathname, query: new URLSearchParams(query), body: bytes }
    this.#door.handle(request, (answer) => answers.push(answer))
    return answers
  }

  ask(method: string, path: string, body: unknown = '') {
    const answers = this.begin(method, path, body)
    this.rig.settle()
    expect(answers).toHaveLength(1)
    const { status, body: text, allow } = answers[0] as HttpAnswer
    return { status, allow, body: JSON.parse(text.toString()) as Record<string, unknown> }
  }
}

describe('topics', () => {
  test('are created once, listed with their subscribers, and deleted', () => {
    const door = new Door({ plan: { workers: 3 } })
    expect(door.ask('POST', '/topics', { name: 'a' })).toMatchObject({
      status: 201,
      body: { status: 'created', topic: 'a' },
    })
    expect(door.ask('POST', '/topics', { name: 'a' })).toMatchObject({ status: 200 })
    for (const name of ['b', 'c', 'd']) door.ask('POST', '/topics', { name })
    const json = door.rig.connect(JSON_TEXT)
    const packed = door.rig.connect(MSGPACK)
    json.subscribe('a')
    packed.subscribe('a')
    packed.subscribe('#')
    door.rig.settle()
    const { topics } = door.ask('GET', '/topics').body as { topics: { name: string }[] }
    expect(topics.sort((x, y) => (x.name < y.name ? -1 : 1))).toEqual([
      { name: 'a', subscribers: 3 },
      { name: 'b', subscribers: 1 },
      { name: 'c', subscribers: 1 },
      { name: 'd', subscribers: 1 },
    ])
    expect(door.ask('DELETE', '/topics/a')).toMatchObject({ status: 200 })
    expect(door.ask('DELETE', '/topics/a')).toMatchObject({ status: 404 })
    expect(json.of('info')).toMatchObject([{ code: 'TOPIC_DELETED', topic: 'a' }])
  })

  test('more than a page of them are listed all', () => {
    const door = new Door({ plan: { maxTopics: 300, logMemoryBytes: 4096 * KiB } })
    for (const n of range(1, 250)) door.ask('POST', '/topics', { name: `t${n}` })
    const { topics } = door.ask('GET', '/topics').body as { topics: { name: string }[] }
    expect(topics.map(({ name }) => name)).toEqual(range(1, 250).map((n) => `t${n}`))
    expect(door.rig.gateway.requests.size).toBe(0)
  })

  test('have details, with every subscription and how far it lags', () => {
    const door = new Door()
    const { rig } = door
    const slow = rig.connect(MSGPACK)
    slow.subscribe('a.b', { client_id: 'slow one' })
    slow.subscribe('a.*', { policy: 'disconnect' })
    rig.settle()
    slow.socket.isReading = false
    for (const _ of range(1, 3)) {
      door.ask('POST', '/topics/a.b/messages', { message: { payload: 'x'.repeat(60_000) } })
    }
    const { status, body } = door.ask('GET', '/topics/a.b')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      name: 'a.b',
      first_seq: 1,
      last_seq: 3,
      messages: 3,
      subscribers: 2,
      subscriptions: [
        { client_id: 'slow one', subscription: 'a.b', policy: 'drop_oldest', lag: 2 },
        { client_id: null, subscription: 'a.*', policy: 'disconnect', lag: 2 },
      ],
    })
    expect(body).not.toHaveProperty('topic_id')
    expect(door.ask('GET', '/topics/none')).toMatchObject({
      status: 404,
      body: { error: { code: 'TOPIC_NOT_FOUND' } },
    })
    expect(door.ask('GET', '/stats').body).toMatchObject({
      topics: { 'a.b': { messages: 3, held: 3, subscribers: 2 } },
      connections: 1,
      subscribers: 2,
      lagging: 2,
      rings: [{ inbound_bytes: 0, outbound_bytes: 0 }],
      gateway: { gaps: 0 },
      workers: [{ messagesStored: 3 }],
      process: { version: 'of the test' },
    })
    const { body: short } = door.ask('GET', '/stats?topics=none')
    expect(short).not.toHaveProperty('topics')
    expect(short).toMatchObject({ subscribers: 2, workers: [{ messagesStored: 3 }] })
    expect(door.ask('GET', '/stats?topics=some').status).toBe(400)
  })
})

describe('messages', () => {
  test('are published one or several at a time, and read back page by page', () => {
    const door = new Door()
    const path = '/topics/a/messages'
    expect(
      door.ask('POST', path, { message: { payload: { n: 1 }, headers: { k: 'v' } } }),
    ).toMatchObject({
      status: 200,
      body: { status: 'published', topic: 'a', first_seq: 1, last_seq: 1 },
    })
    const messages = range(2, 5).map((payload) => ({ payload }))
    expect(door.ask('POST', path, { messages })).toMatchObject({
      body: { first_seq: 2, last_seq: 5 },
    })
    const seqs = (query: string) => {
      const { body } = door.ask('GET', `${path}${query}`)
      return [(body['messages'] as { seq: number }[]).map(({ seq }) => seq), body['next_seq']]
    }
    expect(seqs('')).toEqual([range(1, 5), 6])
    expect(seqs('?last_n=2')).toEqual([[4, 5], 6])
    expect(seqs('?from_seq=2&limit=2')).toEqual([[2, 3], 4])
    expect(seqs('?limit=3')).toEqual([[3, 4, 5], 6])
    expect(door.ask('GET', `${path}?from_seq=1&limit=1`).body).toMatchObject({
      messages: [{ seq: 1, payload: { n: 1 }, headers: { k: 'v' } }],
    })
  })

  test.each([
    ['GET', '/topics/a/messages?last_n=x', ''],
    ['GET', '/topics/a/messages?last_n=0', ''],
    ['GET', '/topics/a/messages?from_seq=1&last_n=1', ''],
    ['GET', '/topics/a/messages?limit=1e3', ''],
    ['POST', '/topics/a/messages', '{'],
    ['POST', '/topics/a/messages', {}],
    ['POST', '/topics/$a/messages', { message: { payload: 1 } }],
    ['POST', '/topics', { name: 1 }],
    ['POST', '/topics', { name: '$a' }],
    ['POST', '/topics', { name: 'a..b' }],
    ['DELETE', '/topics/$a', ''],
    ['GET', '/topics/%ff', ''],
  ])('%s %s %j is a bad request', (method, path, body) => {
    expect(new Door().ask(method, path, body)).toMatchObject({
      status: 400,
      body: { error: { code: 'BAD_REQUEST' } },
    })
  })
})

test.each([
  ['PUT', '/topics', 'GET, POST'],
  ['PUT', '/topics/a', 'GET, DELETE'],
  ['PUT', '/topics/a/messages', 'GET, POST'],
  ['POST', '/health', 'GET'],
  ['POST', '/stats', 'GET'],
])('%s %s is not allowed, and says what is', (method, path, allow) => {
  expect(new Door().ask(method, path)).toMatchObject({ status: 405, allow })
})

test.each(['/', '/topic', '/topics/', '/topics/a/other', '/topics/a/messages/1'])(
  '%s is nowhere',
  (path) => {
    expect(new Door().ask('GET', path).status).toBe(404)
  },
)

describe('a broker that is not well', () => {
  test('is healthy, degraded or draining, and says so', () => {
    const door = new Door({ plan: { workers: 2 } })
    const [link] = door.rig.gateway.links
    expect(door.ask('GET', '/health')).toMatchObject({
      status: 200,
      body: { status: 'ok', topics: 0, subscribers: 0, connections: 0, workers: 2 },
    })
    if (link !== undefined) link.isDown = true
    expect(door.ask('GET', '/health')).toMatchObject({
      status: 503,
      body: { status: 'degraded', workers_down: [0] },
    })
    expect(door.ask('GET', '/topics').status).toBe(200) // When the worker is back, which it is here.
    if (link !== undefined) link.isDown = false
    door.rig.gateway.isDraining = true
    expect(door.ask('GET', '/health')).toMatchObject({ status: 503, body: { status: 'draining' } })
    for (const [method, path, body] of [
      ['POST', '/topics', { name: 'a' }],
      ['POST', '/topics/a/messages', { message: { payload: 1 } }],
      ['DELETE', '/topics/a', ''],
    ] as const) {
      expect(door.ask(method, path, body)).toMatchObject({
        status: 503,
        body: { error: { code: 'SHUTTING_DOWN' } },
      })
    }
  })

  test('refuses what finds no room in a ring, and keeps no request of it', () => {
    const door = new Door({ plan: { ringBytes: 128 * KiB } })
    const { rig } = door
    rig.asleep.add(0)
    while (rig.gateway.links[0]?.trySend({ op: 'list', token: 0, after: 0 })) {}
    for (const [method, path, body] of [
      ['POST', '/topics', { name: 'a' }],
      ['POST', '/topics/a/messages', { message: { payload: 1 } }],
      ['GET', '/topics/a', ''],
    ] as const) {
      const [answer] = door.begin(method, path, body)
      expect(answer).toMatchObject({ status: 503 })
    }
    expect(rig.gateway.requests.size).toBe(0)
  })
})

test('a topic whose dead letters could have no topic has no group, and none is made', () => {
  const door = new Door()
  const longest = 'x'.repeat(255 - '$dlq.'.length)
  for (const [name, status] of [
    [longest, 201],
    [`${longest}x`, 400],
  ] as const) {
    expect(door.ask('POST', '/topics', { name }).status).toBe(201)
    expect(door.ask('POST', `/topics/${name}/groups`, { name: 'g' }).status).toBe(status)
    expect(door.ask('GET', `/topics/${name}/groups`).body['groups']).toHaveLength(
      status === 201 ? 1 : 0,
    )
  }
})
