/**
 * What becomes of each entry that a group has taken: settled, tried again, given up.
 * Runs on: the shard. Owns: the group's table in shared memory, its cursor's way past what is gone, and
 * the private lines of what may go.
 *
 *   QUEUED ──► IN_FLIGHT ──ack──► settled
 *     ▲          │     ▲
 *     │ release  │     │ dueMs has come
 *     └──────────┤     │
 *   nack, time,  ▼     │
 *   member left WAITING ──attempts used up, term, expired──► dead letter
 *                                    └── no room for it ──► DOOMED ──┘
 */
import { backoffDelayMs } from '../protocol/group-options.js'
import { Failures } from './failures.js'
import type { Group } from './group.js'
import {
  type DeadLetter,
  type GroupHost,
  type GroupLog,
  Settle,
  type SettleKind,
} from './group-host.js'
import type { GroupRecord } from './group-table.js'
import { NORMAL } from './lineup.js'
import type { Member } from './member.js'
import { IN_FLIGHT, QUEUED, WAITING } from './outstanding.js'
import { Queue } from './queue.js'

/** How often deadlines are looked at, at most. */
const DEADLINE_GRAIN_MS = 10
/** A dead letter that found no room is tried again after this. */
const DEAD_LETTER_RETRY_MS = 1000
/** Why a message is given up, by the number in its slot. */
const REASONS: readonly DeadLetter['reason'][] = ['max_deliver', 'term', 'expired']

export class Ledger {
  readonly queue = new Queue()
  readonly #host: GroupHost
  readonly #group: Group
  readonly #record: GroupRecord
  readonly #log: GroupLog
  readonly #failures = new Failures()
  /** No deadline and no delay ends before this. */
  #earliestDueMs = Number.POSITIVE_INFINITY

  constructor(host: GroupHost, group: Group) {
    this.#host = host
    this.#group = group
    this.#record = group.record
    this.#log = group.log
  }

  /** When tick() is wanted next, ms; Infinity: not at all. */
  get nextDueMs(): number {
    return this.#earliestDueMs
  }

  /** Forgets everything under way. */
  clear(): void {
    const { outstanding, loss } = this.#record
    for (const [seq, slot] of [...outstanding.entries()]) outstanding.settle(seq, slot)
    loss.forgetNoted()
    this.queue.clear()
    this.#failures.clear()
    for (const member of this.#group.members.values()) {
      member.inFlight = 0
      member.inFlightBytes = 0
    }
    this.#earliestDueMs = Number.POSITIVE_INFINITY
  }

  /** After a predecessor: what was never sent is taken back, and the lines are made again. */
  takeOver(): void {
    const { outstanding, cursor } = this.#record
    const { committedBatch } = this.#host
    for (const [seq, slot] of [...outstanding.entries()]) {
      if (seq >= cursor) {
        outstanding.settle(seq, slot) // Taken, but the cursor never passed it.
        continue
      }
      if (((outstanding.batch(slot) - committedBatch) | 0) > 0) outstanding.undeliver(slot)
      if (outstanding.state(slot) !== IN_FLIGHT) continue
      const member = this.#group.members.get(outstanding.member(slot))
      if (member === undefined) {
        outstanding.wait(slot, 0)
        continue
      }
      member.inFlight++
      member.inFlightBytes += outstanding.bytes(slot)
    }
    this.lineUpAll()
  }

  /** Makes the lines again, from what is outstanding. */
  lineUpAll(): void {
    const { outstanding } = this.#record
    this.queue.clear()
    for (const [seq, slot] of [...outstanding.entries()].sort(([one], [other]) => one - other)) {
      const key = this.#group.isOrdered ? outstanding.key(slot) : 0
      if (outstanding.state(slot) === QUEUED) {
        const isHeld = seq >= this.#log.firstSeq
        this.queue.push(seq, key, isHeld ? this.#host.classify(this.#group, seq).priority : NORMAL)
        continue
      }
      if (key !== 0) this.queue.claim(seq, key)
      this.#dueAt(outstanding.dueMs(slot))
    }
  }

  /** Looks at deadlines and delays. True when something that waited for room with the dead letters has it. */
  tick(): boolean {
    const { nowMs } = this.#host
    if (nowMs < this.#earliestDueMs) return false
    const { outstanding } = this.#record
    let earliest = Number.POSITIVE_INFINITY
    let hasBuried = false
    let hasRoom = true // With the dead letters: who finds none tries again later, and so do all others.
    for (const [seq, slot] of [...outstanding.entries()]) {
      const state = outstanding.state(slot)
      if (state === QUEUED) continue
      if (outstanding.dueMs(slot) <= nowMs) {
        if (state === IN_FLIGHT) {
          const member = this.#group.members.get(outstanding.member(slot))
          this.failed(seq, slot, member, 'no ack in time', undefined)
        } else if (state === WAITING) this.queue.again(seq)
        else if (hasRoom) {
          hasRoom = this.giveUp(seq, slot, this.#reasonOf(slot))
          hasBuried ||= hasRoom
        } else outstanding.extend(slot, nowMs + DEAD_LETTER_RETRY_MS)
      }
      // It may be settled by now.
      if (outstanding.find(seq) !== slot) continue
      const dueMs = outstanding.dueMs(slot)
      if (dueMs > nowMs) earliest = Math.min(earliest, dueMs)
    }
    this.#earliestDueMs = Math.max(earliest, nowMs + DEADLINE_GRAIN_MS)
    return hasBuried
  }

  /** The entry is on its way to this member. */
  noteDelivered(member: Member, slot: number): void {
    const { outstanding } = this.#record
    const dueMs = this.#host.nowMs + this.#group.options.ack_wait_ms
    outstanding.deliver(slot, member.id, dueMs, this.#host.batch)
    member.inFlight++
    member.inFlightBytes += outstanding.bytes(slot)
    this.#dueAt(dueMs)
    this.#record.tally(outstanding.attempt(slot) > 1 ? 'redelivered' : 'delivered')
  }

  /** What a member says of one entry. False when the group does not wait for that. */
  settleOne(
    kind: SettleKind,
    memberId: number,
    seq: number,
    slot: number,
    delayMs: number | undefined,
    reason: string,
  ): boolean {
    const { outstanding } = this.#record
    const isHeld = outstanding.state(slot) === IN_FLIGHT && outstanding.member(slot) === memberId
    if (kind === Settle.ack) {
      // Late is better than never: the work is done, whoever has the message now.
      if (outstanding.attempt(slot) === 0) return false
      this.#record.tally('acked')
      this.#settled(seq, slot)
      return true
    }
    if (!isHeld) return false
    const member = this.#group.members.get(memberId)
    if (kind === Settle.working) {
      outstanding.extend(slot, this.#host.nowMs + this.#group.options.ack_wait_ms)
      return true
    }
    if (kind === Settle.nack) this.failed(seq, slot, member, reason, delayMs)
    else if (kind === Settle.release) this.#takeBack(seq, slot)
    else {
      this.#noteFailure(seq, member, reason)
      this.giveUp(seq, slot, 'term')
    }
    return true
  }

  /** An attempt came to nothing: it waits for the next, or was the last. */
  failed(
    seq: number,
    slot: number,
    member: Member | undefined,
    error: string,
    delayMs: number | undefined,
  ): void {
    const { outstanding } = this.#record
    this.#noteFailure(seq, member, error)
    const attempt = outstanding.attempt(slot)
    if (attempt >= this.#group.options.max_deliver) {
      this.giveUp(seq, slot, 'max_deliver')
      return
    }
    if (this.isExpired(seq)) {
      this.expire(seq, slot)
      return
    }
    const delay =
      delayMs ?? backoffDelayMs(this.#group.options.backoff, attempt, this.#host.random())
    const dueMs = this.#host.nowMs + delay
    this.#release(slot)
    outstanding.wait(slot, dueMs)
    if (delay === 0) this.queue.again(seq)
    else this.#dueAt(dueMs)
  }

  /** To the dead letters. False when there is no room for it: then it waits for some. */
  giveUp(seq: number, slot: number, reason: DeadLetter['reason']): boolean {
    const { outstanding } = this.#record
    if (seq < this.#log.firstSeq) {
      this.gone(seq, slot)
      return true
    }
    const attempts = outstanding.attempt(slot)
    const failures = this.#failures.of(seq)
    const isBuried = this.#host.bury(this.#group, slot, { seq, reason, attempts, failures })
    if (isBuried) {
      this.#record.tally('dead_lettered')
      this.#settled(seq, slot)
      return true
    }
    this.#release(slot)
    const dueMs = this.#host.nowMs + DEAD_LETTER_RETRY_MS
    outstanding.doom(slot, dueMs, REASONS.indexOf(reason))
    this.#dueAt(dueMs)
    return false
  }

  /** False when it should be with the dead letters and there is no room. */
  expire(seq: number, slot: number): boolean {
    this.#record.tally('expired')
    if (this.#group.options.dead_letter_expired) return this.giveUp(seq, slot, 'expired')
    this.#settled(seq, slot)
    return true
  }

  /** It is still held, and nobody is to be given it any more. */
  isExpired(seq: number): boolean {
    return seq >= this.#log.firstSeq && this.#host.isExpired(this.#group, seq)
  }

  /** The log has dropped it. */
  gone(seq: number, slot: number): void {
    if (seq > this.#log.lostTo) this.#record.tally('expired')
    else this.#lose(seq, seq)
    this.#settled(seq, slot)
  }

  /** The log went on without the group: what it lost, and behind that what had expired. */
  skipGone(firstSeq: number): void {
    const { log } = this.#group
    const record = this.#record
    const from = record.cursor
    const lostTo = Math.min(Math.max(log.lostTo, from - 1), firstSeq - 1)
    if (lostTo >= from) this.#lose(from, lostTo)
    record.tally('expired', firstSeq - 1 - lostTo)
    record.cursor = firstSeq
  }

  /** Its member never looked at it: it goes to others at once, as if it had not been delivered. */
  #takeBack(seq: number, slot: number): void {
    this.#release(slot)
    this.#record.outstanding.release(slot)
    this.queue.again(seq)
  }

  #reasonOf(slot: number): DeadLetter['reason'] {
    return REASONS[this.#record.outstanding.doomedFor(slot)] ?? 'max_deliver'
  }

  #lose(first: number, last: number): void {
    const count = this.#record.loss.note(first, last, this.#host.committedBatch)
    this.#record.tally('lost', count)
    this.#host.lost(this.#group, count)
  }

  /** The group is done with it. */
  #settled(seq: number, slot: number): void {
    this.#release(slot)
    this.#record.outstanding.settle(seq, slot)
    this.#failures.forget(seq)
    this.queue.settled(seq)
  }

  /** Its member has it no more. */
  #release(slot: number): void {
    const { outstanding } = this.#record
    if (outstanding.state(slot) !== IN_FLIGHT) return
    const member = this.#group.members.get(outstanding.member(slot))
    if (member === undefined) return
    member.inFlight--
    member.inFlightBytes -= outstanding.bytes(slot)
  }

  #noteFailure(seq: number, member: Member | undefined, error: string): void {
    const { nowMs } = this.#host
    this.#failures.note(seq, { atMs: nowMs, member: member?.name ?? '', error })
  }

  #dueAt(dueMs: number): void {
    if (dueMs >= this.#earliestDueMs) return
    this.#earliestDueMs = dueMs
    this.#host.dueAt(dueMs)
  }
}
