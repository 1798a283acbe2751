import { Packr, pack } from 'msgpackr'
import { expect, test } from 'vitest'
import { jsonWire } from '../../src/client/json-wire.js'
import type { MessageSource } from '../../src/client/message.js'
import { msgpackWire } from '../../src/client/msgpack-wire.js'
import { ProtocolError } from '../../src/client/ringcast.js'
import { uuidBytes } from '../../src/client/uuid.js'
import type { OutgoingBatch, Wire } from '../../src/client/wire.js'
import { jsonRequest, parseJsonFrame } from '../../src/protocol/json-frames.js'
import { MsgpackFrameReader, Op } from '../../src/protocol/msgpack-frames.js'

const LIMITS = { maxPayloadBytes: 65_536, maxBatchMessages: 4096 }
const ID = '550e8400-e29b-41d4-a716-446655440000'
const standard = new Packr({ useRecords: false, variableMapSize: true })

type AddArguments = Parameters<OutgoingBatch['add']>

interface More {
  readonly encoding?: AddArguments[0]
  readonly id?: AddArguments[2]
  readonly headers?: AddArguments[3]
  readonly properties?: AddArguments[4]
}

function message(text: string, more: More = {}): AddArguments {
  const { encoding = 1, id, headers, properties } = more
  return [encoding, Buffer.from(text), id, headers, properties]
}

/** What a wire makes of a frame, in words. */
function heard(wire: Wire, data: Uint8Array | string): unknown[] {
  const events: unknown[] = []
  wire.receive(data, {
    onAck: (id, result) => events.push(['ack', id, result]),
    receiverOf: (text) => ({
      onMessage: (source, at, seq) => {
        expect(text).toBe(source.pattern ?? source.topic)
        events.push(['message', { seq, ...shown(source, at) }])
      },
    }),
    onError: (id, error) => events.push(['error', id, error]),
    onPong: () => events.push(['pong']),
    onInfo: (info) => events.push(['info', info]),
  })
  return events
}

function shown(source: MessageSource, at: number): object {
  const { topic, pattern } = source
  const [payload, id, headers] = [source.payloadAt(at), source.idAt(at), source.headersAt(at)].map(
    asBuffer,
  )
  const [timeMs, encoding] = [source.timeMsAt(at), source.encodingAt(at)]
  return { topic, pattern, timeMs, encoding, payload, id, headers }
}

function asBuffer(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value) : value
}

function readByBroker(frame: Uint8Array): MsgpackFrameReader {
  const reader = new MsgpackFrameReader(LIMITS)
  expect([reader.read(frame, 0, frame.length), reader.problem]).toEqual([true, ''])
  expect(reader.next).toBe(frame.length)
  return reader
}

test('msgpack: the broker reads a batch as it was meant', () => {
  const batch = msgpackWire().newBatch('a.b', 0)
  const sizes = [0, 1, 255, 256, 65_535, 65_536]
  for (const size of sizes) batch.add(...message('x'.repeat(size)))
  batch.add(...message('with id', { id: uuidBytes(ID) }))
  batch.add(...message('with both', { id: uuidBytes(ID), headers: { h: 'é' } }))
  batch.add(...message('headers only', { headers: { h: 'v' } }))
  const frame = batch.frame(70_000) as Uint8Array
  const read = readByBroker(frame)
  expect([read.op, read.count]).toEqual([Op.publish, sizes.length + 3])
  const decoded = standard.unpack(frame) as [number, number, string, unknown[][]]
  expect(decoded.slice(0, 3)).toEqual([1, 70_000, 'a.b'])
  const id = Buffer.from(uuidBytes(ID))
  expect(decoded[3].slice(0, 6).map((entry) => (entry[1] as Buffer).length)).toEqual(sizes)
  const rest = decoded[3]
    .slice(6)
    .map((entry) => [1, Buffer.from(entry[1] as Uint8Array).toString(), ...entry.slice(2)])
  expect(rest.map((entry) => entry.map(asBuffer))).toEqual([
    [1, 'with id', id],
    [1, 'with both', id, { h: 'é' }],
    [1, 'headers only', null, { h: 'v' }],
  ])
})

test('msgpack: a batch can be framed again, with and without a request id', () => {
  const batch = msgpackWire().newBatch('a'.repeat(255), 0)
  batch.add(...message('1'))
  const frames = [5, undefined, 6].map((id) => standard.unpack(batch.frame(id) as Uint8Array))
  expect(frames.map((frame) => frame[1])).toEqual([5, null, 6])
  readByBroker(batch.frame(undefined) as Uint8Array)
})

test('batches: pick() gives some of the messages as they are', () => {
  for (const wire of [msgpackWire(), jsonWire()]) {
    const whole = wire.newBatch('t', 0)
    for (const text of ['0', '1', '2', '3']) whole.add(...message(text, { id: uuidBytes(ID) }))
    const expected = wire.newBatch('t', 0)
    for (const text of ['1', '3']) expected.add(...message(text, { id: uuidBytes(ID) }))
    const picked = whole.pick([1, 3])
    expect(picked.frame(9)).toEqual(expected.frame(9))
    expect([picked.count, picked.bytes]).toEqual([2, expected.bytes])
  }
})

test('msgpack: a batch that is released lends its bytes to the next one', () => {
  const wire = msgpackWire()
  const first = wire.newBatch('t', 600)
  first.add(...message('x'.repeat(600)))
  const kept = wire.newBatch('t', 600)
  kept.add(...message('kept'))
  const before = Buffer.from(kept.frame(1) as Uint8Array)
  const bytes = (first.frame(undefined) as Uint8Array).buffer
  first.release()
  const next = wire.newBatch('t', 600)
  next.add(...message('y'))
  expect((next.frame(undefined) as Uint8Array).buffer).toBe(bytes)
  expect(standard.unpack(next.frame(2) as Uint8Array)).toEqual([
    1,
    2,
    't',
    [[1, Uint8Array.of(0x79)]],
  ])
  expect(kept.frame(1)).toEqual(new Uint8Array(before))
})

test('json: the broker reads publishes as they were meant', () => {
  const batch = jsonWire().newBatch('a "quoted" topic', 0)
  batch.add(...message('{"n":1}', { id: uuidBytes(ID), headers: { h: 'é"' } }))
  const one = Buffer.from(batch.frame(3) as string)
  expect(JSON.parse(String(one))).toEqual({
    type: 'publish',
    topic: 'a "quoted" topic',
    request_id: '3',
    message: { id: ID, payload: { n: 1 }, headers: { h: 'é"' } },
  })
  expect(jsonRequest(parseJsonFrame(one), one, LIMITS).type).toBe('publish')
  batch.add(...message('2'))
  const two = Buffer.from(batch.frame(undefined) as string)
  expect(JSON.parse(String(two))).toMatchObject({
    type: 'publish_batch',
    messages: [{ payload: { n: 1 } }, { payload: 2 }],
  })
  const request = jsonRequest(parseJsonFrame(two), two, LIMITS)
  expect('messages' in request && request.messages.length).toBe(2)
})

test('json: refuses payloads that are no JSON', () => {
  expect(() =>
    jsonWire()
      .newBatch('t', 0)
      .add(...message('x', { encoding: 2 })),
  ).toThrow(TypeError)
})

test('both: the broker reads subscribe, unsubscribe and ping', () => {
  const wire = msgpackWire()
  const requests = [
    wire.subscribe(1, 'a.*', { last_n: 5 }),
    wire.unsubscribe(2, 'a.*'),
    wire.ping(),
  ]
  const ops = requests.map((frame) => readByBroker(frame as Uint8Array).op)
  expect(ops).toEqual([Op.subscribe, Op.unsubscribe, Op.ping])
  const json = jsonWire()
  const texts = [json.subscribe(1, 'a.*', { last_n: 5 }), json.unsubscribe(2, 'a.*'), json.ping()]
  const types = texts.map((text) => {
    const bytes = Buffer.from(text as string)
    return jsonRequest(parseJsonFrame(bytes), bytes, LIMITS).type
  })
  expect(types).toEqual(['subscribe', 'unsubscribe', 'ping'])
})

const id = Buffer.from(uuidBytes(ID))
const uint32 = (value: number) => {
  const bytes = Buffer.of(0xce, 0, 0, 0, 0)
  bytes.writeUInt32BE(value, 1)
  return bytes
}
const float64 = (value: number) => {
  const bytes = Buffer.alloc(9, 0xcb)
  bytes.writeDoubleBE(value, 1)
  return bytes
}

function entry(seq: Buffer, ...more: Buffer[]): Buffer {
  const head = [seq, float64(1000), Buffer.of(1), Buffer.of(0xc4, 1, 0x37)]
  return Buffer.concat([Buffer.of(0x90 | (4 + more.length)), ...head, ...more])
}

function events(topic: string, pattern: string | null, ...entries: Buffer[]): Buffer {
  const head = [Buffer.of(0x94, 34), pack(topic), pack(pattern)]
  return Buffer.concat([...head, Buffer.of(0x90 | entries.length), ...entries])
}

test('msgpack: receive() takes apart what the broker sends, back to back', () => {
  const idBin = Buffer.concat([Buffer.of(0xc4, 16), id])
  const frame = Buffer.concat([
    events('a.b', null, entry(uint32(7)), entry(float64(2 ** 33), idBin, pack({ h: 'v' }))),
    standard.pack([33, 5, 'a.b', { epoch: 'e', seq: 7 }]),
    events('a.b', 'a.*', entry(uint32(8), Buffer.of(0xc0), Buffer.of(0xc0))),
    standard.pack([35, null, 'OVERLOADED', 'text', true]),
    standard.pack([35, 6, 'BAD_REQUEST', 'text', false]),
    standard.pack([36, null, 1000]),
    standard.pack([37, 'GAP', 'a.b', { from_seq: 1 }]),
    standard.pack([37, 'SHUTTING_DOWN', null, { reconnect_after_ms: 5 }]),
    standard.pack([99, 'of a newer broker']),
  ])
  const none = Buffer.alloc(16)
  const common = { topic: 'a.b', timeMs: 1000, encoding: 1, payload: Buffer.from('7') }
  expect(heard(msgpackWire(), frame)).toEqual([
    ['message', { ...common, pattern: undefined, seq: 7, id: none, headers: undefined }],
    ['message', { ...common, pattern: undefined, seq: 2 ** 33, id, headers: pack({ h: 'v' }) }],
    ['ack', 5, { epoch: 'e', seq: 7 }],
    ['message', { ...common, pattern: 'a.*', seq: 8, id: none, headers: undefined }],
    ['error', undefined, { code: 'OVERLOADED', message: 'text', retryable: true }],
    ['error', 6, { code: 'BAD_REQUEST', message: 'text', retryable: false }],
    ['pong'],
    ['info', { code: 'GAP', topic: 'a.b', details: { from_seq: 1 } }],
    ['info', { code: 'SHUTTING_DOWN', topic: undefined, details: { reconnect_after_ms: 5 } }],
  ])
})

test('msgpack: receive() reads entries alike, of the form that is usual and of those that look like it', () => {
  const nil = Buffer.of(0xc0)
  const bin16 = (bytes: Uint8Array) => Buffer.concat([Buffer.of(0xc5, 0, bytes.length), bytes])
  const bin8 = (bytes: Uint8Array) => Buffer.concat([Buffer.of(0xc4, bytes.length), bytes])
  const ids = [
    [bin8(id), id],
    [bin16(id), id], // The same in a wider form.
    [nil, Buffer.alloc(16)],
  ] as const
  const headers = [
    [nil, undefined],
    [pack({ h: 'v' }), Buffer.from(pack({ h: 'v' }))],
  ] as const
  const payloads = [0, 1, 128, 255, 256].map((length) => Buffer.alloc(length, 0xc4))
  for (const payload of payloads) {
    for (const [idBytes, expectedId] of ids) {
      for (const [headerBytes, expectedHeaders] of headers) {
        const body = Buffer.concat([
          Buffer.of(2),
          payload.length > 255 ? Buffer.of(0xc5, 1, 0) : Buffer.of(0xc4, payload.length),
          payload,
          idBytes,
          headerBytes,
        ])
        const seqs = [1, 0xffff_ffff, 2 ** 32]
        const entries = seqs.map((seq) => {
          const head = [seq < 2 ** 32 ? uint32(seq) : float64(seq), float64(1000)]
          return Buffer.concat([Buffer.of(0x96), ...head, body])
        })
        const rest = { timeMs: 1000, encoding: 2, id: expectedId, headers: expectedHeaders }
        const frame = events('a', null, ...entries)
        const expected = { topic: 'a', pattern: undefined, payload, ...rest }
        expect(heard(msgpackWire(), frame)).toEqual(
          seqs.map((seq) => ['message', { seq, ...expected }]),
        )
        const lastBytes = entries.at(-1)?.length ?? 0
        for (let length = frame.length - lastBytes; length < frame.length; length++) {
          expect(() => heard(msgpackWire(), frame.subarray(0, length))).toThrow(ProtocolError)
        }
      }
    }
  }
})

test('msgpack: receive() passes over elements that a newer broker adds', () => {
  const nil = Buffer.of(0xc0)
  const longer = entry(uint32(7), nil, nil, pack('new'), pack([1, 2]))
  const frame = Buffer.concat([
    events('a', null, longer),
    pack({ more: 1 }),
    standard.pack([36, null]),
  ])
  frame[0] = 0x95
  expect(heard(msgpackWire(), frame).map((event) => (event as string[])[0])).toEqual([
    'message',
    'pong',
  ])
})

test('msgpack: receive() refuses every frame that ends too early', () => {
  const wire = msgpackWire()
  const idBin = Buffer.concat([Buffer.of(0xc4, 16), id])
  const frame = events('topic', 'pattern.*', entry(uint32(7), idBin, pack({ h: 'v' })))
  for (let length = 1; length < frame.length; length++) {
    expect(() => heard(wire, frame.subarray(0, length)), `${length} bytes`).toThrow(ProtocolError)
  }
  expect(() => heard(wire, 'text')).toThrow('expected binary')
  expect(() => heard(wire, Buffer.of(0x07))).toThrow(ProtocolError)
})

test('json: receive() takes apart what the broker sends', () => {
  const wire = jsonWire()
  const ts = '2025-08-25T10:00:00.000Z'
  const event = {
    topic: 'a.b',
    message: { id: ID, payload: [1], headers: { h: 'v' } },
    seq: 42,
    ts,
  }
  const raw = {
    topic: 'a.b',
    seq: 42,
    timeMs: Date.parse(ts),
    encoding: 1,
    payload: { value: [1] },
    id: ID,
    headers: { h: 'v' },
  }
  const hear = (frame: unknown) => heard(wire, JSON.stringify(frame))
  expect(hear({ type: 'event', ...event })).toEqual([['message', { ...raw, pattern: undefined }]])
  const list = { type: 'events', subscription: 'a.*', topic: 'a.b', events: [event, event] }
  expect(hear(list)).toEqual([
    ['message', { ...raw, pattern: 'a.*' }],
    ['message', { ...raw, pattern: 'a.*' }],
  ])
  const base64 = { id: ID, payload: Buffer.from('raw').toString('base64'), encoding: 'base64' }
  expect(hear({ type: 'event', topic: 'a', seq: 1, ts, message: base64 })).toMatchObject([
    ['message', { encoding: 2, payload: Buffer.from('raw') }],
  ])
  expect(hear({ type: 'ack', request_id: '5', seq: 7 })).toMatchObject([['ack', 5, { seq: 7 }]])
  const error = { code: 'BAD_REQUEST', message: 'text', retryable: false }
  expect(hear({ type: 'error', request_id: '6', error })).toEqual([['error', 6, error]])
  expect(hear({ type: 'error', error })).toEqual([['error', undefined, error]])
  expect(hear({ type: 'pong', ts })).toEqual([['pong']])
  expect(hear({ type: 'info', code: 'GAP', topic: 'a', from_seq: 1, ts })).toEqual([
    ['info', { code: 'GAP', topic: 'a', details: { from_seq: 1 } }],
  ])
  expect(hear({ type: 'of a newer broker' })).toEqual([])
})

test('json: receive() refuses what is no frame', () => {
  expect(() => heard(jsonWire(), '{')).toThrow(ProtocolError)
  expect(() => heard(jsonWire(), Buffer.of(1))).toThrow('expected text')
})

test('uuidBytes() reads UUIDs in any case, makes new ones, and refuses the rest', () => {
  expect(Buffer.from(uuidBytes(ID.toUpperCase())).toString('hex')).toBe(ID.replaceAll('-', ''))
  const fresh = Array.from({ length: 3000 }, () =>
    Buffer.from(uuidBytes(undefined)).toString('hex'),
  )
  expect(new Set(fresh).size).toBe(3000)
  for (const hex of fresh) expect(hex).toMatch(/^.{12}4.{3}[89ab]/)
  expect(() => uuidBytes('550e8400')).toThrow('id must be a valid UUID')
})
