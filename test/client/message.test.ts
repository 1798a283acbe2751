import { inspect } from 'node:util'
import { pack } from 'msgpackr'
import { expect, test } from 'vitest'
import type { PayloadCodec } from '../../src/client/codecs.js'
import { InvalidPayloadError, Message } from '../../src/client/ringcast.js'

interface Raw {
  readonly topic: string
  readonly pattern: string | undefined
  readonly seq: number
  readonly timeMs: number
  readonly encoding: number
  readonly payload: Uint8Array | { readonly value: unknown }
  readonly id: Uint8Array | string
  readonly headers: Uint8Array | Readonly<Record<string, string>> | undefined
  readonly properties: Uint8Array | Readonly<Record<string, unknown>> | undefined
}

function messageOf(raw: Raw, epoch: string, codec?: PayloadCodec): Message {
  const source = {
    topic: raw.topic,
    pattern: raw.pattern,
    timeMsAt: () => raw.timeMs,
    encodingAt: () => raw.encoding,
    payloadAt: () => raw.payload,
    idAt: () => raw.id,
    headersAt: () => raw.headers,
    propertiesAt: () => raw.properties,
  }
  return new Message(source, 0, raw.seq, epoch, codec)
}

const ID = '550e8400-e29b-41d4-a716-446655440000'
const RAW: Raw = {
  topic: 'orders.new',
  pattern: 'orders.*',
  seq: 7,
  timeMs: 1000,
  encoding: 0,
  payload: pack({ a: 1 }),
  id: Buffer.from(ID.replaceAll('-', ''), 'hex'),
  headers: pack({ h: 'v' }),
  properties: undefined,
}

test('Message shows what came, decoded', () => {
  const message = messageOf(RAW, 'e1')
  const { topic, pattern, seq, epoch, timeMs, id, headers, payload } = message
  expect({ topic, pattern, seq, epoch, timeMs, id, headers, payload }).toEqual({
    topic: 'orders.new',
    pattern: 'orders.*',
    seq: 7,
    epoch: 'e1',
    timeMs: 1000,
    id: ID,
    headers: { h: 'v' },
    payload: { a: 1 },
  })
})

test('Message cannot be changed, nor can its headers', () => {
  const message = messageOf({ ...RAW, headers: { h: 'v' } }, 'e1')
  for (const name of ['topic', 'pattern', 'seq', 'epoch', 'timeMs', 'payload', 'id', 'headers']) {
    expect(() => Object.assign(message, { [name]: 8 }), name).toThrow(TypeError)
  }
  expect(Object.isFrozen(message.headers)).toBe(true)
  expect(messageOf({ ...RAW, headers: undefined }, 'e1').headers).toEqual({})
})

test('Message as JSON, and on the console, says where it stands', () => {
  const message = messageOf({ ...RAW, payload: Uint8Array.of(0x81) }, 'e1')
  const shown = { topic: 'orders.new', pattern: 'orders.*', seq: 7, epoch: 'e1', timeMs: 1000 }
  expect(JSON.parse(JSON.stringify(message))).toEqual(shown)
  expect(inspect(message)).toBe(inspect(shown))
})

test('Message.payload is decoded when it is first asked for, and once', () => {
  let decoded = 0
  const codec = { encoding: 0 as const, encode: pack, decode: () => ({ decoded: ++decoded }) }
  const message = messageOf(RAW, 'e1', codec)
  expect(decoded).toBe(0)
  expect(message.payload).toBe(message.payload)
  expect(decoded).toBe(1)
})

test('Message of bytes that are nothing throws when it is looked at, not before', () => {
  const message = messageOf({ ...RAW, payload: Uint8Array.of(0x81) }, 'e1')
  expect(() => message.payload).toThrow(InvalidPayloadError)
})

test('Message.payload may be undefined, and is decoded once all the same', () => {
  let decoded = 0
  const codec: PayloadCodec = {
    encoding: 0,
    encode: () => new Uint8Array(0),
    decode: () => void decoded++,
  }
  const message = messageOf(RAW, 'e1', codec)
  expect([message.payload, message.payload, decoded]).toEqual([undefined, undefined, 1])
})

test('Message of a JSON connection has the value and the id as they came', () => {
  const message = messageOf({ ...RAW, encoding: 1, payload: { value: [1] }, id: ID }, 'e1')
  expect(message.payload).toEqual([1])
  expect(message.id).toBe(ID)
})

test('Message shows its properties, from MessagePack and from JSON, and what goes without saying', () => {
  const plain = messageOf(RAW, 'e1')
  expect([plain.key, plain.priority, plain.ttlMs]).toEqual([undefined, 'normal', undefined])
  const values = { key: 'a', priority: 'high', ttl_ms: 5 }
  for (const properties of [pack(values), { ...values, payload: 1 }]) {
    const { key, priority, ttlMs } = messageOf({ ...RAW, properties }, 'e1')
    expect([key, priority, ttlMs]).toEqual(['a', 'high', 5])
  }
})
