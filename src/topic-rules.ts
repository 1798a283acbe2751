/**
 * Options of topics as they are given: by POST /topics, and for patterns by TOPIC_RULES_FILE.
 * Runs on: the main thread; the file is read once at start. Owns: nothing.
 *
 *   { "rules": [{ "pattern": "orders.*", "options": { "history_size": 1000, "ttl_ms": 60000 } }] }
 *
 * The most specific pattern that names an option decides on it. More specific is, in this order: a
 * pattern without wildcards; fewer `#`; fewer `*`; more segments; an earlier place in the file.
 */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { ConfigError } from './config.js'
import { DAY_MS, KiB, MiB } from './option-values.js'
import type { TopicOptions, TopicRule } from './ring/record.js'
import { patternProblem, segmentsOf } from './routing/topic-name.js'

/** As many rules as anybody will read; each costs a match when a topic is made. */
const RULES_MAX = 1000
const DURATION_MS_MAX = 24 * DAY_MS

const duration = z.int().min(0).max(DURATION_MS_MAX)
const options = z.strictObject({
  history_size: z.int().min(1).max(16_777_216).optional(),
  history_bytes: z
    .int()
    .min(4 * KiB)
    .max(512 * MiB)
    .refine((bytes) => Number.isInteger(Math.log2(bytes)), 'must be a power of two')
    .optional(),
  max_age_ms: duration.optional(),
  ttl_ms: duration.optional(),
  dedup_window_ms: duration.optional(),
  events: z.boolean().optional(),
})
const rulesFile = z.strictObject({
  rules: z
    .array(
      z.strictObject({
        pattern: z.string().superRefine((text, context) => {
          const problem = patternProblem(text)
          if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
        }),
        options,
      }),
    )
    .max(RULES_MAX),
})

/** The options of a request; a text that names field and rule when they are none. */
export function parseTopicOptions(value: unknown): TopicOptions | string {
  const result = options.safeParse(value)
  return result.success ? asNumbers(result.data) : explained(result.error, 'options')
}

/** The rules of the file, most specific first. Throws ConfigError that says what is wrong with it. */
export function readTopicRules(file: string): TopicRule[] {
  let text: string
  let value: unknown
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw problemOf(file, `cannot be read: ${textOf(cause)}`)
  }
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw problemOf(file, `is not JSON: ${textOf(cause)}`)
  }
  const result = rulesFile.safeParse(value)
  if (!result.success) {
    throw problemOf(file, explained(result.error, ''))
  }
  const rules = result.data.rules.map((rule) => ({ ...rule, options: asNumbers(rule.options) }))
  return rules.sort((one, other) => bySpecificity(one.pattern, other.pattern))
}

/** Below 0 when the first is the more specific; 0 leaves them in their order. */
export function bySpecificity(one: string, other: string): number {
  const [a, b] = [one, other].map((pattern) => {
    const segments = segmentsOf(pattern)
    const count = (wildcard: string) => segments.filter((segment) => segment === wildcard).length
    return { any: count('#'), single: count('*'), segments: segments.length }
  }) as [Shape, Shape]
  // Without wildcards both counts are 0, so such a pattern comes first by itself.
  return a.any - b.any || a.single - b.single || b.segments - a.segments
}

interface Shape {
  readonly any: number
  readonly single: number
  readonly segments: number
}

function asNumbers(given: z.infer<typeof options>): TopicOptions {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries.map(([name, value]) => [name, Number(value)]))
}

function explained(error: z.ZodError, root: string): string {
  const sentences = error.issues.map(({ path, message }) => {
    const where = [root, ...path.map(String)].filter((part) => part !== '').join('.')
    return where === '' ? message : `${where}: ${message}`
  })
  return sentences.join('; ')
}

function problemOf(file: string, problem: string): ConfigError {
  return new ConfigError([`TOPIC_RULES_FILE=${JSON.stringify(file)}: ${problem}`])
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
