/**
 * Hostile frames on one connection, while others beside it must not notice.
 * FUZZ_SEED repeats a run, FUZZ_FRAMES makes it longer.
 */
import { connect } from 'node:net'
import { Packr } from 'msgpackr'
import { expect, onTestFinished, test } from 'vitest'
import {
  type Json,
  JsonClient,
  MsgpackClient,
  type Packed,
  startBroker,
  type TestBroker,
  type TestClient,
  waitUntil,
} from './harness.js'

const SEED = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
/** Per encoding. */
const FRAMES = Number(process.env['FUZZ_FRAMES'] ?? 20_000)
/** Frames between two pings. */
const ROUND = 50
const FRAME_BYTES_MAX = 128 * 1024

const CODES = [
  'BAD_REQUEST',
  'TOPIC_NOT_FOUND',
  'PAYLOAD_TOO_LARGE',
  'LIMIT_EXCEEDED',
  'OVERLOADED',
  'SLOW_CONSUMER',
  'NO_RESPONDERS',
]
const PROTOCOL_ERROR = 4503
/** What WebSocket itself answers to text that is no UTF-8, and to a frame that is too long. */
const WEBSOCKET_ERRORS = [1006, 1007, 1009]

const packr = new Packr({ useRecords: false, variableMapSize: true })

/** mulberry32: small, and good enough to choose bytes. */
class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A whole number from 0 to n − 1. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * n)
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)))
  }
}

/** Bytes in which much begins, ends or is measured. */
const TELLING = Buffer.from('"\\{}[],:0-.eE#*$ \n\u0000')
const MARKS = [
  0x7f,
  0x80,
  0x8f,
  0x90,
  0x9f,
  0xa0,
  0xbf,
  ...Array.from({ length: 33 }, (_, n) => 0xc0 + n),
  0xff,
]

/** The frame with a few things done to it. */
function mutated(frame: Buffer, others: readonly Buffer[], random: Random): Buffer {
  let bytes: Buffer = Buffer.from(frame)
  for (let step = random.below(4); step >= 0; step--) {
    const at = random.below(bytes.length + 1)
    const end = Math.min(bytes.length, at + 1 + random.below(8))
    const [before, cut, after] = [
      bytes.subarray(0, at),
      bytes.subarray(at, end),
      bytes.subarray(end),
    ]
    const rest = bytes.subarray(at)
    switch (random.below(9)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
        break
      case 1:
        if (at < bytes.length) bytes[at] = random.below(256)
        break
      case 2:
        if (at < bytes.length) bytes[at] = random.of(MARKS)
        break
      case 3:
        if (at < bytes.length) bytes[at] = random.of([...TELLING])
        break
      case 4:
        bytes = before
        break
      case 5:
        bytes = Buffer.concat([before, after])
        break
      case 6:
        bytes = Buffer.concat([before, cut, cut, after])
        break
      case 7: {
        const size = random.below(5)
        bytes = Buffer.concat([
          before,
          random.of([Buffer.alloc(size, 0xff), random.bytes(size)]),
          rest,
        ])
        break
      }
      default: {
        const other = random.of(others)
        bytes = Buffer.concat([before, other.subarray(random.below(other.length))])
      }
    }
  }
  return bytes
}

const ID = '550e8400-e29b-41d4-a716-446655440000'

const JSON_FRAMES = [
  { type: 'subscribe', topic: 'fuzz.a', client_id: 's', last_n: 5, request_id: 'r' },
  { type: 'subscribe', topic: 'fuzz.*', batch: true, policy: 'disconnect', since: '5m' },
  { type: 'subscribe', topic: 'fuzz.#', cursors: { 'fuzz.a': { epoch: 'e', seq: 1 } } },
  { type: 'subscribe', topic: 'fuzz.a', from_seq: 3, epoch: 'e', request_id: 'r' },
  { type: 'unsubscribe', topic: 'fuzz.a', request_id: 'r' },
  { type: 'subscribe', topic: '$inbox', request_id: 'r' },
  { type: 'unsubscribe', topic: '$inbox', request_id: 'r' },
  { type: 'publish', topic: '$inbox.x', message: { payload: 1, correlation_id: 'c' } },
  { type: 'publish', topic: 'fuzz.a', message: { payload: 1, reply_to: '$inbox.x' } },
  { type: 'unsubscribe', topic: 'fuzz.*', request_id: 'r' },
  {
    type: 'publish',
    topic: 'fuzz.a',
    message: { id: ID, payload: { a: [1.5, 'ü😀', null] } },
    request_id: 'r',
  },
  { type: 'publish', topic: 'fuzz.b', message: { payload: '\\"{}', headers: { h: 'v' } } },
  {
    type: 'publish_batch',
    topic: 'fuzz.c',
    messages: [{ payload: 1 }, { payload: [] }],
    request_id: 'r',
  },
  { type: 'ping', request_id: 'r' },
].map((frame) => Buffer.from(JSON.stringify(frame)))

const ODD_JSON = [
  '{"__proto__":{"type":"ping"}}',
  '{"type":"publish","topic":"fuzz.a","message":{"__proto__":{"payload":1}}}',
  '{"type":"publish","topic":"fuzz.a","message":{"payload":{"__proto__":1},"headers":{"__proto__":"x"}}}',
  '{"type":"publish","topic":"fuzz.a","message":5,"m\\u0065ssage":{"p\\u0061yload":1}}',
  '{"type":"publish_batch","topic":"fuzz.a","messages":5,"m\\u0065ssages":[{"payload":1}]}',
  '{"type":"subscribe","topic":"fuzz.#","cursors":{"__proto__":{"epoch":"e","seq":1}}}',
  '{"type":"constructor","topic":"toString"}',
  '{"type":["publish"],"topic":{"toString":1},"request_id":null}',
].map((text) => Buffer.from(text))

const MSGPACK_FRAMES = [
  [2, 'r', 'fuzz.a', { last_n: 5, client_id: 's' }],
  [2, 7, 'fuzz.*', { policy: 'disconnect', since: '5m' }],
  [2, 'r', 'fuzz.#', { cursors: { 'fuzz.a': { epoch: 'e', seq: 1 } } }],
  [2, null, 'fuzz.a', { from_seq: 3, epoch: 'e' }],
  [3, 'r', 'fuzz.a'],
  [3, 'r', 'fuzz.#'],
  [
    1,
    'r',
    'fuzz.a',
    [
      [
        0,
        packr.pack({ a: [1.5, 'ü', null, { b: new Date(0) }] }),
        Buffer.from(ID.slice(0, 16)),
        { h: 'v' },
      ],
    ],
  ],
  [
    1,
    null,
    'fuzz.b',
    [
      [1, Buffer.from('{"a":[1,2,"ü"]}')],
      [2, Buffer.of(1, 2, 255)],
      [0, packr.pack('x')],
    ],
  ],
  [
    1,
    2 ** 40,
    'fuzz.c',
    [
      [0, Buffer.of(0xdd, 0xff, 0xff, 0xff, 0xff)],
      [1, Buffer.from('1'), null, null],
    ],
  ],
  [4, 'r'],
].map((frame) => Buffer.from(packr.pack(frame)))

const ODD_MSGPACK = [
  Buffer.of(0x93, 2, 0xa1, 0x72, 0xa2, 0xff, 0xfe),
  Buffer.of(0x92, 4, 0xa3, 0xff, 0xfe, 0xfd),
  packr.pack([2, 'r', 'fuzz.a', { ['__proto__']: 1, constructor: 2 }]),
  packr.pack([
    1,
    'r',
    'fuzz.a',
    [[0, packr.pack({ ['__proto__']: { x: 1 } }), null, { ['__proto__']: 'x' }]],
  ]),
  Buffer.of(0xdd, 0xff, 0xff, 0xff, 0xff, 1),
  Buffer.of(0x94, 1, 0xc0, 0xdb, 0xff, 0xff, 0xff, 0xff),
  Buffer.of(0x94, 1, 0xc0, 0xa1, 0x61, 0xdd, 0xff, 0xff, 0xff, 0xff),
  Buffer.of(0x94, 1, 0xc0, 0xa1, 0x61, 0x91, 0x92, 2, 0xc6, 0xff, 0xff, 0xff, 0xff),
  Buffer.of(0x94, 2, 0xc0, 0xa1, 0x61, 0xdf, 0xff, 0xff, 0xff, 0xff),
  Buffer.concat([
    Buffer.of(0x94, 2, 0xc0, 0xa1, 0x61, 0x81, 0xa1, 0x61),
    Buffer.alloc(60_000, 0x91),
  ]),
  Buffer.alloc(60_000, 0x91),
  Buffer.concat([
    Buffer.from(packr.pack([1, null, 'fuzz.a'])).fill(0x94, 0, 1),
    packr.pack([[0, Buffer.alloc(60_000, 0x91)]]),
  ]),
].map((bytes) => Buffer.from(bytes))

interface Hostile {
  readonly bytes: Buffer
  /** True when a WebSocket implementation may end the connection over it. */
  readonly breaksWebSocket: boolean
}

function jsonFrame(random: Random): Hostile {
  const kind = random.below(1000)
  if (kind < 5) return { bytes: Buffer.from([0x22, 0xff, 0xfe, 0x22]), breaksWebSocket: true }
  if (kind < 8) return { bytes: Buffer.alloc(FRAME_BYTES_MAX + 1, 0x20), breaksWebSocket: true }
  if (kind < 14) {
    const opening = random.of([
      '[',
      '{"a":',
      '{"type":"publish","topic":"fuzz.a","message":{"payload":[',
    ])
    const depth = random.below(Math.floor(FRAME_BYTES_MAX / opening.length))
    return { bytes: Buffer.from(opening.repeat(depth)), breaksWebSocket: false }
  }
  if (kind < 18) {
    const depth = random.below(40_000)
    const payload = '['.repeat(depth) + ']'.repeat(depth)
    const text = `{"type":"publish","topic":"fuzz.a","message":{"payload":${payload}}}`
    return { bytes: Buffer.from(text), breaksWebSocket: false }
  }
  const bytes =
    kind < 60
      ? random.bytes(random.below(64))
      : kind < 120
        ? random.of(ODD_JSON)
        : kind < 300
          ? random.of(JSON_FRAMES)
          : mutated(random.of([...JSON_FRAMES, ...ODD_JSON]), JSON_FRAMES, random)
  // As text: bytes that are no UTF-8 are the business of WebSocket itself, and tried above.
  return { bytes: Buffer.from(bytes.toString()), breaksWebSocket: false }
}

function msgpackFrame(random: Random): Hostile {
  const kind = random.below(1000)
  if (kind < 3) return { bytes: Buffer.alloc(FRAME_BYTES_MAX + 1), breaksWebSocket: true }
  if (kind < 10) {
    const mark = random.of([0x91, 0x81, 0xdd, 0xdf, 0xc1, 0xd4])
    return { bytes: Buffer.alloc(random.below(FRAME_BYTES_MAX), mark), breaksWebSocket: false }
  }
  const several = () => random.of([...MSGPACK_FRAMES, ...ODD_MSGPACK])
  const bytes =
    kind < 60
      ? random.bytes(random.below(64))
      : kind < 90
        ? random.of(ODD_MSGPACK)
        : kind < 250
          ? random.of(MSGPACK_FRAMES)
          : kind < 350
            ? mutated(Buffer.concat([several(), several(), several()]), MSGPACK_FRAMES, random)
            : mutated(several(), MSGPACK_FRAMES, random)
  return { bytes, breaksWebSocket: bytes.length > FRAME_BYTES_MAX }
}

/** Sends FRAMES hostile frames, connecting again whenever the broker has had enough. Returns how often. */
async function attack<Frame>(
  join: () => Promise<TestClient<Frame>>,
  hostile: () => Hostile,
  ping: (client: TestClient<Frame>, id: string) => void,
  isPong: (frame: Frame, id: string) => boolean,
  check: (frame: Frame) => void,
  meanwhile: () => void,
): Promise<Map<number, number>> {
  const closes = new Map<number, number>()
  let client = await join()
  const isBinary = client instanceof MsgpackClient
  for (let sent = 0; sent < FRAMES; sent += ROUND) {
    let mayBreak = false
    for (let n = 0; n < ROUND; n++) {
      const { bytes, breaksWebSocket } = hostile()
      mayBreak ||= breaksWebSocket
      client.socket.send(bytes, { binary: isBinary })
    }
    const id = `round-${sent}`
    ping(client, id)
    meanwhile()
    await waitUntil(
      () => client.closed !== undefined || client.frames.some((frame) => isPong(frame, id)),
    )
    for (const frame of client.frames) check(frame)
    client.frames.length = 0
    if (client.closed === undefined) continue
    const { code } = client.closed
    closes.set(code, (closes.get(code) ?? 0) + 1)
    expect(
      code === PROTOCOL_ERROR || (mayBreak && WEBSOCKET_ERRORS.includes(code)),
      `code ${code}`,
    ).toBe(true)
    client = await join()
  }
  client.socket.close()
  await client.whenClosed()
  return closes
}

/** A publisher with subscribers of both encodings on a topic of their own, and what they must see. */
async function healthyPair({ wsUrl }: TestBroker) {
  const publisher = await MsgpackClient.connect(wsUrl)
  const json = await JsonClient.connect(wsUrl)
  const msgpack = await MsgpackClient.connect(wsUrl)
  await json.ask({ type: 'subscribe', topic: 'healthy' })
  await msgpack.ask(2, 'healthy')
  let count = 0
  return {
    publish: () => {
      for (let n = 0; n < 10; n++) {
        publisher.send([1, ++count, 'healthy', [[1, Buffer.from(String(count))]]])
      }
    },
    verify: async () => {
      const all = () => json.events.length >= count && msgpack.entries.length >= count
      await waitUntil(() => publisher.frames.length >= count && all())
      const numbers = Array.from({ length: count }, (_, index) => index + 1)
      expect(
        publisher.frames.map(([op, id, , result]) => [op, id, (result as Json)['seq']]),
      ).toEqual(numbers.map((n) => [33, n, n]))
      const jsonSeen = json.events.map(({ seq, message }) => [seq, (message as Json)['payload']])
      expect(jsonSeen).toEqual(numbers.map((n) => [n, n]))
      const msgpackSeen = msgpack.entries.map((entry) => [entry[0], Number(String(entry[3]))])
      expect(msgpackSeen).toEqual(numbers.map((n) => [n, n]))
      for (const { closed } of [publisher, json, msgpack]) expect(closed).toBeUndefined()
    },
  }
}

async function expectUnharmed({ broker, http, fatal }: TestBroker, subscribers: number) {
  await waitUntil(() => broker.gateway.requests.size === 0 && broker.gateway.fanOut.lagCount === 0)
  await waitUntil(() => broker.gateway.subscribing.total === subscribers)
  expect((await http('GET', '/health')).body).toMatchObject({ status: 'ok', workers_down: [] })
  const { body } = await http('GET', '/stats')
  expect(body).toMatchObject({ gateway: { shardRestarts: 0 }, subscribers })
  expect((body['workers'] as Json[]).every(({ recordsSetAside }) => recordsSetAside === 0)).toBe(
    true,
  )
  expect(fatal).toEqual([])
}

/** Nobody is ever too slow here, however busy the machine is. */
const LIMITS = {
  MAX_FRAME_BYTES: '128KiB',
  MAX_TOPICS: '300',
  TOPIC_HISTORY_SIZE: '65536',
  SUBSCRIBER_QUEUE_SIZE: '65536',
}

/** Attacks a broker whose healthy clients must notice nothing, over one encoding. */
async function fuzz<Frame>(
  join: (url: string) => Promise<TestClient<Frame>>,
  hostile: (random: Random) => Hostile,
  ping: (client: TestClient<Frame>, id: string) => void,
  isPong: (frame: Frame, id: string) => boolean,
  check: (frame: Frame) => void,
): Promise<void> {
  process.stdout.write(`fuzz.test.ts: FUZZ_SEED=${SEED}\n`)
  const broker = await startBroker(LIMITS)
  const healthy = await healthyPair(broker)
  // They read whatever of it became a message: all of it must be well formed, or decoding throws.
  const json = await JsonClient.connect(broker.wsUrl)
  const msgpack = await MsgpackClient.connect(broker.wsUrl)
  await json.ask({ type: 'subscribe', topic: 'fuzz.#' })
  await msgpack.ask(2, 'fuzz.#')
  const random = new Random(SEED)
  const closes = await attack<Frame>(
    () => join(broker.wsUrl),
    () => hostile(random),
    ping,
    isPong,
    check,
    healthy.publish,
  )
  expect(closes.get(PROTOCOL_ERROR)).toBeGreaterThan(0)
  await healthy.verify()
  expect(json.events.length).toBeGreaterThan(FRAMES / 50)
  await waitUntil(() => msgpack.entries.length === json.events.length)
  await expectUnharmed(broker, 4)
}

test(`${FRAMES} hostile JSON frames are answered or end in 4503, and nobody else notices`, () =>
  fuzz<Json>(
    (url) => JsonClient.connect(url),
    jsonFrame,
    (client, id) => client.socket.send(JSON.stringify({ type: 'ping', request_id: id })),
    ({ type, request_id }, id) => type === 'pong' && request_id === id,
    ({ type, error }) => {
      expect(['ack', 'event', 'events', 'error', 'pong', 'info']).toContain(type)
      if (type === 'error') expect(CODES).toContain((error as Json)['code'])
    },
  ))

test(`${FRAMES} hostile MessagePack frames are answered or end in 4503, and nobody else notices`, () =>
  fuzz<Packed>(
    (url) => MsgpackClient.connect(url),
    msgpackFrame,
    (client, id) => client.socket.send(packr.pack([4, id])),
    ([op, requestId], id) => op === 36 && requestId === id,
    ([op, , code]) => {
      expect([33, 34, 35, 36, 37]).toContain(op)
      if (op === 35) expect(CODES).toContain(code)
    },
  ))

test('bytes that are no WebSocket frames end their connection and disturb nobody', async () => {
  const broker = await startBroker(LIMITS)
  const healthy = await healthyPair(broker)
  const random = new Random(SEED)
  const hostile = [
    Buffer.of(0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4), // 2^64 − 1 bytes
    Buffer.of(0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4), // 4 GiB
    Buffer.of(0x8b, 0x80, 1, 2, 3, 4), // a reserved opcode
    Buffer.of(0xf2, 0x80, 1, 2, 3, 4), // reserved bits
    Buffer.of(0x80, 0x80, 1, 2, 3, 4), // a continuation of nothing
    Buffer.of(0x09, 0x80, 1, 2, 3, 4), // a ping in fragments
    Buffer.of(0x88, 0x81, 1, 2, 3, 4, 5), // a close with half a code
    Buffer.of(0x02, 0x80, 1, 2, 3, 4), // the first fragment of what never ends
  ]
  const upgrade =
    'GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  for (let n = 0; n < 300; n++) {
    const socket = connect(Number(new URL(broker.httpUrl).port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    const bytes = hostile[n] ?? random.bytes(random.below(200))
    const isUpgraded = n < hostile.length || random.below(3) > 0
    let isClosed = false
    socket
      .on('error', () => {})
      .on('close', () => {
        isClosed = true
      })
    const hasAnswered = new Promise((resolve) => socket.once('data', resolve))
    if (isUpgraded) {
      socket.write(upgrade)
      await hasAnswered
    }
    socket.write(bytes)
    healthy.publish()
    if (n < hostile.length - 1) await waitUntil(() => isClosed)
    else socket.end()
  }
  await healthy.verify()
  await waitUntil(() => broker.broker.gateway.sessions.size === 3)
  await expectUnharmed(broker, 2)
})
