/**
 * Frames and entries between bytes and meaning: what the gateway reads, what the shard writes.
 * Runs on: whoever runs the benchmarks.
 */
import { jsonRequest, parseJsonFrame } from '../../src/protocol/json-frames.js'
import { JsonPublishReader } from '../../src/protocol/json-publish.js'
import { MsgpackFrameReader } from '../../src/protocol/msgpack-frames.js'
import { EntryView, writeEvent } from '../../src/shard/json-text.js'
import { keep, type MicroCase, type MicroGroup } from './case.js'
import { jsonPayload, logUnderTest, PAYLOAD_BYTES, publishFrame } from './memory.js'

const FRAMES = 256
const EVENTS = 1024
const BATCH = 64
const LIMITS = { maxPayloadBytes: 65_536, maxBatchMessages: 4096 }

export function codec(): MicroGroup {
  const publishes = [readMsgpack(1), readMsgpack(BATCH), readJson(1), readJson(BATCH)]
  return { name: 'codec', cases: [...publishes, parseJson(), writeJson()] }
}

/** Checks every field of a publish; decodes nothing. */
function readMsgpack(count: number): MicroCase {
  const reader = new MsgpackFrameReader(LIMITS)
  const frame = publishFrame(count)
  return {
    name: `check a MessagePack publish of ${messages(count)}, per message`,
    operations: FRAMES * count,
    bytes: frame.length / count,
    run() {
      for (let index = 0; index < FRAMES; index++) {
        if (!reader.read(frame, 0, frame.length)) throw new Error(reader.problem)
        keep(reader.messagesEnd)
      }
    },
  }
}

/** The usual form, read where it stands. */
function readJson(count: number): MicroCase {
  const reader = new JsonPublishReader(LIMITS)
  const message = `{"payload":${jsonPayload()}}`
  const body =
    count === 1
      ? `"type":"publish","message":${message}`
      : `"type":"publish_batch","messages":[${Array(count).fill(message).join(',')}]`
  const text = Buffer.from(`{"topic":"bench.orders.created","request_id":"r1",${body}}`)
  return {
    name: `check a JSON publish of ${messages(count)}, per message`,
    operations: FRAMES * count,
    bytes: text.length / count,
    run() {
      for (let index = 0; index < FRAMES; index++) {
        if (!reader.read(text)) throw new Error('not of the usual form')
        keep(reader.messages.length)
      }
    },
  }
}

/** Any other form, of which values are made once that is clear. */
function parseJson(): MicroCase {
  const reader = new JsonPublishReader(LIMITS)
  const message = `{"payload":${jsonPayload()},"headers":{"source":"bench"}}`
  const text = Buffer.from(
    `{"topic":"bench.orders.created","request_id":"r1","type":"publish","message":${message}}`,
  )
  return {
    name: 'parse a JSON publish with headers',
    operations: FRAMES,
    bytes: text.length,
    run() {
      for (let index = 0; index < FRAMES; index++) {
        if (reader.read(text)) throw new Error('of the usual form')
        const request = jsonRequest(parseJsonFrame(text), text, LIMITS)
        keep(request.type.length)
      }
    },
  }
}

/** An entry whose payload is JSON text, as an event frame. */
function writeJson(): MicroCase {
  const { views, topic, log, append, messagesAt } = logUnderTest()
  append(messagesAt(BATCH, 'json'))
  const entry = new EntryView()
  const scratch = Buffer.allocUnsafe(4096)
  const offset = log.offsetOf(log.lastSeq)
  const { buffer } = views
  return {
    name: `write a JSON event with ${PAYLOAD_BYTES} B of JSON in it`,
    operations: EVENTS,
    bytes: PAYLOAD_BYTES,
    run() {
      for (let index = 0; index < EVENTS; index++) {
        entry.read(buffer, offset)
        keep(writeEvent(scratch, 0, scratch.length, topic.jsonEventHead, buffer, entry))
      }
    },
  }
}

function messages(count: number): string {
  return count === 1 ? '1 message' : `${count} messages`
}
