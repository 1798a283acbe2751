/**
 *   base's broker ⇄ our generator        base, head, head, base, base, head, …
 *   head's broker ⇄ our generator
 *
 * Question: is the working tree slower than the commit it comes from? rule.ts decides.
 * Runs on: the benchmark's main process. Owns: the tree of the base, and the brokers of the runs.
 */
import { fileURLToPath } from 'node:url'
import { type LoadResult, runLoad } from '../load/coordinator.js'
import { circumstances, circumstancesLine } from '../report/circumstances.js'
import { oneToHundred } from '../scenarios/one-to-hundred.js'
import { oneToOneBatch64 } from '../scenarios/one-to-one-batch64.js'
import { oneToOneJson } from '../scenarios/one-to-one-json.js'
import { oneToOneSingle } from '../scenarios/one-to-one-single.js'
import { openLoop50kMsgpack } from '../scenarios/open-loop-50k.js'
import type { Scenario } from '../scenarios/scenario.js'
import { startServer } from '../server-process.js'
import { type BaseTree, buildBase, findBase, NoBaseError } from './base-tree.js'
import {
  type Comparison,
  compare,
  type Metric,
  NOISE_FACTOR,
  P99_MAX,
  THROUGHPUT_MIN,
} from './rule.js'

/**
 * Latency at a rate that leaves the generator room on two cores: at 50,000 most runs say how late the
 * generator was.
 */
const OPEN_LOOP: Scenario = {
  ...openLoop50kMsgpack,
  name: 'open-loop-10k-msgpack',
  question: 'latency at 10,000 messages/s over 10 topics (MessagePack)',
  plan: { ...openLoop50kMsgpack.plan, load: { kind: 'open', ratePerSecond: 10_000 } },
}
const FULL = [oneToOneSingle, oneToOneBatch64, oneToOneJson, oneToHundred, OPEN_LOOP]
const SHORT = [oneToOneSingle, OPEN_LOOP]
/** Below this a median says little. */
const RUNS_MIN = 5
const WARM_UP_MS = 1000
const SHORT_WARM_UP_MS = 300

type Side = 'base' | 'head'

export interface RegressOptions {
  readonly base: string | undefined
  readonly runs: number
  readonly seconds: number
  /** Few scenarios, short runs, and no failing for ratios: for CI machines, which are never quiet. */
  readonly isShort: boolean
}

interface Row extends Comparison {
  readonly scenario: string
  readonly metric: Metric
  readonly voidRuns: number
}

/** Prints the table; returns the exit code. */
export async function measureRegress(options: RegressOptions): Promise<number> {
  if (options.runs < RUNS_MIN) throw new Error(`--runs must be at least ${RUNS_MIN}`)
  let tree: BaseTree
  try {
    tree = buildBase(findBase(options.base))
  } catch (error) {
    if (!(error instanceof NoBaseError)) throw error
    console.log(error.message)
    return options.isShort ? 0 : 2
  }
  try {
    console.error(`${circumstancesLine(circumstances())}, base ${tree.commit.slice(0, 7)}`)
    const rows: Row[] = []
    for (const scenario of options.isShort ? SHORT : FULL) {
      rows.push(await measure(scenario, tree, options))
    }
    console.log(report(rows, tree, options))
    const hasRegressed = rows.some(({ verdict }) => verdict === 'regression')
    return hasRegressed && !options.isShort ? 1 : 0
  } finally {
    tree.remove()
  }
}

async function measure(scenario: Scenario, tree: BaseTree, options: RegressOptions): Promise<Row> {
  const metric = scenario.plan.load.kind === 'open' ? 'p99' : 'throughput'
  const values: Record<Side, number[]> = { base: [], head: [] }
  let voidRuns = 0
  for (let run = 0; run < options.runs; run++) {
    // Whoever comes second may find a warmer, or a more tired, machine.
    const sides: readonly Side[] = run % 2 === 0 ? ['base', 'head'] : ['head', 'base']
    for (const side of sides) {
      const result = await runOnce(scenario, side === 'base' ? tree.module : ownModule(), options)
      const value = metric === 'p99' ? result.latency.p99 : result.deliveredPerSecond
      values[side].push(value)
      if (result.voidReason !== undefined) voidRuns++
      console.error(
        `${scenario.name} ${side} ${run + 1}/${options.runs}: ${valueText(metric, value)}`,
      )
    }
  }
  const compared = compare(metric, values.base, values.head)
  return { scenario: scenario.name, metric, voidRuns, ...compared }
}

function ownModule(): string {
  return fileURLToPath(new URL('../../src/main.js', import.meta.url))
}

async function runOnce(
  scenario: Scenario,
  module: string,
  { seconds, isShort }: RegressOptions,
): Promise<LoadResult> {
  const server = await startServer({ name: 'ringcast', module, env: scenario.brokerEnv })
  try {
    const result = await runLoad({
      server,
      plan: scenario.plan,
      publisherProcesses: scenario.publisherProcesses ?? 1,
      subscriberProcesses: scenario.subscriberProcesses ?? 1,
      warmUpMs: isShort ? SHORT_WARM_UP_MS : WARM_UP_MS,
      measuredMs: seconds * 1e3,
    })
    const { lost, announced, repeated, outOfOrder } = result
    if (lost !== announced || repeated > 0 || outOfOrder > 0) {
      const counts = `lost=${lost}, announced=${announced}, repeated=${repeated}`
      throw new Error(`${scenario.name}: broken promise: ${counts}, outOfOrder=${outOfOrder}`)
    }
    return result
  } finally {
    await server.stop()
  }
}

/** Markdown, to be pasted. */
function report(rows: readonly Row[], tree: BaseTree, { runs, seconds }: RegressOptions): string {
  const titles = ['scenario', 'metric', 'base', 'head', 'ratio', 'noise of the base', 'verdict']
  const lines = rows.map((row) => [
    row.scenario,
    row.metric,
    valueText(row.metric, row.base),
    valueText(row.metric, row.head),
    `×${row.ratio.toFixed(2)} ± ${row.error.toFixed(2)}`,
    percent(row.baseNoise),
    row.verdict === 'regression' ? '**regression**' : row.verdict,
  ])
  const voids = rows
    .filter(({ voidRuns }) => voidRuns > 0)
    .map(({ scenario, voidRuns }) => `${scenario}: ${voidRuns} of ${2 * runs} runs were void.`)
  return [
    ...[titles, titles.map(() => '---'), ...lines].map((row) => `| ${row.join(' | ')} |`),
    '',
    `Base is ${tree.commit.slice(0, 7)}. Medians of ${runs} runs of ${seconds} s each, taking turns.`,
    `A regression: throughput below ×${THROUGHPUT_MIN} or p99 above ×${P99_MAX}, and worse by more ` +
      `than ${NOISE_FACTOR} times the error (±) of the ratio. Noise is σ from run to run.`,
    ...voids,
  ].join('\n')
}

function valueText(metric: Metric, value: number): string {
  if (metric === 'p99') return `${value.toFixed(2)} ms`
  return `${Math.round(value).toLocaleString('en')}/s`
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
