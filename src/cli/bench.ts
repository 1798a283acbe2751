/**
 * `ringcast bench`: the load generator of bench/ against a broker that runs already.
 * Runs on: the command's process; publishers and subscribers are processes of their own.
 * Owns: topics with a name of their own, deleted at the end.
 */
import { randomBytes } from 'node:crypto'
import { type Command, Option } from 'commander'
import { type LoadResult, runLoad } from '../../bench/load/coordinator.js'
import type { LoadPlan } from '../../bench/load/plan.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { ask, request, topicPath } from './http-door.js'
import { type GlobalOptions, optionsOf, parseCount, parseDuration, parseRate } from './options.js'
import { whole } from './table.js'
import type { Terminal } from './terminal.js'

const WARM_UP_MS = 1000
/** Below the default SUBSCRIBER_QUEUE_SIZE, so that the broker has no cause to drop anything. */
const WINDOW_DEFAULT = 900
const PROCESSES_MAX = 16

interface BenchOptions {
  readonly publishers: number
  readonly subscribers: number
  readonly topics: number
  readonly payload: number
  readonly batch: number
  readonly encoding: 'msgpack' | 'json'
  readonly rate?: number
  readonly window: number
  readonly duration: number
  readonly processes: number
}

const HELP = `
Without --rate as fast as the subscribers take it, with --window messages under way per publisher.
With --rate by a fixed schedule, latency counted from when each message was due. Latency is from the
publisher's process to the subscriber's, so both ends share this machine's clock and its cores.
Exit code 1 when messages were repeated, came out of order, or were lost without a word.

Examples:
  ringcast bench
  ringcast bench --rate 50000 --publishers 10 --subscribers 10 --topics 10
  ringcast bench --url ws://broker:8080/ws --batch 64 --duration 30s --json`

export function addBench(program: Command, terminal: Terminal): void {
  program
    .command('bench')
    .description('put a load on a broker, and measure throughput and latency')
    .option('--publishers <n>', 'publishers', parseCount, 1)
    .option('--subscribers <n>', 'subscribers; they take the topics in turn', parseCount, 1)
    .option('--topics <n>', 'topics', parseCount, 1)
    .option('--payload <bytes>', 'size of a payload', parseCount, 128)
    .option('--batch <n>', 'messages per publish', parseCount, 1)
    .addOption(
      new Option('--encoding <name>', 'of the connections')
        .choices(['msgpack', 'json'])
        .default('msgpack'),
    )
    .addOption(
      new Option('--rate <n>', 'messages per second of all publishers together').argParser(
        parseRate,
      ),
    )
    .addOption(
      new Option('--window <n>', 'messages under way per publisher, without --rate')
        .argParser(parseCount)
        .default(WINDOW_DEFAULT),
    )
    .addOption(
      new Option('--duration <duration>', 'measured time, after a second of warm-up')
        .argParser(parseDuration)
        .default(5000, '5s'),
    )
    .option('--processes <n>', 'processes for each, publishers and subscribers', parseCount, 1)
    .addHelpText('after', HELP)
    .action((_: unknown, command: Command) => measure(terminal, optionsOf<BenchOptions>(command)))
}

async function measure(terminal: Terminal, options: BenchOptions & GlobalOptions): Promise<void> {
  const url = new URL(options.url.wsUrl)
  if (url.protocol !== 'ws:' || url.pathname !== '/ws') {
    throw new Failure(Exit.usage, 'bench knows plain ws://host:port/ws only')
  }
  if (options.processes > PROCESSES_MAX) {
    throw new Failure(Exit.usage, `--processes may be at most ${PROCESSES_MAX}`)
  }
  await ask(options, 'GET', '/health')
  const signal = terminal.io.interruption()
  const topicPrefix = `bench-${randomBytes(3).toString('hex')}`
  terminal.note(`${options.duration / 1000} s after a warm-up of ${WARM_UP_MS / 1000} s …`)
  let result: LoadResult
  try {
    result = await runLoad({
      server: remoteServer(url, signal),
      plan: planOf(options, topicPrefix),
      publisherProcesses: Math.min(options.processes, options.publishers),
      subscriberProcesses: Math.min(options.processes, options.subscribers),
      warmUpMs: WARM_UP_MS,
      measuredMs: options.duration,
    })
  } catch (error) {
    if (signal.aborted) throw new Failure(Exit.interrupted, 'interrupted')
    throw new Failure(Exit.failed, error instanceof Error ? error.message : String(error))
  } finally {
    await removeTopics(options, topicPrefix)
  }
  await report(terminal, result, options.json)
  const { lost, announced, repeated, outOfOrder } = result
  if (repeated > 0 || outOfOrder > 0 || lost !== announced) {
    const counts = `${lost} lost, ${announced} of them announced, ${repeated} repeated`
    throw new Failure(
      Exit.failed,
      `the broker broke its promises: ${counts}, ${outOfOrder} unordered`,
    )
  }
}

function planOf(options: BenchOptions, topicPrefix: string): LoadPlan {
  const { rate, window, payload, publishers, subscribers, topics, batch, encoding } = options
  return {
    encoding,
    publishers,
    subscribers,
    topics,
    batch,
    payloadBytes: payload,
    batchedEvents: false,
    load: rate === undefined ? { kind: 'closed', window } : { kind: 'open', ratePerSecond: rate },
    topicPrefix,
  }
}

/** A server that was there before us: no process id, so nothing of its CPU time and memory. */
function remoteServer(url: URL, signal: AbortSignal) {
  const ended = new Promise<string>((resolve) => {
    signal.addEventListener('abort', () => resolve('interrupted'))
  })
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = Number(url.port || 80)
  return { name: url.host, pid: 0, host, port, ended, stop: () => Promise.resolve() }
}

async function removeTopics(options: BenchOptions & GlobalOptions, prefix: string): Promise<void> {
  for (let index = 0; index < options.topics; index++) {
    // Some were never made, and a broker that is gone has none.
    await request(options, 'DELETE', topicPath(`${prefix}.${index}`)).catch(() => {})
  }
}

async function report(
  terminal: Terminal,
  result: LoadResult,
  json: true | undefined,
): Promise<void> {
  const { latency, deliveredPerSecond, lost, announced, repeated, outOfOrder, voidReason } = result
  if (json) {
    return terminal.printJson({
      delivered_per_second: deliveredPerSecond,
      published: result.published,
      received: result.received,
      latency_ms: latency,
      lost,
      announced,
      repeated,
      out_of_order: outOfOrder,
      publisher_cpu: result.publisherCpu,
      subscriber_cpu: result.subscriberCpu,
      void: voidReason ?? null,
    })
  }
  const { p50, p95, p99, p999, max } = latency
  const percent = (share: number) => `${Math.round(share * 100)} %`
  const lines = [
    `delivered  ${whole(deliveredPerSecond)} messages/s`,
    `latency    p50 ${p50} ms, p95 ${p95}, p99 ${p99}, p99.9 ${p999}, max ${max}`,
    `counts     ${whole(result.published)} published, ${whole(result.received)} received, ` +
      `${lost} lost, ${repeated} repeated, ${outOfOrder} out of order`,
    `generator  publishers ${percent(result.publisherCpu)} of a core, ` +
      `subscribers ${percent(result.subscriberCpu)}`,
  ]
  for (const line of lines) await terminal.print(line)
  if (voidReason !== undefined) terminal.note(`void: ${voidReason}, so the latencies are its own`)
}
