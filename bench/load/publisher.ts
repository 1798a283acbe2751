/**
 * A publisher process: opens its connections, then sends by schedule or as fast as possible.
 * Runs on: a process of its own, started by coordinator.ts. Owns: the connections of its
 * publishers.
 */
import { getPriority } from 'node:os'
import { CpuMeter, eachSecond, fail, listen, readTimings, tell } from './child.js'
import { nowMs } from './clock.js'
import { ClosedLoop } from './closed-loop.js'
import { frameTemplate } from './encode.js'
import { OpenLoop } from './open-loop.js'
import type { Schedule, Setup, ToPublisher } from './plan.js'
import { raisePriority } from './priority.js'
import type { PublisherConnection, SendLoop } from './send-loop.js'
import { streamCount, streamsOf } from './topics.js'
import { WebSocketClient } from './websocket.js'

const SEND_BYTES = 128 * 1024
const RECEIVE_BYTES = 8 * 1024

const cpu = new CpuMeter()
let connections: PublisherConnection[] = []
let loop: SendLoop | undefined
let streams = 0

listen<ToPublisher>(async (message) => {
  if (message.type === 'setup') await open(message)
  else if (message.type === 'start') start(message.schedule)
  else loop?.credit(message.delivered)
})

async function open(setup: Setup): Promise<void> {
  const { plan } = setup
  streams = streamCount(plan)
  connections = setup.indexes.map((index) => connect(setup, index))
  await Promise.all(connections.map(({ client }) => client.opened()))
  loop =
    plan.load.kind === 'open'
      ? new OpenLoop(connections, plan, plan.load)
      : new ClosedLoop(connections, plan.load.window)
  tell({ type: 'ready', priority: plan.load.kind === 'open' ? raisePriority() : getPriority() })
}

function connect({ target, plan }: Setup, index: number): PublisherConnection {
  const streams = streamsOf(plan, index).map((number) => {
    return { number, frame: frameTemplate(plan, number), sent: 0 }
  })
  const frameBytes = Math.max(...streams.map(({ frame }) => frame.bytes))
  const client = new WebSocketClient({
    ...target,
    path: '/ws',
    protocol: `ringcast.v1.${plan.encoding}`,
    sendBytes: Math.max(SEND_BYTES, 2 * frameBytes),
    receiveBytes: RECEIVE_BYTES,
    // Publishes ask for no ack, so whatever comes is a refusal.
    onMessage: (bytes, from, to) => fail(`publisher got: ${bytes.toString('latin1', from, to)}`),
    onWritable: () => loop?.writable(),
    onLost: (reason) => fail(`publisher ${index}: ${reason}`),
  })
  return { index, client, streams, frames: 0 }
}

function start(schedule: Schedule): void {
  setTimeout(() => cpu.begin(), schedule.fromMs - nowMs())
  setTimeout(() => cpu.end(), schedule.untilMs - nowMs())
  loop?.start(schedule, (outcome) => {
    const counts = new Array<number>(streams).fill(0)
    for (const { number, sent } of allStreams()) counts[number] = sent
    tell({ type: 'published', counts, cpuShare: cpu.share, timings: readTimings(), ...outcome })
  })
  eachSecond(schedule, (second) => {
    const messages = allStreams().reduce((sum, { sent }) => sum + sent, 0)
    tell({ type: 'sent', second, messages, timings: readTimings() })
  })
}

function allStreams() {
  return connections.flatMap((connection) => connection.streams)
}
