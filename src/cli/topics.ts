/**
 * `ringcast topics ls | create | rm | info`.
 * Runs on: the command's process.
 */
import type { Command } from 'commander'
import type { Stats, TopicInfo } from './broker-answers.js'
import { request, topicPath } from './http-door.js'
import { optionsOf } from './options.js'
import { tableLines, valueText, whole } from './table.js'
import type { Terminal } from './terminal.js'

const HELP = `
Examples:
  ringcast topics ls
  ringcast topics create orders.eu orders.us
  ringcast topics info orders.eu
  ringcast topics rm orders.eu`

export function addTopics(program: Command, terminal: Terminal): void {
  const topics = program
    .command('topics')
    .description('list, create, delete and look at topics')
    .addHelpText('after', HELP)
  topics
    .command('ls')
    .description('list all topics')
    .addHelpText('after', example('ls --json | jq -r .name'))
    .action((_: unknown, command: Command) => list(terminal, command))
  topics
    .command('create')
    .description('create topics; one that exists stays as it is')
    .argument('<topic...>', 'their names')
    .addHelpText('after', example('create orders.eu orders.us'))
    .action(async (names: string[], _: unknown, command: Command) => {
      for (const name of names) await change(terminal, command, 'POST', name)
    })
  topics
    .command('rm')
    .description('delete topics with all their messages; their subscriptions end')
    .argument('<topic...>', 'their names')
    .addHelpText('after', example('rm orders.eu'))
    .action(async (names: string[], _: unknown, command: Command) => {
      for (const name of names) await change(terminal, command, 'DELETE', name)
    })
  topics
    .command('info')
    .description('what a topic holds, and who subscribes to it')
    .argument('<topic>', 'its name')
    .addHelpText('after', example('info orders.eu'))
    .action((name: string, _: unknown, command: Command) => info(terminal, command, name))
}

function example(rest: string): string {
  return `\nExample:\n  ringcast topics ${rest}`
}

async function list(terminal: Terminal, command: Command): Promise<void> {
  const options = optionsOf(command)
  const { topics } = await request<Stats>(options, 'GET', '/stats')
  const sorted = Object.entries(topics).sort(([a], [b]) => (a < b ? -1 : 1))
  if (options.json) {
    for (const [name, topic] of sorted) await terminal.printJson({ name, ...topic })
    return
  }
  if (sorted.length === 0) {
    terminal.note('no topics yet')
    return
  }
  const rows = sorted.map(([name, { messages, held, subscribers }]) => [
    name,
    whole(messages),
    whole(held ?? Number.NaN),
    whole(subscribers),
  ])
  const [head = '', ...lines] = tableLines(
    [
      { title: 'TOPIC' },
      { title: 'MESSAGES', align: 'right' },
      { title: 'HELD', align: 'right' },
      { title: 'SUBSCRIBERS', align: 'right' },
    ],
    rows,
  )
  await terminal.print(terminal.paint('bold', head))
  for (const line of lines) await terminal.print(line)
}

async function change(
  terminal: Terminal,
  command: Command,
  method: 'POST' | 'DELETE',
  name: string,
): Promise<void> {
  const options = optionsOf(command)
  const answer =
    method === 'POST'
      ? await request<{ status: string }>(options, 'POST', '/topics', { name })
      : await request<{ status: string }>(options, 'DELETE', topicPath(name))
  if (options.json) await terminal.printJson(answer)
  else
    await terminal.print(`${name} ${answer.status === 'exists' ? 'exists already' : answer.status}`)
}

async function info(terminal: Terminal, command: Command, name: string): Promise<void> {
  const options = optionsOf(command)
  const answer = await request<TopicInfo>(options, 'GET', topicPath(name))
  if (options.json) return terminal.printJson(answer)
  const { subscriptions = [], ...fields } = answer
  const keys = Object.keys(fields)
  const width = Math.max(...keys.map((key) => key.length))
  for (const key of keys) {
    await terminal.print(`${terminal.paint('dim', key.padEnd(width))}  ${valueText(fields[key])}`)
  }
  if (subscriptions.length === 0) return
  const rows = subscriptions.map(({ client_id: id, subscription, policy, lag }) => [
    id ?? '–',
    subscription,
    policy,
    whole(lag),
  ])
  const lines = tableLines(
    [
      { title: 'CLIENT' },
      { title: 'SUBSCRIPTION' },
      { title: 'POLICY' },
      { title: 'LAG', align: 'right' },
    ],
    rows,
  )
  await terminal.print('')
  for (const line of lines) await terminal.print(line)
}
