/**
 * One consumer group of one topic: every entry goes to one member, again and again until somebody
 * acks it, it expires, or it is given up as dead (ledger.ts).
 * Runs on: the shard. Owns: the group's slot in shared memory, and whose turn it is.
 *
 *            ┌──► classify: filter, key, priority (only groups and topics that use them)
 *            │                │
 *   log ─► cursor             ▼
 *            └──────────► member with credit, one after the other
 *
 * What a thread that dies leaves behind is what the table says: deliveries of a batch that was never
 * committed were never sent, and are taken back.
 */
import type { GroupOptions } from '../protocol/group-options.js'
import {
  Dispatched,
  type GroupHost,
  type GroupLog,
  NO_ROOM,
  Settle,
  type SettleKind,
} from './group-host.js'
import type { GroupRecord } from './group-table.js'
import { Ledger } from './ledger.js'
import type { Member } from './member.js'
import { DOOMED, IN_FLIGHT, QUEUED, WAITING } from './outstanding.js'

/** Entries classified in one go, so that one group does not hold up the others. */
const CLASSIFY_MAX = 1024
/** Entries of one delivery. */
const RUN_MAX = 256
/** Bytes of one delivery; a single larger entry still goes. */
const RUN_BYTES_MAX = 128 * 1024

export class Group {
  readonly record: GroupRecord
  readonly log: GroupLog
  readonly members = new Map<number, Member>()
  options: GroupOptions
  /** True while it stands in the list of those that may have something to deliver. */
  isAwake = false
  readonly #host: GroupHost
  readonly #ledger: Ledger
  #order: Member[] = []
  #turn = 0
  /** Entries have expired that have yet to go to the dead letters. */
  #hasExpired = false
  /** One of them found no room there: the others are looked at again when that one is. */
  #isHeldUp = false

  /** `members` are those that a predecessor knew. */
  constructor(host: GroupHost, record: GroupRecord, log: GroupLog, members: readonly Member[]) {
    this.#host = host
    this.record = record
    this.log = log
    this.options = record.options
    this.#hasExpired = this.options.dead_letter_expired
    this.#ledger = new Ledger(host, this)
    for (const member of members) this.members.set(member.id, member)
    this.#membersChanged()
    this.#ledger.takeOver()
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
    return this.#ledger.nextDueMs
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
    for (const [seq, slot] of this.#heldBy(id).sort(([one], [other]) => one - other)) {
      this.#ledger.failed(seq, slot, member, 'the member left', 0)
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
      if (this.#ledger.settleOne(kind, memberId, seq, slot, delayMs, reason)) settled++
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
    let settled = 0
    for (const [seq, slot] of this.#heldBy(memberId)) {
      if (seq > last) continue
      if (this.#ledger.settleOne(Settle.ack, memberId, seq, slot, undefined, '')) settled++
    }
    return settled
  }

  /** Gives members what they may have. */
  dispatch(): Dispatched {
    const { record } = this
    this.#skipGone()
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
    if (this.#ledger.tick() && this.#isHeldUp) this.#hasExpired = this.options.dead_letter_expired
  }

  /** Entries of the topic have expired: before the log drops them, some go to the dead letters. */
  onExpired(): void {
    this.#hasExpired = this.options.dead_letter_expired
    if (!this.#hasExpired) return
    this.#skipGone()
    this.#buryExpired()
  }

  /** Changes what the group does. */
  update(options: GroupOptions): void {
    const { ordered } = this.options
    this.options = options
    this.record.options = options
    this.#hasExpired = options.dead_letter_expired
    if (options.ordered !== ordered) this.#ledger.lineUpAll()
  }

  /** Forgets everything under way and begins again at `seq`. */
  reset(seq: number): void {
    this.#ledger.clear()
    this.record.cursor = seq
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

  /** [seq, slot] of what this member has. A slot also names who had it last, and may not even have seen it. */
  #heldBy(memberId: number): [number, number][] {
    const { outstanding } = this.record
    return [...outstanding.entries()].filter(
      ([, slot]) => outstanding.state(slot) === IN_FLIGHT && outstanding.member(slot) === memberId,
    )
  }

  #membersChanged(): void {
    this.#order = [...this.members.values()]
    this.#turn = 0
    this.#ledger.queue.setMembers([...this.members.keys()])
  }

  /** A redelivery, or what stands first in line. undefined: there is none for this member; false: no room. */
  #giveOne(member: Member): boolean | undefined {
    const { outstanding } = this.record
    for (;;) {
      const seq = this.#ledger.queue.next(member.id)
      if (seq === undefined) return undefined
      const slot = outstanding.find(seq)
      if (slot === undefined) {
        this.#ledger.queue.settled(seq) // While it stood in line.
        continue
      }
      if (!this.#mayGo(slot)) continue
      if (seq < this.log.firstSeq) {
        this.#ledger.gone(seq, slot)
        continue
      }
      if (this.#host.isExpired(this, seq)) {
        this.#ledger.expire(seq, slot)
        continue
      }
      // A new option says that it has had enough.
      if (outstanding.attempt(slot) >= this.options.max_deliver) {
        this.#ledger.giveUp(seq, slot, 'max_deliver')
        continue
      }
      if (this.#send(member, seq, seq, outstanding.attempt(slot) + 1) === NO_ROOM) {
        this.#ledger.queue.again(seq) // A little out of its turn, but not lost.
        return false
      }
      this.#ledger.noteDelivered(member, slot)
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
      if (seq <= sent) this.#ledger.noteDelivered(member, slot)
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

  /** What the log has dropped cannot be taken from it any more. */
  #skipGone(): void {
    const { log, record } = this
    if (record.cursor < log.firstSeq) this.#ledger.skipGone(log.firstSeq)
  }

  /** After #skipGone(): looks at everything that no member has, as far as the window and one batch go. */
  #buryExpired(): void {
    const { record, log } = this
    const { outstanding, cursor } = record
    if (this.#isSorted) this.#classify()
    this.#hasExpired = false
    this.#isHeldUp = false
    for (const [seq, slot] of [...outstanding.entries()]) {
      const state = outstanding.state(slot)
      if (state === IN_FLIGHT || state === DOOMED || !this.#ledger.isExpired(seq)) continue
      if (this.#ledger.expire(seq, slot)) continue
      this.#isHeldUp = true
      return
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
      this.#ledger.queue.push(seq, this.isOrdered ? key : 0, priority)
    }
    record.cursor = seq
  }
}
