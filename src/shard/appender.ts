/**
 * One PUBLISH record becomes entries of a log.
 * Runs on: the shard. Owns: nothing; the shard gives it the topic and the journal.
 *
 * The gateway has checked the shape of every message, so the bytes are only walked and copied.
 */
import { isUtf8 } from 'node:buffer'
import { ARRAY_OF_7, writeEntryHeader } from '../log/entry.js'
import { newEntryProperties, readPropertiesMap } from '../log/entry-properties.js'
import { FEATURE_PROPERTIES, FEATURE_TTL } from '../log/slot.js'
import { NO_LOG_MEMORY, OVER_RETENTION } from '../log/topic-log.js'
import { BIN8, NIL, readArray, readBin, type Span, skipValue } from '../protocol/msgpack.js'
import { ID_BYTES, PAYLOAD_JSON } from '../protocol/msgpack-frames.js'
import type { RandomIds } from '../protocol/random-ids.js'
import { copyShared } from '../ring/copy.js'
import type { SharedViews } from '../ring/layout.js'
import type { Journal } from './journal.js'
import type { Topic } from './topics.js'

/** What an entry may take beyond its message: seq, time, an id and nil headers. */
const ENTRY_EXTRA_BYTES = 40

/** append() says that a payload claims to be JSON and is not. */
export const NOT_JSON = -3

export class Appender {
  readonly #views: SharedViews
  readonly #journal: Journal
  readonly #ids: RandomIds
  readonly #noteFeatures: (topic: Topic, features: number) => void
  readonly #span: Span = { start: 0, length: 0 }
  readonly #properties = newEntryProperties()

  /** `noteFeatures` keeps in shared memory what entries of a topic may have from here on. */
  constructor(
    views: SharedViews,
    journal: Journal,
    ids: RandomIds,
    noteFeatures: (topic: Topic, features: number) => void,
  ) {
    this.#views = views
    this.#journal = journal
    this.#ids = ids
    this.#noteFeatures = noteFeatures
  }

  /** Bytes that append() may ask of the log for these messages. */
  static bytesFor(count: number, start: number, end: number): number {
    return end - start + count * ENTRY_EXTRA_BYTES
  }

  /**
   * Appends `count` messages that stand at [start, end) of shared memory, all or none.
   * Those at the positions in `leftOut` are passed over; at least one is stored.
   * Returns the first seq, or OVER_RETENTION, NO_LOG_MEMORY or NOT_JSON when nothing was stored.
   */
  append(
    topic: Topic,
    ordinal: number,
    start: number,
    end: number,
    count: number,
    claimsJson: boolean,
    nowMs: number,
    leftOut?: ReadonlySet<number>,
  ): number {
    if (claimsJson && !this.#claimsAreTrue(start, end, count)) return NOT_JSON
    const { log } = topic
    const reserved = Appender.bytesFor(count, start, end)
    const stored = count - (leftOut?.size ?? 0)
    const first = log.prepare(stored, reserved)
    if (first === OVER_RETENTION || first === NO_LOG_MEMORY) return first
    const timeMs = Math.max(nowMs, log.lastTimeMs) // Binary search by time needs times in order.
    const firstSeq = log.lastSeq + 1
    let from = start
    let to = first
    this.#features = 0
    let index = 0
    for (let seq = firstSeq; seq < firstSeq + stored; seq++) {
      if (leftOut !== undefined) {
        while (leftOut.has(index++)) from = skipValue(this.#views.bytes, from, end)
      }
      log.indexEntry(seq, to)
      const body = writeEntryHeader(this.#views.view, to, seq, timeMs)
      const next = this.#copyMessage(from, end, to, body)
      to = body + this.#written
      from = next
    }
    log.trim(reserved, to - first)
    // Before the entries count: a successor must not find one without the other.
    if (this.#features !== 0) this.#noteFeatures(topic, this.#features)

    const lastSeq = firstSeq + stored - 1
    const tail = log.preparedTail
    const padStart = log.preparedPadStart
    this.#journal.commitAppend(ordinal, firstSeq, topic.slot, tail, padStart, lastSeq, timeMs)
    log.commit(tail, padStart, lastSeq, timeMs)
    this.#journal.appendDone()
    return firstSeq
  }

  /** Whether every payload that claims to be JSON is. */
  claimsAreTrue(start: number, end: number, count: number): boolean {
    return this.#claimsAreTrue(start, end, count)
  }

  /** Offset behind the message at `from`. */
  endOf(from: number, end: number): number {
    return skipValue(this.#views.bytes, from, end)
  }

  /** Writes the body of the entry at `entry` to `to`, from the message at `from`; returns its length. */
  writeBody(from: number, end: number, entry: number, to: number): number {
    this.#copyMessage(from, end, entry, to)
    return this.#written
  }

  /** Bytes that #copyMessage() wrote. */
  #written = 0
  /** FEATURE_* bits of the messages that it copied since they were reset. */
  #features = 0

  /** Copies one message's elements to `to`, of the entry at `entry`; returns where the next message begins. */
  #copyMessage(from: number, end: number, entry: number, to: number): number {
    const views = this.#views
    const { bytes } = views
    const span = this.#span
    readArray(bytes, from, end, span) // Of 2 to 5; its head may be wider than it need be.
    const elements = span.length
    const body = span.start
    readBin(bytes, body + 1, end, span)
    const payloadEnd = span.start + span.length
    let next = payloadEnd
    const hasId = elements >= 3 && bytes[next] !== NIL
    if (hasId && elements === 4 && bytes[next] === BIN8) {
      // The usual case: everything is there, in one piece.
      const headers = next + 2 + ID_BYTES
      next = bytes[headers] === NIL ? headers + 1 : skipValue(bytes, headers, end)
      copyShared(views, to, body, next)
      this.#written = next - body
      return next
    }
    copyShared(views, to, body, payloadEnd)
    let at = to + payloadEnd - body
    bytes[at] = BIN8
    bytes[at + 1] = ID_BYTES
    if (hasId) {
      readBin(bytes, next, end, span)
      copyShared(views, at + 2, span.start, span.start + ID_BYTES)
      next = span.start + ID_BYTES
    } else {
      this.#ids.write(views.view, at + 2)
      if (elements >= 3) next++
    }
    at += 2 + ID_BYTES
    if (elements >= 4 && bytes[next] !== NIL) {
      const headersEnd = skipValue(bytes, next, end)
      copyShared(views, at, next, headersEnd)
      at += headersEnd - next
      next = headersEnd
    } else {
      bytes[at++] = NIL
      if (elements >= 4) next++
    }
    this.#written = at - to
    return elements === 5 ? this.#copyProperties(next, end, entry, at) : next
  }

  /** Copies the properties behind the rest of the entry; nil and a map of nothing leave it as it is. */
  #copyProperties(from: number, end: number, entry: number, to: number): number {
    const { bytes, buffer } = this.#views
    const next = skipValue(bytes, from, end)
    readPropertiesMap(buffer, from, this.#properties)
    if (!this.#properties.hasAny) return next
    copyShared(this.#views, to, from, next)
    bytes[entry] = ARRAY_OF_7
    this.#written += next - from
    this.#features |= FEATURE_PROPERTIES
    if (this.#properties.ttlMs > 0) this.#features |= FEATURE_TTL
    return next
  }

  /** Checks payloads that a MessagePack client marked as JSON: JSON subscribers get them as they are. */
  #claimsAreTrue(start: number, end: number, count: number): boolean {
    const { bytes, buffer } = this.#views
    const span = this.#span
    let from = start
    for (let index = 0; index < count; index++) {
      readArray(bytes, from, end, span)
      const elements = span.length
      const encoding = bytes[span.start] as number
      readBin(bytes, span.start + 1, end, span)
      let next = span.start + span.length
      if (encoding === PAYLOAD_JSON && !isJsonText(buffer, span.start, next)) return false
      for (let rest = 2; rest < elements; rest++) next = skipValue(bytes, next, end)
      from = next
    }
    return true
  }
}

function isJsonText(buffer: Buffer, start: number, end: number): boolean {
  const bytes = Buffer.from(buffer.subarray(start, end)) // isUtf8() takes private memory only.
  if (!isUtf8(bytes)) return false
  try {
    JSON.parse(bytes.utf8Slice(0, bytes.length))
    return true
  } catch {
    return false
  }
}
