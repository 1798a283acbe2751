import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { expect, test } from 'vitest'
import { ARRAY_OF_7, writeEntryHeader } from '../../src/log/entry.js'
import {
  newEntryProperties,
  PRIORITY_HIGH,
  PRIORITY_LOW,
  PRIORITY_NORMAL,
  readProperties,
} from '../../src/log/entry-properties.js'

const packr = new Packr({ useRecords: false, variableMapSize: true })
const out = newEntryProperties()

interface Parts {
  readonly payload: number
  readonly headers: Readonly<Record<string, string>> | null
  readonly properties: Readonly<Record<string, unknown>> | undefined
  readonly seq: number
}

/** The entry as the shard writes it, at offset 3. */
function entry({ payload, headers, properties, seq }: Parts): Buffer {
  const header = Buffer.alloc(64)
  const mark = properties === undefined ? undefined : ARRAY_OF_7
  const end = writeEntryHeader(new DataView(header.buffer, header.byteOffset), 3, seq, 1000, mark)
  return Buffer.concat([
    header.subarray(0, end),
    Buffer.of(1),
    packr.pack(Buffer.alloc(payload, 0x37)),
    packr.pack(Buffer.alloc(16, 9)),
    packr.pack(headers),
    properties === undefined ? Buffer.alloc(0) : packr.pack(properties),
    Buffer.alloc(4, 0xff),
  ])
}

test('readProperties() is false at once for an entry without, and leaves nothing of the one before', () => {
  readProperties(
    entry({ payload: 1, headers: null, properties: { key: 'k', ttl_ms: 5 }, seq: 1 }),
    3,
    out,
  )
  expect([out.keyLength, out.ttlMs, out.hasAny]).toEqual([1, 5, true])
  const plain = entry({ payload: 1, headers: null, properties: undefined, seq: 1 })
  expect(readProperties(plain, 3, out)).toBe(false)
  expect(out).toEqual({ ...newEntryProperties(), keyStart: out.keyStart })
})

test('readProperties() finds what was published, whatever stands before it', () => {
  const number = (max: number) =>
    fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max }))
  const properties = fc.record(
    {
      key: fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }),
      priority: fc.constantFrom('high', 'normal', 'low'),
      ttl_ms: number(2 ** 31 - 1).map((value) => value + 1),
      delay_ms: number(2 ** 31 - 1),
      deliver_at: number(253_402_300_799_999),
      reply_to: fc.constantFrom('$inbox.a', `$inbox.${'b'.repeat(100)}`),
      correlation_id: fc.string({ minLength: 1, maxLength: 128 }),
    },
    { requiredKeys: [] },
  )
  const parts = fc.record({
    payload: fc.constantFrom(0, 1, 255, 256, 65_535, 65_536),
    headers: fc.option(
      fc.dictionary(fc.string({ maxLength: 40 }), fc.string({ maxLength: 300 }), {
        maxKeys: 20,
        noNullPrototype: true,
      }),
    ),
    properties,
    seq: fc.constantFrom(1, 2 ** 32 - 1, 2 ** 32, 2 ** 40),
  })
  fc.assert(
    fc.property(parts, (given) => {
      const bytes = entry(given)
      expect(readProperties(bytes, 3, out)).toBe(true)
      const { key, priority, ttl_ms: ttl, delay_ms: delay, deliver_at: at } = given.properties
      const { reply_to: replyTo, correlation_id: correlation } = given.properties
      const priorities = {
        high: PRIORITY_HIGH,
        normal: PRIORITY_NORMAL,
        low: PRIORITY_LOW,
      } as const
      const text = (start: number, length: number) => bytes.toString('utf8', start, start + length)
      expect(text(out.keyStart, out.keyLength)).toBe(key ?? '')
      expect(out.priority).toBe(priorities[priority ?? 'normal'])
      expect([out.ttlMs, out.delayMs, out.deliverAt]).toEqual([ttl ?? 0, delay ?? -1, at ?? -1])
      expect(text(out.replyToStart, out.replyToLength)).toBe(replyTo ?? '')
      expect(text(out.correlationIdStart, out.correlationIdLength)).toBe(correlation ?? '')
      expect(packr.unpack(bytes.subarray(out.mapStart, out.mapEnd))).toEqual(given.properties)
      expect(out.mapEnd).toBe(bytes.length - 4)
    }),
  )
})
