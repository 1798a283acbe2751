/**
 * `ringcast top`: topics by rate, subscribers by lag, workers by load; live on a terminal.
 * Runs on: the command's process. Owns: the terminal's second screen while it runs.
 */
import { type Command, Option } from 'commander'
import { type GlobalOptions, optionsOf, parseCount, parseDuration } from './options.js'
import { bytesText, shortened, tableLines, whole } from './table.js'
import type { Terminal } from './terminal.js'
import { type Reading, read, readSubscribers, type Sample, sampleOf } from './top-sample.js'

const ENTER_SCREEN = '\x1b[?1049h\x1b[?25l'
const LEAVE_SCREEN = '\x1b[?25h\x1b[?1049l'
const HOME = '\x1b[H'
const CLEAR_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'
const ROWS_DEFAULT = 10
const LOAD_CELLS = 20

interface TopOptions {
  readonly once?: true
  readonly interval: number
  readonly rows: number
}

const HELP = `
Ctrl-C ends it, with exit code 0. Where stdout is no terminal the tables follow each other.

Examples:
  ringcast top
  ringcast top --once
  ringcast top --interval 10s --json >> broker.ndjson`

export function addTop(program: Command, terminal: Terminal): void {
  program
    .command('top')
    .description('watch topics by rate, subscribers by lag, workers by load')
    .option('--once', 'print one table and end')
    .addOption(
      new Option('--interval <duration>', 'time between two readings')
        .argParser(parseDuration)
        .default(1000, '1s'),
    )
    .option('--rows <n>', 'rows of each table', parseCount, ROWS_DEFAULT)
    .addHelpText('after', HELP)
    .action((_: unknown, command: Command) => watch(terminal, optionsOf<TopOptions>(command)))
}

async function watch(terminal: Terminal, options: TopOptions & GlobalOptions): Promise<void> {
  const { once = false, json, interval } = options
  const signal = terminal.io.interruption()
  const isLive = terminal.isInteractive && !once && !json
  const { stdout } = terminal.io
  let before = await read(options)
  if (isLive) stdout.write(ENTER_SCREEN)
  try {
    while (await waited(interval, signal)) {
      const { sample, reading } = await take(options, before)
      before = reading
      if (json) await terminal.printJson(trimmed(sample, options.rows))
      else if (isLive) stdout.write(screen(sampleLines(sample, options.rows, terminal), terminal))
      else await terminal.print(sampleLines(sample, options.rows, terminal).join('\n'))
      if (once) return
    }
  } finally {
    if (isLive) stdout.write(LEAVE_SCREEN)
  }
}

async function take(
  options: TopOptions & GlobalOptions,
  before: Reading,
): Promise<{ sample: Sample; reading: Reading }> {
  const reading = await read(options)
  const { topics } = sampleOf(before, reading, [])
  const slowest = await readSubscribers(options, topics)
  return { sample: sampleOf(before, reading, slowest), reading }
}

function trimmed(sample: Sample, rows: number): Sample {
  const { topics, slowest } = sample
  return { ...sample, topics: topics.slice(0, rows), slowest: slowest.slice(0, rows) }
}

function sampleLines(sample: Sample, rows: number, terminal: Terminal): string[] {
  const { topics, slowest, workers } = trimmed(sample, rows)
  const summary = [
    `${whole(sample.published_per_second)} published/s`,
    `${whole(sample.delivered_per_second)} delivered/s`,
    `${bytesText(sample.bytes_sent_per_second)}/s out`,
    `${sample.connections} connections`,
    `${sample.subscribers} subscribers`,
    `${sample.lagging} lagging`,
  ]
  if (sample.dropped_per_second > 0) summary.push(`${whole(sample.dropped_per_second)} dropped/s`)
  const topicLines = tableLines(
    [
      { title: 'TOPIC' },
      { title: 'MSG/S', align: 'right' },
      { title: 'MESSAGES', align: 'right' },
      { title: 'HELD', align: 'right' },
      { title: 'SUBS', align: 'right' },
    ],
    topics.map((topic) => [
      topic.name,
      whole(topic.per_second),
      whole(topic.messages),
      whole(topic.held),
      whole(topic.subscribers),
    ]),
  )
  const subscriberLines = tableLines(
    [
      { title: 'SUBSCRIBER' },
      { title: 'TOPIC' },
      { title: 'SUBSCRIPTION' },
      { title: 'POLICY' },
      { title: 'LAG', align: 'right' },
    ],
    slowest.map((one) => [
      one.client_id ?? '–',
      one.topic,
      one.subscription,
      one.policy,
      whole(one.lag),
    ]),
  )
  const workerLines = tableLines(
    [
      { title: 'WORKER' },
      { title: 'STORED/S', align: 'right' },
      { title: 'BYTES/S', align: 'right' },
      { title: 'TURNS/S', align: 'right' },
      { title: 'SHARE' },
    ],
    workers.map((worker) => [
      String(worker.worker),
      whole(worker.stored_per_second),
      bytesText(worker.bytes_per_second),
      whole(worker.batches_per_second),
      `${'█'.repeat(Math.round(worker.share * LOAD_CELLS))} ${Math.round(worker.share * 100)} %`,
    ]),
  )
  const hidden = sample.topics.length - topics.length
  const parts = [
    [summary.join(' · ')],
    [...topicLines, ...(hidden > 0 ? [`… ${hidden} more`] : [])],
    subscriberLines,
    workerLines,
  ]
  // Cut before it is painted: escapes take no room on the screen.
  const cut = (line: string) => (terminal.isInteractive ? shortened(line, terminal.columns) : line)
  return parts.flatMap(([head = '', ...rest]) => [
    terminal.paint('bold', cut(head)),
    ...rest.map(cut),
    '',
  ])
}

/** The whole screen in one write, so that it does not flicker. */
function screen(lines: readonly string[], terminal: Terminal): string {
  const shown = lines.slice(0, terminal.rows - 1).map((line) => `${line}${CLEAR_LINE}\n`)
  return HOME + shown.join('') + CLEAR_BELOW
}

/** False when the command is to end. */
function waited(ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve(!signal.aborted)
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}
