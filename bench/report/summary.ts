/**
 * One run as a table for the terminal.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import type { LoadResult } from '../load/coordinator.js'
import type { ThreadSummary } from '../load/thread-summary.js'

/** Beyond this, the schedule's lateness is worth a word. */
const LAG_WORTH_A_WORD_MS = 2
/** Above this share of its cores, what ran on a machine waited for each other. */
const FULL_MACHINE = 0.95

export function summaryLines(result: LoadResult): string[] {
  const { latency, deliveredPerSecond, lost, announced, repeated, outOfOrder } = result
  const { p50, p90, p95, p99, p999, max } = latency
  const ms = (value: number) => (Number.isNaN(value) ? '-' : value.toFixed(2))
  const server = [
    `CPU ${percent(result.serverCpu)}`,
    Number.isNaN(result.rssMb) ? '' : `RSS ${Math.round(result.rssMb)} MB`,
  ]
  return [
    `delivered  ${whole(deliveredPerSecond)} messages/s`,
    `latency    p50 ${ms(p50)} ms, p90 ${ms(p90)}, p95 ${ms(p95)}, p99 ${ms(p99)}, ` +
      `p99.9 ${ms(p999)}, max ${ms(max)}`,
    `counts     ${whole(result.published)} published, ${whole(result.received)} received, ` +
      `${lost} lost (${announced} announced), ${repeated} repeated, ${outOfOrder} out of order`,
    `broker     ${server.filter((text) => text !== '').join(', ')}`,
    `generator  publishers ${percent(result.publisherCpu)} of a core, ` +
      `subscribers ${percent(result.subscriberCpu)}; late p99 ${ms(result.lagP99Ms)} ms, ` +
      `by its own work ${ms(result.ownLagP99Ms)} ms`,
    ...threadLines(result.threads),
  ]
}

/** What a reader must know before believing the figures. */
export function cautions(result: LoadResult, cores: number): string[] {
  const { voidReason, lagP99Ms, ownLagP99Ms, machineCpu, otherCpu } = result
  const lines: string[] = []
  if (voidReason !== undefined) lines.push(`void: ${voidReason}`)
  else if (lagP99Ms > LAG_WORTH_A_WORD_MS) {
    lines.push(
      `the machine let the generator wait: late p99 ${lagP99Ms.toFixed(1)} ms, of it by its own work ` +
        `${ownLagP99Ms.toFixed(1)} ms; the latencies contain it`,
    )
  }
  if (machineCpu > FULL_MACHINE * cores) {
    lines.push(
      `all ${cores} cores were busy, with other work than this ${otherCpu.toFixed(1)} of them: ` +
        'whoever had something to do waited for a core',
    )
  }
  return lines
}

function threadLines(threads: readonly ThreadSummary[]): string[] {
  if (threads.length === 0) return []
  const head = ['thread', 'GC pauses', 'sum ms', 'max ms', 'loop delay mean ms', 'p99', 'max']
  const rows = threads.map((thread) => [
    thread.name,
    String(thread.gcCount),
    ...[
      thread.gcTotalMs,
      thread.gcMaxMs,
      thread.delayMeanMs,
      thread.delayP99Ms,
      thread.delayMaxMs,
    ].map((value) => value.toFixed(2)),
  ])
  const widths = head.map((title, i) => {
    return Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0))
  })
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
  return ['', line(head), ...rows.map(line)]
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}

function percent(share: number): string {
  return Number.isNaN(share) ? 'unknown' : `${Math.round(share * 100)} %`
}
