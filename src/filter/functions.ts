/**
 * The functions that filters may call, and what their operators do.
 * Runs on: any thread. Owns: nothing; pure.
 *
 * What is not here is refused when a filter is checked: matches() above all, whose regular
 * expressions can take for ever, and what can make much out of little (split, join, cel.bind).
 */
import {
  compare,
  ERROR,
  int,
  isEqual,
  isMap,
  isNumber,
  member,
  type Steps,
  sizeOf,
} from './values.js'

type Call = (steps: Steps, args: readonly unknown[]) => unknown

/** By name; a method gets its receiver as the first argument. */
export const FUNCTIONS: Readonly<Record<string, Call>> = {
  size: (steps, [value]) => {
    if (typeof value === 'string') {
      return steps.takeText(value.length) ? BigInt(codePoints(value)) : ERROR
    }
    if (value instanceof Uint8Array || Array.isArray(value)) return BigInt(value.length)
    return isMap(value) && steps.take(sizeOf(value)) ? BigInt(sizeOf(value)) : ERROR
  },
  startsWith: (steps, [text, start]) => {
    if (typeof text !== 'string' || typeof start !== 'string') return ERROR
    return steps.takeText(start.length) ? text.startsWith(start) : ERROR
  },
  endsWith: (steps, [text, end]) => {
    if (typeof text !== 'string' || typeof end !== 'string') return ERROR
    return steps.takeText(end.length) ? text.endsWith(end) : ERROR
  },
  contains: (steps, [text, part]) => {
    if (typeof text !== 'string' || typeof part !== 'string') return ERROR
    return steps.takeSearch(text.length, part.length) ? text.includes(part) : ERROR
  },
  lowerAscii: (steps, [text]) =>
    typeof text === 'string' && steps.takeText(text.length)
      ? text.replace(/[A-Z]+/g, (upper) => upper.toLowerCase())
      : ERROR,
  upperAscii: (steps, [text]) =>
    typeof text === 'string' && steps.takeText(text.length)
      ? text.replace(/[a-z]+/g, (lower) => lower.toUpperCase())
      : ERROR,
  string: (steps, [value]) => {
    if (typeof value === 'string') return value
    if (value instanceof Uint8Array) {
      return steps.takeText(value.length) ? Buffer.from(value).toString() : ERROR
    }
    return isNumber(value) || typeof value === 'boolean' ? String(value) : ERROR
  },
  int: (_, [value]) => {
    if (typeof value === 'bigint') return int(value)
    if (typeof value === 'number') {
      return Number.isFinite(value) ? int(BigInt(Math.trunc(value))) : ERROR
    }
    return typeof value === 'string' && /^-?\d{1,19}$/.test(value) ? int(BigInt(value)) : ERROR
  },
  double: (_, [value]) => {
    if (isNumber(value)) return Number(value)
    return typeof value === 'string' && NUMBER.test(value) ? Number(value) : ERROR
  },
  bool: (_, [value]) => {
    if (typeof value === 'boolean') return value
    return value === 'true' ? true : value === 'false' ? false : ERROR
  },
  dyn: (_, [value]) => value,
}

const NUMBER = /^-?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,3})?$/

/** Binary operators but && and ||, which look at their right side only when they must. */
export const OPERATORS: Readonly<
  Record<string, (steps: Steps, a: unknown, b: unknown) => unknown>
> = {
  '==': (steps, a, b) => isEqual(a, b, steps),
  '!=': (steps, a, b) => {
    const result = isEqual(a, b, steps)
    return result === ERROR ? ERROR : !result
  },
  '<': (_, a, b) => ordered(compare(a, b), (order) => order < 0),
  '<=': (_, a, b) => ordered(compare(a, b), (order) => order <= 0),
  '>': (_, a, b) => ordered(compare(a, b), (order) => order > 0),
  '>=': (_, a, b) => ordered(compare(a, b), (order) => order >= 0),
  '+': (steps, a, b) => {
    if (typeof a === 'string' && typeof b === 'string') {
      return steps.takeText(a.length + b.length) ? a + b : ERROR
    }
    if (Array.isArray(a) && Array.isArray(b)) {
      return steps.take(a.length + b.length) ? a.concat(b) : ERROR
    }
    return arithmetic(
      a,
      b,
      (x, y) => x + y,
      (x, y) => x + y,
    )
  },
  '-': (_, a, b) =>
    arithmetic(
      a,
      b,
      (x, y) => x - y,
      (x, y) => x - y,
    ),
  '*': (_, a, b) =>
    arithmetic(
      a,
      b,
      (x, y) => x * y,
      (x, y) => x * y,
    ),
  '/': (_, a, b) =>
    arithmetic(
      a,
      b,
      (x, y) => x / y,
      (x, y) => (y === 0n ? ERROR : x / y),
    ),
  '%': (_, a, b) =>
    arithmetic(
      a,
      b,
      (x, y) => x % y,
      (x, y) => (y === 0n ? ERROR : x % y),
    ),
  in: (steps, a, b) => {
    if (isMap(b)) return member(b, a) !== undefined
    if (!Array.isArray(b) || !steps.take(b.length)) return ERROR
    for (const element of b) {
      const result = isEqual(a, element, steps)
      if (result !== false) return result
    }
    return false
  },
}

export function negated(value: unknown): unknown {
  if (typeof value === 'number') return -value
  return typeof value === 'bigint' ? int(-value) : ERROR
}

/** A member or element; ERROR when there is none. */
export function access(container: unknown, key: unknown): unknown {
  if (Array.isArray(container)) {
    const index = isNumber(key) ? Number(key) : -1
    return Number.isInteger(index) && index >= 0 && index < container.length
      ? container[index]
      : ERROR
  }
  if (!isMap(container)) return ERROR
  const value = member(container, key)
  return value === undefined ? ERROR : value
}

/** Ints stay ints; with a double among them the result is one: numbers of payloads are doubles. */
function arithmetic(
  a: unknown,
  b: unknown,
  ofDoubles: (a: number, b: number) => number,
  ofInts: (a: bigint, b: bigint) => bigint | typeof ERROR,
): unknown {
  if (!isNumber(a) || !isNumber(b)) return ERROR
  if (typeof a === 'bigint' && typeof b === 'bigint') {
    const result = ofInts(a, b)
    return result === ERROR ? ERROR : int(result)
  }
  return ofDoubles(Number(a), Number(b))
}

function ordered(order: number | typeof ERROR, isSo: (order: number) => boolean): unknown {
  return order === ERROR ? ERROR : isSo(order)
}

function codePoints(text: string): number {
  let count = 0
  for (const _ of text) count++
  return count
}
