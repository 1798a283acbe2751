/**
 * Two files of results side by side: medians, and how many times as large the second one's are.
 * Runs on: the benchmark's main process. Owns: nothing.
 *
 * Runs belong together by scenario and system; where each file has one only, these two. Void runs are
 * left out of medians, as in the reports, unless all are void; losses are sums over all runs.
 */
import { isDeepStrictEqual } from 'node:util'
import type { LoadResult } from '../load/coordinator.js'
import type { LoadPlan } from '../load/plan.js'
import { figureOf, figureText, METRICS, type MetricName } from './metrics.js'
import type { ResultsFile } from './results-file.js'

export interface Comparison {
  readonly name: string
  readonly rows: readonly ComparedRow[]
  readonly warnings: readonly string[]
}

export interface ComparedRow {
  readonly metric: MetricName
  readonly before: number
  readonly after: number
  /** After by before; NaN where before is 0. */
  readonly ratio: number
  readonly verdict: 'better' | 'worse' | 'same'
}

/** Within this a ratio says nothing: runs of the same code differ by as much. */
const NOISE = 0.05

interface Part {
  readonly name: string
  readonly plan: LoadPlan
  readonly runs: readonly LoadResult[]
}

/** Throws when the files have nothing in common. */
export function compareResults(before: ResultsFile, after: ResultsFile): Comparison[] {
  const [a, b] = [partsOf(before), partsOf(after)]
  const pairs: [Part, Part][] = a.flatMap((part) => {
    const other = b.find(({ name }) => name === part.name)
    return other === undefined ? [] : [[part, other]]
  })
  const [onlyA, onlyB] = [a[0], b[0]]
  if (pairs.length === 0 && a.length === 1 && b.length === 1 && onlyA && onlyB) {
    pairs.push([onlyA, onlyB])
  }
  if (pairs.length === 0) throw new Error('the files have no scenario in common')
  const general = machineWarnings(before, after)
  return pairs.map(([one, other]) => ({
    name: one.name === other.name ? one.name : `${one.name} → ${other.name}`,
    rows: (Object.keys(METRICS) as MetricName[]).map((metric) => row(metric, one, other)),
    warnings: [...general, ...planWarnings(one, other), ...voidWarnings(one, other)],
  }))
}

export function comparisonText(comparisons: readonly Comparison[]): string {
  const warnings = [...new Set(comparisons.flatMap((comparison) => comparison.warnings))]
  const tables = comparisons.map(({ name, rows }) => {
    const cells = rows.map(({ metric, before, after, ratio, verdict }) => [
      metric,
      figureText(metric, before),
      figureText(metric, after),
      Number.isNaN(ratio) ? '-' : `×${ratio.toFixed(2)}`,
      verdict === 'same' ? '' : verdict,
    ])
    const all = [['', 'before', 'after', 'ratio', ''], ...cells]
    const widths = [0, 1, 2, 3, 4].map((i) => Math.max(...all.map((line) => line[i]?.length ?? 0)))
    const lines = all.map((line) =>
      line
        .map((cell, i) =>
          i % 4 === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    return [name, ...lines].join('\n')
  })
  const notes = warnings.map((text) => `warning: ${text}`).join('\n')
  return [notes, ...tables].filter((part) => part !== '').join('\n\n')
}

function partsOf({ results }: ResultsFile): Part[] {
  return results.flatMap(({ scenario, systems }) =>
    systems
      .filter(({ runs }) => runs.length > 0)
      .map(({ system, runs }) => ({
        name: `${scenario.name} / ${system}`,
        plan: scenario.plan,
        runs,
      })),
  )
}

function row(metric: MetricName, before: Part, after: Part): ComparedRow {
  const [a, b] = [figure(metric, before.runs), figure(metric, after.runs)]
  const ratio = a === 0 ? (b === 0 ? 1 : Number.NaN) : b / a
  return { metric, before: a, after: b, ratio, verdict: verdict(metric, a, b) }
}

function verdict(metric: MetricName, before: number, after: number): ComparedRow['verdict'] {
  const isSame = before === after || Math.abs(after - before) <= NOISE * Math.abs(before)
  if (isSame || Number.isNaN(before) || Number.isNaN(after)) return 'same'
  return after > before === (METRICS[metric].isBetterWhen === 'higher') ? 'better' : 'worse'
}

function figure(metric: MetricName, runs: readonly LoadResult[]): number {
  if (metric === 'lost' || metric === 'repeated') return figureOf(metric, runs)
  return figureOf(metric, countedRuns(runs))
}

/** Those that are not void, or all if every one is. */
export function countedRuns(runs: readonly LoadResult[]): readonly LoadResult[] {
  const valid = runs.filter(({ voidReason }) => voidReason === undefined)
  return valid.length > 0 ? valid : runs
}

function machineWarnings({ machine: a }: ResultsFile, { machine: b }: ResultsFile): string[] {
  const keys = ['cpu', 'cores', 'memoryMb', 'kernel', 'node'] as const
  return keys
    .filter((key) => a[key] !== b[key])
    .map((key) => `machines differ: ${key} ${a[key]} → ${b[key]}`)
}

function planWarnings(a: Part, b: Part): string[] {
  const [one, other] = [withoutPrefix(a.plan), withoutPrefix(b.plan)]
  const keys = new Set([...Object.keys(one), ...Object.keys(other)])
  return [...keys]
    .filter((key) => !isDeepStrictEqual(one[key], other[key]))
    .map((key) => `plans of ${a.name} differ: ${key} ${json(one[key])} → ${json(other[key])}`)
}

/** The prefix of topics is another one in each run, and says nothing. */
function withoutPrefix({ topicPrefix: _, ...plan }: LoadPlan): Readonly<Record<string, unknown>> {
  return plan
}

function voidWarnings(...parts: Part[]): string[] {
  return parts.flatMap(({ name, runs }, i) => {
    const count = runs.filter(({ voidReason }) => voidReason !== undefined).length
    const file = i === 0 ? 'before' : 'after'
    return count === 0 ? [] : [`${count} of ${runs.length} runs of ${name} (${file}) are void`]
  })
}

function json(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value)
}
