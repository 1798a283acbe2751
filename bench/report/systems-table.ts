/**
 * Results of scenarios, system by system, as text for the terminal.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import type { Median, SystemResult } from '../compare-systems.js'
import {
  GENERATOR_CPU_MAX,
  GENERATOR_CPU_MAX_CLOSED,
  GENERATOR_LAG_P99_MS_MAX,
} from '../load/result.js'
import type { Scenario } from '../scenarios/scenario.js'

export interface ScenarioResult {
  readonly scenario: Scenario
  readonly systems: readonly SystemResult[]
}

type Column = readonly [title: string, value: (scenario: string, result: SystemResult) => string]

const COLUMNS: readonly Column[] = [
  ['scenario', (scenario) => scenario],
  ['system', (_, { system }) => system],
  ['delivered/s', of(({ deliveredPerSecond }) => whole(deliveredPerSecond))],
  ['p50 ms', of(({ latency }) => ms(latency.p50))],
  ['p95', of(({ latency }) => ms(latency.p95))],
  ['p99', of(({ latency }) => ms(latency.p99))],
  ['p99.9', of(({ latency }) => ms(latency.p999))],
  ['max', of(({ latency }) => ms(latency.max))],
  ['lost', of(({ lost }) => whole(lost))],
  ['repeated', of(({ repeated }) => whole(repeated))],
  ['unordered', of(({ outOfOrder }) => whole(outOfOrder))],
  ['cpu server', of(({ serverCpu }) => percent(serverCpu))],
  ['cpu pub', of(({ publisherCpu }) => percent(publisherCpu))],
  ['cpu sub', of(({ subscriberCpu }) => percent(subscriberCpu))],
  ['other', of(({ otherCpu }) => percent(otherCpu))],
  ['rss MB', of(({ rssMb }) => whole(rssMb))],
  ['void', (_, { median, runs }) => voidText(median.voidRuns, runs.length)],
]

export function table(results: readonly ScenarioResult[]): string {
  const rows = [COLUMNS.map(([title]) => title)]
  for (const { scenario, systems } of results) {
    for (const system of systems) {
      rows.push(COLUMNS.map(([, value]) => value(scenario.name, system)))
    }
  }
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)))
  return rows.map((row) => row.map((cell, i) => pad(cell, i, widths[i] ?? 0)).join('  ')).join('\n')
}

/** Broker by control: above 1 is better for the rate, below 1 for latencies. */
export function ratios(results: readonly ScenarioResult[]): string {
  const lines: string[] = []
  for (const { scenario, systems } of results) {
    const broker = systems.find(({ system }) => system === 'ringcast')?.median
    const control = systems.find(({ system }) => system === 'uws')?.median
    if (!broker || !control) continue
    const rate = ratio(broker.deliveredPerSecond, control.deliveredPerSecond)
    const p50 = ratio(broker.latency.p50, control.latency.p50)
    const p99 = ratio(broker.latency.p99, control.latency.p99)
    const floor =
      scenario.plan.load.kind === 'open'
        ? `  (p99 ${ms(broker.latency.p99)} ms over a noise floor of ${ms(control.latency.p99)} ms)`
        : ''
    lines.push(`${scenario.name}: ringcast/uws  delivered ${rate}  p50 ${p50}  p99 ${p99}${floor}`)
  }
  return lines.join('\n')
}

export function footnotes(
  results: readonly ScenarioResult[],
  runs: number,
  seconds: number,
): string {
  const lines = [
    `Medians of ${runs} runs of ${seconds} s after a warm-up of 1 s, servers taking turns; ` +
      'losses are sums. delivered/s counts every delivery to every subscriber.',
    'cpu 100 % is one core; other is all else that ran on the machine.',
    `Void: a generator process above ${percent(GENERATOR_CPU_MAX)} of a core (as fast as possible: ` +
      `${percent(GENERATOR_CPU_MAX_CLOSED)}), or more than ${GENERATOR_LAG_P99_MS_MAX} ms late by its ` +
      'own work (p99). Medians leave void runs out. What the schedule was late because the machine was ' +
      'busy is in the latencies.',
  ]
  for (const { scenario, systems } of results) {
    for (const { system, failures, median, companions } of systems) {
      const label = `${scenario.name} ${system}`
      for (const companion of companions) lines.push(`${label}: ${companion}`)
      for (const failure of failures) lines.push(`FAILED ${label}: ${failure}`)
      const { lost, announced, heldBack } = median
      if (lost > 0) lines.push(`${label}: ${announced} of the ${lost} lost were announced (GAP)`)
      if (heldBack > 0) lines.push(`${label}: the server held back ${heldBack} messages when due`)
    }
  }
  return lines.join('\n')
}

function of(read: (median: Median) => string): Column[1] {
  return (_, { median }) => read(median)
}

function voidText(voidRuns: number, runs: number): string {
  if (runs === 0) return 'FAILED'
  return voidRuns === 0 ? '-' : `${voidRuns}/${runs}`
}

function pad(cell: string, column: number, width: number): string {
  return column < 2 ? cell.padEnd(width) : cell.padStart(width)
}

function whole(value: number): string {
  return Number.isNaN(value) ? '-' : Math.round(value).toLocaleString('en')
}

function ms(value: number): string {
  return Number.isNaN(value) ? '-' : value.toFixed(2)
}

function percent(share: number): string {
  return Number.isNaN(share) ? '-' : `${Math.round(share * 100)} %`
}

function ratio(a: number, b: number): string {
  return Number.isNaN(a / b) ? '-' : `×${(a / b).toFixed(2)}`
}
