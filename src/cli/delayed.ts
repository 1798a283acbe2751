/**
 * `ringcast delayed ls | cancel`: messages of a topic that wait for their time.
 * Runs on: the command's process.
 */
import type { Command } from 'commander'
import type { Cancelled, DelayedList } from './broker-answers.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { request, topicPath } from './http-door.js'
import { optionsOf, parseCount } from './options.js'
import { tableLines, whole } from './table.js'
import type { Terminal } from './terminal.js'

interface ListOptions {
  readonly limit: number
}

const LIMIT_DEFAULT = 20
const ID_EXAMPLE = '550e8400-e29b-41d4-a716-446655440000'
const HELP = `
Examples:
  ringcast delayed ls mails
  ringcast delayed cancel mails ${ID_EXAMPLE}`

export function addDelayed(program: Command, terminal: Terminal): void {
  const delayed = program
    .command('delayed')
    .description('list and cancel messages that wait for their time')
    .addHelpText('after', HELP)
  delayed
    .command('ls')
    .description('list what waits, the next first')
    .argument('<topic>', 'the topic that they will come to')
    .option('--limit <n>', 'at most n of them', parseCount, LIMIT_DEFAULT)
    .addHelpText('after', '\nExample:\n  ringcast delayed ls mails --json | jq -r .id')
    .action((topic: string, _: unknown, command: Command) => list(terminal, command, topic))
  delayed
    .command('cancel')
    .description('take messages back before they are stored')
    .argument('<topic>', 'the topic that they would come to')
    .argument('<id...>', 'their message ids')
    .addHelpText('after', `\nExample:\n  ringcast delayed cancel mails ${ID_EXAMPLE}`)
    .action((topic: string, ids: string[], _: unknown, command: Command) =>
      cancel(terminal, command, topic, ids),
    )
}

async function list(terminal: Terminal, command: Command, topic: string): Promise<void> {
  const options = optionsOf<ListOptions>(command)
  const path = `${topicPath(topic)}/delayed?limit=${options.limit}`
  const { count, delayed } = await request<DelayedList>(options, 'GET', path)
  if (options.json) {
    for (const message of delayed) await terminal.printJson(message)
    return
  }
  if (count === 0) {
    terminal.note(`nothing waits for ${topic}`)
    return
  }
  const rows = delayed.map(({ id, deliver_at: deliverAt }) => [deliverAt, id])
  const [head = '', ...lines] = tableLines([{ title: 'DELIVER AT' }, { title: 'ID' }], rows)
  await terminal.print(terminal.paint('bold', head))
  for (const line of lines) await terminal.print(line)
  const more = count - delayed.length
  if (more > 0) terminal.note(`and ${whole(more)} more`)
}

/** All of them are tried; it is a failure if one of them did not wait. */
async function cancel(
  terminal: Terminal,
  command: Command,
  topic: string,
  ids: readonly string[],
): Promise<void> {
  const options = optionsOf(command)
  const missed: string[] = []
  for (const id of ids) {
    const path = `${topicPath(topic)}/delayed/${encodeURIComponent(id)}`
    const { count } = await request<Cancelled>(options, 'DELETE', path)
    if (count === 0) missed.push(id)
    if (options.json) await terminal.printJson({ topic, id, count })
    else if (count > 0) await terminal.print(`${topic}: ${id} cancelled`)
  }
  if (missed.length === 0) return
  const which = missed.join(', ')
  throw new Failure(Exit.failed, `not waiting, stored already or never there: ${which}`)
}
