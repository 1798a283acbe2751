/** PROTOCOL.md section 1.3: MessagePack by plain msgpackr, what JSON subscribers see of it, subprotocols. */
import { Packr } from 'msgpackr'
import { expect, test } from 'vitest'
import { type Json, JsonClient, MsgpackClient, startBroker, waitUntil } from './harness.js'

const [PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PING] = [1, 2, 3, 4] as const
const [ACK, EVENTS, ERROR, PONG, INFO] = [33, 34, 35, 36, 37] as const
const [MSGPACK, JSON_TEXT, RAW] = [0, 1, 2] as const
const ID = Buffer.from('550e8400e29b41d4a716446655440000', 'hex')
const ID_TEXT = '550e8400-e29b-41d4-a716-446655440000'

const packr = new Packr({ useRecords: false, variableMapSize: true })

async function connected(env: Record<string, string> = {}) {
  const broker = await startBroker(env)
  const client = await MsgpackClient.connect(broker.wsUrl)
  return { ...broker, client }
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

test('every op is answered element by element as PROTOCOL.md says', async () => {
  const { client, http } = await connected()
  client.send([SUBSCRIBE, 's', 'orders', { last_n: 5, client_id: 'c1' }])
  const ack = await client.next(([op]) => op === ACK)
  expect(ack).toEqual([ACK, 's', 'orders', { epoch: expect.stringMatching(/^[\w-]{16}$/), seq: 0 }])
  const { epoch } = ack[3] as Json

  const before = Date.now()
  client.send([PUBLISH, 'p', 'orders', [[JSON_TEXT, json({ n: 1 }), ID, { trace: 'ü' }]]])
  expect(await client.next(([, id]) => id === 'p')).toEqual([ACK, 'p', 'orders', { epoch, seq: 1 }])
  const [op, topic, subscription, entries] = await client.next(([kind]) => kind === EVENTS)
  expect([op, topic, subscription]).toEqual([EVENTS, 'orders', null])
  expect(entries).toHaveLength(1)
  const [seq, ts, encoding, payload, id, headers] = (entries as unknown[][])[0] as unknown[]
  expect([seq, encoding, headers]).toEqual([1, JSON_TEXT, { trace: 'ü' }])
  expect(ts).toBeGreaterThanOrEqual(before)
  expect(ts).toBeLessThanOrEqual(Date.now())
  expect(Buffer.compare(payload as Buffer, json({ n: 1 }))).toBe(0)
  expect(Buffer.compare(id as Buffer, ID)).toBe(0)

  client.send([PUBLISH, 'b', 'orders', [1, 2, 3].map((n) => [RAW, Buffer.of(n)])])
  const batchAck = await client.next(([, requestId]) => requestId === 'b')
  expect(batchAck).toEqual([ACK, 'b', 'orders', { epoch, first_seq: 2, last_seq: 4, count: 3 }])
  await waitUntil(() => client.entries.length === 4)
  const given = client.entries.slice(1)
  expect(given.map((entry) => entry[0])).toEqual([2, 3, 4])
  expect(given.every((entry) => (entry[4] as Buffer).length === 16 && entry[5] === null)).toBe(true)

  client.send([PING, 'x'])
  expect(await client.next(([kind]) => kind === PONG)).toEqual([PONG, 'x', expect.any(Number)])

  client.send([UNSUBSCRIBE, 'u', 'orders'])
  expect(await client.next(([, requestId]) => requestId === 'u')).toEqual([ACK, 'u', 'orders', {}])
  client.send([UNSUBSCRIBE, 'again', 'orders'])
  const refused = await client.next(([, requestId]) => requestId === 'again')
  expect(refused).toEqual([ERROR, 'again', 'TOPIC_NOT_FOUND', expect.any(String), false])

  client.send([SUBSCRIBE, 'p', 'orders.#'])
  expect(await client.next(([kind, , text]) => kind === ACK && text === 'orders.#')).toEqual([
    ACK,
    'p',
    'orders.#',
    {},
  ])
  await http('DELETE', '/topics/orders')
  expect(await client.next(([kind]) => kind === INFO)).toEqual([
    INFO,
    'TOPIC_DELETED',
    'orders',
    { subscription: 'orders.#' },
  ])
})

test('one binary frame holds several arrays back to back, and all are answered in order', async () => {
  const { client } = await connected()
  client.send(
    [SUBSCRIBE, 1, 't'],
    [PUBLISH, 2, 't', [[JSON_TEXT, json('a')]]],
    [PUBLISH, null, 't', [[JSON_TEXT, json('b')]]],
    [PUBLISH, 3, 't', [[9, json('c')]]],
    [PUBLISH, 4, 't', [[JSON_TEXT, json('d')]]],
    [PING, 5],
  )
  await waitUntil(() => client.frames.length >= 5 && client.entries.length === 3)
  const answers = client.frames.filter(([op]) => op !== EVENTS).map(([op, id]) => [op, id])
  for (const expected of [
    [ACK, 1],
    [ACK, 2],
    [ERROR, 3],
    [ACK, 4],
    [PONG, 5],
  ]) {
    expect(answers).toContainEqual(expected)
  }
  expect(client.entries.map((entry) => String(entry[3]))).toEqual(['"a"', '"b"', '"d"'])
})

test('an array that is cut short spoils the rest of its frame, but not what came before it', async () => {
  const { client } = await connected()
  await client.ask(SUBSCRIBE, 't')
  const whole = packr.pack([PUBLISH, 'whole', 't', [[JSON_TEXT, json(1)]]])
  const cut = packr.pack([PUBLISH, 'cut', 't', [[JSON_TEXT, json('longer')]]]).subarray(0, -3)
  client.socket.send(Buffer.concat([whole, cut]))
  expect((await client.next(([op]) => op === ERROR))[2]).toBe('BAD_REQUEST')
  expect(await client.next(([op]) => op === ACK, 1)).toMatchObject([ACK, 'whole', 't', { seq: 1 }])
  expect(await client.ask(PUBLISH, 't', [[JSON_TEXT, json(2)]])).toMatchObject({ 3: { seq: 2 } })
})

test('request ids are strings, numbers or nil, and come back as they were sent', async () => {
  const { client } = await connected()
  const ids = ['', 'ü😀', 'x'.repeat(128), 0, 127, -1, -32, 65_535, 4_294_967_295, 2 ** 40, 1.5]
  for (const id of [...ids, 2n ** 60n, -(2n ** 60n)]) {
    const from = client.frames.length
    client.send([PING, id])
    client.send([PUBLISH, id, 't', [[JSON_TEXT, json(1)]]])
    client.send([SUBSCRIBE, id, 'a..b'])
    await waitUntil(() => client.frames.length === from + 3)
    expect(client.frames.slice(from).map((frame) => frame[1])).toEqual([id, id, id])
  }
  const from = client.frames.length
  client.send([PING, null], [PING], [SUBSCRIBE, null, 'nil'], [PUBLISH, null, 'nil', []])
  await waitUntil(() => client.frames.length === from + 4)
  expect(client.frames.slice(from).map((frame) => frame[1])).toEqual([null, null, null, null])
  for (const id of ['x'.repeat(129), true, [], {}, Buffer.of(1)]) {
    const at = client.frames.length
    client.send([PUBLISH, id, 't', [[JSON_TEXT, json(1)]]])
    const error = await client.next(([op]) => op === ERROR, at)
    expect(error).toEqual([
      ERROR,
      null,
      'BAD_REQUEST',
      expect.stringContaining('request_id'),
      false,
    ])
  }
})

test('each encoding of a payload reaches JSON subscribers as PROTOCOL.md says', async () => {
  const { client, wsUrl, http } = await connected()
  const reader = await JsonClient.connect(wsUrl)
  const late = await MsgpackClient.connect(wsUrl)
  await reader.ask({ type: 'subscribe', topic: 't' })
  const value = { list: [1, -2.5, 'ü', null, true], nested: { deep: ['x'] }, big: 2 ** 40 }
  const date = new Date('2025-08-25T10:00:00.000Z')
  const payloads: [number, Buffer, unknown][] = [
    [MSGPACK, packr.pack(value), { payload: value }],
    [MSGPACK, packr.pack(2n ** 62n), { payload: 2 ** 62 }],
    [MSGPACK, packr.pack(date), { payload: date.toISOString() }],
    [MSGPACK, packr.pack(null), { payload: null }],
    [JSON_TEXT, json(value), { payload: value }],
    [JSON_TEXT, Buffer.from(' 1.50 '), { payload: 1.5 }],
    [RAW, Buffer.of(0, 255, 128), { payload: 'AP+A', encoding: 'base64' }],
    [RAW, Buffer.alloc(0), { payload: '', encoding: 'base64' }],
  ]
  // What claims to be MessagePack and is not comes as the bytes that it is.
  const broken = [
    Buffer.alloc(0),
    Buffer.of(0xc1),
    Buffer.of(0x92, 1),
    Buffer.of(1, 2),
    Buffer.of(0xa1, 0xff),
  ]
  for (const [encoding, payload] of payloads) {
    await client.ask(PUBLISH, 't', [[encoding, payload, ID]])
  }
  for (const payload of broken) await client.ask(PUBLISH, 't', [[MSGPACK, payload]])
  await waitUntil(() => reader.events.length === payloads.length + broken.length)
  const messages = reader.events.map(({ message }) => message as Json)
  for (const [index, [, , expected]] of payloads.entries()) {
    expect(messages[index]).toEqual({ id: ID_TEXT, ...(expected as Json) })
  }
  for (const [index, payload] of broken.slice(0, 4).entries()) {
    expect(messages[payloads.length + index]).toMatchObject({
      payload: payload.toString('base64'),
      encoding: 'base64',
    })
  }
  await late.ask(SUBSCRIBE, 't', { last_n: 100 })
  await waitUntil(() => late.entries.length === payloads.length + broken.length)
  for (const [index, [encoding, payload]] of payloads.entries()) {
    expect(late.entries[index]?.[2]).toBe(encoding)
    expect(Buffer.compare(late.entries[index]?.[3] as Buffer, payload)).toBe(0)
  }
  const history = (await http('GET', '/topics/t/messages?last_n=100')).body['messages'] as Json[]
  for (const [index, { ts, seq, ...message }] of history.entries()) {
    expect(message).toEqual(messages[index])
  }
})

test('a payload that says it is JSON and is not is refused, and nothing of its batch is stored', async () => {
  const { client } = await connected()
  for (const payload of ['', '{', 'undefined', '1 2', '"\xff"', '\ufeff1']) {
    const bytes = Buffer.from(payload, payload.includes('\xff') ? 'latin1' : 'utf8')
    const answer = await client.ask(PUBLISH, 't', [
      [JSON_TEXT, json(1)],
      [JSON_TEXT, bytes],
    ])
    expect(answer).toEqual([
      ERROR,
      answer[1],
      'BAD_REQUEST',
      expect.stringContaining('JSON'),
      false,
    ])
  }
  expect(await client.ask(SUBSCRIBE, 't')).toMatchObject({ 3: { seq: 0 } })
})

test('a payload that would decode to something far larger than itself does no harm', async () => {
  const { client, wsUrl, fatal, http } = await connected()
  const reader = await JsonClient.connect(wsUrl)
  await reader.ask({ type: 'subscribe', topic: 't' })
  // Every level holds the one below it twice, by reference: 2^40 values in a few hundred bytes.
  let laughs: unknown = ['ha']
  for (let level = 0; level < 40; level++) laughs = [laughs, laughs]
  const cloning = new Packr({ useRecords: false, structuredClone: true })
  const record = Buffer.concat([
    Buffer.of(0xdc, 0x3a, 0x98, 0xd4, 0x72, 0x40, 0x91, 0xda, 0x75, 0x30),
    Buffer.alloc(30_000, 'k'), // The name of a record's one field, then 14 999 more of its kind.
    Buffer.of(0x01),
    Buffer.alloc(14_999 * 2, Buffer.of(0x40, 0x01)),
  ])
  const hostile = [
    cloning.pack(laughs),
    record,
    Buffer.of(0xdd, 0x01, 0xff, 0xff, 0xff), // An array of 33 million, of which nothing follows.
    Buffer.of(0xdf, 0xff, 0xff, 0xff, 0xff),
    Buffer.alloc(60_000, 0x91), // Arrays in arrays in arrays.
    Buffer.concat([Buffer.alloc(60_000, 0x91), Buffer.of(1)]),
  ]
  for (const payload of hostile) {
    expect((await client.ask(PUBLISH, 't', [[MSGPACK, payload]]))[0]).toBe(ACK)
  }
  await client.ask(PUBLISH, 't', [[MSGPACK, packr.pack('after')]])
  await waitUntil(() => reader.events.length === hostile.length + 1)
  for (const [index, { message }] of reader.events.entries()) {
    if (index === hostile.length) expect((message as Json)['payload']).toBe('after')
    else expect((message as Json)['encoding']).toBe('base64')
  }
  expect((await http('GET', '/stats')).body['gateway']).toMatchObject({ shardRestarts: 0 })
  expect(fatal).toEqual([])
})

test('options are taken whatever width their integers have', async () => {
  const { client, wsUrl } = await connected()
  for (let n = 1; n <= 5; n++) await client.ask(PUBLISH, 't', [[JSON_TEXT, json(n)]])
  for (const options of [{ last_n: 2n }, { from_seq: 4n }]) {
    const reader = await MsgpackClient.connect(wsUrl)
    // As many libraries do: 64 bits whatever the value. msgpackr does so for a BigInt.
    const frame = Buffer.from(packr.pack([SUBSCRIBE, 's', 't', options]))
    expect([0xcf, 0xd3]).toContain(frame.at(-9))
    reader.socket.send(frame)
    expect((await reader.next(() => true))[0]).toBe(ACK)
    await waitUntil(() => reader.entries.length === 2)
    expect(reader.entries.map((entry) => entry[0])).toEqual([4, 5])
  }
})

test('every wrong element is refused with BAD_REQUEST that names it, and the connection stays', async () => {
  const { client } = await connected()
  const message = [JSON_TEXT, json(1)]
  const headers = Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`h${n}`, '']))
  const wrong: [string, unknown[]][] = [
    ['topic', [PUBLISH, 'r', 5, [message]]],
    ['topic', [PUBLISH, 'r', '', [message]]],
    ['topic', [PUBLISH, 'r', 'a.*', [message]]],
    ['topic', [PUBLISH, 'r', '$sys', [message]]],
    ['messages', [PUBLISH, 'r', 't', 5]],
    ['messages', [PUBLISH, 'r', 't', []]],
    ['messages[0]', [PUBLISH, 'r', 't', [5]]],
    ['messages[0]', [PUBLISH, 'r', 't', [[1]]]],
    ['messages[1]', [PUBLISH, 'r', 't', [message, [1, json(1), null, null, null, null]]]],
    ['messages[0].properties', [PUBLISH, 'r', 't', [[1, json(1), null, null, 5]]]],
    ['messages[0].encoding', [PUBLISH, 'r', 't', [[3, Buffer.of(1)]]]],
    ['messages[0].encoding', [PUBLISH, 'r', 't', [['1', Buffer.of(1)]]]],
    ['messages[0].payload', [PUBLISH, 'r', 't', [[1, 'text']]]],
    ['messages[0].id must be a valid UUID', [PUBLISH, 'r', 't', [[1, json(1), Buffer.alloc(15)]]]],
    ['messages[0].id must be a valid UUID', [PUBLISH, 'r', 't', [[1, json(1), ID_TEXT]]]],
    ['messages[0].headers', [PUBLISH, 'r', 't', [[1, json(1), null, { a: 1 }]]]],
    ['messages[0].headers', [PUBLISH, 'r', 't', [[1, json(1), null, []]]]],
    ['messages[0].headers', [PUBLISH, 'r', 't', [[1, json(1), null, headers]]]],
    ['PUBLISH', [PUBLISH, 'r', 't']],
    ['PUBLISH', [PUBLISH, 'r', 't', [message], 5]],
    ['SUBSCRIBE', [SUBSCRIBE, 'r']],
    ['topic', [SUBSCRIBE, 'r', 'a*']],
    ['options', [SUBSCRIBE, 'r', 't', 'last_n']],
    ['last_n', [SUBSCRIBE, 'r', 't', { last_n: -1 }]],
    ['last_n', [SUBSCRIBE, 'r', 't', { last_n: 2n ** 60n }]],
    ['UNSUBSCRIBE', [UNSUBSCRIBE, 'r']],
    ['options', [UNSUBSCRIBE, 'r', 't', 5]],
    ['PING', [PING, 'r', 5]],
  ]
  for (const [named, frame] of wrong) {
    const from = client.frames.length
    client.send(frame)
    const answer = await client.next(() => true, from)
    expect(answer.slice(0, 3), named).toEqual([
      ERROR,
      frame.length > 1 && !['PUBLISH', 'SUBSCRIBE', 'UNSUBSCRIBE', 'PING'].includes(named)
        ? 'r'
        : null,
      'BAD_REQUEST',
    ])
    expect(answer[3]).toContain(named)
  }
  const from = client.frames.length
  const extension = Buffer.of(0x81, 0xa6, ...Buffer.from('last_n'), 0xd4, 0x72, 0x40)
  client.socket.send(Buffer.concat([Buffer.of(0x94, SUBSCRIBE, 0xa1, 0x72, 0xa1, 0x74), extension]))
  const refused = await client.next(() => true, from)
  expect(refused).toEqual([ERROR, 'r', 'BAD_REQUEST', expect.stringContaining('options'), false])
  expect((await client.ask(PUBLISH, 't', [message]))[0]).toBe(ACK)
  expect(client.closed).toBeUndefined()
})

test('a topic that is no UTF-8 is refused in every op', async () => {
  const { client, http } = await connected()
  for (const op of [PUBLISH, SUBSCRIBE, UNSUBSCRIBE]) {
    const from = client.frames.length
    const messages = op === PUBLISH ? packr.pack([[JSON_TEXT, json(1)]]) : Buffer.alloc(0)
    const head = op === PUBLISH ? 0x94 : 0x93
    client.socket.send(Buffer.concat([Buffer.of(head, op, 0xa1, 0x72, 0xa2, 0x61, 0xff), messages]))
    const answer = await client.next(() => true, from)
    expect(answer).toEqual([ERROR, 'r', 'BAD_REQUEST', 'topic must be UTF-8', false])
  }
  expect((await http('GET', '/topics')).body).toEqual({ topics: [] })
})

test('text frames, unknown ops and what is no array count as malformed: the tenth in a row closes with 4503', async () => {
  const { client, wsUrl } = await connected()
  const malformed: (Buffer | string)[] = [
    '{"type":"ping"}',
    Buffer.alloc(0),
    packr.pack({ op: 1 }),
    packr.pack([]),
    packr.pack([99, 'r']),
    packr.pack([-1]),
    packr.pack(['1']),
    Buffer.of(0xc1),
    Buffer.of(0xdd, 0xff, 0xff, 0xff, 0xff),
    Buffer.of(0x94, 1, 0xc0),
  ]
  for (const frame of malformed.slice(0, 9)) client.socket.send(frame)
  await client.ask(PING)
  expect(
    client.frames.filter(([op, , code]) => op === ERROR && code === 'BAD_REQUEST'),
  ).toHaveLength(9)
  expect(client.closed).toBeUndefined()
  const bad = await MsgpackClient.connect(wsUrl)
  for (const frame of malformed) bad.socket.send(frame)
  expect((await bad.whenClosed()).code).toBe(4503)
  expect(bad.frames).toHaveLength(10)
})

test('JSON publishes reach MessagePack subscribers as JSON text, ids as 16 bytes', async () => {
  const { client, wsUrl } = await connected()
  const sender = await JsonClient.connect(wsUrl)
  await client.ask(SUBSCRIBE, '#')
  const payload = '{"big":12345678901234567890, "d":1.10}'
  sender.send(
    `{"type":"publish","topic":"a.b","message":{"id":"${ID_TEXT.toUpperCase()}","payload":${payload},"headers":{"h":"v"}}}`,
  )
  const [, topic, subscription, entries] = await client.next(([op]) => op === EVENTS)
  expect([topic, subscription]).toEqual(['a.b', '#'])
  const [seq, , encoding, bytes, id, headers] = (entries as unknown[][])[0] as unknown[]
  expect([seq, encoding, String(bytes), headers]).toEqual([1, JSON_TEXT, payload, { h: 'v' }])
  expect(Buffer.compare(id as Buffer, ID)).toBe(0)
})

test('a UUID may stand in any of the bin formats, and an id of nil or none is made by the broker', async () => {
  const { client } = await connected()
  await client.ask(SUBSCRIBE, 't')
  const heads = [Buffer.of(0xc4, 16), Buffer.of(0xc5, 0, 16), Buffer.of(0xc6, 0, 0, 0, 16)]
  for (const head of heads) {
    for (const rest of [Buffer.of(), Buffer.of(0xc0), packr.pack({ h: 'v' })]) {
      const elements = 3 + (rest.length > 0 ? 1 : 0)
      const message = [Buffer.of(0x90 | elements, JSON_TEXT, 0xc4, 1, 0x31), head, ID, rest]
      const start = Buffer.concat([packr.pack(PUBLISH), Buffer.of(0xc0), packr.pack('t')])
      client.socket.send(Buffer.concat([Buffer.of(0x94), start, Buffer.of(0x91), ...message]))
    }
  }
  client.send([
    PUBLISH,
    null,
    't',
    [
      [1, json(1), null],
      [1, json(1)],
      [1, json(1), null, { h: 'v' }],
    ],
  ])
  await waitUntil(() => client.entries.length === 12)
  const ids = client.entries.map((entry) => (entry[4] as Buffer).toString('hex'))
  expect(new Set(ids.slice(0, 9))).toEqual(new Set([ID.toString('hex')]))
  expect(new Set(ids.slice(9)).size).toBe(3)
  expect(client.entries.map((entry) => entry[5])).toEqual([
    ...Array(3)
      .fill([null, null, { h: 'v' }])
      .flat(),
    null,
    null,
    { h: 'v' },
  ])
})

test('the subprotocol decides what a connection speaks; only unknown names are refused with 400', async () => {
  const { wsUrl } = await connected()
  const json1 = 'ringcast.v1.json'
  const msgpack1 = 'ringcast.v1.msgpack'
  const choices: [string[], string][] = [
    [[], ''],
    [[json1], json1],
    [[msgpack1], msgpack1],
    [['other', json1], json1],
    [[msgpack1, json1], msgpack1],
    [[json1, msgpack1], json1],
    [['ringcast.v2.json', msgpack1], msgpack1],
  ]
  for (const [offered, chosen] of choices) {
    const client = await JsonClient.connect(wsUrl, offered).catch(String)
    expect(client, offered.join()).toBeInstanceOf(JsonClient)
    if (!(client instanceof JsonClient)) continue
    expect(client.socket.protocol).toBe(chosen)
    if (chosen === msgpack1) continue // Spoken by every other test of this file.
    expect(await client.ask({ type: 'ping' })).toMatchObject({ type: 'pong' })
  }
  for (const offered of [
    ['other'],
    ['ringcast.v2.json', 'mqtt'],
    ['toString'],
    ['Ringcast.v1.json'],
  ]) {
    await expect(JsonClient.connect(wsUrl, offered)).rejects.toThrow('refused with 400')
  }
})
