/**
 * Topic logs on private memory, and entries to put into them. Runs on: the test thread.
 */
import { BlockAllocator } from '../../src/log/block-allocator.js'
import { TopicDirectory } from '../../src/log/directory.js'
import { entryHeaderBytes, writeEntryHeader } from '../../src/log/entry.js'
import {
  DESCRIPTORS,
  FIRST_SEQ,
  LAST_SEQ,
  PAD_START,
  SLOT_BYTES,
  TAIL,
} from '../../src/log/slot.js'
import { type LogMemory, type Retention, TopicLog } from '../../src/log/topic-log.js'
import { align, viewsOf } from '../../src/ring/layout.js'

export const SLOTS = 8
const DIRECTORY = 64
const BLOCKS = align(DIRECTORY + SLOTS * SLOT_BYTES, 1024)

export interface Memory extends LogMemory {
  readonly directory: TopicDirectory
  readonly blockBytes: number
  /** What growthReserve() answers. */
  reserve: number
}

export function memoryOf(blockBytes: number): Memory {
  return view(new SharedArrayBuffer(BLOCKS + blockBytes), blockBytes)
}

/** The same bytes as a successor sees them: nothing but shared memory is known. */
export function takenOver({ bytes, blockBytes, reserve }: Memory): Memory {
  const successor = view(bytes.buffer as SharedArrayBuffer, blockBytes)
  successor.reserve = reserve
  for (const slot of successor.directory.scan()) {
    for (const block of successor.directory.blocks(slot)) {
      successor.blocks.reserve(block.address, block.bytes)
    }
  }
  return successor
}

function view(shared: SharedArrayBuffer, blockBytes: number): Memory {
  const memory = {
    ...viewsOf(shared),
    blocks: new BlockAllocator(BLOCKS, blockBytes),
    blockBytes,
    reserve: 0,
    growthReserve: () => memory.reserve,
  }
  return Object.assign(memory, { directory: new TopicDirectory(memory, DIRECTORY, SLOTS) })
}

/** Where a log begins, when it is not at the very beginning. */
export interface Beginning {
  /** Of its first entry; a multiple of DATA_BYTES_MIN, so that a lap begins there. */
  readonly position?: number
  readonly firstSeq?: number
}

/** A new topic's slot, with an empty log. */
export function newSlot(memory: Memory, { position = 0, firstSeq = 1 }: Beginning = {}): number {
  const slot = memory.directory.tryTake(1, Buffer.from('orders'), 'epoch-0123456789')
  if (slot < 0 || !TopicLog.tryCreate(memory, slot)) throw new Error('no room for a topic')
  memory.directory.activate(slot)
  memory.ints[((slot + DESCRIPTORS) >> 2) + TAIL] = position
  memory.ints[((slot + DESCRIPTORS) >> 2) + PAD_START] = position
  memory.floats[(slot + LAST_SEQ) >> 3] = firstSeq - 1
  memory.floats[(slot + FIRST_SEQ) >> 3] = firstSeq
  return slot
}

export function attach(memory: Memory, slot: number, retention: Partial<Retention>): TopicLog {
  return new TopicLog(memory, slot, { count: 1000, bytes: 65_536, ageMs: 0, ...retention })
}

/** Writes what append() does, up to but without the commit; the first seq, or why it was refused. */
export function prepareEntries(
  memory: Memory,
  log: TopicLog,
  bodies: readonly Uint8Array[],
  timeMs: number,
  slack = 0,
): number {
  const firstSeq = log.lastSeq + 1
  const lengths = bodies.map((body, index) => entryHeaderBytes(firstSeq + index) + body.length)
  const length = lengths.reduce((sum, next) => sum + next, 0)
  const first = log.prepare(bodies.length, length + slack)
  if (first < 0) return first
  let at = first
  for (const [index, body] of bodies.entries()) {
    log.indexEntry(firstSeq + index, at)
    at = writeEntryHeader(memory.view, at, firstSeq + index, timeMs)
    memory.bytes.set(body, at)
    at += body.length
  }
  log.trim(length + slack, at - first)
  return firstSeq
}

/** Appends one entry per body; the first seq, or why it was refused. `slack` is reserved and given back. */
export function append(
  memory: Memory,
  log: TopicLog,
  bodies: readonly Uint8Array[],
  timeMs: number,
  slack = 0,
): number {
  const firstSeq = prepareEntries(memory, log, bodies, timeMs, slack)
  if (firstSeq < 0) return firstSeq
  const { preparedTail, preparedPadStart } = log
  log.commit(preparedTail, preparedPadStart, firstSeq + bodies.length - 1, timeMs)
  return firstSeq
}

/** `length` bytes that say which entry they are of. */
export function body(number: number, length: number): Uint8Array {
  return new Uint8Array(length).fill(number & 0xff)
}

/** The entry's bytes as the log holds them. */
export function entryBytes(memory: LogMemory, log: TopicLog, seq: number): Buffer {
  return Buffer.from(memory.bytes.slice(log.offsetOf(seq), log.endOf(seq)))
}

/** The bytes that an entry should have. */
export function wantedBytes(seq: number, timeMs: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(entryHeaderBytes(seq))
  const view = new DataView(header.buffer, header.byteOffset, header.length)
  writeEntryHeader(view, 0, seq, timeMs)
  return Buffer.concat([header, body])
}
