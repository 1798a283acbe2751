/**
 * What a shard notes while it works, so that its successor can tell done from not done.
 * Runs on: the shard. Owns: the journal in the shard's control block; nobody reads it while the
 * thread lives, so the stores need an order (they have program order) but no other thread.
 *
 *   A batch is a transaction: the gateway sees the acks and replies of a batch, and gets the room of
 *   its records back, all at once or not at all.
 *
 *     per record   begin() → work → applied() → end()       the result is kept: a first seq, and so on
 *     per append   commitAppend() → log.commit() → appendDone()
 *     per move     intend() → commitMove() → log.commit() → appendDone() → source is done → intentDone()
 *     per batch    commitBatch() → tail, head → batchDone()
 *
 * A successor that finds a batch begun runs its records again from the first; those that were
 * applied are not applied again but answered from their results. So nothing is stored twice,
 * nothing that was stored is left without its ack, and no ack is sent twice. It may take several
 * batches for that: what they read has grown since, and may not fit the outbound ring at once.
 */
import type { SharedViews } from '../ring/layout.js'
import { BATCH_RECORDS_MAX, JOURNAL } from '../shared-memory.js'

/** int32 fields, as steps from the start of the journal. */
const APPLIED = 0
const REDO_SLOT = 1
const REDO_ORDINAL = 2
const REDO_TAIL = 3
const REDO_PAD_START = 4
const PUBLISHING = 5
const PUBLISH_TAIL = 6
const PUBLISH_HEAD = 7
const AT_WORK = 8
const AT_WORK_POSITION = 9
const CRASH_POSITION = 10
const CRASHES = 11
const NEXT_TOPIC_ID = 12
/** Records of the batch whose answers are out already: the results of the others stand behind theirs. */
const ANSWERED = 13
const PUBLISH_ANSWERED = 14
/** A message that moves inside the shard: kind (0: none), where it comes from, slot of the topic it goes to. */
const INTENT_KIND = 20
const INTENT_SOURCE = 21
const INTENT_SLOT = 22
/** The newest batch with deliveries to groups that was made visible, and the one that is about to be; wraps. */
const DELIVERED_BATCH = 15
const PUBLISH_DELIVERED_BATCH = 23
/** float64 fields, as steps of 8 bytes from the start of the journal. */
const REDO_LAST_SEQ = 8
const REDO_TIME_MS = 9
const INTENT_SEQ = 12
const INTENT_A = 13
const INTENT_B = 14
const RESULTS = 16

/** A record that was at work when its shard died this often is set aside. */
const CRASHES_MAX = 2

const NO_SLOT = -1
/** In REDO_ORDINAL: the append belongs to no record, it counts as soon as its slot is noted. */
const OF_NO_RECORD = -1

export interface Redo {
  readonly slot: number
  readonly tail: number
  readonly padStart: number
  readonly lastSeq: number
  readonly timeMs: number
}

/** A move that was begun; source, a and b are as the kind of move has them. */
export interface Intent {
  readonly kind: number
  readonly source: number
  readonly a: number
  readonly b: number
  /** Where it goes, and the seq it has there if it has arrived. */
  readonly slot: number
  readonly seq: number
}

export class Journal {
  readonly #ints: Int32Array
  readonly #floats: Float64Array
  readonly #i = JOURNAL >> 2
  readonly #f = JOURNAL >> 3

  constructor(views: SharedViews) {
    this.#ints = views.ints
    this.#floats = views.floats
  }

  /** A record at this ring position is being worked on. */
  begin(position: number): void {
    this.#ints[this.#i + AT_WORK_POSITION] = position
    this.#ints[this.#i + AT_WORK] = 1
  }

  /** The next record of the batch has had its effect; `result` is what its answer is made from. */
  applied(ordinal: number, result: number): void {
    const index = this.#answered + ordinal
    this.#floats[this.#f + RESULTS + index] = result
    Atomics.store(this.#ints, this.#i + APPLIED, index + 1)
  }

  /** The record is finished; a thread that dies now did not die of it. */
  end(): void {
    this.#ints[this.#i + AT_WORK] = 0
  }

  /** Records of the current batch that have had their effect. */
  get appliedCount(): number {
    return (this.#ints[this.#i + APPLIED] as number) - this.#answered
  }

  /** Records applied, counted from where an earlier batch answered some: as recordNumber() counts. */
  get appliedTotal(): number {
    return this.#ints[this.#i + APPLIED] as number
  }

  /** The number, from 1, of a record of this batch. */
  recordNumber(ordinal: number): number {
    return this.#answered + ordinal + 1
  }

  /** Records that the current batch may have. */
  get recordsMax(): number {
    return BATCH_RECORDS_MAX - this.#answered
  }

  resultOf(ordinal: number): number {
    return this.#floats[this.#f + RESULTS + this.#answered + ordinal] as number
  }

  /**
   * Commits an append: notes what log.commit() will store, then marks the record as applied. Once
   * this returns the append stands, even if the thread dies before log.commit() ran.
   */
  commitAppend(
    ordinal: number,
    result: number,
    slot: number,
    tail: number,
    padStart: number,
    lastSeq: number,
    timeMs: number,
  ): void {
    this.#ints[this.#i + REDO_TAIL] = tail
    this.#ints[this.#i + REDO_PAD_START] = padStart
    this.#floats[this.#f + REDO_LAST_SEQ] = lastSeq
    this.#floats[this.#f + REDO_TIME_MS] = timeMs
    this.#ints[this.#i + REDO_ORDINAL] = this.#answered + ordinal + 1
    this.#ints[this.#i + REDO_SLOT] = slot
    this.applied(ordinal, result)
  }

  /** A message is about to move to the topic of this slot, where it will have this seq. */
  intend({ kind, source, a, b, slot, seq }: Intent): void {
    this.#ints[this.#i + INTENT_SOURCE] = source
    this.#ints[this.#i + INTENT_SLOT] = slot
    this.#floats[this.#f + INTENT_SEQ] = seq
    this.#floats[this.#f + INTENT_A] = a
    this.#floats[this.#f + INTENT_B] = b
    Atomics.store(this.#ints, this.#i + INTENT_KIND, kind)
  }

  /** Commits the append of a move: as commitAppend(), for no record. */
  commitMove(slot: number, tail: number, padStart: number, lastSeq: number, timeMs: number): void {
    this.#ints[this.#i + REDO_TAIL] = tail
    this.#ints[this.#i + REDO_PAD_START] = padStart
    this.#floats[this.#f + REDO_LAST_SEQ] = lastSeq
    this.#floats[this.#f + REDO_TIME_MS] = timeMs
    this.#ints[this.#i + REDO_ORDINAL] = OF_NO_RECORD
    Atomics.store(this.#ints, this.#i + REDO_SLOT, slot)
  }

  /** The move is over: it arrived and its source knows, or it never began. */
  intentDone(): void {
    Atomics.store(this.#ints, this.#i + INTENT_KIND, 0)
  }

  pendingIntent(): Intent | undefined {
    const kind = this.#ints[this.#i + INTENT_KIND] as number
    if (kind === 0) return undefined
    return {
      kind,
      source: this.#ints[this.#i + INTENT_SOURCE] as number,
      a: this.#floats[this.#f + INTENT_A] as number,
      b: this.#floats[this.#f + INTENT_B] as number,
      slot: this.#ints[this.#i + INTENT_SLOT] as number,
      seq: this.#floats[this.#f + INTENT_SEQ] as number,
    }
  }

  /** log.commit() has run. */
  appendDone(): void {
    this.#ints[this.#i + REDO_SLOT] = NO_SLOT
  }

  /** An append that was committed here but may not have reached its log. */
  pendingAppend(): Redo | undefined {
    const slot = this.#ints[this.#i + REDO_SLOT] as number
    const ordinal = this.#ints[this.#i + REDO_ORDINAL] as number
    const applied = this.#ints[this.#i + APPLIED] as number
    if (slot === NO_SLOT || ordinal === 0) return undefined
    if (ordinal !== OF_NO_RECORD && ordinal !== applied) return undefined
    return {
      slot,
      tail: this.#ints[this.#i + REDO_TAIL] as number,
      padStart: this.#ints[this.#i + REDO_PAD_START] as number,
      lastSeq: this.#floats[this.#f + REDO_LAST_SEQ] as number,
      timeMs: this.#floats[this.#f + REDO_TIME_MS] as number,
    }
  }

  /** Commits a batch: from here on both ring positions will be these, whoever stores them. */
  commitBatch(
    outboundTail: number,
    inboundHead: number,
    records: number,
    hasDeliveries: boolean,
  ): void {
    const batch = hasDeliveries ? this.batch : this.deliveredBatch
    this.#ints[this.#i + PUBLISH_DELIVERED_BATCH] = batch
    const answered = this.#answered + records
    const applied = this.#ints[this.#i + APPLIED] as number
    this.#ints[this.#i + PUBLISH_ANSWERED] = answered < applied ? answered : 0
    this.#ints[this.#i + PUBLISH_TAIL] = outboundTail
    this.#ints[this.#i + PUBLISH_HEAD] = inboundHead
    Atomics.store(this.#ints, this.#i + PUBLISHING, 1)
  }

  /** Both positions are stored; the next batch starts with nothing applied but what is left over. */
  batchDone(): void {
    const answered = this.#ints[this.#i + PUBLISH_ANSWERED] as number
    if (answered === 0) Atomics.store(this.#ints, this.#i + APPLIED, 0)
    this.#ints[this.#i + ANSWERED] = answered
    this.#ints[this.#i + AT_WORK] = 0
    const delivered = this.#ints[this.#i + PUBLISH_DELIVERED_BATCH] as number
    this.#ints[this.#i + DELIVERED_BATCH] = delivered
    Atomics.store(this.#ints, this.#i + PUBLISHING, 0)
  }

  /** What deliveries of the batch at hand are stamped with: int32, wraps. */
  get batch(): number {
    return (this.deliveredBatch + 1) | 0
  }

  /** Deliveries stamped with a later batch than this were never sent. */
  get deliveredBatch(): number {
    return this.#ints[this.#i + DELIVERED_BATCH] as number
  }

  /** The positions of a batch that was committed but perhaps not stored. */
  pendingBatch(): { outboundTail: number; inboundHead: number } | undefined {
    if (this.#ints[this.#i + PUBLISHING] !== 1) return undefined
    return {
      outboundTail: this.#ints[this.#i + PUBLISH_TAIL] as number,
      inboundHead: this.#ints[this.#i + PUBLISH_HEAD] as number,
    }
  }

  /** Called once by a successor: notes which record its predecessor died of, if any. */
  countCrash(): void {
    if (this.#ints[this.#i + AT_WORK] !== 1) return
    const position = this.#ints[this.#i + AT_WORK_POSITION] as number
    const isSame =
      this.#ints[this.#i + CRASH_POSITION] === position &&
      (this.#ints[this.#i + CRASHES] as number) > 0
    const crashes = isSame ? (this.#ints[this.#i + CRASHES] as number) + 1 : 1
    this.#ints[this.#i + CRASH_POSITION] = position
    this.#ints[this.#i + CRASHES] = crashes
    this.#ints[this.#i + AT_WORK] = 0
  }

  /** True for a record that has killed its shard too often. */
  isPoison(position: number): boolean {
    return (
      (this.#ints[this.#i + CRASHES] as number) >= CRASHES_MAX &&
      this.#ints[this.#i + CRASH_POSITION] === position
    )
  }

  /** How often the record that is poison has killed its shard. */
  get crashes(): number {
    return this.#ints[this.#i + CRASHES] as number
  }

  /** The poison is behind us: its position may come again with another record. */
  forgetCrashes(): void {
    this.#ints[this.#i + CRASHES] = 0
  }

  /** Topic ids are not used twice, not even after the topic and the thread are gone. */
  takeTopicId(): number {
    const id = (this.#ints[this.#i + NEXT_TOPIC_ID] as number) + 1
    this.#ints[this.#i + NEXT_TOPIC_ID] = id
    return id
  }

  get #answered(): number {
    return this.#ints[this.#i + ANSWERED] as number
  }
}
