/**
 * Where the time of each thread goes, and what follows from it for machines with more cores.
 * Each scenario runs twice: once as it is, for the CPU time of each thread per message, and once under
 * V8's profiler, for how that time divides among the stages.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import { runGroup } from '../micro/all.js'
import { circumstances, circumstancesLine } from '../report/circumstances.js'
import { oneToHundred } from '../scenarios/one-to-hundred.js'
import { oneToOneBatch64 } from '../scenarios/one-to-one-batch64.js'
import { oneToOneJson } from '../scenarios/one-to-one-json.js'
import { oneToOneSingle } from '../scenarios/one-to-one-single.js'
import type { Scenario } from '../scenarios/scenario.js'
import { median } from '../statistics.js'
import { selfTimes } from './cpu-profile.js'
import { bestSplit, type Costs, oneGateway } from './model.js'
import { functionText, stageOf, stageTimes } from './stages.js'
import { measureCost, type ProfiledRun, profile, type RunCost } from './thread-costs.js'

/** One worker: then there is one shard whose cost is a shard's cost. */
const SCENARIOS = [oneToOneSingle, oneToOneBatch64, oneToOneJson, oneToHundred].map(
  (scenario): Scenario => ({ ...scenario, brokerEnv: { ...scenario.brokerEnv, WORKERS: '1' } }),
)
const FUNCTIONS_SHOWN = 8
const CORES = [2, 4, 8, 16] as const

interface ScenarioCost {
  readonly scenario: Scenario
  readonly front: number
  readonly shard: number
  readonly frontBusy: number
  readonly shardBusy: number
  readonly others: number
  readonly rate: number
}

/** Prints markdown; returns the exit code. */
export async function measureProfile(runs: number, seconds: number): Promise<number> {
  console.log(`${circumstancesLine(circumstances())}\n`)
  const costs: ScenarioCost[] = []
  for (const scenario of SCENARIOS) {
    const plain: RunCost[] = []
    for (let run = 1; run <= runs; run++) {
      plain.push(await measureCost(scenario, seconds))
      console.error(`${scenario.name} ${run}/${runs}: ${whole(plain.at(-1)?.messagesPerSecond)}/s`)
    }
    const cost = medians(scenario, plain)
    costs.push(cost)
    console.log(breakdown(cost, await profile(scenario, seconds)))
  }
  console.log(costTable(costs, runs, seconds))
  console.log(modelTables(costs, await extraRing()))
  return 0
}

function medians(scenario: Scenario, runs: readonly RunCost[]): ScenarioCost {
  const of = (read: (run: RunCost) => number) => median(runs.map(read))
  const thread = (threadId: number, field: 'nsPerMessage' | 'busy') =>
    of(({ threads }) => threads.find((one) => one.threadId === threadId)?.[field] ?? Number.NaN)
  return {
    scenario,
    front: thread(0, 'nsPerMessage'),
    shard: thread(1, 'nsPerMessage'),
    frontBusy: thread(0, 'busy'),
    shardBusy: thread(1, 'busy'),
    others: of(({ othersNsPerMessage }) => othersNsPerMessage),
    rate: of(({ messagesPerSecond }) => messagesPerSecond),
  }
}

/** ns to copy a message and to write a record for it: what one ring more costs a shard. */
async function extraRing(): Promise<number> {
  const [copies, rings] = [await runGroup('copy', 'full'), await runGroup('ring', 'full')]
  const copy = copies.find(({ name }) => name.startsWith('copyWithin 128 B'))
  const record = rings.find(({ name }) => /128 B/.test(name))
  if (copy === undefined || record === undefined)
    throw new Error('the micro-benchmarks have changed')
  return copy.nanoseconds + record.nanoseconds
}

function breakdown(cost: ScenarioCost, { cost: run, profiles }: ProfiledRun): string {
  const parts = [`#### ${cost.scenario.name}`, '']
  for (const { threadId, cpuUs } of run.threads) {
    const found = profiles.get(threadId)
    if (found === undefined) continue
    const times = selfTimes(found, run.fromUs, run.untilUs)
    const ns = threadId === 0 ? cost.front : cost.shard
    const stages = stageTimes(times, cpuUs).filter(({ share }) => share >= 0.005)
    parts.push(
      `| ${threadId === 0 ? 'front thread' : `shard ${threadId - 1}`} | share | ns a message |`,
      '| --- | --- | --- |',
      ...stages.map(
        ({ stage, share }) => `| ${stage} | ${percent(share)} | ${whole(share * ns)} |`,
      ),
      '',
      `Busiest: ${busiest(times)}.`,
      '',
    )
  }
  return parts.join('\n')
}

function busiest(times: ReturnType<typeof selfTimes>): string {
  const running = times.filter(({ frame }) => stageOf(frame) !== undefined)
  const all = running.reduce((sum, { us }) => sum + us, 0)
  return running
    .slice(0, FUNCTIONS_SHOWN)
    .map(({ frame, us }) => `\`${functionText(frame)}\` ${percent(us / all)}`)
    .join(', ')
}

function costTable(costs: readonly ScenarioCost[], runs: number, seconds: number): string {
  const rows = costs.map((cost) => [
    cost.scenario.name,
    whole(cost.rate),
    whole(cost.front),
    percent(cost.frontBusy),
    whole(cost.shard),
    percent(cost.shardBusy),
    whole(cost.others),
    whole(1e9 / cost.front),
    whole(1e9 / cost.shard),
  ])
  const titles = [
    'scenario',
    'messages/s',
    'front, ns a message (f)',
    'busy',
    'shard, ns a message (s)',
    'busy',
    'other threads, ns',
    'front saturates at, messages/s',
    'one shard saturates at',
  ]
  const note = `WORKERS=1, medians of ${runs} runs of ${seconds} s, without the profiler.`
  return `${tableOf(titles, rows)}\n\n${note}\n`
}

function modelTables(costs: readonly ScenarioCost[], e: number): string {
  const titles = [
    'broker cores',
    ...costs.flatMap(({ scenario }) => [`${scenario.name}: 1 gateway`, 'N gateways']),
  ]
  const rows = CORES.map((cores) => [
    String(cores),
    ...costs.flatMap(({ front, shard }) => {
      const inputs: Costs = { f: front, s: shard, e }
      const [one, best] = [oneGateway(inputs, cores), bestSplit(inputs, cores)]
      return [
        `${thousands(one.rate)} (W ${one.shards})`,
        `${thousands(best.rate)} (N ${best.gateways}, W ${best.shards})`,
      ]
    }),
  ])
  const note = `Thousands of messages/s by the model; e = ${e.toFixed(0)} ns.`
  return `${tableOf(titles, rows)}\n\n${note}`
}

function tableOf(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [titles, titles.map(() => '---'), ...rows]
  return lines.map((row) => `| ${row.join(' | ')} |`).join('\n')
}

function whole(value: number | undefined): string {
  return Math.round(value ?? Number.NaN).toLocaleString('en')
}

function thousands(value: number): string {
  return whole(value / 1e3)
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
