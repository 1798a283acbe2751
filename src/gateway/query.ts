/**
 * Values in the query of an HTTP request.
 * Runs on: the front thread. Owns: nothing; pure.
 */
import { Refusal, Reply } from '../errors.js'

/** A whole number of at least `min`, or null when it is not given. Throws Refusal. */
export function wholeNumber(query: URLSearchParams, name: string, min: number): number | null {
  const text = query.get(name)
  if (text === null) return null
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
    throw new Refusal(Reply.badRequest, `${name} must be a whole number of at least ${min}`)
  }
  return value
}
