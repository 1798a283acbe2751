/**
 * The kinds of option values: how each is written, checked (zod) and shown. Knows no option by name.
 * Runs on: the main thread, once at start.
 */
import { z } from 'zod'

export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB

const BYTE_SUFFIXES = { b: 1, kib: KiB, mib: MiB, gib: GiB } as const
const DURATION_SUFFIXES = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

export const DAY_MS = DURATION_SUFFIXES.d

type Bounds = { readonly min: number; readonly max: number }

export type Kind =
  | ({ readonly kind: 'integer'; readonly unit?: string } & Bounds)
  | ({ readonly kind: 'bytes'; readonly powerOfTwo?: true } & Bounds)
  | ({ readonly kind: 'duration' } & Bounds)
  | { readonly kind: 'boolean' }
  | { readonly kind: 'choice'; readonly values: readonly string[] }
  | { readonly kind: 'host' }
  | { readonly kind: 'file' }
  | { readonly kind: 'origins' }

export type Value = string | number | boolean | readonly string[]

/** What `value` of a kind is, for the type of the configuration. */
export type ValueOf<K extends Kind> = K extends { readonly kind: 'choice' }
  ? K['values'][number]
  : K extends { readonly kind: 'boolean' }
    ? boolean
    : K extends { readonly kind: 'origins' }
      ? readonly string[]
      : K extends { readonly kind: 'host' | 'file' }
        ? string
        : number

/** The schema that turns an environment variable's text into a value, or says the rule. */
export function schemaOf(kind: Kind): z.ZodType<Value, string> {
  const read = readerOf(kind)
  return z.string().transform((text, context) => {
    const value = read(text.trim())
    if (value !== undefined) return value
    context.addIssue({ code: 'custom', message: `must be ${ruleOf(kind)}` })
    return z.NEVER
  })
}

/** The rule in words, to stand after «must be». */
export function ruleOf(kind: Kind): string {
  switch (kind.kind) {
    case 'integer':
      return `a whole number${kind.unit === undefined ? '' : ` of ${kind.unit}`} from ${kind.min} to ${kind.max}`
    case 'bytes': {
      const what = kind.powerOfTwo ? 'a power of two in bytes' : 'a size in bytes'
      return `${what} from ${formatBytes(kind.min)} to ${formatBytes(kind.max)} (like 65536, 64KiB, 16MiB)`
    }
    case 'duration':
      return `a duration from ${formatDuration(kind.min)} to ${formatDuration(kind.max)} (like 500, 500ms, 30s, 5m)`
    case 'boolean':
      return 'true or false'
    case 'choice':
      return `one of ${kind.values.join(', ')}`
    case 'host':
      return 'an IP address or a host name'
    case 'file':
      return 'the path of a file'
    case 'origins':
      return 'a comma-separated list of origins (like https://app.example.com), or *'
  }
}

/** The shortest text that reads back as the same value. */
export function formatValue(kind: Kind, value: Value): string {
  if (kind.kind === 'bytes') return formatBytes(value as number)
  if (kind.kind === 'duration') return formatDuration(value as number)
  return typeof value === 'object' ? value.join(',') : String(value)
}

export function formatBytes(bytes: number): string {
  return formatScaled(bytes, { GiB, MiB, KiB }, 'B')
}

function formatDuration(ms: number): string {
  const { ms: _, ...units } = DURATION_SUFFIXES
  return ms === 0 ? '0' : formatScaled(ms, units, 'ms')
}

function formatScaled(value: number, units: Record<string, number>, smallest: string): string {
  const largestFirst = Object.entries(units).sort(([, a], [, b]) => b - a)
  const fitting = largestFirst.find(([, size]) => value >= size && value % size === 0)
  return fitting ? `${value / fitting[1]}${fitting[0]}` : `${value}${smallest}`
}

function readerOf(kind: Kind): (text: string) => Value | undefined {
  switch (kind.kind) {
    case 'integer':
      return (text) => within(kind, readScaled(text, {}))
    case 'bytes':
      return (text) => {
        const bytes = within(kind, readScaled(text, BYTE_SUFFIXES))
        return bytes !== undefined && kind.powerOfTwo && !isPowerOfTwo(bytes) ? undefined : bytes
      }
    case 'duration':
      return (text) => within(kind, readScaled(text, DURATION_SUFFIXES))
    case 'boolean':
      return readBoolean
    case 'choice':
      return (text) => kind.values.find((value) => value === text.toLowerCase())
    case 'host':
      return (text) => (/^[^\s/]+$/.test(text) ? text : undefined)
    case 'file':
      return (text) => text
    case 'origins':
      return readOrigins
  }
}

/** `64KiB` with the suffixes of bytes → 65536. Undefined when it is not a whole number with a known suffix. */
function readScaled(text: string, suffixes: Record<string, number>): number | undefined {
  const match = /^(\d+)\s*([a-z]*)$/i.exec(text)
  if (match === null) return undefined
  const [, digits = '', suffix = ''] = match
  const factor = suffix === '' ? 1 : suffixes[suffix.toLowerCase()]
  const value = factor === undefined ? Number.NaN : Number(digits) * factor
  return Number.isSafeInteger(value) ? value : undefined
}

function within({ min, max }: Bounds, value: number | undefined): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined
}

// Not `value & (value - 1)`: sizes may pass 2^32.
function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value))
}

function readBoolean(text: string): boolean | undefined {
  const lower = text.toLowerCase()
  if (['true', '1', 'yes', 'on'].includes(lower)) return true
  if (['false', '0', 'no', 'off'].includes(lower)) return false
  return undefined
}

/** Origins as a browser sends them: scheme, host, and port if it is not the scheme's own; no path. */
function readOrigins(text: string): readonly string[] | undefined {
  const items = text.split(',').flatMap((item) => item.trim() || [])
  const origins = items.map(readOrigin)
  return origins.every((origin) => origin !== undefined) ? Object.freeze(origins) : undefined
}

function readOrigin(text: string): string | undefined {
  if (text === '*') return text
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@]+\/?$/i.test(text) || !URL.canParse(text)) return undefined
  const { origin } = new URL(text)
  // URL gives no origin to schemes it does not know, such as capacitor://localhost.
  return origin === 'null' ? text.replace(/\/$/, '').toLowerCase() : origin
}
