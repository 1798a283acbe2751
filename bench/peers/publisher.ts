/**
 * The publishing end: some connections of one client library, `publish` called once per message, as
 * fast as possible or by a schedule.
 * Runs on: a process of its own, started by session.ts. Owns: the publishers' connections.
 *
 * The schedule wakes with a timer every millisecond, as an application's would: whoever waits
 * inside `Atomics.wait` for a finer grain keeps the client library from its own I/O meanwhile. What
 * that costs, half a millisecond on average, is in the latencies of every system alike.
 */
import { CpuMeter, fail, listen, tell } from '../load/child.js'
import { nowMs } from '../load/clock.js'
import { LatencyRecorder } from '../load/latencies.js'
import { type Link, openLink } from './link.js'
import {
  type Published,
  type Run,
  type Setup,
  type Shape,
  type ToPublisher,
  topicOf,
} from './messages.js'
import { Payloads } from './payloads.js'

/** Messages of a publisher between two turns of the event loop, at most. */
const BURST = 512
const GRAIN_MS = 1
/** Open loop: a publisher gives up when it, or its slowest subscriber, is this far behind … */
const BACKLOG_MS_MAX = 1000
/** … but not below so many messages: a hiccup at a low rate. */
const BACKLOG_MIN = 2000
/** Open loop: what a publisher has under way in 100 ms at 80 000 messages/s. */
const PAYLOAD_RING = 8192
/** After the run, for what the library did not take when it was due. */
const OVERTIME_MS = 1000

interface Publisher {
  readonly index: number
  readonly link: Link
  readonly topic: string
  payloads: Payloads
  sent: number
  isWaiting: boolean
}

const NO_PAYLOADS = new Payloads(0, 1)
const cpu = new CpuMeter()
let publishers: Publisher[] = []
let shape: Shape | undefined
let current: Run | undefined
let delivered: readonly number[] = []
/** There may be room again: wakes who sleeps in news(). */
let onNews = () => {}

listen<ToPublisher>(async (message) => {
  if (message.type === 'setup') await open(message)
  else if (message.type === 'run') await run(message)
  else if (message.run === current?.run) {
    delivered = message.delivered
    onNews()
  }
})

async function open(setup: Setup): Promise<void> {
  shape = setup.shape
  publishers = []
  for (let index = 0; index < setup.shape.publishers; index++) {
    const link = await openLink(setup.link, setup.target)
    const topic = topicOf(setup.shape, index)
    publishers.push({ index, link, topic, payloads: NO_PAYLOADS, sent: 0, isWaiting: false })
  }
  tell({ type: 'ready' })
}

async function run(message: Run): Promise<void> {
  const { load, schedule } = message
  // Of the run before: the library may still hold their buffers.
  const hasLeftovers = publishers.some(({ index, sent }) => sent > (delivered[index] ?? 0))
  current = message
  delivered = publishers.map(() => 0)
  const ringLength = load.kind === 'closed' ? load.window : PAYLOAD_RING
  for (const publisher of publishers) {
    // Not anew for each run: so many buffers are garbage that only a major collection gets rid of.
    if (hasLeftovers || publisher.payloads.ringLength !== ringLength) {
      publisher.payloads = new Payloads(shape?.payloadBytes ?? 0, ringLength)
    }
    publisher.sent = 0
  }
  while (nowMs() < schedule.startMs) await pause(schedule.startMs - nowMs()) // Timers may fire early.
  setTimeout(() => cpu.begin(), schedule.fromMs - nowMs())
  setTimeout(() => cpu.end(), schedule.untilMs - nowMs())
  const outcome =
    load.kind === 'closed'
      ? await asFastAsPossible(message, load.window)
      : await bySchedule(message, load.ratePerSecond)
  const counts = publishers.map(({ sent }) => sent)
  tell({ type: 'published', counts, cpuShare: cpu.share, ...outcome } satisfies Published)
}

type Outcome = Pick<Published, 'lagP99Ms' | 'isOverrun'>

async function asFastAsPossible(message: Run, window: number): Promise<Outcome> {
  const { startMs, untilMs } = message.schedule
  while (nowMs() < untilMs) {
    let hasSent = false
    const dueMs = nowMs() - startMs
    for (const publisher of publishers) {
      const limit = Math.min(publisher.sent + BURST, (delivered[publisher.index] ?? 0) + window)
      if (publishUpTo(limit, publisher, message.run, dueMs)) hasSent = true
    }
    await (hasSent ? nextTurn() : news())
  }
  return { lagP99Ms: 0, isOverrun: false }
}

/** A function of its own: V8 runs loops in async functions without optimizing them. */
function publishUpTo(limit: number, publisher: Publisher, run: number, dueMs: number): boolean {
  const before = publisher.sent
  while (publisher.sent < limit && publish(publisher, run, dueMs)) {}
  return publisher.sent > before
}

/** Message k of publisher i of P is due at start + (k + i / P) × interval. */
async function bySchedule(message: Run, ratePerSecond: number): Promise<Outcome> {
  const { startMs, untilMs } = message.schedule
  const lengthMs = untilMs - startMs
  const intervalMs = (1000 * publishers.length) / ratePerSecond
  const lag = new LatencyRecorder()
  const backlogMax = Math.max(BACKLOG_MIN, BACKLOG_MS_MAX / intervalMs)
  let isOverrun = false
  for (let isOver = false; !isOver && !isOverrun; ) {
    const nowSinceStartMs = nowMs() - startMs
    isOver = true
    let isBehind = false
    for (const publisher of publishers) {
      const { index } = publisher
      const dueMs = () => (publisher.sent + index / publishers.length) * intervalMs
      const wasWaiting = publisher.isWaiting
      const limit = publisher.sent + BURST
      for (let due = dueMs(); due <= nowSinceStartMs && due < lengthMs; due = dueMs()) {
        if (publisher.sent === limit || !publish(publisher, message.run, due)) break
        if (!wasWaiting) lag.record(nowSinceStartMs - due)
      }
      if (publisher.sent === limit) isBehind = true
      if (dueMs() < lengthMs) isOver = false
      // The library itself takes longer than there is time.
      if (nowSinceStartMs - dueMs() > BACKLOG_MS_MAX) isOverrun = true
      if (publisher.sent - (delivered[index] ?? 0) > backlogMax) isOverrun = true
    }
    if (nowSinceStartMs > lengthMs + OVERTIME_MS) isOverrun = true
    await (isBehind ? nextTurn() : pause(GRAIN_MS))
  }
  return { lagP99Ms: lag.finished().getValueAtPercentile(99) / 1e3, isOverrun }
}

/** Returns false when the library does not take it now. */
function publish(publisher: Publisher, run: number, dueMs: number): boolean {
  if (publisher.isWaiting) return false
  const { index, sent, payloads } = publisher
  const payload = payloads.take(Math.round(dueMs * 1e3), index, sent, run, delivered[index] ?? 0)
  if (publisher.link.publish(publisher.topic, payload)) {
    publisher.sent++
    return true
  }
  publisher.isWaiting = true
  publisher.link.room().then(
    () => {
      publisher.isWaiting = false
      onNews()
    },
    (error: unknown) => fail(String(error)),
  )
  return false
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Until there may be room. To look again and again would take the CPU from the other processes. */
function news(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GRAIN_MS)
    onNews = () => {
      clearTimeout(timer)
      resolve()
    }
  })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
