/**
 * `ringcast sub`: prints what comes, until told to stop. The reader's pace is the subscription's: what it
 * does not take stays in the broker's log.
 * Runs on: the command's process. Owns: the connection.
 */
import { type Command, Option } from 'commander'
import type {
  EpochChange,
  Gap,
  Message,
  SubscribeOptions,
  Subscription,
} from '../client/ringcast.js'
import { openClient } from './connection.js'
import { entryJson, entryLine, entryOf, rawPayload } from './entry-text.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { checkOutput, type GlobalOptions, optionsOf, parseCount } from './options.js'
import type { Terminal } from './terminal.js'

interface SubOptions {
  readonly last?: number
  readonly since?: string
  readonly fromSeq?: number
  readonly epoch?: string
  readonly filter?: string
  readonly count?: number
  readonly raw?: true
}

const HELP = `
A pattern is a topic in which * stands for one segment and # for any number of them; quote it.
Ctrl-C is how it ends: exit code 0, or 130 if --count was given and not reached. Gaps (messages that
the broker dropped because this subscriber was too slow) are told on stderr, with --json on stdout.

Examples:
  ringcast sub orders.eu
  ringcast sub 'orders.#' --last 10
  ringcast sub orders.eu --since 5m --json | jq .payload
  ringcast sub orders.eu --from-seq 1 --count 100 --raw > orders.ndjson`

export function addSub(program: Command, terminal: Terminal): void {
  program
    .command('sub')
    .description('subscribe, and print messages as they come')
    .argument('<pattern>', 'a topic, or a pattern such as orders.* or orders.#')
    .option('--last <n>', 'begin with the newest n messages of each topic', parseCount)
    .addOption(
      new Option(
        '--since <time>',
        'begin with messages since then: 30s, 5m, or ISO 8601',
      ).conflicts('last'),
    )
    .addOption(
      new Option('--from-seq <n>', 'begin with this seq (of a topic, not of a pattern)')
        .argParser(parseCount)
        .conflicts(['last', 'since']),
    )
    .option(
      '--epoch <epoch>',
      'with --from-seq: the log in which it counts; of another all is sent',
    )
    .option('--filter <cel>', 'only messages for which this is true: payload.amount > 100')
    .option('-n, --count <n>', 'end after n messages', parseCount)
    .option('--raw', 'print payloads only')
    .addHelpText('after', HELP)
    .action(async (pattern: string, _: unknown, command: Command) => {
      const options = optionsOf<SubOptions>(command)
      checkOutput(options)
      if (options.epoch !== undefined && options.fromSeq === undefined) {
        throw new Failure(Exit.usage, '--epoch goes with --from-seq')
      }
      if (options.fromSeq !== undefined && /[*#]/.test(pattern)) {
        throw new Failure(Exit.usage, '--from-seq needs a topic: a pattern has no seqs of its own')
      }
      await follow(terminal, pattern, options)
    })
}

async function follow(
  terminal: Terminal,
  pattern: string,
  options: SubOptions & GlobalOptions,
): Promise<void> {
  const { count = Number.POSITIVE_INFINITY } = options
  const signal = terminal.io.interruption()
  const client = await openClient(terminal, options, { onError: tellBadPayloads(terminal) })
  try {
    const subscription = client.subscribe(pattern, subscribeOptions(options))
    signal.addEventListener('abort', () => subscription.unsubscribe())
    if (signal.aborted) subscription.unsubscribe()
    tellTrouble(terminal, subscription, options.json)
    let seen = 0
    for await (const message of subscription) {
      if (signal.aborted) break
      await show(terminal, message, options)
      if (++seen >= count) break
    }
    if (signal.aborted && seen < count && count !== Number.POSITIVE_INFINITY) {
      throw new Failure(Exit.interrupted, `interrupted after ${seen} of ${count} messages`)
    }
    if (!signal.aborted && seen < count && subscription.isEnded) {
      throw new Failure(Exit.failed, `${pattern} was deleted`)
    }
  } finally {
    client.close()
  }
}

function subscribeOptions(options: SubOptions): SubscribeOptions {
  const { last, since, fromSeq, epoch, filter } = options
  return {
    clientId: `ringcast-sub-${process.pid}`,
    ...(last === undefined ? {} : { lastN: last }),
    ...(since === undefined ? {} : { since }),
    ...(fromSeq === undefined ? {} : { fromSeq }),
    ...(epoch === undefined ? {} : { epoch }),
    ...(filter === undefined ? {} : { filter }),
  }
}

async function show(
  terminal: Terminal,
  message: Message,
  { json, raw }: SubOptions & GlobalOptions,
): Promise<void> {
  try {
    const entry = entryOf(message)
    if (json) await terminal.print(entryJson(entry))
    else if (raw) await terminal.print(rawPayload(entry))
    else await terminal.print(entryLine(entry, terminal))
  } catch (error) {
    terminal.note(`${message.topic} #${message.seq}: ${(error as Error).message}`)
  }
}

function tellTrouble(terminal: Terminal, subscription: Subscription, json: true | undefined): void {
  subscription.on('gap', ({ topic, fromSeq, toSeq, dropped }: Gap) => {
    if (json) {
      const gap = { type: 'gap', topic, from_seq: fromSeq, to_seq: toSeq, dropped }
      void terminal.printJson(gap)
    } else {
      terminal.note(`${topic}: ${dropped} messages lost, seq ${fromSeq} to ${toSeq}`)
    }
  })
  subscription.on('epoch', ({ topic, epoch, previousEpoch, lostFromSeq }: EpochChange) => {
    if (json) {
      const change = { epoch, previous_epoch: previousEpoch, lost_from_seq: lostFromSeq }
      void terminal.printJson({ type: 'epoch', topic, ...change })
    } else {
      terminal.note(
        `${topic}: the log began anew; what the old one held from ${lostFromSeq} is lost`,
      )
    }
  })
  subscription.on('resumed', (recovered) => {
    terminal.note(recovered ? 'nothing was missed' : 'messages were missed')
  })
  subscription.on('deleted', (topic) => terminal.note(`${topic} was deleted`))
}

function tellBadPayloads(terminal: Terminal): (error: Error) => void {
  return (error) => terminal.note(error.message)
}
