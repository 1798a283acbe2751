import { Packr } from 'msgpackr'
import { expect, test } from 'vitest'
import { type DecodeSink, JsonDecoder, MsgpackDecoder } from '../../bench/load/decode.js'
import { frameTemplate } from '../../bench/load/encode.js'
import type { LoadPlan } from '../../bench/load/plan.js'
import { ONE_TO_ONE } from '../../bench/scenarios/scenario.js'
import { clientHeaderBytes } from '../../src/protocol/client-frame.js'

const standard = new Packr({ useRecords: false, variableMapSize: true })

class Log implements DecodeSink {
  readonly messages: [number, number, number][] = []
  readonly acks: string[] = []
  readonly refusals: string[] = []
  dropped = 0
  message(timeMs: number, publisher: number, number: number): void {
    this.messages.push([timeMs, publisher, number])
  }
  ack(requestId: string): void {
    this.acks.push(requestId)
  }
  gap(dropped: number): void {
    this.dropped += dropped
  }
  refused(text: string): void {
    this.refusals.push(text)
  }
}

function facts(timeMs: number, publisher: number, number: number, bytes = 128): Buffer {
  const payload = Buffer.alloc(bytes)
  payload.writeDoubleBE(timeMs)
  payload.writeUInt32BE(publisher, 8)
  payload.writeUInt32BE(number, 12)
  return payload
}

function decodeMsgpack(...arrays: unknown[]): Log {
  const log = new Log()
  const bytes = Buffer.concat(arrays.map((array) => standard.pack(array)))
  // Not at the start of the buffer, and with bytes behind it that are not the frame's.
  const area = Buffer.concat([Buffer.alloc(5, 0xc1), bytes, Buffer.alloc(9, 0xc1)])
  new MsgpackDecoder(log).decode(area, 5, 5 + bytes.length)
  return log
}

function decodeJson(text: string): Log {
  const log = new Log()
  const bytes = Buffer.from(text)
  const behind = '{"payload":{"t":1000000000000000,"p":10000,"n":1000000000,"x":""}}'
  const area = Buffer.concat([Buffer.from('xxx'), bytes, Buffer.from(behind)])
  new JsonDecoder(log).decode(area, 3, 3 + bytes.length)
  return log
}

const id = Buffer.alloc(16, 7)

test('MsgpackDecoder reads every entry of several EVENTS arrays back to back', () => {
  const log = decodeMsgpack(
    [34, 'bench.0', null, [[1, 1.7e12, 2, facts(1.5, 0, 0), id, null]]],
    [
      34,
      'bench.0',
      'bench.*',
      [
        [2, 1, 0, facts(2.5, 1, 1)],
        [3, 1, 0, facts(3.5, 2, 4_000_000_000), null, { a: 'b' }],
      ],
    ],
  )
  expect(log.messages).toEqual([
    [1.5, 0, 0],
    [2.5, 1, 1],
    [3.5, 2, 4_000_000_000],
  ])
})

test.each([0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 1.5, -1, -200])(
  'MsgpackDecoder steps over the seq and time %d in whatever width they come',
  (value) => {
    const entry = [value, value, 2, facts(9, 8, 7)]
    expect(decodeMsgpack([34, 't', null, [entry]]).messages).toEqual([[9, 8, 7]])
    const big = [BigInt(Math.trunc(value)), BigInt(Math.trunc(value)), 2, facts(9, 8, 7)]
    expect(decodeMsgpack([34, 't', null, [big]]).messages).toEqual([[9, 8, 7]])
  },
)

test.each([1, 15, 16, 64, 70_000])('MsgpackDecoder reads a list of %d entries', (count) => {
  const entries = Array.from({ length: count }, (_, n) => [n, 0, 2, facts(n, 3, n, 16)])
  const { messages } = decodeMsgpack([34, 't', null, entries])
  expect(messages).toHaveLength(count)
  expect(messages.at(-1)).toEqual([count - 1, 3, count - 1])
})

test.each([16, 255, 256, 65_535, 65_536])('MsgpackDecoder reads payloads of %d bytes', (bytes) => {
  const entries = [
    [1, 0, 2, facts(1, 2, 3, bytes)],
    [2, 0, 2, facts(4, 5, 6, bytes)],
  ]
  const { messages } = decodeMsgpack([34, 't', null, entries])
  expect(messages).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ])
})

test('MsgpackDecoder tells acks, gaps and errors, and steps over what it does not know', () => {
  const log = decodeMsgpack(
    [33, 's', 'bench.0', { epoch: 'e', seq: 5, nested: [1, { a: [] }] }],
    [37, 'GAP', 'bench.0', { from_seq: 1, to_seq: 412, dropped: 412 }],
    [37, 'TOPIC_DELETED', 'bench.0', { dropped: 9 }],
    [35, null, 'OVERLOADED', 'try later', true],
    [36, null, 12.5],
    [99, [1, 2, { x: [true, null, 'text', 1.5, -1] }]],
    [34, 't', null, [[1, 0, 2, facts(1, 2, 3)]], 'more'],
  )
  expect(log.acks).toEqual(['s'])
  expect(log.dropped).toBe(412)
  expect(log.refusals).toEqual(['OVERLOADED try later'])
  expect(log.messages).toEqual([[1, 2, 3]])
})

test('MsgpackDecoder throws on a frame that ends early, and reads nothing behind it', () => {
  const bytes = standard.pack([34, 't', null, [[1, 0, 2, facts(1, 2, 3)]]])
  for (let cut = 1; cut < bytes.length; cut++) {
    const area = Buffer.concat([bytes.subarray(0, cut), Buffer.alloc(300)])
    expect(() => new MsgpackDecoder(new Log()).decode(area, 0, cut)).toThrow()
  }
})

const PAYLOAD = { t: 1e15 + 2500, p: 10_003, n: 1e9 + 42, x: 'xxxx' }
const EVENT = { type: 'event', topic: 't', message: { id: 'i', payload: PAYLOAD }, seq: 1, ts: 'z' }
const EXPECTED = [2.5, 3, 42]

test.each([
  ['event', EVENT],
  ['event with other key order', { topic: 't', seq: 1, message: EVENT.message, type: 'event' }],
  [
    'event whose payload has other key order',
    {
      ...EVENT,
      message: { payload: { n: PAYLOAD.n, x: '', p: PAYLOAD.p, t: PAYLOAD.t } },
    },
  ],
  ['publish', { type: 'publish', topic: 't', message: { payload: PAYLOAD } }],
])('JsonDecoder reads one %s', (_, frame) => {
  expect(decodeJson(JSON.stringify(frame)).messages).toEqual([EXPECTED])
  expect(decodeJson(JSON.stringify(frame, null, 2)).messages).toEqual([EXPECTED])
})

test.each([
  ['events', { type: 'events', topic: 't', events: [EVENT, EVENT, EVENT] }],
  ['bare events', { type: 'events', events: [{ payload: PAYLOAD }, { payload: PAYLOAD }, EVENT] }],
  ['messages', { type: 'events', messages: [EVENT.message, EVENT.message, EVENT.message] }],
  ['publish_batch', { type: 'publish_batch', messages: [EVENT.message, EVENT.message, EVENT] }],
])('JsonDecoder reads every one of a list of %s', (_, frame) => {
  const thrice = [EXPECTED, EXPECTED, EXPECTED]
  expect(decodeJson(JSON.stringify(frame)).messages).toEqual(thrice)
  expect(decodeJson(JSON.stringify(frame, null, 1)).messages).toEqual(thrice)
})

test('JsonDecoder tells acks, gaps and errors', () => {
  expect(decodeJson('{"type":"ack","request_id":"s","topic":"t","status":"ok"}').acks).toEqual([
    's',
  ])
  expect(decodeJson('{"type":"info","code":"GAP","dropped":412}').dropped).toBe(412)
  expect(decodeJson('{"type":"info","code":"TOPIC_DELETED","dropped":4}').dropped).toBe(0)
  const error = '{"type":"error","error":{"code":"OVERLOADED","message":"later"}}'
  expect(decodeJson(error).refusals).toEqual(['OVERLOADED later'])
})

test.each(['', '{', '{"type":"event","message":{"payload":7}}', '{"type":"event"}'])(
  'JsonDecoder throws on %j',
  (text) => {
    expect(() => decodeJson(text)).toThrow()
  },
)

const PLANS: readonly LoadPlan[] = [
  { ...ONE_TO_ONE, batch: 1 },
  { ...ONE_TO_ONE, batch: 64 },
  { ...ONE_TO_ONE, batch: 3, payloadBytes: 70_000 },
  { ...ONE_TO_ONE, encoding: 'json', batch: 1 },
  { ...ONE_TO_ONE, encoding: 'json', batch: 64 },
]

test.each(PLANS)(
  'FrameTemplate of $encoding, batch $batch, is what a parser and our decoder read',
  (plan) => {
    const frame = frameTemplate(plan, 7)
    const bytes = Buffer.alloc(frame.bytes + 3)
    frame.write(bytes, 3, 1.5, 10) // Written twice: nothing of the first time may remain.
    frame.write(bytes, 3, 123_456.789, 900)
    const header = clientHeaderBytes(frame.bytes - 8)
    const body = bytes.subarray(3 + header)

    const log = new Log()
    const decoder = plan.encoding === 'json' ? new JsonDecoder(log) : new MsgpackDecoder(log)
    decoder.decode(bytes, 3 + header, bytes.length)
    const expected = Array.from({ length: plan.batch }, (_, i) => [123_456.789, 7, 900 + i])
    expect(log.messages).toEqual(expected)

    if (plan.encoding === 'json') {
      const parsed = JSON.parse(body.toString())
      const list = plan.batch === 1 ? [parsed.message] : parsed.messages
      expect(parsed.topic).toBe('bench.0')
      expect(list).toHaveLength(plan.batch)
      for (const { payload } of list)
        expect(JSON.stringify(payload)).toHaveLength(plan.payloadBytes)
    } else {
      const [op, requestId, topic, list] = standard.unpack(body)
      expect([op, requestId, topic, list.length]).toEqual([1, null, 'bench.0', plan.batch])
      for (const [encoding, payload] of list)
        expect([encoding, payload.length]).toEqual([2, plan.payloadBytes])
    }
  },
)
