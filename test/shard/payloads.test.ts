/**
 * Payloads of every encoding, as JSON subscribers get them.
 * Runs on: the test thread.
 */
import { Packr } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { JSON_TEXT } from '../../src/ring/record.js'
import { errorsOf, eventsOf, only, replies, ShardRig } from './shard-rig.js'

const KiB = 1024
const packr = new Packr({ useRecords: false, variableMapSize: true })

describe('payloads as JSON', () => {
  const asJson = (message: readonly unknown[], options = {}) => {
    const rig = new ShardRig(options)
    rig.subscribe('a', JSON_TEXT)
    rig.publish('a', [message])
    return only(only(eventsOf(rig.settle())).json)['message'] as Record<string, unknown>
  }

  test.each([
    ['a map', packr.pack({ a: [1, 'two', null, true] }), { a: [1, 'two', null, true] }],
    ['a BigInt', Buffer.from('d300000000000003e8', 'hex'), 1000],
    ['uint64 beyond 2^53', Buffer.from('cfffffffffffffffff', 'hex'), 2 ** 64],
    ['an int64 inside', Buffer.from('81a16ed3fffffffffffffc18', 'hex'), { n: -1000 }],
    ['a string', packr.pack('é\u0000"'), 'é\u0000"'],
    ['nil', packr.pack(null), null],
    ['NaN', Buffer.from('cb7ff8000000000000', 'hex'), null],
  ])('encoding 0 is decoded: %s', (_name, bytes, payload) => {
    const message = asJson([0, bytes])
    expect(message['payload']).toEqual(payload)
    expect(message['encoding']).toBeUndefined()
  })

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a value cut short', Buffer.from('93c0', 'hex')],
    ['two values', Buffer.from('c0c0', 'hex')],
    ['the byte that is never used', Buffer.from('c1', 'hex')],
    ['nested too deep', Buffer.concat([Buffer.alloc(50_000, 0x91), Buffer.of(0xc0)])],
  ])('encoding 0 that cannot be decoded goes out as base64: %s', (_name, bytes) => {
    const message = asJson([0, bytes])
    expect(message['encoding']).toBe('base64')
    expect(Buffer.from(message['payload'] as string, 'base64')).toEqual(bytes)
  })

  test('encoding 0 that would grow beyond a record goes out as base64', () => {
    const bytes = packr.pack('\u0001'.repeat(10_000)) // Six bytes each as JSON.
    const message = asJson([0, bytes], { plan: { ringBytes: 64 * KiB } })
    expect(message['encoding']).toBe('base64')
    expect(Buffer.from(message['payload'] as string, 'base64')).toEqual(bytes)
  })

  test('encoding 0 is decoded wherever it stands in a record', () => {
    const rig = new ShardRig({ plan: { ringBytes: 64 * KiB } })
    rig.subscribe('a', JSON_TEXT)
    // Alone it fits a record; behind another it does not, but its base64 would.
    const large = packr.pack('\u0001'.repeat(4800))
    rig.publish('a', [
      [0, packr.pack('x'.repeat(1900))],
      [0, packr.pack('x'.repeat(1900))],
      [0, large],
    ])
    const events = eventsOf(rig.settle()).flatMap(({ json }) => json)
    const messages = events.map((event) => event['message'] as Record<string, unknown>)
    expect(messages.map((message) => message['encoding'])).toEqual(Array(3).fill(undefined))
    expect(messages[2]?.['payload']).toBe('\u0001'.repeat(4800))
  })

  test('encoding 2 goes out as base64', () => {
    const message = asJson([2, Buffer.of(0, 255)])
    expect(message).toMatchObject({ payload: 'AP8=', encoding: 'base64' })
  })

  test.each([
    ['no JSON', Buffer.from('{no')],
    ['nothing', Buffer.alloc(0)],
    ['two values', Buffer.from('1 2')],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['good JSON after which comes more', Buffer.from('"a","b":"c"')],
  ])('encoding 1 that is not JSON is refused: %s', (_name, bytes) => {
    const rig = new ShardRig()
    const good = [1, Buffer.from('1'), null, { a: 'b' }]
    rig.publish('a', [good, [1, bytes]], { requestId: 'lie' })
    expect(errorsOf(rig.settle())).toEqual([['lie', 'BAD_REQUEST']])
    expect(rig.counters.get('messagesStored')).toBe(0)
  })

  test('the same messages in the history of the HTTP door', () => {
    const rig = new ShardRig()
    const id = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
    rig.publish('a', [
      [0, packr.pack({ n: 1 }), id, { k: 'v' }],
      [1, Buffer.from('"text"'), id],
      [2, Buffer.of(1), id],
      [0, Buffer.of(0xc1), id],
    ])
    rig.settle()
    const request = { op: 'history', topic: 'a', lastN: null, fromSeq: null, limit: 10 }
    const { body } = only(replies(rig.ask(request as never)))
    const common = {
      ts: '2026-01-01T00:00:00.000Z',
      id: '00112233-4455-6677-8899-aabbccddeeff',
    }
    expect(body).toEqual({
      topic: 'a',
      epoch: 'epoch-0000000001',
      messages: [
        { seq: 1, ...common, payload: { n: 1 }, headers: { k: 'v' } },
        { seq: 2, ...common, payload: 'text' },
        { seq: 3, ...common, payload: 'AQ==', encoding: 'base64' },
        { seq: 4, ...common, payload: 'wQ==', encoding: 'base64' },
      ],
      next_seq: 5,
    })
  })
})
