import { unpack } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { Reply } from '../../src/errors.js'
import {
  ackFrame,
  errorFrame,
  infoFrame,
  isoTime,
  pongFrame,
} from '../../src/protocol/server-frames.js'

const NOW = 1756116000123
const TS = '2025-08-25T10:00:00.123Z'
const MSGPACK = 0
const JSON_TEXT = 1
const ID = { msgpack: Buffer.from([0xa2, 0x72, 0x31]), json: Buffer.from('"r1"') }

function decoded(frame: Buffer): unknown {
  return unpack(frame)
}

function parsed(frame: Buffer): unknown {
  return JSON.parse(frame.toString())
}

describe('MessagePack', () => {
  test('ackFrame() is [33, request_id, topic, result]', () => {
    const result = { epoch: 'e', seq: 41, recovered: false }
    const frame = ackFrame(MSGPACK, ID.msgpack, 'orders', result, NOW)
    expect(decoded(frame)).toEqual([33, 'r1', 'orders', result])
    expect(decoded(ackFrame(MSGPACK, undefined, 'é', {}, NOW))).toEqual([33, null, 'é', {}])
  })

  test('errorFrame() is [35, request_id or nil, code, message, retryable]', () => {
    const frame = errorFrame(MSGPACK, ID.msgpack, Reply.overloaded, 'not stored', NOW)
    expect(decoded(frame)).toEqual([35, 'r1', 'OVERLOADED', 'not stored', true])
    const without = errorFrame(MSGPACK, undefined, Reply.badRequest, '', NOW)
    expect(decoded(without)).toEqual([35, null, 'BAD_REQUEST', '', false])
  })

  test('pongFrame() is [36, request_id or nil, ts ms], the time as a number', () => {
    expect(decoded(pongFrame(MSGPACK, ID.msgpack, NOW))).toEqual([36, 'r1', NOW])
    expect(decoded(pongFrame(MSGPACK, undefined, NOW))).toEqual([36, null, NOW])
  })

  test('infoFrame() is [37, code, topic or nil, details]', () => {
    const details = { from_seq: 88, to_seq: 499, dropped: 412 }
    expect(decoded(infoFrame(MSGPACK, 'GAP', 'orders', details, NOW))).toEqual([
      37,
      'GAP',
      'orders',
      details,
    ])
    const drain = { reconnect_after_ms: 250 }
    expect(decoded(infoFrame(MSGPACK, 'SHUTTING_DOWN', null, drain, NOW))).toEqual([
      37,
      'SHUTTING_DOWN',
      null,
      drain,
    ])
  })

  test('frames have no extensions: other libraries can read them', () => {
    const nested = { topics: [{ a: 1 }, { a: 2 }], seq: 2 ** 40, none: null }
    const frames = [
      ackFrame(MSGPACK, undefined, 't', nested, NOW),
      ackFrame(MSGPACK, undefined, 't', nested, NOW), // Record extensions show the second time.
      infoFrame(MSGPACK, 'GAP', 't', nested, NOW),
    ]
    for (const frame of frames) {
      expect([...frame].some((byte) => byte >= 0xc7 && byte <= 0xc9)).toBe(false)
      expect([...frame].some((byte) => byte >= 0xd4 && byte <= 0xd8)).toBe(false)
      expect((decoded(frame) as unknown[]).at(-1)).toEqual(nested)
    }
  })

  test('a request id goes back as the bytes it came in', () => {
    const id = Buffer.from([0xcf, 0, 0, 0, 0, 0, 0, 0, 5]) // 5 as a uint64.
    expect(pongFrame(MSGPACK, id, NOW).subarray(2, 2 + id.length)).toEqual(id)
  })
})

describe('JSON', () => {
  test('ackFrame() has type, request_id, topic, status, ts and the result', () => {
    expect(parsed(ackFrame(JSON_TEXT, ID.json, 'orders', { epoch: 'e', seq: 41 }, NOW))).toEqual({
      type: 'ack',
      request_id: 'r1',
      topic: 'orders',
      status: 'ok',
      ts: TS,
      epoch: 'e',
      seq: 41,
    })
  })

  test('errorFrame() has type, request_id, error and ts', () => {
    const message = 'message.id must be a valid UUID'
    expect(parsed(errorFrame(JSON_TEXT, ID.json, Reply.badRequest, message, NOW))).toEqual({
      type: 'error',
      request_id: 'r1',
      error: { code: 'BAD_REQUEST', message, retryable: false },
      ts: TS,
    })
  })

  test('pongFrame() and frames without a request id leave request_id out', () => {
    expect(parsed(pongFrame(JSON_TEXT, ID.json, NOW))).toEqual({
      type: 'pong',
      request_id: 'r1',
      ts: TS,
    })
    expect(parsed(pongFrame(JSON_TEXT, undefined, NOW))).toEqual({ type: 'pong', ts: TS })
    expect(parsed(errorFrame(JSON_TEXT, undefined, Reply.internal, '"', NOW))).not.toHaveProperty(
      'request_id',
    )
  })

  test('infoFrame() has type, code, topic if there is one, the details and ts', () => {
    const details = { from_seq: 88, to_seq: 499, dropped: 412 }
    expect(parsed(infoFrame(JSON_TEXT, 'GAP', 'orders', details, NOW))).toEqual({
      type: 'info',
      code: 'GAP',
      topic: 'orders',
      ...details,
      ts: TS,
    })
    const drain = infoFrame(JSON_TEXT, 'SHUTTING_DOWN', null, { reconnect_after_ms: 1 }, NOW)
    expect(parsed(drain)).toEqual({
      type: 'info',
      code: 'SHUTTING_DOWN',
      reconnect_after_ms: 1,
      ts: TS,
    })
  })

  test('a request id goes back as the JSON text it was made into', () => {
    const id = Buffer.from(JSON.stringify('"\\\u0000é\u2028'))
    expect(parsed(pongFrame(JSON_TEXT, id, NOW))).toMatchObject({ request_id: '"\\\u0000é\u2028' })
  })
})

test('isoTime() is right for each time, also after another', () => {
  for (const timeMs of [NOW, NOW + 1, NOW, 0, NOW]) {
    expect(isoTime(timeMs)).toBe(new Date(timeMs).toISOString())
  }
})
