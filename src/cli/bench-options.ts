/**
 * The options of `ringcast bench`, and the plan that they make.
 * Runs on: the command's process.
 */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { LoadPlan } from '../../bench/load/plan.js'
import { type Condition, parseCondition } from '../../bench/report/metrics.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { parseCount, parseDuration, parseRate } from './options.js'

const WARM_UP_MS = 1000
/** Below the default SUBSCRIBER_QUEUE_SIZE, so that the broker has no cause to drop anything. */
const WINDOW_DEFAULT = 900
const PROCESSES_MAX = 16
/** A payload says who sent it, its number and when; larger ones the broker refuses by default. */
const PAYLOAD_BYTES_MIN = 16
const PAYLOAD_BYTES_MAX = 65_536

export interface BenchOptions {
  readonly publishers: number
  readonly subscribers: number
  readonly patternSubscribers: number
  readonly topics: number
  readonly topicGroups: number
  readonly payload: number
  readonly batch: number
  readonly encoding: 'msgpack' | 'json'
  readonly rate?: number
  readonly ramp: number
  readonly window: number
  readonly warmUp: number
  readonly duration: number
  readonly processes: number
  readonly noiseFloor?: true
  readonly jsonFile?: string
  readonly hgrm?: string
  readonly html?: string
  readonly failIf: readonly Condition[]
}

const HELP = `
Without --rate as fast as the subscribers take it, with --window messages under way per publisher.
With --rate by a fixed schedule, latency counted from when each message was due. Latency is from the
publisher's process to the subscriber's, so both ends share this machine's clock and its cores.
Exit code 1 when messages were repeated, came out of order, or were lost without a word; 3 when a
--fail-if holds.

Examples:
  ringcast bench
  ringcast bench --rate 50000 --publishers 10 --subscribers 10 --topics 10 --noise-floor
  ringcast bench --url ws://broker:8080/ws --batch 64 --duration 30s --json
  ringcast bench --rate 1000 --fail-if 'p99>5ms' --fail-if 'lost>0' --html report.html
  ringcast bench compare before.json after.json`

export function addBenchOptions(bench: Command): void {
  bench
    .option('--publishers <n>', 'publishers; they take the topics in turn', parseCount, 1)
    .option('--subscribers <n>', 'subscribers; they take the topics in turn', parseCount, 1)
    .option(
      '--pattern-subscribers <n>',
      'further subscribers, each of all topics of a group by a pattern',
      parseCountOrNone,
      0,
    )
    .option('--topics <n>', 'topics', parseCount, 1)
    .option('--topic-groups <n>', 'groups that the topics are in', parseCount, 1)
    .option('--payload <bytes>', 'size of a payload, 16 to 65536', parsePayload, 128)
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
      new Option(
        '--ramp <duration>',
        'time in which the rate rises to --rate, from the first message',
      )
        .argParser(parseDurationOrNone)
        .default(0, 'none'),
    )
    .addOption(
      new Option('--window <n>', 'messages under way per publisher, without --rate')
        .argParser(parseCount)
        .default(WINDOW_DEFAULT),
    )
    .addOption(
      new Option('--warm-up <duration>', 'time before the measured one')
        .argParser(parseDurationOrNone)
        .default(WARM_UP_MS, '1s'),
    )
    .addOption(
      new Option('--duration <duration>', 'measured time')
        .argParser(parseDuration)
        .default(5000, '5s'),
    )
    .option('--processes <n>', 'processes for each, publishers and subscribers', parseCount, 1)
    .option('--noise-floor', 'afterwards the same load on a bare forwarding server, for comparison')
    .option('--json-file <file>', 'write everything measured, for `bench compare`')
    .option(
      '--hgrm <file>',
      'write the distribution of latencies, for the plotters of HdrHistogram',
    )
    .option('--html <file>', 'write a report to look at')
    .addOption(
      new Option('--fail-if <condition>', 'exit code 3 if it holds, as p99>5ms; several times')
        .argParser(collectCondition)
        .default([], 'none'),
    )
    .addHelpText('after', HELP)
}

export function checkBenchOptions(options: BenchOptions): void {
  const { processes, topics, topicGroups, noiseFloor, patternSubscribers, ramp, rate } = options
  const mistakes: readonly (readonly [boolean, string])[] = [
    [processes > PROCESSES_MAX, `--processes may be at most ${PROCESSES_MAX}`],
    [topicGroups > topics, '--topic-groups may be at most --topics'],
    [ramp > 0 && rate === undefined, '--ramp needs --rate'],
    [
      noiseFloor === true && patternSubscribers > 0,
      '--noise-floor does not go with --pattern-subscribers: the bare server knows no patterns',
    ],
  ]
  const found = mistakes.find(([isMade]) => isMade)
  if (found !== undefined) throw new Failure(Exit.usage, found[1])
}

export function planOf(options: BenchOptions, topicPrefix: string): LoadPlan {
  const { rate, ramp, window, payload, publishers, subscribers, topics, batch } = options
  return {
    encoding: options.encoding,
    publishers,
    subscribers,
    patternSubscribers: options.patternSubscribers,
    topics,
    topicGroups: options.topicGroups,
    batch,
    payloadBytes: payload,
    batchedEvents: false,
    load:
      rate === undefined
        ? { kind: 'closed', window }
        : { kind: 'open', ratePerSecond: rate, rampMs: ramp },
    topicPrefix,
  }
}

function parseCountOrNone(text: string): number {
  return text === '0' ? 0 : parseCount(text)
}

function parseDurationOrNone(text: string): number {
  return text === '0' || text === '0s' ? 0 : parseDuration(text)
}

function parsePayload(text: string): number {
  const bytes = parseCount(text)
  if (bytes < PAYLOAD_BYTES_MIN || bytes > PAYLOAD_BYTES_MAX) {
    throw new InvalidArgumentError(
      `It must be from ${PAYLOAD_BYTES_MIN} to ${PAYLOAD_BYTES_MAX} bytes.`,
    )
  }
  return bytes
}

/** Collects `--fail-if`, given several times. */
function collectCondition(text: string, before: readonly Condition[]): readonly Condition[] {
  try {
    return [...before, parseCondition(text)]
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error))
  }
}
