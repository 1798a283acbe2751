/**
 * `ringcast pub`: publishes one message, one many times, or every line of stdin; each is confirmed.
 * Runs on: the command's process. Owns: the connection, and at most IN_FLIGHT_MAX unconfirmed messages.
 */
import { type Command, Option } from 'commander'
import type { Client, Priority, PublishOptions, PublishResult } from '../client/ringcast.js'
import { openClient } from './connection.js'
import { Exit } from './exit-codes.js'
import { explain, Failure } from './failure.js'
import {
  collectHeader,
  type GlobalOptions,
  optionsOf,
  parseCount,
  parseDuration,
  parseRate,
} from './options.js'
import { FORMATS, type Format, linesOf, payloadOf, readPayloadFile } from './payloads.js'
import { Progress } from './progress.js'
import type { Terminal } from './terminal.js'

const IN_FLIGHT_MAX = 8192
/** After Ctrl-C: how long what is under way may take to be confirmed. */
const FINISH_MS_MAX = 2000

interface PubOptions {
  readonly file?: string
  readonly format: Format
  readonly rate?: number
  readonly count?: number
  readonly header?: Readonly<Record<string, string>>
  readonly key?: string
  readonly priority?: Priority
  readonly ttl?: number
  readonly delay?: number
}

const HELP = `
The payload is the argument, the whole of --file, or each line of stdin that is not empty. With the
format auto a payload that is valid JSON is published as that value, any other as a string.
A payload that begins with - goes after --.

Examples:
  ringcast pub orders '{"id": 1, "amount": 9.5}'
  ringcast pub greetings hello --count 100 --rate 10
  ringcast pub invoices --file invoice.json --header source=shop
  tail -f app.log | ringcast pub logs.app --format text
  ringcast pub temperature -- -5`

export function addPub(program: Command, terminal: Terminal): void {
  program
    .command('pub')
    .description('publish messages, and wait until the broker has stored them')
    .argument('<topic>', 'the topic')
    .argument('[payload]', 'the payload; without it and --file, lines of stdin are published')
    .option('-f, --file <file>', 'publish what is in this file, as one message')
    .addOption(
      new Option('--format <format>', 'how payloads are read').choices(FORMATS).default('auto'),
    )
    .option('-r, --rate <n>', 'messages per second, at most', parseRate)
    .option('-n, --count <n>', 'publish it n times; of stdin, the first n lines', parseCount)
    .option('-H, --header <name=value>', 'a header; may be given several times', collectHeader)
    .option('-k, --key <key>', 'what messages that belong together have in common')
    .addOption(
      new Option('--priority <priority>', 'how urgent it is to a group of consumers').choices([
        'high',
        'normal',
        'low',
      ]),
    )
    .option('--ttl <duration>', 'it expires so long after it was stored', parseDuration)
    .option('--delay <duration>', 'it is stored and delivered so much later', parseDuration)
    .addHelpText('after', HELP)
    .action(async (topic: string, payload: string | undefined, _: unknown, command: Command) => {
      const options = optionsOf<PubOptions>(command)
      if (payload !== undefined && options.file !== undefined) {
        throw new Failure(Exit.usage, 'a payload and --file exclude each other')
      }
      const signal = terminal.io.interruption()
      // Also ended by a refusal: the next line of stdin may be long in coming.
      const reading = new AbortController()
      signal.addEventListener('abort', () => reading.abort())
      const payloads = await payloadsOf(terminal, payload, options, reading.signal)
      const client = await openClient(terminal, options)
      try {
        await publishAll(terminal, { client, topic, payloads, options, signal, reading })
      } finally {
        client.close()
      }
    })
}

interface Job {
  readonly client: Client
  readonly topic: string
  readonly payloads: Iterable<unknown> | AsyncIterable<unknown>
  readonly options: PubOptions & GlobalOptions
  readonly signal: AbortSignal
  readonly reading: AbortController
}

async function payloadsOf(
  terminal: Terminal,
  argument: string | undefined,
  { file, format, count }: PubOptions,
  signal: AbortSignal,
): Promise<Iterable<unknown> | AsyncIterable<unknown>> {
  const where = file === undefined ? 'the payload' : file
  const text = file === undefined ? argument : await readPayloadFile(file)
  if (text !== undefined) return repeated(payloadOf(text, format, where), count ?? 1)
  const { stdin } = terminal.io
  if (stdin.isTTY === true) terminal.note('publishing each line you type; Ctrl-D ends')
  return lines(linesOf(stdin, signal), format, count ?? Number.POSITIVE_INFINITY)
}

function* repeated(payload: unknown, count: number): Generator<unknown> {
  for (let done = 0; done < count; done++) yield payload
}

async function* lines(
  texts: AsyncGenerator<string>,
  format: Format,
  count: number,
): AsyncGenerator<unknown> {
  let number = 0
  for await (const text of texts) {
    yield payloadOf(text, format, `line ${++number}`)
    if (number === count) return
  }
}

async function publishAll(terminal: Terminal, job: Job): Promise<void> {
  const { client, topic, payloads, options, signal, reading } = job
  const { count, rate = Number.POSITIVE_INFINITY } = options
  const startedMs = performance.now()
  const confirmed = new Confirmations(() => reading.abort())
  const progress = new Progress(terminal, count)
  const publishOptions = publishOptionsOf(options)
  let sent = 0
  let problem: unknown
  try {
    for await (const payload of payloads) {
      if (!(await isDue(startedMs + (sent * 1000) / rate, reading.signal))) break
      confirmed.expect(client.publish(topic, payload, publishOptions))
      sent++
      if (confirmed.inFlight >= IN_FLIGHT_MAX) await confirmed.oneSettled()
      progress.update(confirmed.count)
    }
  } catch (error) {
    problem = error // Of the payloads; what was sent is still to be confirmed.
  }
  await confirmed.allSettled(signal)
  progress.end()
  const seconds = (performance.now() - startedMs) / 1000
  problem ??= confirmed.error
  if (confirmed.count > 0 || (problem === undefined && !signal.aborted)) {
    await report(terminal, topic, confirmed, seconds, options.json)
  }
  if (problem !== undefined) throw failed(problem, confirmed.count, client)
  if (signal.aborted) {
    throw new Failure(Exit.interrupted, `interrupted after ${confirmed.count} messages`)
  }
}

function publishOptionsOf({ header, key, priority, ttl, delay }: PubOptions): PublishOptions {
  return {
    ...(header === undefined ? {} : { headers: header }),
    ...(key === undefined ? {} : { key }),
    ...(priority === undefined ? {} : { priority }),
    ...(ttl === undefined ? {} : { ttlMs: Math.ceil(ttl) }),
    ...(delay === undefined ? {} : { delayMs: Math.ceil(delay) }),
  }
}

async function report(
  terminal: Terminal,
  topic: string,
  { count, firstSeq, lastSeq, epoch, deliverAt }: Confirmations,
  seconds: number,
  json: true | undefined,
): Promise<void> {
  if (json) {
    const isStored = count > 0 && deliverAt === undefined
    const [first, last] = isStored ? [firstSeq, lastSeq] : [null, null]
    const result = {
      topic,
      published: count,
      first_seq: first,
      last_seq: last,
      epoch,
      ...(deliverAt === undefined ? {} : { deliver_at: new Date(deliverAt).toISOString() }),
      seconds: rounded(seconds),
    }
    return terminal.printJson(result)
  }
  if (count === 0) return terminal.print(`nothing to publish to ${topic}`)
  if (deliverAt !== undefined) {
    const when = new Date(deliverAt).toISOString()
    const what = count === 1 ? 'a message' : `${count} messages`
    return terminal.print(`scheduled ${what} for ${topic}: ${count === 1 ? '' : 'from '}${when}`)
  }
  if (count === 1) return terminal.print(`published to ${topic}: seq ${firstSeq}`)
  const rate = Math.round(count / seconds).toLocaleString('en')
  const range = `seq ${firstSeq}–${lastSeq}, ${seconds.toFixed(1)} s, ${rate}/s`
  await terminal.print(`published ${count} messages to ${topic}: ${range}`)
}

function failed(problem: unknown, count: number, client: Client): Failure {
  const { text = 'publishing failed', exitCode } = explain(problem)
  const before = count === 0 ? '' : `; ${count} messages before it were stored`
  // A confirmation that never came, for want of a broker, is no refusal.
  const isLost = client.state !== 'open' && exitCode === Exit.failed.code
  return new Failure({ code: isLost ? Exit.unreachable.code : exitCode }, text + before)
}

/** True once it is `dueMs`; false when the command is to end instead. */
async function isDue(dueMs: number, signal: AbortSignal): Promise<boolean> {
  const waitMs = dueMs - performance.now()
  if (waitMs >= 1) {
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, waitMs)
      signal.addEventListener('abort', done)
    })
  }
  return !signal.aborted
}

/** What became of the messages so far; the first error counts. */
class Confirmations {
  inFlight = 0
  count = 0
  firstSeq = Number.POSITIVE_INFINITY
  lastSeq = 0
  epoch: string | null = null
  /** When the first of those that are kept for later comes. */
  deliverAt: number | undefined
  error: unknown
  readonly #onError: () => void
  #onSettled: () => void = () => {}

  constructor(onError: () => void) {
    this.#onError = onError
  }

  expect(publishing: Promise<PublishResult>): void {
    this.inFlight++
    publishing.then(
      ({ seq, epoch, deliverAt }) => {
        this.count++
        if (deliverAt !== undefined) {
          this.deliverAt = Math.min(this.deliverAt ?? deliverAt, deliverAt)
        }
        this.firstSeq = Math.min(this.firstSeq, seq)
        this.lastSeq = Math.max(this.lastSeq, seq)
        this.epoch = epoch
        this.#settled()
      },
      (error: unknown) => {
        this.error ??= error
        this.#onError()
        this.#settled()
      },
    )
  }

  oneSettled(): Promise<void> {
    return new Promise((resolve) => {
      this.#onSettled = resolve
    })
  }

  /** Once the command is to end, waits no longer than FINISH_MS_MAX. */
  async allSettled(signal: AbortSignal): Promise<void> {
    const tooLong = new Promise<void>((resolve) => {
      const start = () => setTimeout(resolve, FINISH_MS_MAX).unref()
      if (signal.aborted) start()
      else signal.addEventListener('abort', start, { once: true })
    })
    const settled = async () => {
      while (this.inFlight > 0) await this.oneSettled()
    }
    await Promise.race([settled(), tooLong])
  }

  #settled(): void {
    this.inFlight--
    this.#onSettled()
  }
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000
}
