/**
 * Messages that move inside a shard: into a topic's log, from somewhere that must forget them then.
 * Runs on: the shard. Owns: nothing; the journal holds the one move that is under way.
 *
 *   1  room is made in the target, the entry is written behind its tail
 *   2  journal: intent (kind, source, target, seq it will have)
 *   3  journal: append committed (one store) → the log's tail moves
 *   4  the kind's finish(): the source forgets the message
 *   5  journal: intent over
 *
 * A successor that finds an intent looks whether the target got as far as the seq. If it did, the
 * source is finished; if not, nothing has moved and the source still has it. So a message moves once,
 * whenever the thread dies. finish() must do no harm when it runs twice, and may touch shared memory
 * only: what the thread keeps beside it is up to the caller, and is gone for a successor anyway.
 */
import assert from 'node:assert'
import { ARRAY_OF_7, writeEntryHeader } from '../log/entry.js'
import { newEntryProperties, readProperties } from '../log/entry-properties.js'
import { FEATURE_PROPERTIES, FEATURE_TTL } from '../log/slot.js'
import { NO_LOG_MEMORY, OVER_RETENTION } from '../log/topic-log.js'
import type { Journal } from './journal.js'
import type { Shard } from './shard.js'
import type { Topic } from './topics.js'

/** append() wants outbound room first: EVENTS of what it would drop have to leave. Again later. */
export const NOT_NOW = -4

/** In an intent: the move goes to no log. */
const NO_TOPIC = -1
/** Bytes of an entry before its body. */
const HEADER_BYTES_MAX = 19

/** Where a message comes from, in the words of its kind of move. */
export interface MoveSource {
  readonly source: number
  readonly a: number
  readonly b: number
}

type Finish = (from: MoveSource) => void

export class Moves {
  readonly #shard: Shard
  readonly #journal: Journal
  readonly #finishers = new Map<number, Finish>()
  readonly #properties = newEntryProperties()

  constructor(shard: Shard, journal: Journal) {
    this.#shard = shard
    this.#journal = journal
  }

  /** `kind` is a number above 0 that stays the same for ever. Before the shard takes over. */
  register(kind: number, finish: Finish): void {
    assert(kind > 0 && !this.#finishers.has(kind), `kind=${kind}`)
    this.#finishers.set(kind, finish)
  }

  /**
   * Moves one message to the end of `target`. `write` puts the body of the entry, from the encoding
   * on and of at most `bytes`, at its second argument and returns the offset behind it; the first is
   * where the entry begins, whose mark it changes to ARRAY_OF_7 if the body has properties.
   * Returns the seq, or OVER_RETENTION, NO_LOG_MEMORY or NOT_NOW when nothing has moved.
   */
  append(
    kind: number,
    from: MoveSource,
    target: Topic,
    bytes: number,
    write: (entry: number, body: number) => number,
  ): number {
    const shard = this.#shard
    const { log } = target
    const reserved = HEADER_BYTES_MAX + bytes
    if (!shard.makeWay(target, 1, reserved)) return NOT_NOW
    const entry = log.prepare(1, reserved)
    if (entry === OVER_RETENTION || entry === NO_LOG_MEMORY) return entry
    const seq = log.lastSeq + 1
    const timeMs = Math.max(shard.nowMs, log.lastTimeMs)
    const { buffer, view } = shard.views
    log.indexEntry(seq, entry)
    const end = write(entry, writeEntryHeader(view, entry, seq, timeMs))
    log.trim(reserved, end - entry)
    if (buffer[entry] === ARRAY_OF_7) {
      readProperties(buffer, entry, this.#properties)
      const ttl = this.#properties.ttlMs > 0 ? FEATURE_TTL : 0
      shard.noteFeatures(target, FEATURE_PROPERTIES | ttl)
    }
    const tail = log.preparedTail
    const padStart = log.preparedPadStart
    this.#journal.intend({ kind, ...from, slot: target.slot, seq })
    this.#journal.commitMove(target.slot, tail, padStart, seq, timeMs)
    log.commit(tail, padStart, seq, timeMs)
    this.#journal.appendDone()
    this.#finish(kind, from)
    this.#journal.intentDone()
    shard.appended(target, seq, 1)
    shard.stored(target, 1, end - entry)
    return seq
  }

  /**
   * A move to somewhere that is no log: `keep` makes it count by one store, and finish() has to see
   * from shared memory whether it did.
   */
  keep(kind: number, from: MoveSource, keep: () => void): void {
    this.#journal.intend({ kind, ...from, slot: NO_TOPIC, seq: 0 })
    keep()
    this.#finish(kind, from)
    this.#journal.intentDone()
  }

  /** Ends what a predecessor began; its append has been done again if it was committed. */
  takeOver(topicAt: (slot: number) => Topic | undefined): void {
    const intent = this.#journal.pendingIntent()
    if (intent === undefined) return
    const { kind, source, a, b, slot, seq } = intent
    const target = topicAt(slot)
    const hasArrived = target !== undefined && target.log.lastSeq >= seq
    if (hasArrived || slot === NO_TOPIC) this.#finish(kind, { source, a, b })
    this.#journal.intentDone()
  }

  #finish(kind: number, from: MoveSource): void {
    const finish = this.#finishers.get(kind)
    assert(finish !== undefined, `kind=${kind}`)
    finish(from)
  }
}
