/**
 * Runs of a topic's log as EVENTS records, in the format that subscribers read.
 * Runs on: the shard. Owns: a scratch buffer for JSON.
 *
 * In MessagePack a run is sent as it is stored: a head and one copy. In JSON every entry is written
 * out once, here, however many subscribers there are; the gateway only moves bytes.
 */
import { writeArrayHead } from '../protocol/msgpack.js'
import type { SharedViews } from '../ring/layout.js'
import {
  EVENTS_CONTINUED,
  Events,
  eventsBytesMax,
  type Format,
  JSON_TEXT,
  MSGPACK,
  Outbound,
} from '../ring/record.js'
import type { RingProducer } from '../ring/spsc-ring.js'
import type { Filter } from './filters.js'
import { EntryView, writeEvent } from './json-text.js'
import { Selection } from './selection.js'
import type { Topic } from './topics.js'

/** Entries in one JSON record: its table of lengths is bounded by this. */
const JSON_EVENTS_MAX = 4096
const ARRAY_HEAD_BYTES_MAX = 5
/** Entries of a topic with a TTL that one record is chosen from: a long run of expired ones takes several. */
const ENTRIES_LOOKED_AT_MAX = 16_384

/** write() found no room in the outbound ring. */
export const NO_ROOM = -1

/** What a record says beside its entries. */
export interface EventsHeader {
  /** The PULL that is answered, or 0 for every LIVE subscription. */
  readonly lag: number
  readonly flags: number
  readonly gapFrom: number
  readonly gapTo: number
}

export const LIVE: EventsHeader = { lag: 0, flags: 0, gapFrom: 0, gapTo: 0 }

export class EventWriter {
  /** Bytes of entries in one record; a single larger entry still goes. */
  readonly bytesMax: number
  /** Where the record stands that was written last. */
  written = 0
  readonly #views: SharedViews
  readonly #out: RingProducer
  readonly #scratch: Buffer
  readonly #lengths = new Int32Array(JSON_EVENTS_MAX)
  readonly #entry = new EntryView()
  readonly #picked = new Selection()
  readonly #isExpired: (topic: Topic, seq: number) => boolean

  /** `isExpired` is asked for topics whose entries may expire: those that have are left out. */
  constructor(
    views: SharedViews,
    out: RingProducer,
    isExpired: (topic: Topic, seq: number) => boolean,
  ) {
    this.#isExpired = isExpired
    this.#views = views
    this.#out = out
    this.bytesMax = eventsBytesMax(out.maxLength)
    // One record must hold any single event, with its header and one length.
    this.#scratch = Buffer.allocUnsafe(out.maxLength - Events.headerBytes - 8)
  }

  /**
   * Writes one record of entries from `first` on, at most up to `last`.
   * Returns the last seq it covers, or NO_ROOM; `last` < `first` writes a record without entries.
   * Entries that have expired are covered and left out.
   * `flagsAtEnd` are added when the run ends where the log ends.
   */
  write(
    topic: Topic,
    format: Format,
    first: number,
    last: number,
    header: EventsHeader,
    flagsAtEnd: number,
  ): number {
    if (last < first) return this.#writeEmpty(topic, format, 0, first, last, header, flagsAtEnd)
    if (format === MSGPACK && topic.mayExpire) {
      return this.#writePicked(topic, first, last, header, flagsAtEnd)
    }
    return format === MSGPACK
      ? this.#writeMsgpack(topic, first, last, header, flagsAtEnd)
      : this.#writeJson(topic, first, last, header, flagsAtEnd)
  }

  #writeMsgpack(
    topic: Topic,
    first: number,
    last: number,
    header: EventsHeader,
    flagsAtEnd: number,
  ): number {
    const { bytes } = this.#views
    const end = topic.log.runFrom(first, last, this.bytesMax)
    const from = topic.log.offsetOf(first)
    const length = topic.log.endOf(end) - from
    const head = topic.eventsHead
    const room = Events.headerBytes + 8 + head.length + ARRAY_HEAD_BYTES_MAX + length
    const start = this.#out.tryClaim(room)
    if (start < 0) return NO_ROOM

    const count = end - first + 1
    const arrayHeadBytes = count <= 15 ? 1 : count <= 0xffff ? 3 : 5
    // Shared memory is copied a word at a time only between places alike modulo 8 (28 GB/s, else 4).
    const unaligned = start + Events.headerBytes + head.length + arrayHeadBytes
    const frameStart = Events.headerBytes + ((from - unaligned) & 7)
    bytes.set(head, start + frameStart)
    const bodyStart = frameStart + head.length
    const entries = writeArrayHead(bytes, start + bodyStart, count)
    bytes.copyWithin(entries, from, from + length)
    const flags = end === topic.log.lastSeq ? header.flags | flagsAtEnd : header.flags
    this.#writeHeader(start, topic, MSGPACK, first, end, header, flags, 0, count)
    this.#views.ints[(start >> 2) + Events.frameStart] = frameStart
    this.#views.ints[(start >> 2) + Events.bodyStart] = bodyStart
    this.#out.commit(Outbound.events, entries + length - start)
    return end
  }

  /** As #writeMsgpack(), entry by entry, for a topic of which some may have to be left out. */
  #writePicked(
    topic: Topic,
    first: number,
    last: number,
    header: EventsHeader,
    flagsAtEnd: number,
  ): number {
    this.select(this.#picked, topic, undefined, first, last)
    return this.writeSelected(topic, MSGPACK, 0, first, this.#picked, header, flagsAtEnd)
  }

  #writeJson(
    topic: Topic,
    first: number,
    last: number,
    header: EventsHeader,
    flagsAtEnd: number,
  ): number {
    const scratch = this.#scratch
    let at = 0
    let count = 0
    let seq = first
    const { mayExpire } = topic
    const limit = mayExpire ? Math.min(last, first + ENTRIES_LOOKED_AT_MAX - 1) : last
    for (; seq <= limit && count < JSON_EVENTS_MAX; seq++) {
      if (count > 0 && at >= this.bytesMax) break
      if (mayExpire && this.#isExpired(topic, seq)) continue
      const end = this.#writeEvent(topic, seq, at, count)
      if (end < 0) break
      if (count > 0) scratch[at] = 0x2c
      count++
      at = end
    }
    if (count === 0) {
      if (seq <= limit) throw new RangeError(`seq=${seq} does not fit a record as JSON`)
      return this.#writeEmpty(topic, JSON_TEXT, 0, first, limit, header, flagsAtEnd)
    }
    const end = seq - 1
    const flags = end === topic.log.lastSeq ? header.flags | flagsAtEnd : header.flags
    return this.#commitJson(topic, first, end, header, flags, 0, count, at)
  }

  /** Has the record at `start`, which nobody has seen yet, say that another chunk follows. */
  noteContinued(start: number): void {
    const { ints } = this.#views
    const flags = (start >> 2) + Events.flags
    ints[flags] = (ints[flags] as number) | EVENTS_CONTINUED
  }

  /** Selects what fits one record. */
  select(
    selection: Selection,
    topic: Topic,
    filter: Filter | undefined,
    first: number,
    last: number,
  ): void {
    const isExpired = topic.mayExpire ? this.#isExpired : undefined
    selection.take(topic, filter, first, last, this.bytesMax, isExpired)
  }

  /**
   * Writes one record that covers the seqs from `first` to where the selection ends, and holds what
   * was selected. Returns the last seq that it covers, which may be less, or NO_ROOM.
   */
  writeSelected(
    topic: Topic,
    format: Format,
    filterId: number,
    first: number,
    selection: Selection,
    header: EventsHeader,
    flagsAtEnd: number,
  ): number {
    if (selection.count > 0) {
      return format === MSGPACK
        ? this.#writeSelectedMsgpack(topic, filterId, first, selection, header, flagsAtEnd)
        : this.#writeSelectedJson(topic, filterId, first, selection, header, flagsAtEnd)
    }
    return this.#writeEmpty(topic, format, filterId, first, selection.last, header, flagsAtEnd)
  }

  #writeSelectedMsgpack(
    topic: Topic,
    filterId: number,
    first: number,
    selection: Selection,
    header: EventsHeader,
    flagsAtEnd: number,
  ): number {
    const { ints, bytes } = this.#views
    const { log, eventsHead } = topic
    const { count, seqs, last } = selection
    const room = Events.headerBytes + eventsHead.length + ARRAY_HEAD_BYTES_MAX + selection.bytes
    const start = this.#out.tryClaim(room)
    if (start < 0) return NO_ROOM
    bytes.set(eventsHead, start + Events.headerBytes)
    const bodyStart = Events.headerBytes + eventsHead.length
    let at = writeArrayHead(bytes, start + bodyStart, count)
    for (let index = 0; index < count; index++) {
      const seq = seqs[index] as number
      const from = log.offsetOf(seq)
      const end = log.endOf(seq)
      bytes.copyWithin(at, from, end)
      at += end - from
    }
    const flags = last === log.lastSeq ? header.flags | flagsAtEnd : header.flags
    this.#writeHeader(start, topic, MSGPACK, first, last, header, flags, filterId, count)
    ints[(start >> 2) + Events.frameStart] = Events.headerBytes
    ints[(start >> 2) + Events.bodyStart] = bodyStart
    this.#out.commit(Outbound.events, at - start)
    return last
  }

  #writeSelectedJson(
    topic: Topic,
    filterId: number,
    first: number,
    selection: Selection,
    header: EventsHeader,
    flagsAtEnd: number,
  ): number {
    const scratch = this.#scratch
    const { seqs } = selection
    let at = 0
    let count = 0
    for (; count < selection.count; count++) {
      if (count > 0 && at >= this.bytesMax) break
      const end = this.#writeEvent(topic, seqs[count] as number, at, count)
      if (end < 0) break
      if (count > 0) scratch[at] = 0x2c
      at = end
    }
    if (count === 0) throw new RangeError(`seq=${seqs[0]} does not fit a record as JSON`)
    const last = count < selection.count ? (seqs[count] as number) - 1 : selection.last
    const flags = last === topic.log.lastSeq ? header.flags | flagsAtEnd : header.flags
    return this.#commitJson(topic, first, last, header, flags, filterId, count, at)
  }

  /** A record without entries, which covers what there is up to `last`. */
  #writeEmpty(
    topic: Topic,
    format: Format,
    filterId: number,
    first: number,
    last: number,
    header: EventsHeader,
    flagsAtEnd: number,
  ): number {
    const start = this.#out.tryClaim(Events.headerBytes)
    if (start < 0) return NO_ROOM
    const flags = last >= topic.log.lastSeq ? header.flags | flagsAtEnd : header.flags
    const end = Math.max(first - 1, last)
    this.#writeHeader(start, topic, format, first, end, header, flags, filterId, 0)
    this.#out.commit(Outbound.events, Events.headerBytes)
    return end
  }

  /** Writes the text of an entry to the scratch buffer, behind `at` and a comma. Negative: no room. */
  #writeEvent(topic: Topic, seq: number, at: number, count: number): number {
    const scratch = this.#scratch
    const { buffer } = this.#views
    const entry = this.#entry
    entry.read(buffer, topic.log.offsetOf(seq))
    const start = count === 0 ? at : at + 1
    const limit = scratch.length - 4 * (count + 1)
    const end = writeEvent(scratch, start, limit, topic.jsonEventHead, buffer, entry)
    this.#lengths[count] = end - start
    return end
  }

  #commitJson(
    topic: Topic,
    first: number,
    last: number,
    header: EventsHeader,
    flags: number,
    filterId: number,
    count: number,
    length: number,
  ): number {
    const { ints, bytes } = this.#views
    const bodyStart = Events.headerBytes + 4 * count
    const start = this.#out.tryClaim(bodyStart + length)
    if (start < 0) return NO_ROOM
    const lengths = (start + Events.headerBytes) >> 2
    for (let index = 0; index < count; index++) {
      ints[lengths + index] = this.#lengths[index] as number
    }
    bytes.set(this.#scratch.subarray(0, length), start + bodyStart)
    this.#writeHeader(start, topic, JSON_TEXT, first, last, header, flags, filterId, count)
    ints[(start >> 2) + Events.frameStart] = bodyStart
    ints[(start >> 2) + Events.bodyStart] = bodyStart
    this.#out.commit(Outbound.events, bodyStart + length)
    return last
  }

  /** Says that there is no such topic any more to the one who pulled. False when there is no room. */
  writeGone(topicId: number, format: Format, lag: number, flags: number): boolean {
    const start = this.#out.tryClaim(Events.headerBytes)
    if (start < 0) return false
    const { ints, floats } = this.#views
    const field = start >> 2
    ints.fill(0, field, field + Events.headerBytes / 4)
    ints[field + Events.topicId] = topicId
    ints[field + Events.format] = format
    ints[field + Events.lag] = lag
    ints[field + Events.flags] = flags
    floats[(start >> 3) + Events.lastSeq] = -1
    this.#out.commit(Outbound.events, Events.headerBytes)
    return true
  }

  #writeHeader(
    start: number,
    topic: Topic,
    format: Format,
    first: number,
    last: number,
    header: EventsHeader,
    flags: number,
    filterId: number,
    count: number,
  ): void {
    const { ints, floats } = this.#views
    const field = start >> 2
    this.written = start
    ints[field + Events.topicId] = topic.id
    ints[field + Events.format] = format
    ints[field + Events.count] = count
    ints[field + Events.filter] = filterId
    ints[field + Events.lag] = header.lag
    ints[field + Events.flags] = flags
    const float = start >> 3
    floats[float + Events.firstSeq] = first
    floats[float + Events.lastSeq] = last
    floats[float + Events.gapFrom] = header.gapFrom
    floats[float + Events.gapTo] = header.gapTo
  }
}
