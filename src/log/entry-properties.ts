/**
 * The properties of an entry, read where they stand: what TTL, keys, priorities and filters look at.
 * Runs on: the shard. Owns: nothing; one EntryProperties is used again for every entry.
 *
 * An entry without properties is an array of 6 and costs one comparison. With properties it is an
 * array of 7 whose last element is the map as it was published (entry.ts). The gateway has checked
 * it, so the walk trusts what it finds; names it does not know are passed over.
 */
import { ARRAY_OF_7, entryBody } from './entry.js'

export const PRIORITY_HIGH = 0
export const PRIORITY_NORMAL = 1
export const PRIORITY_LOW = 2

/** Offsets are those of the bytes that were read; length 0 or ttlMs 0: not given. */
export interface EntryProperties {
  keyStart: number
  keyLength: number
  /** PRIORITY_* */
  priority: number
  ttlMs: number
  /** −1: not given. */
  delayMs: number
  /** ms since 1970; −1: not given. */
  deliverAt: number
  replyToStart: number
  replyToLength: number
  correlationIdStart: number
  correlationIdLength: number
  /** Whether the map holds anything. */
  hasAny: boolean
  /** The map as it stands. */
  mapStart: number
  mapEnd: number
}

export function newEntryProperties(): EntryProperties {
  return {
    keyStart: 0,
    keyLength: 0,
    priority: PRIORITY_NORMAL,
    ttlMs: 0,
    delayMs: -1,
    deliverAt: -1,
    replyToStart: 0,
    replyToLength: 0,
    correlationIdStart: 0,
    correlationIdLength: 0,
    hasAny: false,
    mapStart: 0,
    mapEnd: 0,
  }
}

/** Fills `out` with the properties of the entry at `at`. False, at once, when it has none. */
export function readProperties(buffer: Buffer, at: number, out: EntryProperties): boolean {
  if (buffer[at] !== ARRAY_OF_7) {
    clear(out)
    return false
  }
  readPropertiesMap(buffer, propertiesStart(buffer, at), out)
  return true
}

/** The same for the map itself, of a message that is no entry yet. Returns the offset behind it. */
export function readPropertiesMap(buffer: Buffer, at: number, out: EntryProperties): number {
  clear(out)
  out.mapStart = at
  const mark = buffer[at] as number
  let next = at + 1
  let pairs = mark & 0x0f
  if (mark === 0xde) {
    pairs = buffer.readUInt16BE(next)
    next += 2
  } else if (mark === 0xdf) {
    pairs = buffer.readUInt32BE(next)
    next += 4
  } else if (mark < 0x80 || mark > 0x8f) {
    pairs = 0 // Nil.
  }
  out.hasAny = pairs > 0
  for (let pair = 0; pair < pairs; pair++) {
    const nameStart = strStart(buffer, next)
    const value = nameStart + strLength(buffer, next)
    next = isText(buffer[value] as number)
      ? readText(buffer, nameStart, value, out)
      : readNumber(buffer, nameStart, value, out)
  }
  out.mapEnd = next
  return next
}

/** Offset of the map of an entry that has one. */
function propertiesStart(buffer: Buffer, at: number): number {
  const payload = entryBody(buffer, at) + 1
  const mark = buffer[payload]
  let id: number
  if (mark === 0xc4) id = payload + 2 + (buffer[payload + 1] as number)
  else if (mark === 0xc5) id = payload + 3 + buffer.readUInt16BE(payload + 1)
  else id = payload + 5 + buffer.readUInt32BE(payload + 1)
  const headers = id + 18
  return skipHeaders(buffer, headers)
}

/** Behind nil, or a map of strings to strings. */
function skipHeaders(buffer: Buffer, at: number): number {
  const mark = buffer[at] as number
  let next = at + 1
  let texts = 0
  if (mark === 0xde) {
    texts = buffer.readUInt16BE(next) * 2
    next += 2
  } else if (mark === 0xdf) {
    texts = buffer.readUInt32BE(next) * 2
    next += 4
  } else if (mark >= 0x80 && mark <= 0x8f) {
    texts = (mark & 0x0f) * 2
  }
  for (let text = 0; text < texts; text++) next = strStart(buffer, next) + strLength(buffer, next)
  return next
}

/** The names are told apart by their first letter and their length: they are known to be right. */
function readText(buffer: Buffer, name: number, at: number, out: EntryProperties): number {
  const start = strStart(buffer, at)
  const length = strLength(buffer, at)
  const letter = buffer[name]
  if (letter === 0x6b) {
    out.keyStart = start
    out.keyLength = length
  } else if (letter === 0x70) {
    const first = buffer[start]
    out.priority = first === 0x68 ? PRIORITY_HIGH : first === 0x6c ? PRIORITY_LOW : PRIORITY_NORMAL
  } else if (letter === 0x72) {
    out.replyToStart = start
    out.replyToLength = length
  } else if (letter === 0x63) {
    out.correlationIdStart = start
    out.correlationIdLength = length
  }
  return start + length
}

function readNumber(buffer: Buffer, name: number, at: number, out: EntryProperties): number {
  const mark = buffer[at] as number
  let value = mark
  let next = at + 1
  if (mark > 0x7f) {
    if (mark === 0xca) value = buffer.readFloatBE(next)
    else if (mark === 0xcb) value = buffer.readDoubleBE(next)
    else if (mark === 0xcc || mark === 0xd0)
      value = buffer[next] as number // Never below zero.
    else if (mark === 0xcd || mark === 0xd1) value = buffer.readUInt16BE(next)
    else if (mark === 0xce || mark === 0xd2) value = buffer.readUInt32BE(next)
    else value = buffer.readUInt32BE(next) * 2 ** 32 + buffer.readUInt32BE(next + 4)
    next += NUMBER_BYTES[mark - 0xca] as number
  }
  const letter = buffer[name]
  if (letter === 0x74) out.ttlMs = value
  // «delay_ms» and «deliver_at» differ in the fourth letter.
  else if (buffer[name + 3] === 0x61) out.delayMs = value
  else out.deliverAt = value
  return next
}

/** Bytes behind the marks ca to d3. */
const NUMBER_BYTES = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8]

function isText(mark: number): boolean {
  return (mark >= 0xa0 && mark <= 0xbf) || (mark >= 0xd9 && mark <= 0xdb)
}

function strStart(buffer: Buffer, at: number): number {
  const mark = buffer[at] as number
  return at + (mark <= 0xbf ? 1 : mark === 0xd9 ? 2 : mark === 0xda ? 3 : 5)
}

function strLength(buffer: Buffer, at: number): number {
  const mark = buffer[at] as number
  if (mark <= 0xbf) return mark & 0x1f
  if (mark === 0xd9) return buffer[at + 1] as number
  return mark === 0xda ? buffer.readUInt16BE(at + 1) : buffer.readUInt32BE(at + 1)
}

function clear(out: EntryProperties): void {
  out.keyLength = 0
  out.priority = PRIORITY_NORMAL
  out.ttlMs = 0
  out.delayMs = -1
  out.deliverAt = -1
  out.replyToLength = 0
  out.correlationIdLength = 0
  out.hasAny = false
  out.mapStart = 0
  out.mapEnd = 0
}
