/**
 * What the HTTP door asks of dead letters, from method, path, query and body.
 * Runs on: the front thread. Owns: nothing; pure.
 *
 *   GET    /topics/{t}/dead-letters?limit=&from_seq=&group=&reason=
 *   DELETE /topics/{t}/dead-letters               drops them all
 *   POST   /topics/{t}/dead-letters/replay        {seqs: […]} or {all: true}, group, from_seq, max_rounds, delay_ms
 */
import { Refusal, Reply } from '../errors.js'
import type { DeadLetterAction } from '../ring/record.js'
import { wholeNumber } from './query.js'

const LIMIT_DEFAULT = 100
const LIMIT_MAX = 1000
const SEQS_MAX = 1000
const ROUNDS_DEFAULT = 10
const ROUNDS_MAX = 1000
const DELAY_MS_MAX = 2 ** 31 - 1
const REASONS = ['max_deliver', 'term', 'expired']

type Fields = Readonly<Record<string, unknown>>

/** undefined: there is nothing at this path. Throws Refusal. */
export function deadLetterAction(
  method: string,
  rest: readonly string[],
  query: URLSearchParams,
  body: () => Fields,
): DeadLetterAction | { readonly allow: string } | undefined {
  const [verb, ...more] = rest
  if (more.length > 0) return undefined
  if (verb === 'replay') return method === 'POST' ? replayOf(body()) : { allow: 'POST' }
  if (verb !== undefined) return undefined
  if (method === 'DELETE') return { do: 'purge' }
  if (method !== 'GET') return { allow: 'GET, DELETE' }
  const reason = query.get('reason')
  if (reason !== null && !REASONS.includes(reason)) {
    throw bad(`reason must be one of ${REASONS.join(', ')}`)
  }
  return {
    do: 'list',
    fromSeq: wholeNumber(query, 'from_seq', 1) ?? 1,
    limit: Math.min(wholeNumber(query, 'limit', 1) ?? LIMIT_DEFAULT, LIMIT_MAX),
    group: query.get('group'),
    reason,
  }
}

function replayOf(fields: Fields): DeadLetterAction {
  const { seqs, all, group, from_seq: fromSeq, max_rounds: maxRounds, delay_ms: delayMs } = fields
  if ((seqs === undefined) === (all === undefined)) throw bad('give either seqs or all')
  if (all !== undefined && all !== true) throw bad('all must be true')
  const isList = Array.isArray(seqs) && seqs.length > 0 && seqs.length <= SEQS_MAX
  if (seqs !== undefined && !isList) throw bad(`seqs must be a list of 1 to ${SEQS_MAX} seqs`)
  if (group !== undefined && typeof group !== 'string') throw bad('group must be a string')
  return {
    do: 'replay',
    seqs: isList
      ? seqs.map((seq, index) => whole(seq, `seqs[${index}]`, Number.MAX_SAFE_INTEGER))
      : null,
    fromSeq: fromSeq === undefined ? 1 : whole(fromSeq, 'from_seq', Number.MAX_SAFE_INTEGER),
    group: group ?? null,
    maxRounds:
      maxRounds === undefined ? ROUNDS_DEFAULT : whole(maxRounds, 'max_rounds', ROUNDS_MAX),
    delayMs: delayMs === undefined ? 0 : whole(delayMs, 'delay_ms', DELAY_MS_MAX),
  }
}

function whole(value: unknown, field: string, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max) {
    return value
  }
  throw bad(`${field} must be a whole number of 1 to ${max}`)
}

function bad(message: string): Refusal {
  return new Refusal(Reply.badRequest, message)
}
