/**
 * Publishes a burst, and receives it.
 * Runs on: a process of its own, started by run.ts. Owns: its connections.
 *
 * All frames of a connection are made beforehand and handed to the kernel in one write, without
 * waiting for anything: the broker has to cope.
 */
import { Packr, unpackMultiple } from 'msgpackr'
import { clientHeaderBytes, Opcode, writeClientHeader } from '../../src/protocol/client-frame.js'
import { ask, topicPath } from '../http-door.js'
import { fail, listen, tell } from '../load/child.js'
import { WebSocketClient } from '../load/websocket.js'
import { Accounts } from './accounts.js'
import type { BurstPlan, FromBurst, ToBurst } from './plan.js'

const TOPIC = 'burst'
const PAYLOAD_BYTES = 128
const RAW_ENCODING = 2
const RECEIVE_BYTES = 256 * 1024
const POLL_MS = 20
const COMPLETE_MS_MAX = 60_000
const Op = { publish: 1, subscribe: 2, ack: 33, events: 34, error: 35, info: 37 } as const
const packr = new Packr({ useRecords: false, variableMapSize: true })

let plan: BurstPlan | undefined
let accounts = new Accounts(0)
let publishers: WebSocketClient[] = []
let subscribed: () => void = () => {}

listen<ToBurst>(async (message) => {
  if (message.type === 'setup') {
    plan = message.plan
    await open(plan)
    tell({ type: 'ready' } satisfies FromBurst)
  } else if (plan !== undefined) await burst(plan)
})

async function open(burst: BurstPlan): Promise<void> {
  accounts = new Accounts(burst.messages)
  const subscriber = client(burst, 4096, onSubscriberFrame)
  await subscriber.opened()
  const isSubscribed = new Promise<void>((resolve) => {
    subscribed = resolve
  })
  subscriber.send(packr.pack([Op.subscribe, 's', TOPIC, null]), Opcode.binary)
  await isSubscribed
  publishers = Array.from({ length: burst.connections }, (_, connection) => {
    const bodies: Buffer[] = []
    for (let number = connection; number < burst.messages; number += burst.connections) {
      bodies.push(publishBody(burst, number))
    }
    const bytes = bodies.reduce((sum, { length }) => sum + clientHeaderBytes(length) + length, 0)
    const publisher = client(burst, bytes, onPublisherFrame)
    for (const body of bodies) append(publisher, body)
    return publisher
  })
  await Promise.all(publishers.map((publisher) => publisher.opened()))
}

function client(
  { target }: BurstPlan,
  sendBytes: number,
  onFrame: (frame: unknown[]) => void,
): WebSocketClient {
  return new WebSocketClient({
    ...target,
    path: '/ws',
    protocol: 'ringcast.v1.msgpack',
    sendBytes,
    receiveBytes: RECEIVE_BYTES,
    onMessage: (bytes, start, end) => {
      for (const frame of unpackMultiple(bytes.subarray(start, end)) as unknown[][]) onFrame(frame)
    },
    onLost: fail,
  })
}

function publishBody({ isAcked }: BurstPlan, number: number): Buffer {
  const payload = Buffer.alloc(PAYLOAD_BYTES, 'x')
  payload.writeUInt32BE(number)
  return packr.pack([Op.publish, isAcked ? number : null, TOPIC, [[RAW_ENCODING, payload]]])
}

function append(publisher: WebSocketClient, body: Buffer): void {
  const at = publisher.reserve(clientHeaderBytes(body.length) + body.length)
  writeClientHeader(publisher.sendBuffer, at, Opcode.binary, body.length)
  publisher.sendBuffer.set(body, at + clientHeaderBytes(body.length))
}

function onPublisherFrame([op, id, third, fourth]: unknown[]): void {
  if (op === Op.ack) accounts.ack(Number(id), (fourth as { seq: number }).seq)
  else if (op === Op.error) accounts.refused(String(third))
}

function onSubscriberFrame([op, code, , fourth]: unknown[]): void {
  if (op === Op.ack) subscribed()
  else if (op === Op.events) {
    for (const [seq, , , payload] of fourth as [number, number, number, Buffer][]) {
      accounts.event(seq, payload.readUInt32BE())
    }
  } else if (op === Op.info && code === 'GAP') {
    const { from_seq, to_seq } = fourth as { from_seq: number; to_seq: number }
    accounts.gap(from_seq, to_seq)
  } else fail(`the subscriber got ${op} ${code}`)
}

async function burst({ target, messages, isAcked }: BurstPlan): Promise<void> {
  const beganMs = performance.now()
  for (const publisher of publishers) publisher.flush()
  for (;;) {
    const { body } = await ask(target, 'GET', topicPath(TOPIC))
    const stored = (body as { last_seq: number }).last_seq
    const answered = isAcked ? accounts.answered : stored + accounts.refusals
    const tookMs = performance.now() - beganMs
    const isComplete = answered === messages && accounts.lastSeq === stored
    if (isComplete || tookMs > COMPLETE_MS_MAX) {
      tell({ type: 'done', counts: accounts.counts(stored, tookMs) } satisfies FromBurst)
      return
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
