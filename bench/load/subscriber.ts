/**
 * A subscriber process: opens its connections, checks and times every message that arrives.
 * Runs on: a process of its own, started by coordinator.ts. Owns: the connections of its
 * subscribers, one histogram for all of them.
 *
 * The time of arrival is that of the read which brought the message, taken before its frames are
 * decoded: what our own decoding costs the later ones of a read is not the broker's latency.
 */
import { getPriority } from 'node:os'
import { Arrivals } from './arrivals.js'
import { CpuMeter, eachSecond, fail, listen, readTimings, tell } from './child.js'
import { nowMs } from './clock.js'
import { type DecodeSink, JsonDecoder, MsgpackDecoder } from './decode.js'
import { subscribeFrame } from './encode.js'
import { encodeLatencies } from './latencies.js'
import type { LoadPlan, Schedule, Setup, ToSubscriber } from './plan.js'
import { raisePriority } from './priority.js'
import { Tally } from './tally.js'
import { audienceOf, streamCount, subscriptionOf } from './topics.js'
import { WebSocketClient } from './websocket.js'

/** Few connections get large areas: fewer, larger reads. */
const RECEIVE_BYTES_ALL = 4 * 2 ** 20
const RECEIVE_BYTES_MIN = 16 * 1024
const RECEIVE_BYTES_MAX = 256 * 1024
const SEND_BYTES = 4096
const PROGRESS_INTERVAL_MS = 2
/** After the last publish: as long as messages keep arriving, but not for ever. */
const DRAIN_QUIET_MS = 2000
const DRAIN_MS_MAX = 20_000

const arrivals = new Arrivals()
const cpu = new CpuMeter()
let subscribers: Subscriber[] = []
let arrivedMs = 0
let progressMs = 0
let announced = 0

class Subscriber implements DecodeSink {
  /** For each stream, whether it is ours. */
  readonly audience: readonly boolean[]
  readonly tally: Tally
  readonly client: WebSocketClient
  readonly subscribed: Promise<void>
  readonly #plan: LoadPlan
  readonly #subscription: string
  #acked: () => void = () => {}

  constructor({ target, plan, indexes }: Setup, index: number) {
    this.#plan = plan
    this.#subscription = subscriptionOf(plan, index)
    this.audience = audienceOf(plan, index)
    this.tally = new Tally(streamCount(plan))
    this.subscribed = new Promise((resolve) => {
      this.#acked = resolve
    })
    const decoder = plan.encoding === 'json' ? new JsonDecoder(this) : new MsgpackDecoder(this)
    this.client = new WebSocketClient({
      ...target,
      path: '/ws',
      protocol: `ringcast.v1.${plan.encoding}`,
      sendBytes: SEND_BYTES,
      receiveBytes: receiveBytes(indexes.length),
      onRead,
      onMessage: (bytes, start, end) => decoder.decode(bytes, start, end),
      onLost: (reason) => fail(`subscriber ${index}: ${reason}`),
    })
  }

  async open(): Promise<void> {
    await this.client.opened()
    const { opcode, body } = subscribeFrame(this.#plan, this.#subscription)
    this.client.send(body, opcode)
    await this.subscribed
  }

  message(timeMs: number, stream: number, number: number): void {
    arrivals.note(arrivedMs, timeMs)
    this.tally.note(stream, number)
  }

  ack(): void {
    this.#acked()
  }

  gap(dropped: number): void {
    announced += dropped
  }

  refused(text: string): void {
    fail(`subscriber of ${this.#subscription} got an error: ${text}`)
  }

  /** What this subscriber should have got: nothing of other topics. */
  expected(published: readonly number[]): number[] {
    return published.map((count, stream) => (this.audience[stream] === true ? count : 0))
  }
}

listen<ToSubscriber>(async (message) => {
  if (message.type === 'setup') await open(message)
  else if (message.type === 'start') start(message.schedule)
  else await drain(message.published)
})

async function open(setup: Setup): Promise<void> {
  subscribers = setup.indexes.map((index) => new Subscriber(setup, index))
  await Promise.all(subscribers.map((subscriber) => subscriber.open()))
  if (setup.plan.load.kind === 'closed') startProgress(setup.plan)
  const isOpen = setup.plan.load.kind === 'open'
  tell({ type: 'ready', priority: isOpen ? raisePriority() : getPriority() })
}

function start(schedule: Schedule): void {
  arrivals.begin(schedule)
  setTimeout(() => cpu.begin(), schedule.fromMs - nowMs())
  setTimeout(() => cpu.end(), schedule.untilMs - nowMs())
  eachSecond(schedule, () => rollSecond(nowMs())) // Where nothing arrives.
}

function onRead(): void {
  arrivedMs = nowMs()
  rollSecond(arrivedMs)
  if (arrivedMs - progressMs >= PROGRESS_INTERVAL_MS) reportProgress()
}

function rollSecond(timeMs: number): void {
  for (;;) {
    const second = arrivals.tryRoll(timeMs)
    if (second === undefined) return
    tell({ type: 'second', ...second, timings: readTimings() })
  }
}

let reportProgress: () => void = () => {}

/** Closed loop: tells, per stream, up to where the slowest subscriber here has got. */
function startProgress(plan: LoadPlan): void {
  const audiences = Array.from({ length: streamCount(plan) }, (_, stream) =>
    subscribers.filter(({ audience }) => audience[stream] === true),
  )
  let last: string | undefined
  reportProgress = () => {
    progressMs = nowMs()
    const floors = audiences.map((audience, stream) => {
      let floor = Number.POSITIVE_INFINITY
      for (const { tally } of audience) floor = Math.min(floor, tally.next(stream))
      return floor === Number.POSITIVE_INFINITY ? null : floor
    })
    const text = floors.join()
    if (text === last) return
    last = text
    tell({ type: 'progress', delivered: floors })
  }
  setInterval(() => reportProgress(), PROGRESS_INTERVAL_MS)
}

async function drain(published: readonly number[]): Promise<void> {
  rollSecond(nowMs())
  const beganMs = nowMs()
  const wanted = subscribers.map((subscriber) => subscriber.expected(published))
  const isComplete = () => subscribers.every(({ tally }, i) => tally.isComplete(wanted[i] ?? []))
  const isQuiet = () => nowMs() - Math.max(beganMs, arrivedMs) > DRAIN_QUIET_MS
  while (!isComplete() && !isQuiet() && nowMs() - beganMs < DRAIN_MS_MAX) await pause(20)
  await pause(50) // A repeat would come after the message it repeats.

  const sum = { received: 0, expected: 0, lost: 0, repeated: 0, outOfOrder: 0, unexpected: 0 }
  subscribers.forEach(({ tally }, i) => {
    const expected = wanted[i] ?? []
    const losses = tally.losses(expected)
    sum.received += tally.received
    for (const count of expected) sum.expected += count
    sum.lost += losses.lost
    sum.repeated += losses.repeated
    sum.outOfOrder += losses.outOfOrder
    sum.unexpected += losses.unexpected
  })
  tell({
    type: 'received',
    ...sum,
    delivered: arrivals.delivered,
    announced,
    early: arrivals.early,
    cpuShare: cpu.share,
    timings: readTimings(),
    latencies: encodeLatencies(arrivals.finished()),
  })
}

function receiveBytes(connections: number): number {
  const share = Math.floor(RECEIVE_BYTES_ALL / connections)
  return Math.min(RECEIVE_BYTES_MAX, Math.max(RECEIVE_BYTES_MIN, share))
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
