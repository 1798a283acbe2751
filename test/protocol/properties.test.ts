import { Packr } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { MALFORMED } from '../../src/protocol/msgpack.js'
import { PropertiesReader, readWholeNumber } from '../../src/protocol/properties.js'

const packr = new Packr({ useRecords: false, variableMapSize: true })
const reader = new PropertiesReader()

function read(value: unknown): number {
  const bytes = Buffer.isBuffer(value) ? value : packr.pack(value)
  const next = reader.read(bytes, 0, bytes.length, () => 'p')
  if (next !== MALFORMED) expect(next).toBe(bytes.length)
  return next
}

describe('PropertiesReader.read()', () => {
  test.each([
    [{ key: 'a' }, false],
    [{ key: 'é'.repeat(127) }, false],
    [{ priority: 'high' }, false],
    [{ priority: 'normal' }, false],
    [{ priority: 'low', ttl_ms: 1 }, false],
    [{ ttl_ms: 2 ** 31 - 1 }, false],
    [{ delay_ms: 0 }, true],
    [{ deliver_at: 1_800_000_000_000 }, true],
    [{ reply_to: '$inbox.a', correlation_id: 'x'.repeat(128) }, false],
  ])('takes %o', (properties, isDelayed) => {
    expect(read(properties)).not.toBe(MALFORMED)
    expect([reader.hasAny, reader.isDelayed]).toEqual([true, isDelayed])
  })

  test('takes nil and a map of nothing as nothing', () => {
    for (const none of [null, {}]) {
      expect(read(none)).not.toBe(MALFORMED)
      expect([reader.hasAny, reader.isDelayed]).toEqual([false, false])
    }
  })

  test.each<[string, unknown]>([
    ['p must be a map or nil', 5],
    ['p must be a map or nil', Buffer.of(0xde, 0)],
    ['p must have strings as names', Buffer.of(0x81, 1, 1)],
    ['p must have strings as names', Buffer.of(0x82, 0xa3, 0x6b)],
    ['p has the unknown name "ttl"', { ttl: 5 }],
    ['p has the unknown name ""', { '': 5 }],
    ['p has key twice', Buffer.concat([Buffer.of(0x82), ...[1, 2].map(() => pair('key', 'a'))])],
    ['p.key must be a string of 1 to 255 bytes', { key: '' }],
    ['p.key must be a string of 1 to 255 bytes', { key: 'é'.repeat(128) }],
    ['p.key must be a string of 1 to 255 bytes', { key: 5 }],
    [
      'p.key must be a string of 1 to 255 bytes',
      Buffer.concat([Buffer.of(0x81), packr.pack('key'), Buffer.of(0xa1, 0xff)]),
    ],
    ['p.priority must be "high", "normal" or "low"', { priority: 'urgent' }],
    ['p.priority must be "high", "normal" or "low"', { priority: 1 }],
    ['p.ttl_ms must be a whole number from 1 to 2147483647', { ttl_ms: 0 }],
    ['p.ttl_ms must be a whole number from 1 to 2147483647', { ttl_ms: 2 ** 31 }],
    ['p.ttl_ms must be a whole number from 1 to 2147483647', { ttl_ms: 1.5 }],
    ['p.ttl_ms must be a whole number from 1 to 2147483647', { ttl_ms: '5' }],
    ['p.delay_ms must be a whole number from 0 to 2147483647', { delay_ms: -1 }],
    [
      'p.deliver_at must be a time in ms since 1970, a whole number; in JSON also an ISO 8601 time',
      { deliver_at: 1e16 },
    ],
    [
      'p.deliver_at must be a time in ms since 1970, a whole number; in JSON also an ISO 8601 time',
      { deliver_at: 'soon' },
    ],
    ['p must not have both delay_ms and deliver_at', { delay_ms: 1, deliver_at: 1 }],
    ['p.reply_to must be a topic that begins with $inbox.', { reply_to: 'orders' }],
    ['p.reply_to must be a topic that begins with $inbox.', { reply_to: '$inbox.' }],
    ['p.correlation_id must be a string of 1 to 128 bytes', { correlation_id: 'x'.repeat(129) }],
  ])('says %s', (problem, properties) => {
    expect(read(properties)).toBe(MALFORMED)
    expect(reader.problem).toBe(problem)
  })

  test('never reads past the end of the frame', () => {
    const whole = packr.pack({ key: 'abc', ttl_ms: 70_000, priority: 'low' })
    for (let end = 0; end < whole.length; end++) {
      expect(reader.read(whole, 0, end, () => 'p')).toBe(MALFORMED)
    }
  })
})

test.each([0, 127, 128, 255, 65_535, 65_536, 2 ** 32, 2 ** 53 - 1, -1, -33, -129, -32_769, -1e9])(
  'readWholeNumber() reads %d as every width that holds it',
  (value) => {
    const forms = [packr.pack(value)]
    const float = Buffer.alloc(9, 0xcb)
    float.writeDoubleBE(value, 1)
    forms.push(float)
    if (value >= 0) {
      const wide = Buffer.alloc(9, 0xcf)
      wide.writeBigUInt64BE(BigInt(value), 1)
      const signed = Buffer.from(wide)
      signed[0] = 0xd3
      forms.push(wide, signed)
    }
    for (const bytes of forms) {
      // A negative number is out of all bounds here: it may be any, but not one from 0 up.
      const read = readWholeNumber(bytes, 0, bytes.length)
      expect(value < 0 ? read >= 0 : read).toBe(value < 0 ? false : value)
    }
  },
)

function pair(name: string, value: unknown): Buffer {
  return Buffer.concat([packr.pack(name), packr.pack(value)])
}
