/**
 * `ringcast groups ls | info | create | rm | pause | resume | reset`.
 * Runs on: the command's process.
 */
import { type Command, Option } from 'commander'
import type { GroupInfo, GroupList } from './broker-answers.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { request, topicPath } from './http-door.js'
import { optionsOf, parseCount, parseDuration } from './options.js'
import { tableLines, valueText, whole } from './table.js'
import type { Terminal } from './terminal.js'

interface StartOptions {
  readonly earliest?: true
  readonly last?: number
  readonly since?: string
  readonly fromSeq?: number
}

interface CreateOptions extends StartOptions {
  readonly ackWait?: number
  readonly maxDeliver?: number
  readonly maxInFlight?: number
  readonly window?: number
  readonly ordered?: string
  readonly filter?: string
}

const HELP = `
Examples:
  ringcast groups ls orders
  ringcast groups create orders billing --earliest --ack-wait 10s --max-deliver 3
  ringcast groups info orders billing
  ringcast groups reset orders billing --since 1h`

export function addGroups(program: Command, terminal: Terminal): void {
  const groups = program
    .command('groups')
    .description('list, create, delete, pause and rewind the consumer groups of a topic')
    .addHelpText('after', HELP)
  const onGroup = (name: string, description: string) =>
    groups
      .command(name)
      .description(description)
      .argument('<topic>', 'the topic')
      .argument('<group>', 'the group')
      .addHelpText('after', `\nExample:\n  ringcast groups ${name} orders billing`)
  groups
    .command('ls')
    .description('list the groups of a topic')
    .argument('<topic>', 'the topic')
    .addHelpText('after', '\nExample:\n  ringcast groups ls orders --json | jq .lag')
    .action((topic: string, _: unknown, command: Command) => list(terminal, command, topic))
  onGroup('info', 'what a group has under way, its options and its members').action(
    (topic: string, group: string, _: unknown, command: Command) =>
      info(terminal, command, topic, group),
  )
  addStart(onGroup('create', 'make a group; one that exists stays as it is'))
    .option('--ack-wait <duration>', 'how long a member has to settle a message', parseDuration)
    .option('--max-deliver <n>', 'attempts until a message is a dead letter', parseCount)
    .option('--max-in-flight <n>', 'unsettled messages of one member', parseCount)
    .option('--window <n>', 'unsettled messages of the whole group', parseCount)
    .addOption(new Option('--ordered <by>', 'order to keep').choices(['none', 'key']))
    .option('--filter <cel>', 'only messages for which this is true')
    .action((topic: string, group: string, own: CreateOptions, command: Command) =>
      change(terminal, command, 'POST', groupsPath(topic), {
        name: group,
        ...startOf(own),
        ...createFields(own),
      }),
    )
  onGroup('rm', 'delete a group; its members are told').action(
    (topic: string, group: string, _: unknown, command: Command) =>
      change(terminal, command, 'DELETE', groupPath(topic, group)),
  )
  for (const [verb, description] of [
    ['pause', 'deliver nothing more; what members have they may still settle'],
    ['resume', 'deliver again'],
  ] as const) {
    onGroup(verb, description).action(
      (topic: string, group: string, _: unknown, command: Command) =>
        change(terminal, command, 'POST', `${groupPath(topic, group)}/${verb}`, {}),
    )
  }
  addStart(onGroup('reset', 'forget what is under way, and begin elsewhere')).action(
    (topic: string, group: string, own: StartOptions, command: Command) => {
      const start = startOf(own)
      if (Object.keys(start).length === 0) {
        throw new Failure(Exit.usage, 'say where: --earliest, --last, --since or --from-seq')
      }
      return change(terminal, command, 'POST', `${groupPath(topic, group)}/reset`, start)
    },
  )
}

function groupsPath(topic: string): string {
  return `${topicPath(topic)}/groups`
}

function groupPath(topic: string, group: string): string {
  return `${groupsPath(topic)}/${encodeURIComponent(group)}`
}

/** Where a group begins, as an option of several commands. */
export function addStart(command: Command): Command {
  return command
    .option('--earliest', 'begin with the oldest message that the topic holds')
    .addOption(
      new Option('--last <n>', 'begin with the newest n messages')
        .argParser(parseCount)
        .conflicts('earliest'),
    )
    .addOption(
      new Option(
        '--since <time>',
        'begin with messages since then: 30s, 5m, or ISO 8601',
      ).conflicts(['earliest', 'last']),
    )
    .addOption(
      new Option('--from-seq <n>', 'begin with this seq')
        .argParser(parseCount)
        .conflicts(['earliest', 'last', 'since']),
    )
}

function startOf({ earliest, last, since, fromSeq }: StartOptions): Record<string, unknown> {
  return {
    ...(earliest === undefined ? {} : { start: 'earliest' }),
    ...(last === undefined ? {} : { last_n: last }),
    ...(since === undefined ? {} : { since }),
    ...(fromSeq === undefined ? {} : { from_seq: fromSeq }),
  }
}

function createFields(own: CreateOptions): Record<string, unknown> {
  const { ackWait, maxDeliver, maxInFlight, window, ordered, filter } = own
  const fields = {
    ack_wait_ms: ackWait,
    max_deliver: maxDeliver,
    max_in_flight: maxInFlight,
    window,
    ordered,
    filter,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

async function list(terminal: Terminal, command: Command, topic: string): Promise<void> {
  const options = optionsOf(command)
  const { groups } = await request<GroupList>(options, 'GET', groupsPath(topic))
  if (options.json) {
    for (const group of groups) await terminal.printJson(group)
    return
  }
  if (groups.length === 0) {
    terminal.note(`${topic} has no groups`)
    return
  }
  const rows = groups.map((group) => [
    group.paused ? `${group.name} (paused)` : group.name,
    whole(group.members),
    whole(group.lag),
    whole(group.outstanding),
    whole(group.ack_floor),
  ])
  const numbers = ['MEMBERS', 'LAG', 'OUTSTANDING', 'ACK FLOOR']
  const columns = numbers.map((title) => ({ title, align: 'right' as const }))
  const [head = '', ...lines] = tableLines([{ title: 'GROUP' }, ...columns], rows)
  await terminal.print(terminal.paint('bold', head))
  for (const line of lines) await terminal.print(line)
}

async function info(
  terminal: Terminal,
  command: Command,
  topic: string,
  group: string,
): Promise<void> {
  const options = optionsOf(command)
  const answer = await request<GroupInfo>(options, 'GET', groupPath(topic, group))
  if (options.json) return terminal.printJson(answer)
  const { member_list: members = [], options: own = {}, ...fields } = answer
  const shown = [...Object.entries(fields), ...Object.entries(own)]
  const width = Math.max(...shown.map(([key]) => key.length))
  for (const [key, value] of shown) {
    await terminal.print(`${terminal.paint('dim', key.padEnd(width))}  ${valueText(value)}`)
  }
  if (members.length === 0) return
  const rows = members.map(({ client_id: id, in_flight, max_in_flight, paused }) => [
    id ?? '–',
    whole(in_flight),
    whole(max_in_flight),
    paused ? 'paused' : '',
  ])
  const lines = tableLines(
    [
      { title: 'MEMBER' },
      { title: 'IN FLIGHT', align: 'right' },
      { title: 'AT MOST', align: 'right' },
      { title: '' },
    ],
    rows,
  )
  await terminal.print('')
  for (const line of lines) await terminal.print(line)
}

async function change(
  terminal: Terminal,
  command: Command,
  method: string,
  path: string,
  body?: unknown,
): Promise<void> {
  const options = optionsOf(command)
  const answer = await request<GroupInfo>(options, method, path, body)
  if (options.json) return terminal.printJson(answer)
  const { topic, group, name = group, status, paused, next_seq: nextSeq } = answer
  const state = paused ? 'paused' : `next seq ${nextSeq}`
  await terminal.print(`${String(topic)} ${String(name)} ${status ?? state}`)
}
