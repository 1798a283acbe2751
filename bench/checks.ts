/**
 * The long measurements and checks of `npm run bench`: what each is called, takes and says.
 * Runs on: the benchmark's main process. Owns: their command lines.
 */
import { parseArgs } from 'node:util'
import { measureBurst } from './burst/run.js'
import { measureDegradation } from './degradation/run.js'
import { measureProfile } from './profile/run.js'
import { measureRegress } from './regress/run.js'
import { measureScaling } from './scaling/run.js'
import { measureSoak } from './soak/run.js'

type Options = ReturnType<typeof parseArgs>['values']

interface Check {
  readonly question: string
  /** Options by name, with their defaults; false for one that takes no value. */
  readonly options: Readonly<Record<string, string | false>>
  /** Returns the exit code. */
  run(options: Options): Promise<number>
}

const CHECKS: Readonly<Record<string, Check>> = {
  soak: {
    question: 'does anything grow in an hour at 10,000 messages/s, with churn?',
    options: { minutes: '60', rate: '10000', seed: '', json: '' },
    run: (options) =>
      measureSoak({
        minutes: positive(options, 'minutes'),
        rate: positive(options, 'rate'),
        seed: seed(options),
        json: text(options, 'json'),
      }),
  },
  burst: {
    question: 'what becomes of 100,000 messages that come at once?',
    options: { messages: '100000' },
    run: (options) => measureBurst(whole(options, 'messages')),
  },
  degradation: {
    question: 'what does a handler that fails do to the rest?',
    options: { seconds: '5', seed: '' },
    run: (options) =>
      measureDegradation({ secondsPerStep: positive(options, 'seconds'), seed: seed(options) }),
  },
  regress: {
    question: 'is the working tree slower than the commit it comes from?',
    options: { base: '', runs: '7', seconds: '3', short: false },
    run: (options) =>
      measureRegress({
        base: text(options, 'base'),
        runs: whole(options, 'runs'),
        seconds: positive(options, 'seconds'),
        isShort: options['short'] === true,
      }),
  },
  scaling: {
    question: 'what do 2, 4 and 8 shards cost?',
    options: { runs: '5', seconds: '3' },
    run: (options) => measureScaling(whole(options, 'runs'), positive(options, 'seconds')),
  },
  profile: {
    question: 'where does the time of each thread go, and what would more cores give?',
    options: { runs: '5', seconds: '4' },
    run: (options) => measureProfile(whole(options, 'runs'), positive(options, 'seconds')),
  },
}

export function isCheck(name: string | undefined): name is string {
  return name !== undefined && Object.hasOwn(CHECKS, name)
}

export function checkLines(): string[] {
  return Object.entries(CHECKS).map(([name, { question }]) => `${name.padEnd(24)}${question}`)
}

/** Returns the exit code. */
export async function runCheck([name = '', ...args]: readonly string[]): Promise<number> {
  const check = CHECKS[name]
  if (check === undefined) throw new Error(`no check «${name}»`)
  process.once('SIGTERM', () => process.exit(143)) // What listens to `exit` cleans up.
  try {
    return await check.run(parsed(check, args))
  } catch (error) {
    console.error(`bench ${name}: ${error instanceof Error ? error.message : String(error)}`)
    if (error instanceof UsageError) console.error(`\n${usage(name, check)}`)
    return error instanceof UsageError ? 2 : 1
  }
}

class UsageError extends Error {}

function parsed({ options }: Check, args: readonly string[]): Options {
  const described = Object.entries(options).map(([name, value]) =>
    value === false
      ? ([name, { type: 'boolean', default: false }] as const)
      : ([name, { type: 'string', default: value }] as const),
  )
  try {
    return parseArgs({ args: [...args], options: Object.fromEntries(described) }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function usage(name: string, { question, options }: Check): string {
  const described = Object.entries(options).map(([option, value]) => {
    if (value === false) return `  --${option}`
    return `  --${option} VALUE${value === '' ? '' : `   (${value})`}`
  })
  return [`npm run bench -- ${name} [options]   ${question}`, '', ...described].join('\n')
}

function positive(options: Options, name: string): number {
  const value = Number(options[name])
  if (!(value > 0)) throw new UsageError(`--${name} must be a positive number: ${options[name]}`)
  return value
}

function whole(options: Options, name: string): number {
  const value = positive(options, name)
  if (!Number.isInteger(value)) throw new UsageError(`--${name} must be a whole number: ${value}`)
  return value
}

function seed(options: Options): number {
  const given = text(options, 'seed')
  return given === undefined ? Date.now() % 2 ** 31 : Number(given)
}

function text(options: Options, name: string): string | undefined {
  const value = options[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}
