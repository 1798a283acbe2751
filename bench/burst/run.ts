/**
 *   100,000 messages in one write per connection ─→ broker ─→ subscriber
 *                                   probe ⇄ broker
 *
 * Question: what does the broker do with far more than it can take at once? Every message has to be
 * stored or refused with OVERLOADED; what is stored has to be delivered or announced by a GAP, what is
 * acked has to stand at the seq of its ack; and latency for others has to come back.
 * Runs on: the benchmark's main process. Owns: broker, client process and probe of each case.
 */
import { startBroker } from '../broker-process.js'
import { startChild } from '../child-process.js'
import { readProcessStats } from '../load/process-stats.js'
import { circumstances, circumstancesLine } from '../report/circumstances.js'
import { LatencyProbe, type ProbeCounts, type Probed } from '../soak/latency-probe.js'
import type { BurstCounts, FromBurst, ToBurst } from './plan.js'
import { CALM_WINDOWS, type Recovery, recoveryOf, WINDOW_MS } from './recovery.js'

const QUIET_MS = 2000
const SETUP_MS_MAX = 30_000
const DONE_MS_MAX = 90_000
/** Latency has to be normal again so long after the burst began. */
const RECOVERY_MS_MAX = 10_000

interface Case {
  readonly name: string
  readonly connections: number
  readonly isAcked: boolean
  readonly brokerEnv: Readonly<Record<string, string>>
}

/** The smallest rings, and no patience with a full one. */
const TIGHT = {
  RING_BYTES: '256KiB',
  MAX_FRAME_BYTES: '64KiB',
  MAX_PAYLOAD_BYTES: '32KiB',
  PUBLISH_WAIT_MS: '0',
}
/** The log holds all of it, so that the subscriber can have all of it, too. */
const DEEP = { TOPIC_HISTORY_SIZE: '1000000', SUBSCRIBER_QUEUE_SIZE: '1000000' }

const CASES: readonly Case[] = [
  { name: 'fire and forget, 1 connection', connections: 1, isAcked: false, brokerEnv: {} },
  { name: 'acked, 1 connection', connections: 1, isAcked: true, brokerEnv: {} },
  { name: 'acked, 10 connections', connections: 10, isAcked: true, brokerEnv: {} },
  { name: 'the same, room for all in the log', connections: 10, isAcked: true, brokerEnv: DEEP },
  {
    name: 'the same, smallest rings, no waiting',
    connections: 10,
    isAcked: true,
    brokerEnv: TIGHT,
  },
]

interface Seen {
  readonly counts: BurstCounts
  readonly recovery: Recovery
  readonly probed: ProbeCounts
  readonly rssPeakMb: number
  readonly isAcked: boolean
}

interface Result extends Seen {
  readonly name: string
  readonly complaints: readonly string[]
}

/** Prints the table; returns the exit code. */
export async function measureBurst(messages: number): Promise<number> {
  console.error(circumstancesLine(circumstances()))
  const results: Result[] = []
  for (const one of CASES) {
    const result = await measure(one, messages)
    results.push(result)
    console.error(`${one.name}: ${Math.round(result.counts.tookMs)} ms`)
  }
  console.log(table(messages, results))
  const complaints = results.flatMap(({ name, complaints }) =>
    complaints.map((complaint) => `FAILED: ${name}: ${complaint}`),
  )
  console.log(complaints.length === 0 ? 'PASSED' : complaints.join('\n'))
  return complaints.length === 0 ? 0 : 1
}

async function measure(one: Case, messages: number): Promise<Result> {
  const broker = await startBroker(one.brokerEnv)
  const client = startChild<ToBurst, FromBurst>(new URL('./client.js', import.meta.url))
  try {
    const target = { host: broker.host, port: broker.port }
    const probes: Probed[] = []
    const { connections, isAcked } = one
    client.tell({ type: 'setup', plan: { target, messages, connections, isAcked } })
    await client.answer('ready', SETUP_MS_MAX)
    const probe = await LatencyProbe.start(broker, (probed) => probes.push(probed))
    await pause(QUIET_MS)
    const disturbedMs = performance.now()
    const done = client.answer('done', DONE_MS_MAX)
    client.tell({ type: 'burst' })
    const { counts } = await done
    await untilCalm(probes, disturbedMs)
    const rssPeakMb = readProcessStats(broker.pid).rssPeakMb
    const probed = await probe.stop()
    const recovery = recoveryOf(probes, disturbedMs)
    const seen = { counts, recovery, probed, rssPeakMb, isAcked }
    return { name: one.name, ...seen, complaints: judge(messages, seen) }
  } finally {
    client.kill()
    await broker.stop()
  }
}

/** As long as it takes to see whether latency is normal again, up to the bound. */
async function untilCalm(probes: readonly Probed[], disturbedMs: number): Promise<void> {
  const longestMs = RECOVERY_MS_MAX + (CALM_WINDOWS + 1) * WINDOW_MS
  while (performance.now() < disturbedMs + longestMs) {
    if (recoveryOf(probes, disturbedMs).recoveredMs !== undefined) return
    await pause(WINDOW_MS)
  }
}

function judge(messages: number, { counts, recovery, probed, isAcked }: Seen): string[] {
  const { stored, acked, overloaded, refusedOtherwise, unaccounted, misplaced, repeated } = counts
  const complaints: string[] = []
  const claim = (isKept: boolean, text: string) => {
    if (!isKept) complaints.push(text)
  }
  claim(stored + overloaded === messages, `${stored} stored + ${overloaded} refused ≠ ${messages}`)
  claim(refusedOtherwise === 0, `${refusedOtherwise} refused with another code than OVERLOADED`)
  claim(!isAcked || acked === stored, `${acked} acked, but ${stored} stored`)
  claim(unaccounted === 0, `${unaccounted} stored, but neither delivered nor announced`)
  claim(misplaced === 0, `${misplaced} do not stand where their ack says`)
  claim(repeated === 0, `${repeated} delivered twice or out of order`)
  claim(probed.lost === 0, `${probed.lost} probes lost`)
  const { recoveredMs = Number.POSITIVE_INFINITY } = recovery
  claim(recoveredMs <= RECOVERY_MS_MAX, `latency not normal again after ${RECOVERY_MS_MAX} ms`)
  return complaints
}

function table(messages: number, results: readonly Result[]): string {
  const titles = [
    `${whole(messages)} messages at once`,
    'stored',
    'refused (OVERLOADED)',
    'delivered',
    'announced (GAP)',
    'all done after, s',
    'p90 before, ms',
    'worst, ms',
    'normal again after, s',
    'refused to others',
    'peak RSS, MB',
  ]
  const rows = results.map(({ name, counts, recovery, probed, rssPeakMb }) => [
    name,
    whole(counts.stored),
    whole(counts.overloaded),
    whole(counts.received),
    whole(counts.announced),
    (counts.tookMs / 1e3).toFixed(2),
    recovery.normalMs.toFixed(2),
    recovery.peakMs.toFixed(0),
    recovery.recoveredMs === undefined ? 'never' : (recovery.recoveredMs / 1e3).toFixed(1),
    whole(probed.refused),
    rssPeakMb.toFixed(0),
  ])
  const lines = [titles, titles.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`)
  return [
    ...lines,
    '',
    'Latency is that of one client more, which publishes to itself. Normal again: the first of ' +
      `${CALM_WINDOWS} stretches of ${WINDOW_MS} ms whose p90 is at most three times that of before ` +
      '(and 5 ms at least).',
  ].join('\n')
}

function whole(value: number): string {
  return value.toLocaleString('en')
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
