/**
 * The comparison as Markdown: one table per scenario, then what was run. A terminal shows it as well.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import type { Circumstances } from '../report/circumstances.js'
import type { Comparison } from './compare.js'
import { type Figure, figuresOf, latencyRatio, OURS, rateRatio } from './figures.js'
import type { PeerScenario } from './scenarios.js'

/** What the JSON file holds. */
export interface PeerReport {
  readonly machine: Circumstances
  readonly runs: number
  readonly seconds: number
  readonly scenarios: readonly PeerScenario[]
  readonly comparisons: readonly Comparison[]
}

/** A client process that used this much of its core is what was measured, and not the server. */
const FULL_SHARE = 0.9

export function markdown(report: PeerReport): string {
  const { machine, runs, seconds, scenarios, comparisons } = report
  const parts = [
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, commit ${machine.commit}, ` +
      `${machine.startedAt.slice(0, 10)}. Medians of ${runs} runs of ${seconds} s, systems taking turns.`,
  ]
  for (const scenario of scenarios) {
    const figures = figuresOf(comparisons, scenario.name)
    parts.push(`**${scenario.title}**`, tableOf(scenario, figures))
  }
  parts.push('**What was run**', whatWasRun(comparisons))
  return parts.join('\n\n')
}

function tableOf({ load }: PeerScenario, figures: readonly Figure[]): string {
  const [head, row] = load.kind === 'open' ? [LATENCY_HEAD, latencyRow] : [RATE_HEAD, rateRow]
  const rows = figures.map((figure) =>
    figure.leftOut === undefined
      ? row(figures, figure)
      : [figure.title, `left out: ${figure.leftOut}`],
  )
  const width = head.length
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${Array.from({ length: width }, (_, i) => cells[i] ?? '').join(' | ')} |`)
    .join('\n')
}

const RATE_HEAD = ['system', 'median', 'ringcast ×', 'all runs, thousands', 'notes'] as const
const LATENCY_HEAD = [
  'system',
  'p99',
  'ringcast ×',
  'p50',
  'p99 of all runs',
  'CPU server / publishers / subscribers',
  'notes',
] as const

function rateRow(figures: readonly Figure[], figure: Figure): string[] {
  const all = figure.rates.map((rate) => thousands(rate)).join(', ')
  const ratio = figure.system === OURS ? '' : times(rateRatio(figures, figure))
  return [figure.title, whole(figure.rate), ratio, all, notes(figure)]
}

function latencyRow(figures: readonly Figure[], figure: Figure): string[] {
  const { serverCpu, publisherCpu, subscriberCpu } = figure
  return [
    figure.title,
    ms(figure.p99),
    figure.system === OURS ? '' : times(latencyRatio(figures, figure)),
    ms(figure.p50),
    figure.p99s.map(ms).join(', '),
    [serverCpu, publisherCpu, subscriberCpu].map(percent).join(' / '),
    notes(figure),
  ]
}

function notes(figure: Figure): string {
  const { publisherCpu, subscriberCpu, lost, overruns, rates, failures } = figure
  const lines: string[] = []
  if (overruns > 0) lines.push(`fell too far behind in ${overruns} of ${rates.length}`)
  if (lost > 0) lines.push(`${whole(lost)} lost`)
  if (publisherCpu > FULL_SHARE) lines.push('publisher’s core full')
  if (subscriberCpu > FULL_SHARE) lines.push('subscriber’s core full')
  for (const failure of new Set(failures)) lines.push(`failed: ${failure.split('\n', 1)[0]}`)
  return lines.join('; ')
}

function whatWasRun(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(({ title, versions, configuration, leftOut }) => [
    title,
    leftOut === undefined ? versions : `left out: ${leftOut}`,
    configuration,
  ])
  return [['system', 'versions', 'configuration'], ['---', '---', '---'], ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

export function whole(value: number): string {
  return Number.isNaN(value) ? '–' : Math.round(value).toLocaleString('en').replaceAll(',', ' ')
}

export function ms(value: number): string {
  if (Number.isNaN(value)) return '–'
  return value >= 100 ? whole(value) : value.toFixed(1)
}

export function times(value: number): string {
  return Number.isNaN(value) ? '–' : `×${value >= 10 ? value.toFixed(0) : value.toFixed(2)}`
}

function thousands(value: number): string {
  return (value / 1000).toFixed(value >= 100_000 ? 0 : 1)
}

function percent(share: number): string {
  return Number.isNaN(share) ? '–' : `${Math.round(share * 100)} %`
}
