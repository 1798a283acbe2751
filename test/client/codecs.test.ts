import { unpack } from 'msgpackr'
import { expect, test } from 'vitest'
import {
  bytesCodec,
  decodeHeaders,
  decodePayload,
  encodePayload,
  jsonCodec,
  msgpackCodec,
} from '../../src/client/codecs.js'
import { InvalidPayloadError } from '../../src/client/ringcast.js'
import { startBroker } from '../broker/harness.js'
import { open, waitUntil } from './harness.js'

const VALUES = [null, true, 0, -1, 2 ** 40, 1.5, 'é', [1, [2]], { a: { b: ['c'] } }]

test('encodePayload() and decodePayload() give back the value, in both encodings', () => {
  for (const codec of [msgpackCodec, jsonCodec]) {
    const back = VALUES.map((value) => decodePayload(codec.encoding, encodePayload(codec, value)))
    expect(back).toEqual(VALUES)
  }
})

test('texts of every length and width of character come out of the JSON codec whole', () => {
  for (const character of ['a', 'ü', '€', '😀', '\ud800']) {
    for (const length of [0, 1, 5459, 5460, 5461, 5462, 100_000]) {
      const text = character.repeat(length)
      const bytes = encodePayload(jsonCodec, text)
      expect(Buffer.from(bytes).equals(Buffer.from(JSON.stringify(text)))).toBe(true)
    }
  }
})

test('decodePayload() copies bytes within a value: they keep nothing else alive', () => {
  const bytes = encodePayload(msgpackCodec, { thumbnail: Buffer.alloc(100, 7) })
  const large = new Uint8Array(1_000_000)
  large.set(bytes, 5000)
  const value = decodePayload(0, large.subarray(5000, 5000 + bytes.length)) as {
    thumbnail: Uint8Array
  }
  expect(Buffer.from(value.thumbnail)).toEqual(Buffer.alloc(100, 7))
  expect(value.thumbnail.buffer.byteLength).toBeLessThan(10_000)
})

test('encodePayload() writes what other decoders read', () => {
  const value = { a: [1, 'x'], when: '2025' }
  expect(unpack(encodePayload(msgpackCodec, value))).toEqual(value)
  expect(JSON.parse(Buffer.from(encodePayload(jsonCodec, value)).toString())).toEqual(value)
})

test('encodePayload() refuses what has no form in the encoding', () => {
  expect(() => encodePayload(jsonCodec, undefined)).toThrow(InvalidPayloadError)
  expect(() => encodePayload(jsonCodec, 1n)).toThrow('payload cannot be encoded')
  expect(() => encodePayload(bytesCodec, 'text')).toThrow('takes a Uint8Array')
  expect(encodePayload(bytesCodec, Uint8Array.of(1))).toEqual(Uint8Array.of(1))
})

test('decodePayload() refuses bytes that are not what they claim, with the cause', () => {
  expect(() => decodePayload(0, Uint8Array.of(0x81))).toThrow(InvalidPayloadError)
  expect(() => decodePayload(1, Uint8Array.of(0x7b))).toThrow('payload cannot be decoded')
  expect(() => decodePayload(1, Uint8Array.of(0xff))).toThrow(InvalidPayloadError)
  expect(() => decodeHeaders(Uint8Array.of(0x81))).toThrow(InvalidPayloadError)
  expect(decodePayload(2, Uint8Array.of(0xff))).toEqual(Uint8Array.of(0xff))
})

test('decodePayload() asks a codec of one’s own only for its own encoding', () => {
  const codec = {
    encoding: 2 as const,
    encode: (value: unknown) => new TextEncoder().encode(String(value)),
    decode: (bytes: Uint8Array) => `<${new TextDecoder().decode(bytes)}>`,
  }
  expect(decodePayload(2, encodePayload(codec, 'x'), codec)).toBe('<x>')
  expect(decodePayload(1, Buffer.from('7'), codec)).toBe(7)
})

test.each(['msgpack', 'json'] as const)(
  '%s: payloads that wait for room, or for the inbox, are still their own when they are sent',
  async (codec) => {
    const { wsUrl } = await startBroker()
    const answerer = await open(wsUrl)
    const heard: unknown[] = []
    await answerer.subscribe('log', ({ payload }) => void heard.push(payload)).ready
    await answerer.respond('echo', ({ payload }) => payload).ready
    const client = await open(wsUrl, { codec, maxInFlight: 1 })
    const wanted = Array.from({ length: 20 }, (_, n) => ({ n, text: 'x'.repeat(n * 10) }))
    const stored = wanted.map((payload) => client.publish('log', payload))
    const replies = await Promise.all(wanted.map((payload) => client.request('echo', payload)))
    expect(replies.map(({ payload }) => payload)).toEqual(wanted)
    await Promise.all(stored)
    await waitUntil(() => heard.length === wanted.length)
    expect(heard).toEqual(wanted)
  },
)
