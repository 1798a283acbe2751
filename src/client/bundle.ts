/**
 * Messages of one topic that travel in one frame, and who waits for them.
 * Runs on: Node and browsers. Owns: nothing; publisher.ts moves bundles from stage to stage.
 */
import { OverloadedError, PublishError } from './errors.js'
import type { BatchResult } from './publish-options.js'
import type { AckResult, OutgoingBatch, WireError } from './wire.js'

/** Where a confirmed message stands. */
export interface PublishResult {
  /** Its number in the topic: 1, 2, 3 …; 0 when it has none yet (`deliverAt`) or it is not known any more. */
  readonly seq: number
  /** True when the message had been stored before, as `seq`: the topic has a deduplication window. */
  readonly duplicate?: true
  /** When it will be stored and delivered, ms since 1970, if it is kept for later. */
  readonly deliverAt?: number
  /** The lifetime of the topic's log in which `seq` counts. */
  readonly epoch: string
}

export interface Confirmation {
  resolve(result: PublishResult): void
  reject(error: Error): void
}

export interface Bundle {
  readonly topic: string
  readonly batch: OutgoingBatch
  /** By position in the batch; with holes where nobody waits, and it ends with the last who does. */
  readonly confirmations: (Confirmation | undefined)[]
  /** Messages that want an ack. */
  confirmed: number
  /** Bundles are sent again in the order in which they were begun. */
  readonly order: number
  readonly dueMs: number
  /** Stored together or not at all: never taken apart. */
  readonly isWhole: boolean
}

/** For `count` messages whose caller waits for all of them at once. */
export function confirmAsOne(
  confirmations: Bundle['confirmations'],
  count: number,
  resolve: (result: BatchResult) => void,
  reject: (error: Error) => void,
): void {
  // Resolved in order: the first is known when the last is.
  let firstSeq = 0
  const first = {
    resolve: ({ seq }: PublishResult) => {
      firstSeq = seq
    },
    reject,
  }
  const last = {
    resolve: ({ seq, epoch }: PublishResult) => {
      resolve({ firstSeq: firstSeq || seq, lastSeq: seq, epoch })
    },
    reject,
  }
  confirmations[0] = first
  confirmations[count - 1] = last
}

export function resolveBundle({ confirmations }: Bundle, result: AckResult): void {
  const { epoch = '', seq, first_seq: firstSeq = seq ?? 0 } = result
  const { duplicate, duplicates, deliver_at: deliverAt } = result
  if (duplicate || duplicates !== undefined || deliverAt !== undefined) {
    resolveOneByOne(confirmations, result, firstSeq)
    return
  }
  for (let index = 0; index < confirmations.length; index++) {
    confirmations[index]?.resolve({ seq: firstSeq + index, epoch })
  }
}

/** For answers that are not the same for all. */
function resolveOneByOne(
  confirmations: Bundle['confirmations'],
  { epoch = '', seq, duplicate, duplicates, deliver_at: deliverAt }: AckResult,
  firstSeq: number,
): void {
  const known = new Map(duplicates ?? (duplicate ? [[0, seq ?? null]] : []))
  let nextSeq = firstSeq
  for (const [index, confirmation] of confirmations.entries()) {
    const first = known.get(index)
    const place =
      first === undefined
        ? { seq: deliverAt === undefined ? nextSeq++ : 0 }
        : { seq: first ?? 0, duplicate: true as const }
    confirmation?.resolve({ ...place, epoch, ...(deliverAt === undefined ? {} : { deliverAt }) })
  }
}

export function rejectBundle({ confirmations }: Bundle, error: Error): void {
  for (const confirmation of confirmations) confirmation?.reject(error)
}

/** The part that is sent again: what nobody waits for is sent at most once. */
export function confirmedPart(bundle: Bundle): Bundle {
  const { batch, confirmations, confirmed, isWhole } = bundle
  if (isWhole || confirmed === batch.count) return bundle
  const wanted = [...confirmations.keys()].filter((index) => confirmations[index] !== undefined)
  return {
    ...bundle,
    batch: batch.pick(wanted),
    confirmations: wanted.map((index) => confirmations[index]),
  }
}

/** Each message as a bundle of its own, so that each gets an answer of its own. */
export function oneByOne(bundle: Bundle): Bundle[] {
  const { batch, confirmations } = bundle
  return Array.from({ length: batch.count }, (_, index) => {
    const confirmation = confirmations[index]
    return {
      ...bundle,
      batch: batch.pick([index]),
      confirmations: [confirmation],
      confirmed: confirmation === undefined ? 0 : 1,
    }
  })
}

/** Whether this refusal may be the fault of one message that the others need not share. */
export function isOneToBlame({ batch, isWhole }: Bundle, error: WireError): boolean {
  return isAboutContent(error) && batch.count > 1 && !isWhole
}

/** Whether it is about what a message says, and not about where it goes. */
export function isAboutContent({ code }: WireError): boolean {
  return code === 'BAD_REQUEST' || code === 'PAYLOAD_TOO_LARGE'
}

export function publishError({ code, message, retryable }: WireError): Error {
  if (code === 'OVERLOADED') return new OverloadedError(message)
  return new PublishError(code, retryable, message)
}
