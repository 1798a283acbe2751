/**
 * `ringcast history`: messages that a topic holds, without subscribing to it.
 * Runs on: the command's process.
 */
import { type Command, Option } from 'commander'
import type { HistoryPage } from './broker-answers.js'
import { entryJson, entryLine, rawPayload } from './entry-text.js'
import { request, topicPath } from './http-door.js'
import { checkOutput, type GlobalOptions, optionsOf, parseCount } from './options.js'
import type { Terminal } from './terminal.js'

const LAST_DEFAULT = 10
/** What the broker puts in one answer. */
const PAGE_MAX = 1000

interface HistoryOptions {
  readonly last?: number
  readonly fromSeq?: number
  readonly limit?: number
  readonly raw?: true
}

const HELP = `
Examples:
  ringcast history orders.eu
  ringcast history orders.eu --last 1 --raw
  ringcast history orders.eu --from-seq 1 --json > orders.ndjson`

export function addHistory(program: Command, terminal: Terminal): void {
  program
    .command('history')
    .description('print messages that a topic holds')
    .argument('<topic>', 'its name')
    .option('--last <n>', `the newest n messages (default: ${LAST_DEFAULT})`, parseCount)
    .addOption(
      new Option('--from-seq <n>', 'messages from this seq on, or from the oldest that is held')
        .argParser(parseCount)
        .conflicts('last'),
    )
    .option('--limit <n>', 'at most n messages (default: all of them)', parseCount)
    .option('--raw', 'print payloads only')
    .addHelpText('after', HELP)
    .action((topic: string, _: unknown, command: Command) =>
      print(terminal, topic, optionsOf<HistoryOptions>(command)),
    )
}

async function print(
  terminal: Terminal,
  topic: string,
  options: HistoryOptions & GlobalOptions,
): Promise<void> {
  checkOutput(options)
  for await (const message of messagesOf(topic, options)) {
    const entry = { topic, ...message }
    if (options.json) await terminal.print(entryJson(entry))
    else if (options.raw) await terminal.print(rawPayload(entry))
    else await terminal.print(entryLine(entry, terminal))
  }
}

/** Page by page, up to the seq that was the newest when we began: a busy topic has no end. */
async function* messagesOf(topic: string, options: HistoryOptions & GlobalOptions) {
  let left = options.limit ?? Number.POSITIVE_INFINITY
  const lastSeq = await newestSeq(topic, options)
  const { last = LAST_DEFAULT } = options
  let fromSeq = options.fromSeq ?? Math.max(1, lastSeq - last + 1)
  while (left > 0 && fromSeq <= lastSeq) {
    const limit = Math.min(PAGE_MAX, left)
    const path = `${topicPath(topic)}/messages?from_seq=${fromSeq}&limit=${limit}`
    const page = await request<HistoryPage>(options, 'GET', path)
    const wanted = page.messages.filter(({ seq }) => seq <= lastSeq)
    if (wanted.length === 0) return
    yield* wanted
    left -= wanted.length
    fromSeq = page.next_seq
  }
}

async function newestSeq(topic: string, options: GlobalOptions): Promise<number> {
  const info = await request<{ last_seq: number }>(options, 'GET', topicPath(topic))
  return info.last_seq
}
