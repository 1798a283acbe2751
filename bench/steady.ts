/**
 *   p1  ─→ topic 1  ─→ s1
 *   …       broker      …         10,000 messages/s on a fixed schedule, MessagePack, 128 B
 *   p10 ─→ topic 10 ─→ s10
 *
 * Question: does the broker's memory stay flat? Its RSS twice a minute, and its slope. The first
 * fifth is not in the slope: logs and caches grow to their limits in it.
 * Runs on: the benchmark's main process. Owns: its broker.
 */
import { startBroker } from './broker-process.js'
import { runLoad } from './load/coordinator.js'
import { ProgressLine } from './report/progress-line.js'
import { ONE_TO_ONE } from './scenarios/scenario.js'

const SAMPLE_INTERVAL_MS = 30_000
const SETTLING_SHARE = 0.2
const PLAN = {
  ...ONE_TO_ONE,
  publishers: 10,
  subscribers: 10,
  topics: 10,
  load: { kind: 'open', ratePerSecond: 10_000 },
} as const

interface Point {
  readonly minutes: number
  readonly rssMb: number
}

/** Returns the exit code. */
export async function measureSteady(minutes: number): Promise<number> {
  const server = await startBroker({})
  const points: Point[] = []
  const progress = new ProgressLine(process.stderr, 'steady  ', minutes * 60)
  try {
    const result = await runLoad({
      server,
      plan: PLAN,
      publisherProcesses: 1,
      subscriberProcesses: 1,
      warmUpMs: 1000,
      measuredMs: minutes * 60_000,
      onSecond: progress.update,
      sample: {
        intervalMs: SAMPLE_INTERVAL_MS,
        take({ rssMb }) {
          const point = { minutes: ((points.length + 1) * SAMPLE_INTERVAL_MS) / 60_000, rssMb }
          points.push(point)
          progress.end()
          console.log(`${point.minutes.toFixed(1).padStart(6)} min  ${rssMb.toFixed(1)} MB`)
        },
      },
    })
    progress.end()
    const { latency, lost, repeated, outOfOrder } = result
    const settled = points.filter((point) => point.minutes > minutes * SETTLING_SHARE)
    console.log(`rss ${result.rssMb.toFixed(1)} MB, peak ${result.rssPeakMb.toFixed(1)} MB`)
    console.log(`slope ${slope(settled).toFixed(3)} MB/min over the last ${settled.length} samples`)
    console.log(
      `delivered/s ${Math.round(result.deliveredPerSecond)}, p50 ${latency.p50} ms, ` +
        `p99 ${latency.p99} ms, max ${latency.max} ms, cpu ${Math.round(result.serverCpu * 100)} %`,
    )
    console.log(`lost ${lost}, repeated ${repeated}, out of order ${outOfOrder}`)
    if (result.voidReason !== undefined) console.log(`VOID: ${result.voidReason}`)
    return lost + repeated + outOfOrder > 0 ? 1 : 0
  } finally {
    await server.stop()
  }
}

/** Of the line with the least squares, in MB per minute; NaN for fewer than two points. */
function slope(points: readonly Point[]): number {
  const mean = (read: (point: Point) => number) =>
    points.reduce((sum, point) => sum + read(point), 0) / points.length
  const middle = mean(({ minutes }) => minutes)
  const spread = mean(({ minutes }) => (minutes - middle) ** 2)
  return mean(({ minutes, rssMb }) => (minutes - middle) * rssMb) / spread
}
