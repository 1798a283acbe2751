/**
 * `ringcast bench`: the load generator of bench/ against a broker that runs already.
 * Runs on: the command's process; publishers and subscribers are processes of their own.
 * Owns: topics with a name of their own, deleted at the end.
 */
import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import { startControl } from '../../bench/controls/control-process.js'
import { type LoadResult, runLoad } from '../../bench/load/coordinator.js'
import type { LoadPlan } from '../../bench/load/plan.js'
import { topicOf } from '../../bench/load/topics.js'
import { circumstances } from '../../bench/report/circumstances.js'
import { metConditions, writeFiles } from '../../bench/report/output.js'
import { ProgressLine } from '../../bench/report/progress-line.js'
import type { ResultsFile, SystemRuns } from '../../bench/report/results-file.js'
import { cautions, summaryLines } from '../../bench/report/summary.js'
import { addBenchCompare } from './bench-compare.js'
import { addBenchOptions, type BenchOptions, checkBenchOptions, planOf } from './bench-options.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { ask, request, topicPath } from './http-door.js'
import { type GlobalOptions, optionsOf } from './options.js'
import type { Terminal } from './terminal.js'

/** How results name the broker, and the scenario that the options are. */
const BROKER = 'ringcast'
const NOISE_FLOOR = 'noise floor'
const SCENARIO = 'command line'

type Options = BenchOptions & GlobalOptions

export function addBench(program: Command, terminal: Terminal): void {
  const bench = program
    .command('bench')
    .description('put a load on a broker, and measure throughput and latency')
    .action((_: unknown, command: Command) => measure(terminal, optionsOf<BenchOptions>(command)))
  addBenchOptions(bench)
  addBenchCompare(bench, terminal)
}

async function measure(terminal: Terminal, options: Options): Promise<void> {
  const url = new URL(options.url.wsUrl)
  if (url.protocol !== 'ws:' || url.pathname !== '/ws') {
    throw new Failure(Exit.usage, 'bench knows plain ws://host:port/ws only')
  }
  checkBenchOptions(options)
  await ask(options, 'GET', '/health')
  const signal = terminal.io.interruption()
  const topicPrefix = `bench-${randomBytes(3).toString('hex')}`
  const plan = planOf(options, topicPrefix)
  const machine = circumstances()
  const systems: SystemRuns[] = []
  terminal.note(`${options.duration / 1000} s after a warm-up of ${options.warmUp / 1000} s …`)
  try {
    const server = remoteServer(options, url, signal)
    systems.push(asSystem(BROKER, await run(terminal, server, plan, options, signal)))
  } finally {
    await removeTopics(options, plan)
  }
  if (options.noiseFloor) systems.push(await noiseFloor(terminal, plan, options, signal))

  const results = [{ scenario: { name: SCENARIO, plan }, systems }]
  const file: ResultsFile = { machine, seconds: options.duration / 1000, results }
  await report(terminal, file, options)
  const { jsonFile: json, hgrm, html } = options
  writeFiles(file, { json, hgrm, html })
  judge(file, options)
}

async function run(
  terminal: Terminal,
  server: Awaited<ReturnType<typeof startControl>>,
  plan: LoadPlan,
  options: Options,
  signal: AbortSignal,
): Promise<LoadResult> {
  const line = new ProgressLine(terminal.io.stderr, '', options.duration / 1000)
  try {
    return await runLoad({
      server,
      plan,
      publisherProcesses: Math.min(options.processes, options.publishers),
      subscriberProcesses: Math.min(options.processes, options.subscribers),
      warmUpMs: options.warmUp,
      measuredMs: options.duration,
      onSecond: line.update,
    })
  } catch (error) {
    if (signal.aborted) throw new Failure(Exit.interrupted, 'interrupted')
    throw new Failure(Exit.failed, error instanceof Error ? error.message : String(error))
  } finally {
    line.end()
  }
}

/** The same load on a server of ours that only forwards: what generator and machine take by themselves. */
async function noiseFloor(
  terminal: Terminal,
  plan: LoadPlan,
  options: Options,
  signal: AbortSignal,
): Promise<SystemRuns> {
  terminal.note('the same load on a bare forwarding server …')
  const control = await startControl()
  const ended = Promise.race([control.ended, aborted(signal)])
  try {
    return asSystem(NOISE_FLOOR, await run(terminal, { ...control, ended }, plan, options, signal))
  } finally {
    await control.stop()
  }
}

function asSystem(system: string, result: LoadResult): SystemRuns {
  return { system, runs: [result], failures: [] }
}

/** A server that was there before us: what it uses it must tell by itself. */
function remoteServer(options: Options, url: URL, signal: AbortSignal) {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = Number(url.port || 80)
  const statsUrl = `${options.url.httpUrl}/stats?topics=none`
  const stop = () => Promise.resolve()
  return { name: url.host, pid: 0, host, port, statsUrl, ended: aborted(signal), stop }
}

function aborted(signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('interrupted')
    signal.addEventListener('abort', () => resolve('interrupted'))
  })
}

async function removeTopics(options: Options, { topics, ...plan }: LoadPlan): Promise<void> {
  for (let index = 0; index < topics; index++) {
    // Some were never made, and a broker that is gone has none.
    const path = topicPath(topicOf({ topics, ...plan }, index))
    await request(options, 'DELETE', path).catch(() => {})
  }
}

async function report(terminal: Terminal, file: ResultsFile, options: Options): Promise<void> {
  for (const { system, runs } of file.results.flatMap(({ systems }) => systems)) {
    for (const result of runs) {
      if (options.json) await terminal.printJson({ system, ...jsonOf(result) })
      else {
        if (system !== BROKER) await terminal.print(`\n${system}`)
        for (const line of summaryLines(result)) await terminal.print(line)
      }
      for (const text of cautions(result, file.machine.cores)) terminal.note(text)
    }
  }
}

/** What scripts want of a run; `--json-file` has everything. */
function jsonOf(result: LoadResult): object {
  return {
    delivered_per_second: result.deliveredPerSecond,
    published: result.published,
    received: result.received,
    latency_ms: result.latency,
    lost: result.lost,
    announced: result.announced,
    repeated: result.repeated,
    out_of_order: result.outOfOrder,
    broker_cpu: result.serverCpu,
    broker_rss_mb: result.rssMb,
    publisher_cpu: result.publisherCpu,
    subscriber_cpu: result.subscriberCpu,
    lag_p99_ms: result.lagP99Ms,
    own_lag_p99_ms: result.ownLagP99Ms,
    threads: result.threads,
    void: result.voidReason ?? null,
  }
}

function judge(file: ResultsFile, { failIf }: Options): void {
  const broker = file.results[0]?.systems.find(({ system }) => system === BROKER)
  for (const { lost, announced, repeated, outOfOrder } of broker?.runs ?? []) {
    if (repeated === 0 && outOfOrder === 0 && lost === announced) continue
    const counts = `${lost} lost, ${announced} of them announced, ${repeated} repeated`
    throw new Failure(
      Exit.failed,
      `the broker broke its promises: ${counts}, ${outOfOrder} unordered`,
    )
  }
  const met = metConditions(file, BROKER, failIf)
  if (met.length > 0) throw new Failure(Exit.condition, met.join('; '))
}
