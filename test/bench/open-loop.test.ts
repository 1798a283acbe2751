/**
 * The open loop over real sockets: what leaves, when it says it was due, and what a server that does
 * not read makes of it. Real time, since that is what it is about; nothing asserts how late anything is.
 */
import { unpack } from 'msgpackr'
import { expect, test } from 'vitest'
import type { WebSocket } from 'ws'
import { nowMs } from '../../bench/load/clock.js'
import { frameTemplate } from '../../bench/load/encode.js'
import { OpenLoop } from '../../bench/load/open-loop.js'
import type { LoadPlan } from '../../bench/load/plan.js'
import type { PublisherConnection, SendOutcome } from '../../bench/load/send-loop.js'
import { connected } from './socket-pair.js'

const RATE = 1000
const RUN_MS = 200

interface Arrived {
  readonly dueMs: number
  readonly stream: number
  readonly number: number
}

/** What one publisher sent, as its server understood it. */
interface Line {
  readonly connection: PublisherConnection
  readonly peer: WebSocket
  readonly arrived: Arrived[]
}

async function lineOf(index: number, plan: LoadPlan): Promise<Line> {
  const { client, peer } = await connected()
  const arrived: Arrived[] = []
  peer.on('message', (bytes: Buffer) => {
    const [, , , messages] = unpack(bytes) as [1, null, string, [2, Buffer][]]
    for (const [, payload] of messages) {
      const dueMs = payload.readDoubleBE(0)
      arrived.push({ dueMs, stream: payload.readUInt32BE(8), number: payload.readUInt32BE(12) })
    }
  })
  const streams = [{ number: index, frame: frameTemplate(plan, index), sent: 0 }]
  return { connection: { index, client, streams, frames: 0 }, peer, arrived }
}

function planOf(payloadBytes: number): LoadPlan {
  return {
    encoding: 'msgpack',
    publishers: 2,
    subscribers: 0,
    topics: 2,
    payloadBytes,
    batch: 1,
    batchedEvents: false,
    load: { kind: 'open', ratePerSecond: RATE },
  }
}

async function twoLines(payloadBytes: number): Promise<readonly [Line, Line]> {
  const plan = planOf(payloadBytes)
  return [await lineOf(0, plan), await lineOf(1, plan)]
}

/** Runs the schedule; `startMs` is where it began. */
async function run(
  lines: readonly Line[],
  payloadBytes: number,
): Promise<{ readonly startMs: number; readonly outcome: SendOutcome }> {
  const connections = lines.map(({ connection }) => connection)
  const loop = new OpenLoop(connections, planOf(payloadBytes), { ratePerSecond: RATE })
  const startMs = nowMs() + 20
  const schedule = { startMs, fromMs: startMs, untilMs: startMs + RUN_MS }
  const outcome = await new Promise<SendOutcome>((resolve) => loop.start(schedule, resolve))
  return { startMs, outcome }
}

async function untilArrived(lines: readonly Line[], count: number): Promise<void> {
  for (let turn = 0; turn < 500; turn++) {
    if (lines.every(({ arrived }) => arrived.length >= count)) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Message k of publisher i of 2 is due at start + (k + i / 2) × 2 ms, whenever it left. */
function expectSchedule({ connection, arrived }: Line, startMs: number): void {
  const { index } = connection
  expect(arrived.map(({ number }) => number)).toEqual([...arrived.keys()])
  for (const { dueMs, number, stream } of arrived) {
    expect(dueMs).toBeCloseTo(startMs + (number + index / 2) * 2, 6)
    expect(stream).toBe(index)
  }
}

test('OpenLoop sends what the schedule says, stamped with the time it was due', async () => {
  const lines = await twoLines(128)
  const { startMs, outcome } = await run(lines, 128)
  await untilArrived(lines, RUN_MS / 2)
  for (const line of lines) {
    expect(line.arrived).toHaveLength(RUN_MS / 2)
    expectSchedule(line, startMs)
  }
  expect(outcome).toMatchObject({ heldBack: 0, unsent: 0 })
})

test('OpenLoop sends later what a server held back, still stamped with the time it was due', async () => {
  const bytes = 128 * 1024
  const lines = await twoLines(bytes)
  const [slow, quick] = lines
  slow.peer.pause()
  setTimeout(() => slow.peer.resume(), RUN_MS + 100)
  const { startMs, outcome } = await run(lines, bytes)
  await untilArrived(lines, RUN_MS / 2)
  expect(outcome.heldBack).toBeGreaterThan(0)
  expect(outcome.unsent).toBe(0)
  for (const line of [slow, quick]) {
    expect(line.arrived).toHaveLength(RUN_MS / 2)
    expectSchedule(line, startMs)
  }
})
