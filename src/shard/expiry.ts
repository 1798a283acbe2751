/**
 * Entries that expire: when each does, what is told of it, and how it leaves the log.
 * Runs on: the shard. Owns: for each topic with a TTL a heap of (due, seq) and one timer for its first;
 * private memory, made again by a successor from the entries themselves.
 *
 * An entry expires at its ts + the smaller of its own ttl_ms and the topic's. From that moment no
 * reader is given it (isExpired() looks at the entry, not at the heap). The timer is for the rest:
 * counting, the event in `$events.<topic>`, and giving room back at the old end of the log. Entries in
 * the middle keep their place until those before them go: a log is a ring.
 *
 * A heap holds at most twice the entries that its log does: what the log dropped is swept out when it
 * doubles. Telling of an expiry moves the mark (due, seq) in the topic's slot, by an intent of the
 * journal when there is an event, so each is told once.
 */
import { entryTimeMs } from '../log/entry.js'
import { newEntryProperties, readProperties } from '../log/entry-properties.js'
import * as slot from '../log/slot.js'
import { isoTime } from '../protocol/server-frames.js'
import { UUID_TEXT_BYTES, writeUuidText } from '../protocol/uuid.js'
import { writeJsonBody } from './json-body.js'
import { EntryView } from './json-text.js'
import { NOT_NOW } from './moves.js'
import type { Shard } from './shard.js'
import { TimerWheel } from './timer-wheel.js'
import { Topic } from './topics.js'

/** Kind of move (moves.ts): source is the topic's slot, a and b the mark. */
const MOVE_EXPIRED = 1
/** Entries told of in one batch, so that publishers do not wait for them. */
const TOLD_PER_BATCH_MAX = 1024
const HEAP_MIN = 64
const EVENTS_PREFIX = '$events.'

export class Expiry {
  readonly #shard: Shard
  readonly #wheel: TimerWheel
  readonly #heaps = new Map<number, DueHeap>()
  /** Topics whose timer has fired and that are not done yet. */
  #due: number[] = []
  readonly #properties = newEntryProperties()
  readonly #entry = new EntryView()

  constructor(shard: Shard, nowMs: number) {
    this.#shard = shard
    this.#wheel = new TimerWheel(nowMs, shard.options.maxTopics)
    shard.moves.register(MOVE_EXPIRED, ({ source, a, b }) => this.#mark(source, a, b))
  }

  /** When run() has something to do next. */
  get nextDueMs(): number {
    return this.#due.length > 0 ? 0 : this.#wheel.nextDueMs
  }

  /** The time from which the entry is not given to anybody any more. */
  dueMs(topic: Topic, seq: number): number {
    const { buffer } = this.#shard.views
    const at = topic.log.offsetOf(seq)
    const own = readProperties(buffer, at, this.#properties) ? this.#properties.ttlMs : 0
    const ttlMs = own > 0 && topic.ttlMs > 0 ? Math.min(own, topic.ttlMs) : own + topic.ttlMs
    return ttlMs === 0 ? Number.POSITIVE_INFINITY : entryTimeMs(buffer, at) + ttlMs
  }

  isExpired(topic: Topic, seq: number): boolean {
    return this.dueMs(topic, seq) <= this.#shard.nowMs
  }

  /** Of the newest entries, the first of the last `count` that have not expired. */
  startOfLast(topic: Topic, count: number): number {
    const { log } = topic
    if (!topic.mayExpire) return Math.max(log.firstSeq, log.lastSeq + 1 - count)
    let start = log.lastSeq + 1
    let found = 0
    for (let seq = log.lastSeq; seq >= log.firstSeq && found < count; seq--) {
      if (this.isExpired(topic, seq)) continue
      start = seq
      found++
    }
    return start
  }

  /** These entries are new in the log of a topic that may expire. */
  added(topic: Topic, firstSeq: number, lastSeq: number): void {
    let heap = this.#heaps.get(topic.id)
    if (heap === undefined) {
      heap = new DueHeap()
      this.#heaps.set(topic.id, heap)
    }
    if (heap.size >= Math.max(HEAP_MIN, 2 * topic.log.count)) heap.sweep(topic.log.firstSeq)
    for (let seq = firstSeq; seq <= lastSeq; seq++) {
      const dueMs = this.dueMs(topic, seq)
      if (dueMs !== Number.POSITIVE_INFINITY) heap.push(dueMs, seq)
    }
    this.#setTimer(topic.id, heap)
  }

  /** Everything is different: the topic's TTL has changed, or the thread is new. */
  rebuild(topic: Topic): void {
    this.removed(topic)
    if (!topic.mayExpire) return
    this.added(topic, topic.log.firstSeq, topic.log.lastSeq)
    const heap = this.#heaps.get(topic.id) as DueHeap
    const { floats } = this.#shard.views
    heap.skipTo(
      floats[(topic.slot + slot.EXPIRED_DUE_MS) >> 3] as number,
      floats[(topic.slot + slot.EXPIRED_SEQ) >> 3] as number,
    )
    this.#setTimer(topic.id, heap)
  }

  /** The topic is gone. */
  removed(topic: Topic): void {
    const heap = this.#heaps.get(topic.id)
    if (heap === undefined) return
    if (heap.timer >= 0) this.#wheel.cancel(heap.timer)
    this.#heaps.delete(topic.id)
    this.#due = this.#due.filter((id) => id !== topic.id)
  }

  /** Sees to what is due. False when it wants outbound room first. */
  run(): boolean {
    this.#wheel.advance(this.#shard.nowMs, (id) => {
      const heap = this.#heaps.get(id)
      if (heap !== undefined) heap.timer = -1
      this.#due.push(id)
    })
    let left = TOLD_PER_BATCH_MAX
    while (this.#due.length > 0 && left > 0) {
      const id = this.#due[this.#due.length - 1] as number
      const topic = this.#shard.topics.get(id)
      const heap = this.#heaps.get(id)
      if (topic !== undefined && heap !== undefined) {
        const told = this.#expire(topic, heap, left)
        if (told < 0) return false
        left -= told
        if (left <= 0) break
        this.#setTimer(id, heap)
      }
      this.#due.pop()
    }
    return true
  }

  /** Tells of up to `most` entries; returns how many, or −1 when there was no room for an event. */
  #expire(topic: Topic, heap: DueHeap, most: number): number {
    const { nowMs } = this.#shard
    let told = 0
    while (told < most && heap.size > 0 && heap.firstDueMs <= nowMs) {
      const { firstDueMs: dueMs, firstSeq: seq } = heap
      // What the log dropped before that was not told as expired, and is not now.
      if (seq >= topic.log.firstSeq) {
        if (!this.#tell(topic, dueMs, seq)) return -1
        this.#shard.counters.add('messagesExpired')
        told++
      }
      heap.pop()
    }
    if (topic.hasGroups) this.#shard.grouping.onExpired(topic)
    this.#dropOld(topic)
    return told
  }

  /** Moves the mark behind this entry, with an event if anybody wants one. False: not now. */
  #tell(topic: Topic, dueMs: number, seq: number): boolean {
    const events = this.#eventsTopic(topic)
    if (events !== undefined) {
      const body = this.#eventBody(topic, dueMs, seq)
      const from = { source: topic.slot, a: dueMs, b: seq }
      const { length } = body
      const moved = this.#shard.moves.append(MOVE_EXPIRED, from, events, length, (_, at) => {
        this.#shard.views.bytes.set(body, at)
        return at + length
      })
      if (moved === NOT_NOW) return false
      if (moved > 0) return true
      // No log memory: it expires all the same, untold.
    }
    this.#mark(topic.slot, dueMs, seq)
    return true
  }

  #mark(topicSlot: number, dueMs: number, seq: number): void {
    const { floats } = this.#shard.views
    floats[(topicSlot + slot.EXPIRED_DUE_MS) >> 3] = dueMs
    floats[(topicSlot + slot.EXPIRED_SEQ) >> 3] = seq
  }

  /** Where expiries of the topic are told: made if its options ask for it, else if it is there. */
  #eventsTopic(topic: Topic): Topic | undefined {
    if (topic.name.startsWith(EVENTS_PREFIX)) return undefined
    const name = EVENTS_PREFIX + topic.name
    const found = this.#shard.topics.named(name)
    if (found !== undefined || topic.settings.events.value === 0) return found
    const bytes = Buffer.from(name)
    if (bytes.length > slot.NAME_BYTES_MAX || !this.#shard.hasRoom) return undefined
    const made = this.#shard.catalog.create(name)
    return made instanceof Topic ? made : undefined
  }

  #eventBody(topic: Topic, dueMs: number, seq: number): Buffer {
    const { buffer } = this.#shard.views
    this.#entry.read(buffer, topic.log.offsetOf(seq))
    const id = Buffer.alloc(UUID_TEXT_BYTES)
    writeUuidText(id, 0, buffer, this.#entry.idStart)
    const { timeMs } = this.#entry
    const text = `{"type":"expired","topic":${topic.jsonName},"seq":${seq},"id":"${id}","ts":"${isoTime(timeMs)}","expired_at":"${isoTime(dueMs)}"}`
    return writeJsonBody(text)
  }

  /** Gives back what has expired, was told of and is with the dead letters, at the old end of the log. */
  #dropOld(topic: Topic): void {
    const { log } = topic
    const { floats } = this.#shard.views
    const toldDueMs = floats[(topic.slot + slot.EXPIRED_DUE_MS) >> 3] as number
    const toldSeq = floats[(topic.slot + slot.EXPIRED_SEQ) >> 3] as number
    const isTold = (seq: number) => {
      const dueMs = this.dueMs(topic, seq)
      return dueMs < toldDueMs || (dueMs === toldDueMs && seq <= toldSeq)
    }
    const held = topic.hasGroups ? this.#shard.grouping.holdsFrom(topic) : Number.POSITIVE_INFINITY
    const last = Math.min(log.lastSeq, held - 1)
    let first = log.firstSeq
    while (first <= last && isTold(first)) first++
    if (first > log.firstSeq) log.dropExpired(first)
  }

  #setTimer(topicId: number, heap: DueHeap): void {
    const dueMs = heap.size === 0 ? Number.POSITIVE_INFINITY : heap.firstDueMs
    if (heap.timer >= 0 && heap.timerDueMs === dueMs) return
    if (heap.timer >= 0) this.#wheel.cancel(heap.timer)
    heap.timerDueMs = dueMs
    heap.timer = dueMs === Number.POSITIVE_INFINITY ? -1 : this.#wheel.add(dueMs, topicId)
  }
}

/** (due, seq) with the smallest first. With one TTL for all they come in order and push() is O(1). */
class DueHeap {
  /** The topic's timer, or −1. */
  timer = -1
  timerDueMs = 0
  size = 0
  #dues = new Float64Array(HEAP_MIN)
  #seqs = new Float64Array(HEAP_MIN)

  get firstDueMs(): number {
    return this.#dues[0] as number
  }

  get firstSeq(): number {
    return this.#seqs[0] as number
  }

  push(dueMs: number, seq: number): void {
    if (this.size === this.#dues.length) this.#grow()
    let at = this.size++
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#isBefore(dueMs, seq, parent)) break
      this.#copy(parent, at)
      at = parent
    }
    this.#dues[at] = dueMs
    this.#seqs[at] = seq
  }

  pop(): void {
    const last = --this.size
    const dueMs = this.#dues[last] as number
    const seq = this.#seqs[last] as number
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= last) break
      if (
        child + 1 < last &&
        this.#isBefore(this.#dues[child + 1] as number, this.#seqs[child + 1] as number, child)
      )
        child++
      if (this.#isBefore(dueMs, seq, child)) break
      this.#copy(child, at)
      at = child
    }
    this.#dues[at] = dueMs
    this.#seqs[at] = seq
  }

  /** Takes out what the log has dropped. */
  sweep(firstSeq: number): void {
    this.#keep((_, seq) => seq >= firstSeq)
  }

  /** Takes out what was told of already. */
  skipTo(dueMs: number, seq: number): void {
    this.#keep((due, other) => due > dueMs || (due === dueMs && other > seq))
  }

  #keep(wanted: (dueMs: number, seq: number) => boolean): void {
    const [dues, seqs, size] = [this.#dues, this.#seqs, this.size]
    this.#dues = new Float64Array(HEAP_MIN)
    this.#seqs = new Float64Array(HEAP_MIN)
    this.size = 0
    for (let at = 0; at < size; at++) {
      if (wanted(dues[at] as number, seqs[at] as number)) {
        this.push(dues[at] as number, seqs[at] as number)
      }
    }
  }

  #isBefore(dueMs: number, seq: number, other: number): boolean {
    const otherDueMs = this.#dues[other] as number
    return dueMs < otherDueMs || (dueMs === otherDueMs && seq < (this.#seqs[other] as number))
  }

  #copy(from: number, to: number): void {
    this.#dues[to] = this.#dues[from] as number
    this.#seqs[to] = this.#seqs[from] as number
  }

  #grow(): void {
    const [dues, seqs] = [this.#dues, this.#seqs]
    this.#dues = new Float64Array(2 * dues.length)
    this.#seqs = new Float64Array(2 * seqs.length)
    this.#dues.set(dues)
    this.#seqs.set(seqs)
  }
}
