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
 *                       WAITING ──attempts used up, term, expired──► dead letter
 *                                        └── no room for it ──► DOOMED ──┘
 *
 * What a thread that dies leaves behind is what the table says: deliveries of a batch that was never
 * committed were never sent, and are taken back.
 */
import { backoffDelayMs, type GroupOptions } from '../protocol/group-options.js'
import { Failures } from './failures.js'
import {
  type DeadLetter,
  Dispatched,
  type GroupHost,
  type GroupLog,
  NO_ROOM,
  Settle,
  type SettleKind,
} from './group-host.js'
import type { GroupRecord } from './group-table.js'
import { NORMAL } from './lineup.js'
import type { Member } from './member.js'
import { DOOMED, IN_FLIGHT, QUEUED, WAITING } from './outstanding.js'
import { Queue } from './queue.js'

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
/** Why a message is given up, by the number in its slot. */
const REASONS: readonly DeadLetter['reason'][] = ['max_deliver', 'term', 'expired']

export class Group {
  readonly record: GroupRecord
  readonly log: GroupLog
  readonly members = new Map<number, Member>()
  options: GroupOptions
  /** True while it stands in the list of those that may have something to deliver. */
  isAwake = false
  readonly #host: GroupHost
  readonly #queue = new Queue()
  readonly #failures = new Failures()
  #order: Member[] = []
  #turn = 0
  /** No deadline and no delay ends before this. */
  #earliestDueMs = Number.POSITIVE_INFINITY
  /** Entries have expired that have yet to go to the dead letters. */
  #hasExpired = false

  /** `members` are those that a predecessor knew. */
  constructor(host: GroupHost, record: GroupRecord, log: GroupLog, members: readonly Member[]) {
    this.#host = host
    this.record = record
    this.log = log
    this.options = record.options
    for (const member of members) this.members.set(member.id, member)
    this.#membersChanged()
    this.#takeOver()
  }

  get isOrdered(): boolean {
    return this.options.ordered === 'key'
  }

  /** All seqs up to here are settled. */
  get ackFloor(): number {
    return (this.record.outstanding.lowest() ?? this.record.cursor) - 1
  }

  /** The log keeps entries from here on even if they have expired. */
  get holdsFrom(): number {
    return this.options.dead_letter_expired ? this.ackFloor + 1 : Number.POSITIVE_INFINITY
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
    if (record.cursor < log.firstSeq) this.#skipGone(log.firstSeq)
    if (this.#hasExpired) this.#buryExpired()
    if (record.isPaused || this.members.size === 0) {
      return this.#hasExpired ? Dispatched.more : Dispatched.done
    }
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
    return isSorted && (this.#hasMore || this.#hasExpired) ? Dispatched.more : Dispatched.done
  }

  /** Looks at deadlines and delays. */
  tick(): void {
    const { nowMs } = this.#host
    if (nowMs < this.#earliestDueMs) return
    const { outstanding } = this.record
    let earliest = Number.POSITIVE_INFINITY
    let hasRoom = true // With the dead letters: who finds none tries again later, and so do all others.
    for (const [seq, slot] of [...outstanding.entries()]) {
      const state = outstanding.state(slot)
      if (state === QUEUED) continue
      if (outstanding.dueMs(slot) <= nowMs) {
        if (state === IN_FLIGHT) {
          const member = this.members.get(outstanding.member(slot))
          this.#failed(seq, slot, member, 'no ack in time', undefined)
        } else if (state === WAITING) this.#queue.again(seq)
        else if (hasRoom) hasRoom = this.#giveUp(seq, slot, this.#reasonOf(slot))
        else outstanding.extend(slot, nowMs + DEAD_LETTER_RETRY_MS)
      }
      // It may be settled by now.
      if (outstanding.find(seq) !== slot) continue
      const dueMs = outstanding.dueMs(slot)
      if (dueMs > nowMs) earliest = Math.min(earliest, dueMs)
    }
    this.#earliestDueMs = Math.max(earliest, nowMs + DEADLINE_GRAIN_MS)
  }

  /** Entries of the topic have expired: before the log drops them, some go to the dead letters. */
  onExpired(): void {
    this.#hasExpired = this.options.dead_letter_expired
    if (this.#hasExpired) this.#buryExpired()
  }

  /** Changes what the group does. */
  update(options: GroupOptions): void {
    const { ordered } = this.options
    this.options = options
    this.record.options = options
    this.#hasExpired = options.dead_letter_expired
    if (options.ordered !== ordered) this.#lineUpAll()
  }

  /** Forgets everything under way and begins again at `seq`. */
  reset(seq: number): void {
    const { outstanding } = this.record
    for (const [outstandingSeq, slot] of [...outstanding.entries()]) {
      outstanding.settle(outstandingSeq, slot)
    }
    this.record.cursor = seq
    this.record.loss.forgetNoted()
    this.#queue.clear()
    this.#failures.clear()
    for (const member of this.members.values()) {
      member.inFlight = 0
      member.inFlightBytes = 0
    }
    this.#earliestDueMs = Number.POSITIVE_INFINITY
    this.#hasExpired = this.options.dead_letter_expired
  }

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
    this.#queue.setMembers([...this.members.keys()])
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
    else if (kind === Settle.release) this.#takeBack(seq, slot)
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
    const attempt = outstanding.attempt(slot)
    if (attempt >= this.options.max_deliver) {
      this.#giveUp(seq, slot, 'max_deliver')
      return
    }
    if (this.#isExpired(seq)) {
      this.#expire(seq, slot)
      return
    }
    const delay = delayMs ?? backoffDelayMs(this.options.backoff, attempt, this.#host.random())
    const dueMs = this.#host.nowMs + delay
    this.#release(slot)
    outstanding.wait(slot, dueMs)
    if (delay === 0) this.#queue.again(seq)
    else this.#dueAt(dueMs)
  }

  /** Its member never looked at it: it goes to others at once, as if it had not been delivered. */
  #takeBack(seq: number, slot: number): void {
    this.#release(slot)
    this.record.outstanding.release(slot)
    this.#queue.again(seq)
  }

  #dueAt(dueMs: number): void {
    if (dueMs >= this.#earliestDueMs) return
    this.#earliestDueMs = dueMs
    this.#host.dueAt(dueMs)
  }

  #noteFailure(seq: number, member: Member | undefined, error: string): void {
    const { nowMs } = this.#host
    this.#failures.note(seq, { atMs: nowMs, member: member?.name ?? '', error })
  }

  /** To the dead letters. False when there is no room for it: then it waits for some. */
  #giveUp(seq: number, slot: number, reason: DeadLetter['reason']): boolean {
    const { outstanding } = this.record
    if (seq < this.log.firstSeq) {
      this.#gone(seq, slot)
      return true
    }
    const attempts = outstanding.attempt(slot)
    const failures = this.#failures.of(seq)
    const isBuried = this.#host.bury(this, slot, { seq, reason, attempts, failures })
    if (isBuried) {
      this.record.tally('dead_lettered')
      this.#settled(seq, slot)
      return true
    }
    this.#release(slot)
    const dueMs = this.#host.nowMs + DEAD_LETTER_RETRY_MS
    outstanding.doom(slot, dueMs, REASONS.indexOf(reason))
    this.#dueAt(dueMs)
    return false
  }

  #reasonOf(slot: number): DeadLetter['reason'] {
    return REASONS[this.record.outstanding.doomedFor(slot)] ?? 'max_deliver'
  }

  /** The log has dropped it. */
  #gone(seq: number, slot: number): void {
    if (seq > this.log.lostTo) this.record.tally('expired')
    else this.#lose(seq, seq)
    this.#settled(seq, slot)
  }

  #lose(first: number, last: number): void {
    const count = this.record.loss.note(first, last, this.#host.committedBatch)
    this.record.tally('lost', count)
    this.#host.lost(this, count)
  }

  /** The group is done with it. */
  #settled(seq: number, slot: number): void {
    this.#release(slot)
    this.record.outstanding.settle(seq, slot)
    this.#failures.forget(seq)
    this.#queue.settled(seq)
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

  /** A redelivery, or what stands first in line. undefined: there is none for this member; false: no room. */
  #giveOne(member: Member): boolean | undefined {
    const { outstanding } = this.record
    for (;;) {
      const seq = this.#queue.next(member.id)
      if (seq === undefined) return undefined
      const slot = outstanding.find(seq)
      if (slot === undefined) {
        this.#queue.settled(seq) // While it stood in line.
        continue
      }
      if (!this.#mayGo(slot)) continue
      if (seq < this.log.firstSeq) {
        this.#gone(seq, slot)
        continue
      }
      if (this.#host.isExpired(this, seq)) {
        this.#expire(seq, slot)
        continue
      }
      // A new option says that it has had enough.
      if (outstanding.attempt(slot) >= this.options.max_deliver) {
        this.#giveUp(seq, slot, 'max_deliver')
        continue
      }
      if (this.#send(member, seq, seq, outstanding.attempt(slot) + 1) === NO_ROOM) {
        this.#queue.again(seq) // A little out of its turn, but not lost.
        return false
      }
      this.#noteDelivered(member, slot)
      return true
    }
  }

  /** False for what stands in a line by its key and is under way already. */
  #mayGo(slot: number): boolean {
    const { outstanding } = this.record
    const state = outstanding.state(slot)
    return state === QUEUED || (state === WAITING && outstanding.dueMs(slot) <= this.#host.nowMs)
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
      if (outstanding.tryAdd(seq, QUEUED, log.endOf(seq) - log.offsetOf(seq), 0) < 0) break
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
    return this.#host.deliver(this, { member, first, last, attempt, dueMs })
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

  #isExpired(seq: number): boolean {
    return seq >= this.log.firstSeq && this.#host.isExpired(this, seq)
  }

  /** False when it should be with the dead letters and there is no room. */
  #expire(seq: number, slot: number): boolean {
    this.record.tally('expired')
    if (this.options.dead_letter_expired) return this.#giveUp(seq, slot, 'expired')
    this.#settled(seq, slot)
    return true
  }

  /** Looks at everything that no member has, as far as the window and one batch go. */
  #buryExpired(): void {
    const { record, log } = this
    const { outstanding, cursor } = record
    if (this.#isSorted) this.#classify()
    this.#hasExpired = false
    for (const [seq, slot] of [...outstanding.entries()]) {
      const state = outstanding.state(slot)
      if (state === IN_FLIGHT || state === DOOMED || !this.#isExpired(seq)) continue
      if (!this.#expire(seq, slot)) return // The others wait until that one has found room.
    }
    const isOpen = outstanding.size < this.options.window
    this.#hasExpired = isOpen && record.cursor > cursor && record.cursor <= log.lastSeq
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
      if (outstanding.tryAdd(seq, QUEUED, bytes, key) < 0) break
      this.#queue.push(seq, this.isOrdered ? key : 0, priority)
    }
    record.cursor = seq
  }

  /** The log went on without the group: what it lost, and behind that what had expired. */
  #skipGone(firstSeq: number): void {
    const { record, log } = this
    const from = record.cursor
    const lostTo = Math.min(Math.max(log.lostTo, from - 1), firstSeq - 1)
    if (lostTo >= from) this.#lose(from, lostTo)
    record.tally('expired', firstSeq - 1 - lostTo)
    record.cursor = firstSeq
  }

  #takeOver(): void {
    const { outstanding, cursor } = this.record
    const { committedBatch } = this.#host
    for (const [seq, slot] of [...outstanding.entries()]) {
      if (seq >= cursor) {
        outstanding.settle(seq, slot) // Taken, but the cursor never passed it.
        continue
      }
      if (((outstanding.batch(slot) - committedBatch) | 0) > 0) outstanding.undeliver(slot)
      if (outstanding.state(slot) !== IN_FLIGHT) continue
      const member = this.members.get(outstanding.member(slot))
      if (member === undefined) {
        outstanding.wait(slot, 0)
        continue
      }
      member.inFlight++
      member.inFlightBytes += outstanding.bytes(slot)
    }
    this.#hasExpired = this.options.dead_letter_expired
    this.#lineUpAll()
  }

  /** Makes the lines again, from what is outstanding. */
  #lineUpAll(): void {
    const { outstanding } = this.record
    this.#queue.clear()
    for (const [seq, slot] of [...outstanding.entries()].sort(([one], [other]) => one - other)) {
      const key = this.isOrdered ? outstanding.key(slot) : 0
      if (outstanding.state(slot) === QUEUED) {
        const isHeld = seq >= this.log.firstSeq
        this.#queue.push(seq, key, isHeld ? this.#host.classify(this, seq).priority : NORMAL)
        continue
      }
      if (key !== 0) this.#queue.claim(seq, key)
      this.#dueAt(outstanding.dueMs(slot))
    }
  }
}
