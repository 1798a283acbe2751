/**
 * `ringcast dlq ls | peek | replay | purge`: dead letters of a topic.
 * Runs on: the command's process.
 */
import { type Command, Option } from 'commander'
import type { DeadLetter, DeadLetterPage, Replayed } from './broker-answers.js'
import { rawPayload } from './entry-text.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { request, topicPath } from './http-door.js'
import { type GlobalOptions, optionsOf, parseCount, parseDuration } from './options.js'
import { tableLines, valueText, whole } from './table.js'
import type { Terminal } from './terminal.js'

interface ListOptions {
  readonly limit: number
  readonly fromSeq?: number
  readonly group?: string
  readonly reason?: string
}

interface ReplayOptions {
  readonly all?: true
  readonly group?: string
  readonly maxRounds?: number
  readonly delay?: number
}

const LIMIT_DEFAULT = 20
/** Requests of one replay of everything; each is a thousand letters or so. */
const PAGES_MAX = 10_000
const HELP = `
A dead letter's seq is its own, in the topic $dlq.TOPIC; the headers dlq-… say where it comes from.

Examples:
  ringcast dlq ls orders --reason term
  ringcast dlq peek orders 17
  ringcast dlq replay orders 17 18
  ringcast dlq replay orders --all --group billing
  ringcast dlq purge orders`

export function addDlq(program: Command, terminal: Terminal): void {
  const dlq = program
    .command('dlq')
    .description('list, look at, replay and drop the dead letters of a topic')
    .addHelpText('after', HELP)
  const onTopic = (name: string, description: string) =>
    dlq
      .command(name)
      .description(description)
      .argument('<topic>', 'the topic that they come from')
      .addHelpText('after', `\nExample:\n  ringcast dlq ${name} orders${exampleOf(name)}`)
  onTopic('ls', 'list dead letters, oldest first')
    .option('--limit <n>', 'at most n of them', parseCount, LIMIT_DEFAULT)
    .option('--from-seq <n>', 'begin with this seq', parseCount)
    .option('--group <group>', 'only what this group gave up')
    .addOption(
      new Option('--reason <reason>', 'only those given up for this reason').choices([
        'max_deliver',
        'term',
        'expired',
      ]),
    )
    .action((topic: string, _: unknown, command: Command) => list(terminal, command, topic))
  onTopic('peek', 'all there is of one dead letter')
    .argument('<seq>', 'its seq', parseCount)
    .action((topic: string, seq: number, _: unknown, command: Command) =>
      peek(terminal, command, topic, seq),
    )
  onTopic('replay', 'publish dead letters to their topic again')
    .argument('[seq...]', 'their seqs')
    .option('--all', 'all of them')
    .option('--group <group>', 'only what this group gave up')
    .option('--max-rounds <n>', 'leave what was replayed so often already', parseCount)
    .option('--delay <duration>', 'not before so much time has passed', parseDuration)
    .action((topic: string, seqs: string[], _: unknown, command: Command) =>
      replay(terminal, command, topic, seqs.map(parseCount)),
    )
  onTopic('purge', 'drop all dead letters').action(
    async (topic: string, _: unknown, command: Command) => {
      const options = optionsOf(command)
      const answer = await request<{ purged: number }>(options, 'DELETE', lettersPath(topic))
      if (options.json) await terminal.printJson(answer)
      else await terminal.print(`${topic}: ${whole(answer.purged)} dead letters dropped`)
    },
  )
}

function exampleOf(name: string): string {
  return name === 'peek' || name === 'replay' ? ' 17' : ''
}

function lettersPath(topic: string): string {
  return `${topicPath(topic)}/dead-letters`
}

async function list(terminal: Terminal, command: Command, topic: string): Promise<void> {
  const options = optionsOf<ListOptions>(command)
  const letters = await page(options, topic, options)
  if (options.json) {
    for (const letter of letters) await terminal.printJson(letter)
    return
  }
  if (letters.length === 0) {
    terminal.note(`${topic} has no such dead letters`)
    return
  }
  const rows = letters.map(({ seq, ts, headers }) => [
    `#${seq}`,
    ts.slice(0, 19),
    headers['dlq-group'] ?? '–',
    headers['dlq-reason'] ?? '–',
    headers['dlq-attempts'] ?? '–',
    headers['dlq-error'] ?? '',
  ])
  const [head = '', ...lines] = tableLines(
    [
      { title: 'SEQ', align: 'right' },
      { title: 'SINCE' },
      { title: 'GROUP' },
      { title: 'REASON' },
      { title: 'ATTEMPTS', align: 'right' },
      { title: 'ERROR' },
    ],
    rows.map((row) => row.map((cell) => cell.replaceAll(/\p{Cc}/gu, ' '))),
  )
  await terminal.print(terminal.paint('bold', head))
  for (const line of lines) await terminal.print(line)
}

async function peek(
  terminal: Terminal,
  command: Command,
  topic: string,
  seq: number,
): Promise<void> {
  const options = optionsOf(command)
  const [letter] = await page(options, topic, { limit: 1, fromSeq: seq })
  if (letter?.seq !== seq) throw new Failure(Exit.failed, `${topic} has no dead letter #${seq}`)
  if (options.json) return terminal.printJson(letter)
  const { payload: _, headers, encoding: __, ...fields } = letter
  const shown = [...Object.entries(fields), ...Object.entries(headers)]
  const width = Math.max(...shown.map(([key]) => key.length))
  for (const [key, value] of shown) {
    const text = typeof value === 'string' ? value : valueText(value)
    const line = text.replaceAll(/\p{Cc}/gu, ' ')
    await terminal.print(`${terminal.paint('dim', key.padEnd(width))}  ${line}`)
  }
  await terminal.print('')
  await terminal.print(rawPayload({ ...letter, topic }))
}

async function replay(
  terminal: Terminal,
  command: Command,
  topic: string,
  seqs: readonly number[],
): Promise<void> {
  const options = optionsOf<ReplayOptions>(command)
  const { all, group, maxRounds, delay } = options
  if (seqs.length > 0 === (all === true)) {
    throw new Failure(Exit.usage, 'say which: seqs, or --all')
  }
  const common = {
    ...(group === undefined ? {} : { group }),
    ...(maxRounds === undefined ? {} : { max_rounds: maxRounds }),
    ...(delay === undefined ? {} : { delay_ms: delay }),
  }
  let [replayed, skipped] = [0, 0]
  let rest: readonly number[] = seqs
  let fromSeq = 1
  for (let pages = 0; pages < PAGES_MAX; pages++) {
    const which = all ? { all, from_seq: fromSeq } : { seqs: rest }
    const path = `${lettersPath(topic)}/replay`
    const answer = await request<Replayed>(options, 'POST', path, { ...common, ...which })
    replayed += answer.replayed
    skipped += answer.skipped
    const { next_seq: nextSeq } = answer
    if (nextSeq === null) break
    fromSeq = nextSeq
    if (!all) rest = rest.slice(rest.indexOf(nextSeq))
  }
  if (options.json) await terminal.printJson({ topic, replayed, skipped })
  else await terminal.print(`${topic}: ${whole(replayed)} replayed, ${whole(skipped)} skipped`)
}

/** Dead letters that fit; the broker answers in pages. */
async function page(
  options: GlobalOptions,
  topic: string,
  { limit, fromSeq = 1, group, reason }: ListOptions,
): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = []
  let next: number | null = fromSeq
  while (next !== null && letters.length < limit) {
    const query = new URLSearchParams({
      from_seq: String(next),
      limit: String(Math.min(1000, limit - letters.length)),
      ...(group === undefined ? {} : { group }),
      ...(reason === undefined ? {} : { reason }),
    })
    const path: string = `${lettersPath(topic)}?${query}`
    const answer: DeadLetterPage = await request<DeadLetterPage>(options, 'GET', path)
    letters.push(...answer.dead_letters)
    next = answer.next_seq
  }
  return letters
}
