/**
 * `ringcast reply`: answers the requests to a topic with a fixed payload, their own, or what a command of
 * the shell prints.
 * Runs on: the command's process. Owns: the connection, and the shell command that runs, one at a time.
 */
import { spawn } from 'node:child_process'
import type { Command } from 'commander'
import type { Message } from '../client/ringcast.js'
import { openClient } from './connection.js'
import { entryOf, rawPayload } from './entry-text.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { type GlobalOptions, optionsOf, parseCount } from './options.js'
import { payloadOf } from './payloads.js'
import type { Terminal } from './terminal.js'

interface ReplyOptions {
  readonly echo?: true
  readonly exec?: string
  readonly count?: number
}

type Answer = (request: Message) => unknown

/** What a command may print, in characters. */
const OUTPUT_MAX = 256 * 1024
/** At Ctrl-C: how long replies on their way may take. */
const FINISH_MS_MAX = 2000

const HELP = `
--exec runs a command of the shell for each request, one after the other: the payload of the request is its
stdin, RINGCAST_TOPIC its topic, and what it prints is the reply: JSON as that value, anything else as a
string. If it fails, or takes longer than --timeout, the requester is told that it failed.

Examples:
  ringcast reply time.zone '"UTC"'
  ringcast reply echo --echo
  ringcast reply 'host.uptime.*' --exec uptime
  ringcast reply upper --exec 'tr a-z A-Z' --count 10`

export function addReply(program: Command, terminal: Terminal): void {
  program
    .command('reply')
    .description('answer the requests to a topic')
    .argument('<pattern>', 'a topic, or a pattern such as time.*')
    .argument('[payload]', 'answer all of them with this; read as pub reads payloads')
    .option('--echo', 'answer with the payload of the request')
    .option('--exec <command>', 'answer with what this command of the shell prints')
    .option('-n, --count <n>', 'end after n requests', parseCount)
    .addHelpText('after', HELP)
    .action(async (pattern: string, text: string | undefined, _: unknown, command: Command) => {
      const options = optionsOf<ReplyOptions>(command)
      await serve(terminal, pattern, answerOf(text, options), options)
    })
}

function answerOf(
  text: string | undefined,
  { echo, exec, timeout }: ReplyOptions & GlobalOptions,
): Answer {
  const given = [text, echo, exec].filter((way) => way !== undefined)
  if (given.length !== 1)
    throw new Failure(Exit.usage, 'give a payload, --echo or --exec: one of them')
  if (echo) return ({ payload }) => payload
  if (exec !== undefined) return (request) => outputOf(exec, request, timeout)
  const payload = payloadOf(text as string, 'auto', 'the payload')
  return () => payload
}

async function serve(
  terminal: Terminal,
  pattern: string,
  answer: Answer,
  options: ReplyOptions & GlobalOptions,
): Promise<void> {
  const { count = Number.POSITIVE_INFINITY, json } = options
  const signal = terminal.io.interruption()
  const client = await openClient(terminal, options, {
    onError: (error) => terminal.note(error.message),
  })
  let seen = 0
  try {
    await new Promise<void>((resolve, reject) => {
      const responder = client.respond(
        pattern,
        async (request) => {
          if (seen >= count) return undefined
          const reply = await answer(request)
          const { topic, payload, replyTo } = request
          if (json) await terminal.printJson({ type: 'request', topic, payload, reply })
          else
            await terminal.print(
              `${topic} ${replyTo === undefined ? 'a message that wants no reply' : 'replied'}`,
            )
          seen++
          if (seen >= count) setImmediate(resolve) // The reply leaves first.
          return reply
        },
        { clientId: `ringcast-reply-${process.pid}` },
      )
      responder.on('ended', (error) =>
        reject(error ?? new Failure(Exit.failed, `${pattern} was deleted`)),
      )
      signal.addEventListener('abort', () => resolve())
      if (signal.aborted) resolve()
    })
    await client.drain(FINISH_MS_MAX)
  } finally {
    client.close()
  }
  if (signal.aborted && seen < count && count !== Number.POSITIVE_INFINITY) {
    throw new Failure(Exit.interrupted, `interrupted after ${seen} of ${count} requests`)
  }
}

/** What the command prints, without the newline at its end. Rejects when it fails. */
function outputOf(command: string, request: Message, timeoutMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, {
      shell: true,
      timeout: timeoutMs,
      env: { ...process.env, RINGCAST_TOPIC: request.topic },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.length > OUTPUT_MAX) child.kill()
    })
    child.stdin.on('error', () => {}) // It need not read what it is asked.
    child.stdin.end(rawPayload(entryOf(request)))
    child.on('error', reject)
    child.on('close', (code, killedBy) => {
      if (output.length > OUTPUT_MAX) reject(new Error(`it printed over ${OUTPUT_MAX} characters`))
      else if (code === 0) resolve(payloadOf(output.replace(/\r?\n$/, ''), 'auto', 'the output'))
      else reject(new Error(killedBy === null ? `exit code ${code}` : `ended by ${killedBy}`))
    })
  })
}
