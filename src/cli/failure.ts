/**
 * What went wrong, as one line that helps and an exit code.
 * Runs on: the command's process.
 */
import { CommanderError } from 'commander'
import { ConnectionClosedError, RingcastError } from '../client/ringcast.js'
import { Exit } from './exit-codes.js'

/** Ends the command with this text on stderr and this exit code. */
export class Failure extends Error {
  readonly exitCode: number

  constructor(exit: { readonly code: number }, message: string) {
    super(message)
    this.exitCode = exit.code
  }
}

/** `text` is undefined when there is nothing (more) to say. */
export function explain(error: unknown): {
  readonly text: string | undefined
  readonly exitCode: number
} {
  if (error instanceof CommanderError) {
    // Commander has said it already, and calls every mistake 1.
    return { text: undefined, exitCode: error.exitCode === 0 ? Exit.ok.code : Exit.usage.code }
  }
  if (error instanceof Failure) return { text: error.message, exitCode: error.exitCode }
  if (error instanceof ConnectionClosedError) {
    return { text: error.message, exitCode: Exit.unreachable.code }
  }
  if (error instanceof RingcastError) {
    return { text: `${error.message} (${error.code})`, exitCode: Exit.failed.code }
  }
  const { message, stack = '' } = error instanceof Error ? error : new Error(String(error))
  const where = /\n\s+(at .*)/.exec(stack)?.[1] ?? ''
  return { text: `internal error: ${message} ${where}`.trim(), exitCode: Exit.internal.code }
}

/** One line, naming the URL, why, and what to do about it. */
export function unreachable(url: string, cause: unknown): Failure {
  return new Failure(Exit.unreachable, `no broker at ${url}: ${reasonOf(cause)}`)
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED:
    'connection refused; start one with `ringcast start`, or name another with --url or RINGCAST_URL',
  ENOTFOUND: 'the host name is not known; check --url or RINGCAST_URL',
  EAI_AGAIN: 'the host name could not be looked up; check the network, and --url or RINGCAST_URL',
  ETIMEDOUT: 'no answer; check the address, and firewalls on the way',
  TimeoutError: 'no answer in time; check the address, or give it longer with --timeout',
  ECONNRESET: 'the connection was cut; is that a broker, and not something else?',
}

function reasonOf(cause: unknown): string {
  const chain = [cause, (cause as { cause?: unknown } | undefined)?.cause]
  for (const link of chain) {
    const { code, name } = (link ?? {}) as { code?: unknown; name?: unknown }
    const reason = REASONS[String(code)] ?? REASONS[String(name)]
    if (reason !== undefined) return reason
  }
  const last = chain.findLast((link) => link instanceof Error) as Error | undefined
  const text = (last?.message ?? String(cause)).replaceAll('\n', ' ')
  return `${text}; check --url or RINGCAST_URL`
}
