/**
 * Options that every command has, and how the values of options are read.
 * Runs on: the command's process.
 */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { DEFAULT_URL, parseTarget, type Target } from './target.js'

const DEFAULT_TIMEOUT_MS = 5000
const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

export interface GlobalOptions {
  readonly url: Target
  readonly json?: true
  readonly timeout: number
}

export function addGlobalOptions(program: Command): void {
  program.addOption(
    new Option('-u, --url <url>', 'the broker, as ws:// or http:// address')
      .env('RINGCAST_URL')
      .default(parseTarget(DEFAULT_URL), DEFAULT_URL)
      .argParser(parseTarget),
  )
  program.option('--json', 'results for machines: JSON, one object per line')
  program.addOption(
    new Option('--timeout <duration>', 'how long to wait for the broker')
      .default(DEFAULT_TIMEOUT_MS, '5s')
      .argParser(parseDuration),
  )
}

/** A command's options together with those that every command has. */
export function optionsOf<Own extends object>(command: Command): Own & GlobalOptions {
  return command.optsWithGlobals<Own & GlobalOptions>()
}

/** Commander's conflicts() does not see an option of the program, which --json is. */
export function checkOutput({ raw, json }: { readonly raw?: true; readonly json?: true }): void {
  if (raw && json) throw new Failure(Exit.usage, '--raw and --json exclude each other')
}

/** `500ms`, `2s`, `1m` → milliseconds. */
export function parseDuration(text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? []
  const value = Number(digits) * (DURATION_UNITS[unit] ?? Number.NaN)
  if (!(value > 0)) throw new InvalidArgumentError('It must be a duration such as 500ms, 2s or 1m.')
  return value
}

export function parseCount(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError('It must be a whole number of at least 1.')
  }
  return value
}

export function parseRate(text: string): number {
  const value = Number(text)
  if (!(value > 0) || !Number.isFinite(value)) {
    throw new InvalidArgumentError('It must be a number above 0.')
  }
  return value
}

/** Collects `--header name=value`, given several times. */
export function collectHeader(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It must look like name=value.')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}
