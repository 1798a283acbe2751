/**
 * `ringcast req`: asks, and prints the reply, or those of everybody who listens.
 * Runs on: the command's process. Owns: the connection.
 */
import { type Command, Option } from 'commander'
import {
  type Client,
  type Message,
  type Reply,
  RequestFailedError,
  type RequestOptions,
} from '../client/ringcast.js'
import { openClient } from './connection.js'
import { entryJson, entryLine, entryOf, rawPayload } from './entry-text.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import {
  checkOutput,
  collectHeader,
  type GlobalOptions,
  optionsOf,
  parseCount,
  parseDuration,
} from './options.js'
import { FORMATS, type Format, payloadOf } from './payloads.js'
import type { Terminal } from './terminal.js'

interface ReqOptions {
  readonly format: Format
  readonly header?: Readonly<Record<string, string>>
  readonly many?: number
  readonly maxWait?: number
  readonly raw?: true
}

const HELP = `
Waits --timeout for the reply. When nobody listens to the topic the broker says so at once. Exit code 1
when there is no reply, or the responder failed; with --many when there is not one reply.

Examples:
  ringcast req prices.get tea
  ringcast req orders.count '{"shop": "eu"}' --timeout 500ms --raw
  ringcast req inventory.count tea --many 3 --max-wait 200ms --json`

export function addReq(program: Command, terminal: Terminal): void {
  program
    .command('req')
    .description('ask whoever replies to a topic, and print the reply')
    .argument('<topic>', 'the topic')
    .argument('[payload]', 'the payload; without it null')
    .addOption(
      new Option('--format <format>', 'how the payload is read').choices(FORMATS).default('auto'),
    )
    .option('-H, --header <name=value>', 'a header; may be given several times', collectHeader)
    .option('--many <n>', 'take up to n replies, of everybody who listens', parseCount)
    .option(
      '--max-wait <duration>',
      'with --many: end when no other reply comes for so long',
      parseDuration,
    )
    .option('--raw', 'print payloads only')
    .addHelpText('after', HELP)
    .action(async (topic: string, text: string | undefined, _: unknown, command: Command) => {
      const options = optionsOf<ReqOptions>(command)
      checkOutput(options)
      if (options.maxWait !== undefined && options.many === undefined) {
        throw new Failure(Exit.usage, '--max-wait goes with --many')
      }
      const payload = text === undefined ? null : payloadOf(text, options.format, 'the payload')
      const signal = terminal.io.interruption()
      const client = await openClient(terminal, options)
      const close = () => client.close()
      signal.addEventListener('abort', close)
      try {
        await ask(terminal, client, topic, payload, options)
      } catch (error) {
        throw signal.aborted ? new Failure(Exit.interrupted, 'interrupted') : error
      } finally {
        signal.removeEventListener('abort', close)
        client.close()
      }
    })
}

async function ask(
  terminal: Terminal,
  client: Client,
  topic: string,
  payload: unknown,
  options: ReqOptions & GlobalOptions,
): Promise<void> {
  const { many, maxWait, timeout, header } = options
  const request: RequestOptions = {
    timeoutMs: timeout,
    ...(header === undefined ? {} : { headers: header }),
  }
  if (many === undefined) {
    await show(terminal, await client.request(topic, payload, request), options)
    return
  }
  const stall = maxWait === undefined ? {} : { stallMs: maxWait }
  let count = 0
  for await (const reply of client.requestMany(topic, payload, {
    ...request,
    ...stall,
    max: many,
  })) {
    await showAny(terminal, reply, options)
    count++
  }
  if (count === 0) throw new Failure(Exit.failed, `no reply to ${topic} within ${timeout} ms`)
}

async function showAny(terminal: Terminal, reply: Reply, options: ReqOptions & GlobalOptions) {
  if (!(reply instanceof RequestFailedError)) return show(terminal, reply, options)
  const { code, message } = reply
  if (options.json) return terminal.printJson({ type: 'error', code, message })
  terminal.note(`a responder failed: ${message}`)
}

async function show(
  terminal: Terminal,
  reply: Message,
  { json, raw }: ReqOptions & GlobalOptions,
): Promise<void> {
  const entry = entryOf(reply)
  if (json) await terminal.print(entryJson(entry))
  else if (raw) await terminal.print(rawPayload(entry))
  else await terminal.print(entryLine(entry, terminal))
}
