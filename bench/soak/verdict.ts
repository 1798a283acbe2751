/**
 * What a soak run showed: trends, counts, and what there is to complain of.
 * Runs on: the benchmark's main process. Owns: nothing; pure.
 */
import type { LoadResult } from '../load/coordinator.js'
import type { ChurnCounts } from './churn-plan.js'
import type { ProbeCounts } from './latency-probe.js'
import {
  QUANTITIES,
  type Quantities,
  type QuantityName,
  RSS_MB_MAX,
  type TimedSample,
} from './quantities.js'
import { T_CRITICAL, type Trend, trendOf } from './trend.js'

/**
 * Shorter runs do not get a verdict on trends: what grows in them may be what fills up at first. RSS
 * was seen to do that for more than five minutes.
 */
const TREND_MINUTES_MIN = 20
/** These must be what they were before, or less, when everybody has gone. */
const COUNTS = [
  'connections',
  'subscriptions',
  'topics',
  'lagging',
  'openFiles',
  'threads',
] as const
const NAMES = Object.keys(QUANTITIES) as QuantityName[]

export interface Outcome {
  readonly minutes: number
  readonly before: Quantities
  readonly samples: readonly TimedSample[]
  readonly after: Quantities
  readonly load: LoadResult
  readonly churn: ChurnCounts
  readonly probes: ProbeCounts
}

export interface Judged {
  readonly trends: Readonly<Record<QuantityName, Trend>>
  /** Empty when the run was good. */
  readonly complaints: readonly string[]
}

export function judge(outcome: Outcome): Judged {
  const trends = Object.fromEntries(
    NAMES.map((name) => [name, trend(outcome, name)]),
  ) as unknown as Record<QuantityName, Trend>
  const complaints = [...broken(outcome), ...left(outcome)]
  const peakMb = Math.max(outcome.load.rssPeakMb, outcome.after.rssMb)
  if (peakMb > RSS_MB_MAX) complaints.push(`RSS reached ${peakMb.toFixed(0)} MB`)
  if (outcome.minutes >= TREND_MINUTES_MIN) {
    for (const name of NAMES) {
      if (trends[name].verdict === 'grows') complaints.push(`${QUANTITIES[name].name} grows`)
    }
  }
  return { trends, complaints }
}

function trend({ samples }: Outcome, name: QuantityName): Trend {
  const points = samples.map((sample) => ({ minutes: sample.minutes, value: sample[name] }))
  return trendOf(points, QUANTITIES[name].tolerance)
}

/** Promises that hold however short the run is. */
function broken({ load, churn, probes }: Outcome): string[] {
  const { lost, announced, repeated, outOfOrder } = load
  const complaints: string[] = []
  if (lost !== announced) complaints.push(`${lost} messages lost, ${announced} of them announced`)
  if (repeated > 0) complaints.push(`${repeated} messages repeated`)
  if (outOfOrder > 0) complaints.push(`${outOfOrder} messages out of order`)
  if (probes.lost > 0) complaints.push(`${probes.lost} probes lost`)
  if (probes.refused > 0) complaints.push(`${probes.refused} probes refused`)
  if (churn.failures > 0) {
    complaints.push(`${churn.failures} failures in the churn: ${churn.reasons.join('; ')}`)
  }
  return complaints
}

function left({ before, after }: Outcome): string[] {
  return COUNTS.filter((name) => after[name] > before[name]).map(
    (name) => `${QUANTITIES[name].name}: ${before[name]} at the start, ${after[name]} at the end`,
  )
}

/** Markdown, to be pasted. */
export function reportText(outcome: Outcome, { trends, complaints }: Judged): string {
  const { load, churn, minutes, samples } = outcome
  const isJudged = minutes >= TREND_MINUTES_MIN
  const rows = NAMES.map((name) => {
    const { name: title, unit } = QUANTITIES[name]
    const { mean, max, slopePerHour, errorPerHour, growth, verdict } = trends[name]
    const slope = `${number(slopePerHour)} ± ${number(T_CRITICAL * errorPerHour)}`
    const said = isJudged ? VERDICTS[verdict] : 'not judged: too short'
    const cells = [unit === '' ? title : `${title}, ${unit}`, number(outcome.before[name])]
    return [
      ...cells,
      number(mean),
      number(max),
      slope,
      number(growth),
      number(outcome.after[name]),
      said,
    ]
  })
  const titles = ['', 'before', 'mean', 'max', 'slope an hour', 'growth', 'after', 'verdict']
  const table = [titles, titles.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`)
  const { latency } = load
  return [
    `${minutes} minutes, ${samples.length} samples; mean, max, slope and growth are of the second half.`,
    '',
    ...table,
    '',
    `load: ${whole(load.deliveredPerSecond)} messages/s delivered, ${whole(load.received)} in all, ` +
      `p50 ${latency.p50} ms, p99 ${latency.p99} ms, max ${latency.max} ms; ` +
      `${load.lost} lost (${load.announced} announced), ${load.repeated} repeated, ` +
      `${load.outOfOrder} out of order; other processes ${load.otherCpu.toFixed(2)} cores` +
      (load.voidReason === undefined ? '' : `; its latencies are void: ${load.voidReason}`),
    `churn: ${whole(churn.connections)} connections (${whole(churn.destroyed)} destroyed), ` +
      `${whole(churn.subscribes)} subscribes, ${whole(churn.unsubscribes)} unsubscribes, ` +
      `${whole(churn.topicsCreated)} topics created, ${whole(churn.topicsDeleted)} deleted, ` +
      `${whole(churn.events)} events, ${whole(churn.failures)} failures`,
    complaints.length === 0 ? 'PASSED' : complaints.map((text) => `FAILED: ${text}`).join('\n'),
  ].join('\n')
}

const VERDICTS = {
  flat: 'flat within noise',
  drifts: 'a slope too small to matter',
  grows: '**GROWS**',
  'too short': 'not judged: too few samples',
} as const

function number(value: number): string {
  if (Number.isNaN(value)) return '-'
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 2 : 1)
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}
