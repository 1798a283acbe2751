/**
 * `ringcast consume`: a member of a consumer group that prints what it is given.
 * Runs on: the command's process. Owns: the connection.
 *
 * A message is acked when its line was taken by stdout. So what a reader that went away has not read
 * goes to other members.
 */
import { type Command, Option } from 'commander'
import type { ConsumedMessage, ConsumeOptions, Consumer } from '../client/ringcast.js'
import { openClient } from './connection.js'
import { entryJson, entryLine, entryOf, rawPayload } from './entry-text.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { addStart } from './groups.js'
import { checkOutput, type GlobalOptions, optionsOf, parseCount } from './options.js'
import type { Terminal } from './terminal.js'

interface ConsumeCommandOptions {
  readonly earliest?: true
  readonly last?: number
  readonly since?: string
  readonly fromSeq?: number
  readonly ack: 'auto' | 'none'
  readonly maxInFlight?: number
  readonly count?: number
  readonly raw?: true
}

const HELP = `
The group is made if it is not there; where it begins then is what --earliest and the like say, else
with what comes. With --ack none nothing is settled: what was printed goes to other members when this
command ends, and counts as an attempt.

Examples:
  ringcast consume orders billing
  ringcast consume orders billing --earliest --count 10 --raw
  ringcast consume orders billing --ack none --json | head -1`

export function addConsume(program: Command, terminal: Terminal): void {
  const command = program
    .command('consume')
    .description('join a consumer group, print what it is given, and ack it')
    .argument('<topic>', 'the topic')
    .argument('<group>', 'the group')
  addStart(command)
    .addOption(
      new Option('--ack <mode>', 'auto: each message once it is printed; none: no message')
        .choices(['auto', 'none'])
        .default('auto'),
    )
    .option('--max-in-flight <n>', 'messages that this member has at a time', parseCount)
    .option('-n, --count <n>', 'end after n messages', parseCount)
    .option('--raw', 'print payloads only')
    .addHelpText('after', HELP)
    .action(async (topic: string, group: string, _: unknown, command: Command) => {
      const options = optionsOf<ConsumeCommandOptions>(command)
      checkOutput(options)
      await consume(terminal, topic, group, options)
    })
}

async function consume(
  terminal: Terminal,
  topic: string,
  group: string,
  options: ConsumeCommandOptions & GlobalOptions,
): Promise<void> {
  const { count = Number.POSITIVE_INFINITY, ack } = options
  const signal = terminal.io.interruption()
  const client = await openClient(terminal, options, {
    onError: (error) => terminal.note(error.message),
  })
  let seen = 0
  let failure: unknown
  try {
    await new Promise<void>((resolve, reject) => {
      const consumer: Consumer = client.consume(
        topic,
        group,
        async (message) => {
          if (seen >= count || signal.aborted) return
          seen++
          try {
            await show(terminal, message, options)
          } catch (error) {
            failure = error
            resolve()
            return
          }
          if (ack === 'auto') message.ack()
          if (seen >= count) resolve()
        },
        consumeOptions(options),
      )
      consumer.on('ended', (error) => {
        if (error === undefined) resolve()
        else reject(new Failure(Exit.failed, error.message))
      })
      consumer.on('gap', ({ fromSeq, toSeq, dropped }) => {
        terminal.note(`${topic}: ${dropped} messages lost, seq ${fromSeq} to ${toSeq}`)
      })
      signal.addEventListener('abort', () => resolve())
      if (signal.aborted) resolve()
    })
    if (failure !== undefined) throw failure
    if (signal.aborted && seen < count && count !== Number.POSITIVE_INFINITY) {
      throw new Failure(Exit.interrupted, `interrupted after ${seen} of ${count} messages`)
    }
    if (ack === 'auto') await client.drain(options.timeout)
  } finally {
    client.close()
  }
}

function consumeOptions(options: ConsumeCommandOptions): ConsumeOptions {
  const { earliest, last, since, fromSeq, maxInFlight } = options
  return {
    ack: 'manual',
    clientId: `ringcast-consume-${process.pid}`,
    ...(earliest === undefined ? {} : { start: 'earliest' as const }),
    ...(last === undefined ? {} : { lastN: last }),
    ...(since === undefined ? {} : { since }),
    ...(fromSeq === undefined ? {} : { fromSeq }),
    ...(maxInFlight === undefined ? {} : { maxInFlight }),
  }
}

async function show(
  terminal: Terminal,
  message: ConsumedMessage,
  { json, raw }: ConsumeCommandOptions & GlobalOptions,
): Promise<void> {
  const entry = { ...entryOf(message), group: message.group, attempt: message.attempt }
  if (json) await terminal.print(entryJson(entry))
  else if (raw) await terminal.print(rawPayload(entry))
  else await terminal.print(entryLine(entry, terminal))
}
