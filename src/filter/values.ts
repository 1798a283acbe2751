/**
 * The values of filters: what is equal, what is less, and what an evaluation may cost.
 * Runs on: any thread. Owns: nothing; pure.
 *
 *   CEL     here
 *   null, bool, string   null, boolean, string
 *   int     bigint: literals, size(), and integers of MessagePack beyond 2⁵³
 *   double  number: literals with a point, and every other number of a payload
 *   bytes   Uint8Array
 *   list    array
 *   map     Map, or a plain object as JSON.parse() makes it
 */

/**
 * What an evaluation that went wrong results in: a missing field, an operand of the wrong type, no
 * steps left. A value and not an exception: fields are missing in every other message, and an
 * exception costs microseconds.
 */
export const ERROR: unique symbol = Symbol('error')

/** Steps of one evaluation; see Steps. About a millisecond. */
export const FILTER_STEPS_MAX = 20_000
/** Lists and maps in each other that are compared. */
const EQUAL_DEPTH_MAX = 64
/** Characters that are looked through for the price of a step. */
const CHARACTERS_PER_STEP = 64
/** Searching costs at worst (Boyer–Moore on repetitive text) so many products of both lengths a step. */
const PRODUCTS_PER_STEP = 512

/**
 * What an evaluation may still do. Every node of an expression is evaluated once, so steps are taken
 * only where the payload says how long something lasts: elements of lists and maps, characters.
 */
export class Steps {
  left = 0

  /** False when that is more than what is left; then nothing goes on. */
  take(count: number): boolean {
    this.left -= count
    return this.left >= 0
  }

  /** Steps for a walk over so many characters. */
  takeText(length: number): boolean {
    return this.take(length / CHARACTERS_PER_STEP)
  }

  takeSearch(length: number, wanted: number): boolean {
    return this.take(length / CHARACTERS_PER_STEP + (length * wanted) / PRODUCTS_PER_STEP)
  }
}

export type MapValue = ReadonlyMap<unknown, unknown> | Readonly<Record<string, unknown>>

export function isMap(value: unknown): value is MapValue {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array)
  )
}

export function isNumber(value: unknown): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint'
}

/** A member of a map, or undefined when it has none of that name. */
export function member(map: MapValue, key: unknown): unknown {
  if (map instanceof Map) {
    if (typeof key !== 'bigint') return map.get(key)
    return map.get(key) ?? map.get(Number(key))
  }
  if (typeof key !== 'string' || !Object.hasOwn(map, key)) return undefined
  return (map as Readonly<Record<string, unknown>>)[key]
}

export function keysOf(map: MapValue): unknown[] {
  return map instanceof Map ? [...map.keys()] : Object.keys(map)
}

export function sizeOf(map: MapValue): number {
  return map instanceof Map ? map.size : Object.keys(map).length
}

/** Equality of CEL: numbers by value, other types are never equal. ERROR when steps ran out. */
export function isEqual(a: unknown, b: unknown, steps: Steps): boolean | typeof ERROR {
  return equal(a, b, steps, 0)
}

function equal(a: unknown, b: unknown, steps: Steps, depth: number): boolean | typeof ERROR {
  if (a === b) return true
  // biome-ignore lint/suspicious/noDoubleEquals: it compares number and bigint by value.
  if (isNumber(a) && isNumber(b)) return a == b
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (depth === EQUAL_DEPTH_MAX) return ERROR
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    if (!(a instanceof Uint8Array && b instanceof Uint8Array)) return false
    if (!steps.takeText(a.length)) return ERROR
    return Buffer.compare(a, b) === 0
  }
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false
    if (!steps.take(a.length)) return ERROR
    for (let index = 0; index < a.length; index++) {
      const result = equal(a[index], b[index], steps, depth + 1)
      if (result !== true) return result
    }
    return true
  }
  const [left, right] = [a as MapValue, b as MapValue]
  const keys = keysOf(left)
  if (!steps.take(keys.length) || keys.length !== sizeOf(right))
    return steps.left < 0 ? ERROR : false
  for (const key of keys) {
    const other = member(right, key)
    if (other === undefined) return false
    const result = equal(member(left, key), other, steps, depth + 1)
    if (result !== true) return result
  }
  return true
}

/** Below zero, zero or above, as compare functions say it; ERROR for what has no order. */
export function compare(a: unknown, b: unknown): number | typeof ERROR {
  if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : a >= b ? 0 : ERROR
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b)
  return ERROR
}

const INT_MIN = -(2n ** 63n)
const INT_MAX = 2n ** 63n - 1n

/** An int of CEL, or ERROR when it has more than 64 bits. */
export function int(value: bigint): bigint | typeof ERROR {
  return value >= INT_MIN && value <= INT_MAX ? value : ERROR
}
