/**
 *                 ┌─→ work: a handler that fails more and more often, with retries and a breaker
 *   client ─→ broker
 *                 └─→ tick: a handler that works, on the same client
 *
 * Question: what does a failing dependency of one handler do to the rest? Its rate of failure goes
 * from 0 to 100 % and back. The breaker has to open and to close again, no message may be lost, and
 * the other subscription must not notice.
 * Runs on: the benchmark's main process, where both handlers run. Owns: its broker. The broker keeps
 * 262,144 entries of a topic, so that everything that waits for the breaker is still there.
 */
import { type BreakerState, connect } from '../../src/client/ringcast.js'
import { startBroker } from '../broker-process.js'
import { Random } from '../random.js'
import { circumstances, circumstancesLine } from '../report/circumstances.js'
import { quantile } from '../statistics.js'
import { BreakerClock } from './breaker-clock.js'

const FAILURE_RATES = [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0] as const
const PUBLISHES_PER_SECOND = 500
const INTERVAL_MS = 5
const DRAIN_MS_MAX = 30_000
const BROKER_ENV = { TOPIC_HISTORY_SIZE: '262144' }
/** What the neighbour may lose of its rate, and how late it may get (p99), before we complain. */
const NEIGHBOUR_SHARE_MIN = 0.95
const NEIGHBOUR_P99_MS_MAX = 500
const HANDLER = {
  concurrency: 4,
  maxInFlight: 100,
  retry: { maxAttempts: Number.POSITIVE_INFINITY, baseMs: 1, maxMs: 20 },
  breaker: { threshold: 5, halfOpenAfterMs: 100 },
}

interface Step {
  readonly failureRate: number
  readonly seconds: number
  readonly handled: number
  readonly calls: number
  /** Published and not handled yet, at the end of the step. */
  readonly backlog: number
  readonly openShare: number
  readonly stateAtEnd: BreakerState
  readonly ticks: number
  readonly ticksPublished: number
  readonly tickP50Ms: number
  readonly tickP99Ms: number
}

export interface DegradationOptions {
  readonly secondsPerStep: number
  readonly seed: number
}

/** Prints the table; returns the exit code. */
export async function measureDegradation(options: DegradationOptions): Promise<number> {
  console.error(`${circumstancesLine(circumstances())}, SEED=${options.seed}`)
  const broker = await startBroker(BROKER_ENV)
  try {
    const { steps, complaints } = await degrade(`ws://${broker.host}:${broker.port}/ws`, options)
    console.log(table(steps))
    console.log(complaints.length === 0 ? 'PASSED' : complaints.join('\n'))
    return complaints.length === 0 ? 0 : 1
  } finally {
    await broker.stop()
  }
}

async function degrade(
  url: string,
  { secondsPerStep, seed }: DegradationOptions,
): Promise<{ steps: Step[]; complaints: string[] }> {
  const random = new Random(seed)
  const client = await connect(url)
  const work = new Arrivals()
  const tick = new Arrivals()
  let failureRate = 0
  let calls = 0
  let latencies: number[] = []
  const fragile = client.subscribe<number>(
    'work',
    async ({ seq }) => {
      calls++
      await new Promise((resolve) => setImmediate(resolve))
      if (random.next() < failureRate) throw new Error('the dependency is down')
      work.note(seq)
    },
    HANDLER,
  )
  const breaker = new BreakerClock(performance.now())
  fragile.on('breaker', (state) => breaker.turn(state, performance.now()))
  const sturdy = client.subscribe<number>('tick', ({ seq, payload }) => {
    tick.note(seq)
    latencies.push(performance.now() - payload)
  })
  client.on('error', () => {}) // Each failed try is told; they are what this is about.
  await Promise.all([fragile.ready, sturdy.ready])

  let published = 0
  const steps: Step[] = []
  for (failureRate of FAILURE_RATES) {
    const before = { handled: work.count, calls, ticks: tick.count, published }
    latencies = []
    const beganMs = performance.now()
    breaker.restart(beganMs)
    const seconds = await publishFor(secondsPerStep, () => {
      client.publishNow('work', published++)
      client.publishNow('tick', performance.now())
    })
    const step: Step = {
      failureRate,
      seconds,
      handled: work.count - before.handled,
      calls: calls - before.calls,
      backlog: published - work.count,
      openShare: breaker.openShare(performance.now()),
      stateAtEnd: breaker.state,
      ticks: tick.count - before.ticks,
      ticksPublished: published - before.published,
      tickP50Ms: quantile(latencies, 0.5),
      tickP99Ms: quantile(latencies, 0.99),
    }
    steps.push(step)
    console.error(`${percent(failureRate)}: ${Math.round(step.handled / seconds)} handled/s`)
  }
  const untilMs = performance.now() + DRAIN_MS_MAX
  while ((work.count < published || tick.count < published) && performance.now() < untilMs) {
    await pause(INTERVAL_MS)
  }
  const end = { published, work, tick, stateAtEnd: breaker.state }
  client.close()
  return { steps, complaints: judge(steps, end) }
}

/** What one handler got. With `concurrency` above 1 it may finish them in another order. */
class Arrivals {
  count = 0
  repeated = 0
  unordered = 0
  #last = 0
  readonly #seen = new Set<number>()

  note(seq: number): void {
    if (this.#seen.has(seq)) this.repeated++
    if (seq < this.#last) this.unordered++
    this.#last = seq
    this.#seen.add(seq)
    this.count = this.#seen.size
  }
}

/** Calls `publish` on a schedule fixed in advance. Returns the seconds it took. */
async function publishFor(seconds: number, publish: () => void): Promise<number> {
  const beganMs = performance.now()
  const all = Math.round(seconds * PUBLISHES_PER_SECOND)
  for (let done = 0; done < all; ) {
    const due = Math.floor(((performance.now() - beganMs) / 1e3) * PUBLISHES_PER_SECOND)
    for (; done < Math.min(due, all); done++) publish()
    await pause(INTERVAL_MS)
  }
  return (performance.now() - beganMs) / 1e3
}

interface End {
  readonly published: number
  readonly work: Arrivals
  readonly tick: Arrivals
  readonly stateAtEnd: BreakerState
}

function judge(steps: readonly Step[], { published, work, tick, stateAtEnd }: End): string[] {
  const complaints: string[] = []
  const claim = (isKept: boolean, text: string) => {
    if (!isKept) complaints.push(`FAILED: ${text}`)
  }
  const worst = steps.find((step) => step.failureRate === 1)
  claim((worst?.openShare ?? 0) > 0.5, 'the breaker was not open while everything failed')
  claim(stateAtEnd === 'closed', `the breaker is ${stateAtEnd} at the end`)
  claim(work.count === published, `${published - work.count} of ${published} never handled`)
  claim(work.repeated === 0, `${work.repeated} handled twice`)
  claim(tick.count === published, `the neighbour lost ${published - tick.count} of ${published}`)
  claim(tick.repeated + tick.unordered === 0, 'the neighbour got messages twice or out of order')
  for (const { failureRate, ticks, ticksPublished, tickP99Ms } of steps) {
    const at = `the neighbour, at ${percent(failureRate)} failures,`
    // What is under way when a step ends is not missing yet.
    const underWay = (PUBLISHES_PER_SECOND * NEIGHBOUR_P99_MS_MAX) / 1e3
    const wanted = ticksPublished * NEIGHBOUR_SHARE_MIN - underWay
    claim(ticks >= wanted, `${at} got ${ticks} of ${ticksPublished}`)
    claim(tickP99Ms <= NEIGHBOUR_P99_MS_MAX, `${at} had a p99 of ${tickP99Ms.toFixed(0)} ms`)
  }
  return complaints
}

function table(steps: readonly Step[]): string {
  const titles = [
    'failures',
    'handled/s',
    'calls/s',
    'breaker open',
    'at the end',
    'waiting',
    "neighbour's rate",
    'p50, ms',
    'p99, ms',
  ]
  const rows = steps.map((step) => [
    percent(step.failureRate),
    String(Math.round(step.handled / step.seconds)),
    String(Math.round(step.calls / step.seconds)),
    percent(step.openShare),
    step.stateAtEnd,
    String(step.backlog),
    String(Math.round(step.ticks / step.seconds)),
    step.tickP50Ms.toFixed(2),
    step.tickP99Ms.toFixed(2),
  ])
  return [titles, titles.map(() => '---'), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n')
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
