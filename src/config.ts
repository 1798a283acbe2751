/**
 * The configuration: values of the options (options.ts), read once from the environment, checked against
 * each other, frozen and passed down.
 * Runs on: the main thread, once at start. Owns: nothing.
 */
import { availableCores } from './cores.js'
import { findMisspellings, PREFIX } from './misspellings.js'
import { crossChecks } from './option-rules.js'
import { formatValue, schemaOf, type Value } from './option-values.js'
import {
  type Config,
  type Field,
  fields,
  type Known,
  type Machine,
  type Option,
  options,
} from './options.js'

const names = fields.map((field) => options[field].env)

type Environment = Readonly<Record<string, string | undefined>>

export type Override = { readonly env: string; readonly value: string; readonly default: string }

export type Loaded = {
  readonly config: Config
  /** Likely mistakes in the environment that do not keep the broker from starting. */
  readonly warnings: string[]
  /** The options whose value is not the default, in the order of the table. */
  readonly overrides: Override[]
}

/** The configuration cannot be used. `problems` names every mistake, not only the first. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: string[]

  constructor(problems: string[]) {
    super(`invalid configuration:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.problems = problems
  }
}

/**
 * Reads the configuration from environment variables: `NAME`, or `RINGCAST_NAME`, which wins. A variable set
 * to nothing counts as not set, since compose files cannot leave one out. Throws ConfigError.
 */
export function loadConfig(
  env: Environment,
  machine: Machine = { cores: availableCores() },
): Loaded {
  const problems: string[] = []
  const wrong = new Set<Field>()
  const values: Partial<Record<Field, Value>> = {}
  for (const field of fields) {
    const given = findVariable(env, options[field].env)
    if (given === undefined) continue
    const result = schemaOf(options[field]).safeParse(given.text)
    if (result.success) {
      values[field] = result.data
    } else {
      wrong.add(field)
      const reasons = result.error.issues.map((issue) => issue.message).join('; ')
      problems.push(`${given.name}=${JSON.stringify(given.text)}: ${reasons}`)
    }
  }

  const defaults = computeDefaults(machine, values)
  const config = Object.freeze({ ...defaults, ...values }) as Config
  for (const check of crossChecks) {
    // A value that could not be read has its default here; comparing with that would only confuse.
    if (check.of.some((field) => wrong.has(field)) || check.holds(config)) continue
    problems.push(`${check.of.map((field) => show(field, config)).join(', ')}: ${check.rule}`)
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return { config, warnings: findMisspellings(env, names), overrides: diff(config, defaults) }
}

/** Every option's name and value as text. None of them is a secret; one that is must be left out here. */
export function configTexts(config: Config): Record<string, string> {
  const texts = fields.map((field) => [
    options[field].env,
    formatValue(options[field], config[field]),
  ])
  return Object.fromEntries(texts) as Record<string, string>
}

/** One option as it stands, and where its value comes from. */
export type Explained = {
  readonly env: string
  readonly value: string
  /** The variable that set it, or `default`. */
  readonly source: string
  readonly default: string
}

/** Every option with its effective value, in the order of the table. Throws ConfigError. */
export function explainConfig(
  env: Environment,
  machine: Machine = { cores: availableCores() },
): Explained[] {
  const { config } = loadConfig(env, machine)
  const defaults = computeDefaults(machine, config)
  return fields.map((field) => ({
    env: options[field].env,
    value: formatValue(options[field], config[field]),
    source: findVariable(env, options[field].env)?.name ?? 'default',
    default: formatValue(options[field], defaults[field]),
  }))
}

/** Defaults, computed in the order of the table: one that depends on others comes after them. */
function computeDefaults(machine: Machine, values: Partial<Record<Field, Value>>): Config {
  const defaults: Partial<Record<Field, Value>> = {}
  for (const field of fields) {
    const option: Option = options[field]
    const known = { ...machine, ...defaults, ...values } as Known
    defaults[field] = typeof option.default === 'function' ? option.default(known) : option.default
  }
  return defaults as Config
}

function findVariable(env: Environment, name: string): { name: string; text: string } | undefined {
  for (const candidate of [PREFIX + name, name]) {
    const text = env[candidate]
    if (text !== undefined && text.trim() !== '') return { name: candidate, text }
  }
  return undefined
}

function diff(config: Config, defaults: Config): Override[] {
  return fields.flatMap((field) => {
    const value = formatValue(options[field], config[field])
    const standard = formatValue(options[field], defaults[field])
    return value === standard ? [] : [{ env: options[field].env, value, default: standard }]
  })
}

function show(field: Field, config: Config): string {
  return `${options[field].env}=${formatValue(options[field], config[field])}`
}
