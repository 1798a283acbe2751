import { expect, test } from 'vitest'
import { jsonWire } from '../../src/client/json-wire.js'
import { msgpackWire } from '../../src/client/msgpack-wire.js'
import { isForLater, propertiesOf } from '../../src/client/properties.js'
import type { PublishOptions } from '../../src/client/ringcast.js'
import { jsonRequest, parseJsonFrame } from '../../src/protocol/json-frames.js'
import { MsgpackFrameReader } from '../../src/protocol/msgpack-frames.js'

const LIMITS = { maxPayloadBytes: 1024, maxBatchMessages: 16 }

test('propertiesOf() names what is given as the wire does, and is undefined for the rest', () => {
  expect(propertiesOf({})).toBeUndefined()
  expect(propertiesOf({ id: 'x', headers: { a: 'b' } })).toBeUndefined()
  expect(propertiesOf({ key: 'k', priority: 'low', ttlMs: 1 })).toEqual({
    key: 'k',
    priority: 'low',
    ttl_ms: 1,
  })
  expect(propertiesOf({ deliverAt: new Date(5) })).toEqual({ deliver_at: 5 })
})

test('isForLater() is true of what the broker is to keep', () => {
  expect(isForLater({ key: 'k', ttl_ms: 1 })).toBe(false)
  expect(isForLater({ delay_ms: 0 })).toBe(true)
  expect(isForLater({ deliver_at: 0 })).toBe(true)
})

test.each<PublishOptions>([
  { key: 'é', priority: 'high', ttlMs: 2 ** 31 - 1 },
  { delayMs: 1, headers: { h: 'v' } },
  { deliverAt: 1_800_000_000_000, key: 'k' },
])('both encodings carry %o so that the broker takes it', ({ headers, ...options }) => {
  const properties = propertiesOf(options)
  const payload = Buffer.from('7')
  const packed = msgpackWire().newBatch('t', 0)
  packed.add(1, payload, undefined, headers, properties)
  const frame = packed.frame(1) as Uint8Array
  const reader = new MsgpackFrameReader(LIMITS)
  expect([reader.read(frame, 0, frame.length), reader.problem]).toEqual([true, ''])
  const isDelayed = options.delayMs !== undefined || options.deliverAt !== undefined
  expect([reader.hasProperties, reader.delayed]).toEqual([true, isDelayed ? 1 : 0])

  const batch = jsonWire().newBatch('t', 0)
  batch.add(1, payload, undefined, headers, properties)
  const text = Buffer.from(batch.frame(1) as string)
  const request = jsonRequest(parseJsonFrame(text), text, LIMITS)
  const [read] = 'messages' in request ? request.messages : []
  expect(read?.properties).toBeDefined()
  expect(read?.isDelayed).toBe(isDelayed)
})
