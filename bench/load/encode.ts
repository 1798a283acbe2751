/**
 * Publish frames as templates: everything but time and numbers is written once.
 * Runs on: publisher processes. Owns: one template per stream.
 *
 *   MessagePack  header  [1, nil, topic, [[2, payload], … batch times]]
 *   JSON         header  {"type":"publish","topic":…,"message":{"payload":…}}     batch of 1
 *                header  {"type":"publish_batch","topic":…,"messages":[…]}        larger batches
 */
import { clientHeaderBytes, Opcode, writeClientHeader } from '../../src/protocol/client-frame.js'
import {
  BINARY_FACTS_BYTES,
  JSON_FACTS_BYTES,
  jsonPayload,
  setJsonNumber,
  setJsonTime,
} from './facts.js'
import { arrayHeader, binHeader, NIL, shortText } from './msgpack.js'
import type { LoadPlan } from './plan.js'
import { topicOf } from './topics.js'

const RAW_ENCODING = 2
const PUBLISH_OP = 1

export interface FrameTemplate {
  /** Length of the whole frame, header included. */
  readonly bytes: number
  /** Messages in one frame. */
  readonly messages: number
  /** Copies the frame to `to[at…]`, its messages numbered from `firstNumber` on. */
  write(to: Buffer, at: number, timeMs: number, firstNumber: number): void
}

export function frameTemplate(plan: LoadPlan, stream: number): FrameTemplate {
  const topic = topicOf(plan, stream)
  return plan.encoding === 'msgpack'
    ? new MsgpackTemplate(plan, stream, topic)
    : new JsonTemplate(plan, stream, topic)
}

class MsgpackTemplate implements FrameTemplate {
  readonly bytes: number
  readonly messages: number
  readonly #frame: Buffer
  readonly #view: DataView
  readonly #first: number
  readonly #stride: number

  constructor(plan: LoadPlan, stream: number, topic: string) {
    const payload = Buffer.alloc(Math.max(plan.payloadBytes, BINARY_FACTS_BYTES), 'x')
    payload.writeUInt32BE(stream, 8)
    const entryHead = Buffer.concat([
      arrayHeader(2),
      Buffer.of(RAW_ENCODING),
      binHeader(payload.length),
    ])
    const head = Buffer.concat([
      arrayHeader(4),
      Buffer.of(PUBLISH_OP),
      NIL,
      shortText(topic),
      arrayHeader(plan.batch),
    ])
    const entries = Array.from({ length: plan.batch }, () => [entryHead, payload]).flat()
    const body = Buffer.concat([head, ...entries])
    this.#frame = maskedFrame(Opcode.binary, body)
    this.#view = new DataView(this.#frame.buffer, this.#frame.byteOffset, this.#frame.length)
    this.#first = clientHeaderBytes(body.length) + head.length + entryHead.length
    this.#stride = entryHead.length + payload.length
    this.bytes = this.#frame.length
    this.messages = plan.batch
  }

  write(to: Buffer, at: number, timeMs: number, firstNumber: number): void {
    const view = this.#view
    const stride = this.#stride
    let payloadAt = this.#first
    for (let i = 0; i < this.messages; i++) {
      view.setFloat64(payloadAt, timeMs)
      view.setUint32(payloadAt + 12, firstNumber + i)
      payloadAt += stride
    }
    to.set(this.#frame, at)
  }
}

class JsonTemplate implements FrameTemplate {
  readonly bytes: number
  readonly messages: number
  readonly #frame: Buffer
  readonly #first: number
  readonly #stride: number

  constructor(plan: LoadPlan, stream: number, topic: string) {
    const payload = jsonPayload(stream, Math.max(plan.payloadBytes, JSON_FACTS_BYTES))
    const message = `{"payload":${payload}}`
    const messages = Array.from({ length: plan.batch }, () => message).join(',')
    const head =
      plan.batch === 1 ? '{"type":"publish","topic":' : '{"type":"publish_batch","topic":'
    const list = plan.batch === 1 ? `"message":${messages}` : `"messages":[${messages}]`
    const body = `${head}${JSON.stringify(topic)},${list}}`
    this.#frame = maskedFrame(Opcode.text, Buffer.from(body))
    this.#first = clientHeaderBytes(body.length) + body.indexOf(payload)
    this.#stride = message.length + 1
    this.bytes = this.#frame.length
    this.messages = plan.batch
  }

  write(to: Buffer, at: number, timeMs: number, firstNumber: number): void {
    let payloadAt = this.#first
    for (let i = 0; i < this.messages; i++) {
      setJsonTime(this.#frame, payloadAt, timeMs)
      setJsonNumber(this.#frame, payloadAt, firstNumber + i)
      payloadAt += this.#stride
    }
    to.set(this.#frame, at)
  }
}

function maskedFrame(opcode: number, body: Buffer): Buffer {
  const header = clientHeaderBytes(body.length)
  const frame = Buffer.alloc(header + body.length)
  writeClientHeader(frame, 0, opcode, body.length)
  frame.set(body, header)
  return frame
}

/** The subscribe request of a client, with its request id `"s"`. */
export function subscribeFrame(plan: LoadPlan, topic: string): { opcode: number; body: Buffer } {
  if (plan.encoding === 'json') {
    const request = { type: 'subscribe', topic, request_id: 's', batch: plan.batchedEvents }
    return { opcode: Opcode.text, body: Buffer.from(JSON.stringify(request)) }
  }
  const body = Buffer.concat([arrayHeader(4), Buffer.of(2), shortText('s'), shortText(topic), NIL])
  return { opcode: Opcode.binary, body }
}
