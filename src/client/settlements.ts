/**
 * What a member says of its messages, on its way to the broker.
 * Runs on: Node and browsers. Owns: what was said and not sent yet, and what was sent and not confirmed.
 * Both are bounded by what the broker lets a member have in flight.
 *
 *   add() ──► waiting ──► one frame per op, delay and reason at the end of the turn ──► unconfirmed
 *               ▲                                                                          │
 *               └──── refused for now (OVERLOADED); acks when the connection was lost ◄────┤
 *                                                                            confirmed ◄───┘
 *
 * Seqs that follow each other travel as a range, so a thousand acks are mostly one frame of 30 bytes.
 */
import { nextTurn } from './next-turn.js'
import type { AckResult, SettleOp, WireError } from './wire.js'

/** Ranges of one frame; the broker has the same bound. */
const RANGES_MAX = 4096
const RETRY_MS = 20

export interface SettlementsHost {
  /** Whether the broker takes what is said now. */
  isOn(): boolean
  /** Sends one frame; the answer goes to the request. */
  send(request: SettleRequest): void
  onError(error: WireError): void
}

/** Seqs as first, last, first, last … */
export type Ranges = number[]

/** Messages that are settled alike. */
class Pile {
  readonly op: SettleOp
  readonly details: Readonly<Record<string, unknown>> | undefined
  ranges: Ranges = []

  constructor(op: SettleOp, details?: Readonly<Record<string, unknown>>) {
    this.op = op
    this.details = details
  }

  add(seq: number): void {
    const { ranges } = this
    const end = ranges.length - 1
    if (end > 0 && ranges[end] === seq - 1) ranges[end] = seq
    else ranges.push(seq, seq)
  }

  append(ranges: Ranges): void {
    for (const seq of ranges) this.ranges.push(seq)
  }
}

/** One frame that waits for its answer. */
export class SettleRequest {
  readonly op: SettleOp
  readonly ranges: Ranges
  readonly details: Readonly<Record<string, unknown>> | undefined
  readonly #owner: Settlements

  constructor(owner: Settlements, { op, details }: Pile, ranges: Ranges) {
    this.op = op
    this.ranges = ranges
    this.details = details
    this.#owner = owner
  }

  onAck(_result: AckResult): void {
    this.#owner.onAnswer(this, undefined)
  }

  onError(error: WireError): void {
    this.#owner.onAnswer(this, error)
  }
}

export class Settlements {
  readonly #host: SettlementsHost
  #acks = new Pile('ack')
  /** By op, delay and reason. */
  #others = new Map<string, Pile>()
  readonly #unconfirmed = new Set<SettleRequest>()
  #isScheduled = false
  #retry: ReturnType<typeof setTimeout> | undefined
  readonly #flushed: (() => void)[] = []

  constructor(host: SettlementsHost) {
    this.#host = host
  }

  get isIdle(): boolean {
    const isAnything = this.#acks.ranges.length > 0 || this.#others.size > 0
    return !isAnything && this.#unconfirmed.size === 0
  }

  ack(seq: number): void {
    this.#acks.add(seq)
    if (!this.#isScheduled) this.#schedule()
  }

  add(op: SettleOp, seq: number, delayMs: number | undefined, reason: string): void {
    const key = `${op} ${delayMs} ${reason}`
    let pile = this.#others.get(key)
    if (pile === undefined) {
      pile = new Pile(op, detailsOf(delayMs, reason))
      this.#others.set(key, pile)
    }
    pile.add(seq)
    if (!this.#isScheduled) this.#schedule()
  }

  /** Resolves when everything said so far is confirmed, or can never be. */
  flush(): Promise<void> {
    if (this.isIdle) return Promise.resolve()
    this.send()
    return new Promise((resolve) => this.#flushed.push(resolve))
  }

  /** Sends what waits, if the broker takes it. */
  send(): void {
    if (!this.#host.isOn() || this.#retry !== undefined) return
    const acks = this.#acks
    if (acks.ranges.length > 0) {
      this.#acks = new Pile('ack')
      this.#sendPile(acks)
    }
    if (this.#others.size === 0) return
    const others = this.#others
    this.#others = new Map()
    for (const pile of others.values()) this.#sendPile(pile)
  }

  /** The connection is gone. Acks are kept: the work is done, whoever is given the message now. */
  onDisconnected(): void {
    clearTimeout(this.#retry)
    this.#retry = undefined
    for (const { op, ranges } of this.#unconfirmed) {
      if (op === 'ack') this.#acks.append(ranges)
    }
    this.#unconfirmed.clear()
    this.#others.clear()
    this.#tellFlushed()
  }

  /** What was said counts no more: its seqs are those of another log, or nobody listens. */
  forget(): void {
    this.#unconfirmed.clear()
    this.#acks = new Pile('ack')
    this.onDisconnected()
  }

  onAnswer(request: SettleRequest, error: WireError | undefined): void {
    if (!this.#unconfirmed.delete(request)) return
    if (error?.retryable) {
      this.#keep(request)
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined
        this.send()
      }, RETRY_MS)
    } else if (error !== undefined) {
      this.#host.onError(error)
    }
    this.#tellFlushed()
  }

  #keep({ op, ranges, details }: SettleRequest): void {
    if (op === 'ack') {
      this.#acks.append(ranges)
      return
    }
    const key = `${op} ${details?.['delay_ms']} ${details?.['reason'] ?? ''}`
    const pile = this.#others.get(key) ?? new Pile(op, details)
    pile.append(ranges)
    this.#others.set(key, pile)
  }

  #schedule(): void {
    this.#isScheduled = true
    nextTurn(() => {
      this.#isScheduled = false
      this.send()
    })
  }

  #sendPile(pile: Pile): void {
    const ranges = merged(pile.ranges)
    for (let start = 0; start < ranges.length; start += RANGES_MAX * 2) {
      const part =
        ranges.length <= RANGES_MAX * 2 ? ranges : ranges.slice(start, start + RANGES_MAX * 2)
      const request = new SettleRequest(this, pile, part)
      this.#unconfirmed.add(request)
      this.#host.send(request)
    }
  }

  #tellFlushed(): void {
    if (this.#flushed.length === 0 || !this.isIdle) return
    for (const resolve of this.#flushed.splice(0)) resolve()
  }
}

/** The same seqs in ascending order, with as few ranges as there can be. */
function merged(ranges: Ranges): Ranges {
  let isMerged = true
  for (let at = 2; at < ranges.length && isMerged; at += 2) {
    isMerged = (ranges[at] as number) > (ranges[at - 1] as number) + 1
  }
  if (isMerged) return ranges
  const pairs: [number, number][] = []
  for (let at = 0; at < ranges.length; at += 2) {
    pairs.push([ranges[at] as number, ranges[at + 1] as number])
  }
  pairs.sort(([one], [other]) => one - other)
  const result: Ranges = []
  for (const [first, last] of pairs) {
    const end = result.length - 1
    if (end > 0 && first <= (result[end] as number) + 1) {
      result[end] = Math.max(result[end] as number, last)
    } else {
      result.push(first, last)
    }
  }
  return result
}

function detailsOf(
  delayMs: number | undefined,
  reason: string,
): Readonly<Record<string, unknown>> | undefined {
  if (delayMs === undefined && reason === '') return undefined
  return {
    ...(delayMs === undefined ? {} : { delay_ms: delayMs }),
    ...(reason === '' ? {} : { reason }),
  }
}
