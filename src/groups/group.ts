/**
 * One consumer group of one topic: every entry goes to one member, again and again until somebody
 * acks it, it expires, or it is given up as dead.
 * Runs on: the shard. Owns: the group's slot and table in shared memory, and the private lines.
 *
 *            ┌──────────── QUEUED ◄── classify: filter, key, priority (only groups and topics that use them)
 *            │                │
 *   log ─► cursor             ▼
 *            └────────► IN_FLIGHT ──ack──► settled
 *                        │     ▲
 *      nack, deadline,   │     │ dueMs has come
 *      member left       ▼     │
 *                       WAITING ──attempts used up, term──► dead letter
 *
 * What a thread that dies leaves behind is what the table says: deliveries of a batch that was never
 * committed were never sent, and are taken back.
 */
import type { Backoff, GroupOptions } from '../protocol/group-options.js'
import { backoffDelayMs } from '../protocol/group-options.js'
import type { GroupRecord } from './group-table.js'
import type { Priority } from './lineup.js'
import { Lineup, NORMAL } from './lineup.js'
import type { Member } from './member.js'
import { IN_FLIGHT, QUEUED, WAITING } from './outstanding.js'
import { SeqQueue } from './seq-queue.js'

/** Entries classified in one go, so that one group does not hold up the others. */
const CLASSIFY_MAX = 1024
/** Entries of one delivery. */
const RUN_MAX = 256
/** Bytes of one delivery; a single larger entry still goes. */
const RUN_BYTES_MAX = 128 * 1024
/** How often deadlines are looked at, at most. */
const DEADLINE_GRAIN_MS = 10
/** A dead letter that found no room is tried again after this. */
const DEAD_LETTER_RETRY_MS = 1000
/** Attempts whose history is kept for the dead letter. */
const HISTORY_MAX = 32

/** What dispatch() came to: nothing is left to give; there is no outbound room; or go on in the next batch. */
export const Dispatched = { done: 0, noRoom: 1, more: 2 } as const
export type Dispatched = (typeof Dispatched)[keyof typeof Dispatched]

/** deliver() found no outbound room. */
export const NO_ROOM = -1

/** How a member settles what it has. */
export const Settle = { ack: 1, nack: 2, term: 3, working: 4 } as const
export type SettleKind = (typeof Settle)[keyof typeof Settle]

export interface FailedAttempt {
  readonly atMs: number
  readonly member: string
  readonly error: string
}

/** What is known of a message that is given up. */
export interface DeadLetter {
  readonly seq: number
  readonly reason: 'max_deliver' | 'term' | 'expired'
  readonly attempts: number
  readonly failures: readonly FailedAttempt[]
}

/** What the group needs of a log. */
export interface GroupLog {
  readonly firstSeq: number
  readonly lastSeq: number
  /** The last seq of a run that stands in one piece, as TopicLog.runFrom(). */
  runFrom(seq: number, lastSeq: number, maxBytes: number): number
  offsetOf(seq: number): number
  endOf(seq: number): number
}

/** What an entry says that a group cares for. */
export interface Class {
  /** Settled without a delivery: it does not match the group's filter. */
  readonly isSkipped: boolean
  readonly key: string | undefined
  readonly priority: Priority
}

/** What the group needs of the shard. */
export interface GroupHost {
  readonly nowMs: number
  /** Number of the batch that runs now. */
  readonly batch: number
  readonly random: () => number
  /** True when entries of the topic may have properties or expire, so that each has to be looked at. */
  hasProperties(group: Group): boolean
  /** False when filters have had their share of this batch. */
  readonly mayClassify: boolean
  isExpired(group: Group, seq: number): boolean
  classify(group: Group, seq: number): Class
  /** Sends entries from `first` on, at most up to `last`. Returns the last one sent, or NO_ROOM. */
  deliver(
    group: Group,
    member: Member,
    first: number,
    last: number,
    attempt: number,
    dueMs: number,
  ): number
  /** Puts a copy with the dead letters. False when there is no room now. */
  bury(group: Group, slot: number, letter: DeadLetter): boolean
  /** tick() is wanted at this time, or before. */
  dueAt(dueMs: number): void
  /** The log dropped these before the group was done with them. */
  lost(group: Group, first: number, last: number, count: number): void
}

export class Group {
  readonly record: GroupRecord
  readonly log: GroupLog
  readonly members = new Map<number, Member>()
  options: GroupOptions
  /** True while it stands in the list of those that may have something to deliver. */
  isAwake = false
  readonly #host: GroupHost
  readonly #lineup = new Lineup()
  /** Redeliveries whose time has come and that have no key. */
  readonly #ready = new SeqQueue()
  readonly #failures = new Map<number, FailedAttempt[]>()
  #order: Member[] = []
  #turn = 0
  /** No deadline and no delay ends before this. */
  #earliestDueMs = Number.POSITIVE_INFINITY

  /** `members` are those that a predecessor knew; `committedBatch` the last that was made visible. */
  constructor(
    host: GroupHost,
    record: GroupRecord,
    log: GroupLog,
    members: readonly Member[],
    committedBatch: number,
  ) {
    this.#host = host
    this.record = record
    this.log = log
    this.options = record.options
    for (const member of members) this.members.set(member.id, member)
    this.#membersChanged()
    this.#takeOver(committedBatch)
  }

  get isOrdered(): boolean {
    return this.options.ordered === 'key'
  }

  /** All seqs up to here are settled. */
  get ackFloor(): number {
    return (this.record.outstanding.lowest() ?? this.record.cursor) - 1
  }

  /** When tick() is wanted next, ms; Infinity: not at all. */
  get nextDueMs(): number {
    return this.#earliestDueMs
  }

  join(member: Member): void {
    this.members.set(member.id, member)
    this.#membersChanged()
  }

  /** What the member had goes to others at once. */
  leave(id: number): void {
    const member = this.members.get(id)
    if (member === undefined) return
    this.members.delete(id)
    this.#membersChanged()
    const { outstanding } = this.record
    for (const [seq, slot] of [...outstanding.entries()].sort(([one], [other]) => one - other)) {
      if (outstanding.state(slot) !== IN_FLIGHT || outstanding.member(slot) !== id) continue
      this.#failed(seq, slot, member, 'the member left', 0)
    }
  }

  /** Settles [first, last]; returns how many of them the group was still waiting for. */
  settle(
    kind: SettleKind,
    memberId: number,
    first: number,
    last: number,
    delayMs: number | undefined,
    reason: string,
  ): number {
    const { outstanding } = this.record
    let settled = 0
    const one = (seq: number, slot: number) => {
      if (this.#settleOne(kind, memberId, seq, slot, delayMs, reason)) settled++
    }
    if (last - first < outstanding.size) {
      for (let seq = first; seq <= last; seq++) {
        const slot = outstanding.find(seq)
        if (slot !== undefined) one(seq, slot)
      }
      return settled
    }
    for (const [seq, slot] of [...outstanding.entries()]) {
      if (seq >= first && seq <= last) one(seq, slot)
    }
    return settled
  }

  /** Acks everything that this member has, up to a seq. */
  ackUpTo(memberId: number, last: number): number {
    const { outstanding } = this.record
    let settled = 0
    for (const [seq, slot] of [...outstanding.entries()]) {
      if (seq > last || outstanding.member(slot) !== memberId) continue
      if (this.#settleOne(Settle.ack, memberId, seq, slot, undefined, '')) settled++
    }
    return settled
  }

  /** Gives members what they may have. */
  dispatch(): Dispatched {
    const { log, record } = this
    if (record.cursor < log.firstSeq) this.#skipLost(log.firstSeq)
    if (record.isPaused || this.members.size === 0) return Dispatched.done
    const isSorted = this.#isSorted
    if (isSorted) this.#classify()
    let idle = 0 // Members in a row that could not be given anything.
    while (idle < this.#order.length) {
      const member = this.#order[this.#turn % this.#order.length] as Member
      this.#turn = (this.#turn + 1) % this.#order.length
      if (member.credit <= 0) {
        idle++
        continue
      }
      const given = this.#giveOne(member) ?? (isSorted ? undefined : this.#giveRun(member))
      if (given === false) return Dispatched.noRoom
      idle = given === true ? 0 : idle + 1
    }
    return isSorted && this.#hasMore ? Dispatched.more : Dispatched.done
  }

  /** Looks at deadlines and delays. */
  tick(): void {
    const { nowMs } = this.#host
    if (nowMs < this.#earliestDueMs) return
    const { outstanding } = this.record
    let earliest = Number.POSITIVE_INFINITY
    for (const [seq, slot] of [...outstanding.entries()]) {
      const state = outstanding.state(slot)
      const dueMs = outstanding.dueMs(slot)
      if (state === QUEUED) continue
      if (dueMs > nowMs) earliest = Math.min(earliest, dueMs)
      else if (state === IN_FLIGHT) {
        const member = this.members.get(outstanding.member(slot))
        this.#failed(seq, slot, member, 'no ack in time', undefined)
        // It waits now, or is settled.
        if (outstanding.find(seq) === slot) earliest = Math.min(earliest, outstanding.dueMs(slot))
      } else if (!this.#isReady.has(seq)) {
        this.#makeReady(seq)
      }
    }
    this.#earliestDueMs = Math.max(earliest, nowMs + DEADLINE_GRAIN_MS)
  }

  /** Forgets everything under way and begins again at `seq`. */
  reset(seq: number): void {
    const { outstanding } = this.record
    for (const [outstandingSeq, slot] of [...outstanding.entries()]) {
      outstanding.settle(outstandingSeq, slot)
    }
    this.record.cursor = seq
    this.#lineup.clear()
    this.#ready.takeAll()
    this.#isReady.clear()
    this.#failures.clear()
    for (const member of this.members.values()) {
      member.inFlight = 0
      member.inFlightBytes = 0
    }
    this.#earliestDueMs = Number.POSITIVE_INFINITY
  }

  /** Seqs in `#ready` or in a line of the lineup because their delay is over. */
  readonly #isReady = new Set<number>()

  /** True when there are entries to classify for somebody who could take them. */
  get #hasMore(): boolean {
    const { record, log, options } = this
    if (record.cursor > log.lastSeq || record.outstanding.size >= options.window) return false
    return this.#order.some(({ credit }) => credit > 0)
  }

  /** True when entries have to be looked at one by one before anybody gets them. */
  get #isSorted(): boolean {
    return this.isOrdered || this.options.filter !== '' || this.#host.hasProperties(this)
  }

  #membersChanged(): void {
    this.#order = [...this.members.values()]
    this.#turn = 0
    this.#lineup.setMembers([...this.members.keys()])
  }

  #settleOne(
    kind: SettleKind,
    memberId: number,
    seq: number,
    slot: number,
    delayMs: number | undefined,
    reason: string,
  ): boolean {
    const { outstanding } = this.record
    const isHeld = outstanding.state(slot) === IN_FLIGHT && outstanding.member(slot) === memberId
    if (kind === Settle.ack) {
      // Late is better than never: the work is done, whoever has the message now.
      if (outstanding.attempt(slot) === 0) return false
      this.record.tally('acked')
      this.#settled(seq, slot)
      return true
    }
    if (!isHeld) return false
    const member = this.members.get(memberId)
    if (kind === Settle.working) {
      outstanding.extend(slot, this.#host.nowMs + this.options.ack_wait_ms)
      return true
    }
    if (kind === Settle.nack) this.#failed(seq, slot, member, reason, delayMs)
    else {
      this.#noteFailure(seq, member, reason)
      this.#giveUp(seq, slot, 'term')
    }
    return true
  }

  /** An attempt came to nothing: it waits for the next, or was the last. */
  #failed(
    seq: number,
    slot: number,
    member: Member | undefined,
    error: string,
    delayMs: number | undefined,
  ): void {
    const { outstanding } = this.record
    this.#noteFailure(seq, member, error)
    this.#release(slot)
    const attempt = outstanding.attempt(slot)
    if (attempt >= this.options.max_deliver) {
      this.#giveUp(seq, slot, 'max_deliver')
      return
    }
    const delay = delayMs ?? this.#backoffMs(this.options.backoff, attempt)
    const dueMs = this.#host.nowMs + delay
    outstanding.wait(slot, dueMs)
    if (delay === 0) this.#makeReady(seq)
    else this.#dueAt(dueMs)
  }

  #dueAt(dueMs: number): void {
    if (dueMs >= this.#earliestDueMs) return
    this.#earliestDueMs = dueMs
    this.#host.dueAt(dueMs)
  }

  #backoffMs(backoff: Backoff, attempt: number): number {
    return backoffDelayMs(backoff, Math.max(1, attempt), this.#host.random())
  }

  #noteFailure(seq: number, member: Member | undefined, error: string): void {
    const failures = this.#failures.get(seq) ?? []
    if (failures.length === HISTORY_MAX) failures.shift()
    failures.push({ atMs: this.#host.nowMs, member: member?.name ?? '', error })
    this.#failures.set(seq, failures)
  }

  /** To the dead letters; when there is no room for it, it waits for some. */
  #giveUp(seq: number, slot: number, reason: DeadLetter['reason']): void {
    const { outstanding } = this.record
    const attempts = outstanding.attempt(slot)
    const isHeld = seq >= this.log.firstSeq
    const failures = this.#failures.get(seq) ?? []
    if (isHeld && !this.#host.bury(this, slot, { seq, reason, attempts, failures })) {
      this.#release(slot)
      const dueMs = this.#host.nowMs + DEAD_LETTER_RETRY_MS
      outstanding.wait(slot, dueMs)
      this.#dueAt(dueMs)
      return
    }
    if (isHeld) this.record.tally('dead_lettered')
    else this.#host.lost(this, seq, seq, 1)
    this.#settled(seq, slot)
  }

  /** The group is done with it. */
  #settled(seq: number, slot: number): void {
    this.#release(slot)
    this.record.outstanding.settle(seq, slot)
    this.#failures.delete(seq)
    this.#isReady.delete(seq)
    this.#lineup.settled(seq)
  }

  /** Its member has it no more. */
  #release(slot: number): void {
    const { outstanding } = this.record
    if (outstanding.state(slot) !== IN_FLIGHT) return
    const member = this.members.get(outstanding.member(slot))
    if (member === undefined) return
    member.inFlight--
    member.inFlightBytes -= outstanding.bytes(slot)
  }

  #makeReady(seq: number): void {
    this.#isReady.add(seq)
    if (!this.#lineup.again(seq)) this.#ready.push(seq)
  }

  /** A redelivery, or what stands first in line. undefined: there is none for this member; false: no room. */
  #giveOne(member: Member): boolean | undefined {
    const { outstanding } = this.record
    for (;;) {
      const isRedelivery = this.#ready.length > 0
      const seq = isRedelivery ? this.#ready.shift() : this.#lineup.take(member.id)
      if (seq === undefined) return undefined
      const slot = outstanding.find(seq)
      // Settled while it stood in line.
      if (slot === undefined || outstanding.state(slot) === IN_FLIGHT) continue
      this.#isReady.delete(seq)
      if (seq < this.log.firstSeq) {
        this.#host.lost(this, seq, seq, 1)
        this.#settled(seq, slot)
        continue
      }
      if (this.#host.isExpired(this, seq)) {
        this.#expire(seq, slot)
        continue
      }
      // It could not be buried before, or a new option says that it has had enough.
      if (outstanding.attempt(slot) >= this.options.max_deliver) {
        this.#giveUp(seq, slot, 'max_deliver')
        continue
      }
      if (this.#send(member, seq, seq, outstanding.attempt(slot) + 1) === NO_ROOM) {
        this.#makeReady(seq) // A little out of its turn, but not lost.
        return false
      }
      this.#noteDelivered(member, slot)
      return true
    }
  }

  /** Entries that nobody had yet, straight from the log. */
  #giveRun(member: Member): boolean | undefined {
    const { log, record } = this
    const { outstanding, cursor } = record
    const open = this.options.window - outstanding.size
    const backlog = log.lastSeq - cursor + 1
    if (open <= 0 || backlog <= 0) return undefined
    const withCredit = this.#order.reduce((count, { credit }) => count + (credit > 0 ? 1 : 0), 0)
    const share = Math.ceil(backlog / withCredit)
    const most = Math.min(share, member.credit, open, RUN_MAX)
    const maxBytes = Math.min(RUN_BYTES_MAX, member.creditBytes)
    const last = log.runFrom(cursor, cursor + most - 1, maxBytes)
    let taken = cursor - 1
    for (let seq = cursor; seq <= last; seq++) {
      if (outstanding.tryAdd(seq, QUEUED, log.endOf(seq) - log.offsetOf(seq)) < 0) break
      taken = seq
    }
    if (taken < cursor) return undefined // No memory for the table: what is under way comes first.
    const sent = this.#send(member, cursor, taken, 1)
    for (let seq = cursor; seq <= taken; seq++) {
      const slot = outstanding.find(seq) as number
      if (seq <= sent) this.#noteDelivered(member, slot)
      else outstanding.settle(seq, slot)
    }
    if (sent === NO_ROOM) return false
    record.cursor = sent + 1
    return true
  }

  #send(member: Member, first: number, last: number, attempt: number): number {
    const dueMs = this.#host.nowMs + this.options.ack_wait_ms
    return this.#host.deliver(this, member, first, last, attempt, dueMs)
  }

  #noteDelivered(member: Member, slot: number): void {
    const { outstanding } = this.record
    const dueMs = this.#host.nowMs + this.options.ack_wait_ms
    outstanding.deliver(slot, member.id, dueMs, this.#host.batch)
    member.inFlight++
    member.inFlightBytes += outstanding.bytes(slot)
    this.#dueAt(dueMs)
    this.record.tally(outstanding.attempt(slot) > 1 ? 'redelivered' : 'delivered')
  }

  #expire(seq: number, slot: number): void {
    this.record.tally('expired')
    if (this.options.dead_letter_expired) this.#giveUp(seq, slot, 'expired')
    else this.#settled(seq, slot)
  }

  /** Takes new entries and puts them in line. */
  #classify(): void {
    const { log, record } = this
    const { outstanding } = record
    const end = Math.min(log.lastSeq, record.cursor + CLASSIFY_MAX - 1)
    let seq = record.cursor
    for (; seq <= end && outstanding.size < this.options.window; seq++) {
      if (seq > record.cursor && !this.#host.mayClassify) break
      const { isSkipped, key, priority } = this.#host.classify(this, seq)
      if (isSkipped) continue
      const bytes = log.endOf(seq) - log.offsetOf(seq)
      if (outstanding.tryAdd(seq, QUEUED, bytes) < 0) break
      this.#lineUp(seq, key, priority)
    }
    record.cursor = seq
  }

  #lineUp(seq: number, key: string | undefined, priority: Priority): void {
    if (this.isOrdered && key !== undefined) this.#lineup.pushKeyed(seq, key)
    else this.#lineup.push(seq, priority)
  }

  /** The log went on without the group. */
  #skipLost(firstSeq: number): void {
    const { record } = this
    const from = record.cursor
    record.cursor = firstSeq
    this.#host.lost(this, from, firstSeq - 1, firstSeq - from)
  }

  #takeOver(committedBatch: number): void {
    const { outstanding, cursor } = this.record
    const inOrder = [...outstanding.entries()].sort(([one], [other]) => one - other)
    for (const [seq, slot] of inOrder) {
      if (seq >= cursor) {
        outstanding.settle(seq, slot) // Taken, but the cursor never passed it.
        continue
      }
      if (((outstanding.batch(slot) - committedBatch) | 0) > 0) outstanding.undeliver(slot)
      const state = outstanding.state(slot)
      const isHeld = seq >= this.log.firstSeq
      const found = isHeld ? this.#host.classify(this, seq) : undefined
      const key = this.isOrdered ? found?.key : undefined
      if (state === QUEUED) this.#lineUp(seq, key, found?.priority ?? NORMAL)
      else if (key !== undefined) this.#lineup.claim(seq, key)
      if (state === WAITING) {
        this.#dueAt(outstanding.dueMs(slot))
      }
      if (state !== IN_FLIGHT) continue
      const member = this.members.get(outstanding.member(slot))
      if (member === undefined) {
        outstanding.wait(slot, 0)
        this.#dueAt(0)
        continue
      }
      member.inFlight++
      member.inFlightBytes += outstanding.bytes(slot)
      this.#dueAt(outstanding.dueMs(slot))
    }
  }
}
