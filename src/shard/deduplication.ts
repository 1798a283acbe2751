/**
 * Messages that come again within a topic's window: found by their id, acked as what they are.
 * Runs on: the shard. Owns: the table of ids.
 *
 * Only for topics with dedup_window_ms. What a record's duplicates are is found out again when a
 * successor answers a record that its predecessor applied: from the table, which it fills from the
 * logs, and from the entries that the record left.
 */
import { randomBytes } from 'node:crypto'
import { entryBody } from '../log/entry.js'
import { NIL, readArray, readBin, type Span, skipValue } from '../protocol/msgpack.js'
import { IdTable } from './id-table.js'
import type { Shard } from './shard.js'
import type { Topic } from './topics.js'

/** Position in the record, and the seq of the first; null: stored, but nobody knows where any more. */
export type Duplicate = readonly [index: number, seq: number | null]

export class Deduplication {
  readonly #shard: Shard
  readonly #ids: IdTable
  readonly #span: Span = { start: 0, length: 0 }

  constructor(shard: Shard, idsMax: number) {
    this.#shard = shard
    this.#ids = new IdTable(idsMax, randomBytes(4).readInt32LE())
  }

  /** Ids of these entries count from here on. */
  added(topic: Topic, firstSeq: number, lastSeq: number): void {
    const { bytes } = this.#shard.views
    for (let seq = firstSeq; seq <= lastSeq; seq++) {
      const at = this.#idOf(topic, seq)
      this.#ids.add(topic.id, bytes, at, seq, topic.log.timeOf(seq))
    }
  }

  /** Fills the table with what the log holds of the window. */
  rebuild(topic: Topic): void {
    if (topic.dedupWindowMs === 0) return
    const { log } = topic
    this.added(topic, log.seqSince(this.#shard.nowMs - topic.dedupWindowMs), log.lastSeq)
  }

  /** The seq of the message with the id at `at`, 0 when it is new. */
  find(topic: Topic, at: number): number {
    const sinceMs = this.#shard.nowMs - topic.dedupWindowMs
    return this.#ids.find(topic.id, this.#shard.views.bytes, at, sinceMs)
  }

  /**
   * Which of the messages at [start, end) were there before; `nextSeq` is the seq that the first of
   * the others will get.
   */
  duplicatesOf(
    topic: Topic,
    start: number,
    end: number,
    count: number,
    nextSeq: number,
  ): Duplicate[] {
    const duplicates: Duplicate[] = []
    const { buffer } = this.#shard.views
    let inRecord: Map<string, number> | undefined
    let seq = nextSeq
    this.eachId(start, end, count, (index, at) => {
      if (at === 0) {
        seq++
        return
      }
      const id = count === 1 ? '' : buffer.latin1Slice(at, at + 16)
      const first = this.find(topic, at) || (inRecord?.get(id) ?? 0)
      if (first > 0) {
        duplicates.push([index, first])
        return
      }
      if (count > 1) {
        inRecord ??= new Map()
        inRecord.set(id, seq)
      }
      seq++
    })
    return duplicates
  }

  /** The same for a record that a predecessor applied, with this as its next seq then. */
  duplicatesAgain(
    topic: Topic,
    start: number,
    end: number,
    count: number,
    nextSeq: number,
  ): Duplicate[] {
    const duplicates: Duplicate[] = []
    const { log } = topic
    let seq = nextSeq
    this.eachId(start, end, count, (index, at) => {
      const isHeld = seq >= log.firstSeq && seq <= log.lastSeq
      const found = at === 0 ? 0 : this.find(topic, at)
      const isStored =
        at === 0 ||
        (isHeld
          ? this.#isSame(at, this.#idOf(topic, seq))
          : seq < log.firstSeq && (found === 0 || found >= nextSeq))
      if (isStored) seq++
      else duplicates.push([index, found === 0 ? null : found])
    })
    return duplicates
  }

  /** Calls with each message's position and the offset of its id, 0 when it has none. */
  eachId(
    start: number,
    end: number,
    count: number,
    visit: (index: number, at: number) => void,
  ): void {
    const { bytes } = this.#shard.views
    const span = this.#span
    let from = start
    for (let index = 0; index < count; index++) {
      readArray(bytes, from, end, span)
      const elements = span.length
      readBin(bytes, span.start + 1, end, span)
      let next = span.start + span.length
      let id = 0
      if (elements >= 3) {
        if (bytes[next] !== NIL) {
          readBin(bytes, next, end, span)
          id = span.start
        }
        for (let rest = 2; rest < elements; rest++) next = skipValue(bytes, next, end)
      }
      from = next
      visit(index, id)
    }
  }

  #isSame(at: number, other: number): boolean {
    const { buffer } = this.#shard.views
    return buffer.compare(buffer, other, other + 16, at, at + 16) === 0
  }

  /** Offset of the 16 bytes. */
  #idOf(topic: Topic, seq: number): number {
    const { buffer } = this.#shard.views
    const payload = entryBody(buffer, topic.log.offsetOf(seq)) + 1
    readBin(buffer, payload, buffer.length, this.#span)
    return this.#span.start + this.#span.length + 2
  }
}
