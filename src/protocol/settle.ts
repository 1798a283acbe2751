/**
 * What a member of a group says of the messages that it has, the same in both encodings.
 * Runs on: the gateway. Owns: nothing; pure.
 */
import { Refusal, Reply } from '../errors.js'
import { Op } from './msgpack-frames.js'

/** In the order of their ops, from Op.groupAck on; all but pause and resume settle, numbered from 1 in the shard. */
const MEMBER_OPS = ['ack', 'nack', 'term', 'working', 'pause', 'resume', 'release'] as const
export type MemberOp = (typeof MEMBER_OPS)[number]

/** Seqs or ranges of one frame. */
const RANGES_MAX = 4096
const REASON_BYTES_MAX = 256
const DELAY_MS_MAX = 86_400_000

/** Which messages: pairs of first and last seq; or everything up to one seq. */
export interface Settled {
  /** First, last, first, last … */
  readonly ranges: readonly number[]
  readonly isUpTo: boolean
}

export function isMemberOp(type: unknown): type is MemberOp {
  return MEMBER_OPS.includes(type as MemberOp)
}

export function memberOpOf(op: number): MemberOp {
  return MEMBER_OPS[op - Op.groupAck] as MemberOp
}

/** Number of a settling op in ring records. */
export function settleKindOf(op: MemberOp): number {
  return MEMBER_OPS.indexOf(op) + 1
}

/** In JSON the seqs stand in one of three fields. */
export function seqsField(fields: Readonly<Record<string, unknown>>): unknown {
  if (Object.hasOwn(fields, 'up_to')) return { up_to: fields['up_to'] }
  return Object.hasOwn(fields, 'seqs') ? fields['seqs'] : fields['seq']
}

/** A seq, a list of seqs and [first, last] ranges, or {up_to}. Throws Refusal naming field and rule. */
export function settledOf(seqs: unknown, op: MemberOp): Settled {
  if (typeof seqs === 'number') return { ranges: [seqOf(seqs), seqOf(seqs)], isUpTo: false }
  if (Array.isArray(seqs)) {
    if (seqs.length === 0 || seqs.length > RANGES_MAX) {
      throw bad(`seqs must have 1 to ${RANGES_MAX} elements, got ${seqs.length}`)
    }
    return { ranges: seqs.flatMap(rangeOf), isUpTo: false }
  }
  if (typeof seqs === 'object' && seqs !== null && 'up_to' in seqs) {
    if (op !== 'ack') throw bad('up_to is for ack only')
    const last = seqOf(seqs.up_to)
    return { ranges: [1, last], isUpTo: true }
  }
  throw bad('seq must be a seq, seqs a list of seqs and [first, last] pairs, or up_to a seq')
}

/** ms until a nacked message goes again, or undefined: as the group's backoff says. */
export function delayOf(fields: Readonly<Record<string, unknown>>): number | undefined {
  const delay = fields['delay_ms'] ?? undefined
  if (delay === undefined) return undefined
  const isDelay = typeof delay === 'number' && Number.isInteger(delay)
  if (isDelay && delay >= 0 && delay <= DELAY_MS_MAX) return delay
  throw bad(`delay_ms must be a whole number of 0 to ${DELAY_MS_MAX}`)
}

/** Why, for the dead letter; at most REASON_BYTES_MAX bytes. */
export function reasonOf(fields: Readonly<Record<string, unknown>>): string {
  const reason = fields['reason'] ?? ''
  if (typeof reason !== 'string' || Buffer.byteLength(reason) > REASON_BYTES_MAX) {
    throw bad(`reason must be a string of at most ${REASON_BYTES_MAX} bytes`)
  }
  return reason
}

function rangeOf(element: unknown): number[] {
  if (!Array.isArray(element)) return [seqOf(element), seqOf(element)]
  const [first, last] = [seqOf(element[0]), seqOf(element[1])]
  if (element.length !== 2 || last < first) throw bad('a range in seqs must be [first, last]')
  return [first, last]
}

function seqOf(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1) return value
  throw bad('seqs must be whole numbers of at least 1')
}

function bad(message: string): Refusal {
  return new Refusal(Reply.badRequest, message)
}
