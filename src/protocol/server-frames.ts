/**
 * What the broker says besides events and publish acks: acks of control requests, errors, pongs,
 * notices. Rare, so they are built from values, by msgpackr or JSON.stringify().
 * Runs on: the gateway. Owns: nothing; pure.
 *
 * A request id is carried as the bytes the client sent, and put back as they are.
 */
import { Packr } from 'msgpackr'
import type { ReplyCode } from '../errors.js'
import { Op } from './msgpack-frames.js'

/** MSGPACK = 0 and JSON_TEXT = 1 of ring/record.ts; this folder imports no other stage. */
type Format = 0 | 1
type Details = Readonly<Record<string, unknown>>

const packr = new Packr({ useRecords: false, variableMapSize: true })
const NIL = Buffer.of(0xc0)

/** The id of a request in the words of its own encoding; undefined: it had none. */
export type RequestId = Uint8Array | undefined

export function ackFrame(
  format: Format,
  requestId: RequestId,
  topic: string,
  result: Details,
  nowMs: number,
): Buffer {
  if (format === 0) {
    const rest = [packr.pack(topic), packr.pack(result)]
    return Buffer.concat([Buffer.of(0x94, Op.ack), requestId ?? NIL, ...rest])
  }
  return jsonFrame('ack', requestId, { topic, status: 'ok', ts: isoTime(nowMs), ...result })
}

export function errorFrame(
  format: Format,
  requestId: RequestId,
  reply: ReplyCode,
  message: string,
  nowMs: number,
): Buffer {
  const { code, retryable } = reply
  if (format === 0) {
    const rest = [packr.pack(code), packr.pack(message), packr.pack(retryable)]
    return Buffer.concat([Buffer.of(0x95, Op.error), requestId ?? NIL, ...rest])
  }
  return jsonFrame('error', requestId, {
    error: { code, message, retryable },
    ts: isoTime(nowMs),
  })
}

export function pongFrame(format: Format, requestId: RequestId, nowMs: number): Buffer {
  if (format === 0) {
    return Buffer.concat([Buffer.of(0x93, Op.pong), requestId ?? NIL, packr.pack(nowMs)])
  }
  return jsonFrame('pong', requestId, { ts: isoTime(nowMs) })
}

export function infoFrame(
  format: Format,
  code: string,
  topic: string | null,
  details: Details,
  nowMs: number,
): Buffer {
  if (format === 0) return packr.pack([Op.info, code, topic, details])
  const fields = { code, ...(topic === null ? {} : { topic }), ...details, ts: isoTime(nowMs) }
  return jsonFrame('info', undefined, fields)
}

function jsonFrame(type: string, requestId: RequestId, fields: Details): Buffer {
  const rest = JSON.stringify(fields).slice(1)
  const id = requestId === undefined ? '' : `"request_id":${Buffer.from(requestId).toString()},`
  return Buffer.from(`{"type":"${type}",${id}${rest}`)
}

let lastMs = Number.NaN
let lastText = ''

/** ISO 8601 text of a time; the text of the last one is kept, since many frames share a moment. */
export function isoTime(timeMs: number): string {
  if (timeMs !== lastMs) {
    lastMs = timeMs
    lastText = new Date(timeMs).toISOString()
  }
  return lastText
}
