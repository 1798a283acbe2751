/**
 * The subscribing end: some connections of one client library; checks every message, and in an open
 * loop times it.
 * Runs on: a process of its own, started by session.ts. Owns: the subscribers' connections, one
 * histogram for all of them.
 */
import { CpuMeter, listen, tell } from '../load/child.js'
import { nowMs } from '../load/clock.js'
import { encodeLatencies, LatencyRecorder } from '../load/latencies.js'
import { Tally } from '../load/tally.js'
import { type Link, openLink } from './link.js'
import {
  type Received,
  type Run,
  type Setup,
  type Shape,
  type ToSubscriber,
  topicOf,
} from './messages.js'

/** As fast as possible: the publisher has no more credit than this tells it. */
const PROGRESS_INTERVAL_MS = 2
/** Open loop: only to notice that all is lost. Telling costs three processes a turn each. */
const RARE_PROGRESS_INTERVAL_MS = 50
/** After the last publish: as long as messages keep arriving, but not for ever. */
const DRAIN_QUIET_MS = 1500
const DRAIN_MS_MAX = 5000
/** Connections that are opened at a time. */
const OPENING_MAX = 20

interface Subscriber {
  readonly topic: string
  readonly link: Link
  tally: Tally
}

const cpu = new CpuMeter()
let shape: Shape = { publishers: 0, subscribers: 0, topics: 1, payloadBytes: 0 }
const subscribers: Subscriber[] = []
let latencies = new LatencyRecorder()
/**
 * Warm-up runs the same code as what is measured. If it returned early instead, V8 would compile this
 * for returning early, and throw that away with the first message that counts: a stall of 20 to 50 ms.
 */
const unmeasured = new LatencyRecorder()
let current: Run | undefined
let runNumber = -1
let isTimed = false
let fromUs = 0
let untilUs = 0
let received = 0
let lostBefore = 0
let progress: NodeJS.Timeout | undefined
let measured = Promise.resolve()
let rate = { fromMs: 0, fromCount: 0, perSecond: 0 }

listen<ToSubscriber>(async (message) => {
  if (message.type === 'setup') await open(message)
  else if (message.type === 'run') start(message)
  else await drain(message.published)
})

async function open(setup: Setup): Promise<void> {
  shape = setup.shape
  for (let first = 0; first < shape.subscribers; first += OPENING_MAX) {
    const some = Math.min(OPENING_MAX, shape.subscribers - first)
    const opened = Array.from({ length: some }, (_, i) => openOne(setup, first + i))
    subscribers.push(...(await Promise.all(opened)))
  }
  tell({ type: 'ready' })
}

async function openOne(setup: Setup, index: number): Promise<Subscriber> {
  const link = await openLink(setup.link, setup.target)
  const subscriber = { topic: topicOf(shape, index), link, tally: new Tally(shape.publishers) }
  await link.subscribe(subscriber.topic, (payload) => onPayload(subscriber, payload))
  return subscriber
}

function start(run: Run): void {
  const { startMs, fromMs, untilMs } = run.schedule
  current = run
  runNumber = run.run
  isTimed = run.load.kind === 'open'
  fromUs = (fromMs - startMs) * 1e3
  untilUs = (untilMs - startMs) * 1e3
  received = 0
  lostBefore = lostSoFar()
  latencies = new LatencyRecorder()
  for (const subscriber of subscribers) subscriber.tally = new Tally(shape.publishers)
  clearInterval(progress)
  progress = setInterval(reportProgress, isTimed ? RARE_PROGRESS_INTERVAL_MS : PROGRESS_INTERVAL_MS)
  // Counts at two moments, divided by the time that was really between them.
  setTimeout(() => {
    cpu.begin()
    rate = { fromMs: nowMs(), fromCount: received, perSecond: 0 }
  }, fromMs - nowMs())
  measured = new Promise((resolve) => {
    setTimeout(() => {
      cpu.end()
      rate.perSecond = ((received - rate.fromCount) * 1e3) / (nowMs() - rate.fromMs)
      resolve()
    }, untilMs - nowMs())
  })
}

function onPayload(subscriber: Subscriber, payload: Uint8Array): void {
  if (uint32At(payload, 12) !== runNumber) return // Of an earlier run, given up as lost.
  received++
  subscriber.tally.note(uint32At(payload, 4), uint32At(payload, 8))
  if (!isTimed) return
  const dueUs = uint32At(payload, 0)
  const isMeasured = dueUs >= fromUs && dueUs < untilUs
  const recorder = isMeasured ? latencies : unmeasured
  recorder.record(nowMs() - (current?.schedule.startMs ?? 0) - dueUs / 1e3)
}

function uint32At(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16)
  return (low | ((bytes[at + 3] ?? 0) << 24)) >>> 0
}

function reportProgress(): void {
  if (current === undefined) return
  const delivered = Array.from({ length: shape.publishers }, (_, publisher) => {
    let floor = Number.POSITIVE_INFINITY
    for (const { topic, tally } of subscribers) {
      if (topic === topicOf(shape, publisher)) floor = Math.min(floor, tally.next(publisher))
    }
    return Number.isFinite(floor) ? floor : 0
  })
  tell({ type: 'progress', run: runNumber, delivered })
}

async function drain(published: readonly number[]): Promise<void> {
  await measured // When much has come at once, the timer may be behind the message that brought us here.
  const beganMs = nowMs()
  const wanted = subscribers.map(({ topic }) =>
    published.map((count, publisher) => (topicOf(shape, publisher) === topic ? count : 0)),
  )
  const isComplete = () => subscribers.every(({ tally }, i) => tally.isComplete(wanted[i] ?? []))
  let [seen, seenMs] = [received, nowMs()]
  while (!isComplete() && nowMs() - beganMs < DRAIN_MS_MAX) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    if (received !== seen) [seen, seenMs] = [received, nowMs()]
    else if (nowMs() - seenMs > DRAIN_QUIET_MS) break
  }
  reportProgress() // How it ended: what was lost keeps its buffer.
  current = undefined
  const sum = { received: 0, expected: 0, lost: 0, repeated: 0, outOfOrder: 0 }
  subscribers.forEach(({ tally }, i) => {
    const expected = wanted[i] ?? []
    const losses = tally.losses(expected)
    for (const count of expected) sum.expected += count
    sum.received += tally.received
    sum.lost += losses.lost
    sum.repeated += losses.repeated + losses.unexpected
    sum.outOfOrder += losses.outOfOrder
  })
  tell({
    type: 'received',
    ...sum,
    deliveredPerSecond: rate.perSecond,
    announced: lostSoFar() - lostBefore,
    cpuShare: cpu.share,
    latencies: encodeLatencies(latencies.finished()),
  } satisfies Received)
}

function lostSoFar(): number {
  return subscribers.reduce((total, { link }) => total + link.lost(), 0)
}
