/**
 * A topic's log: appending as the shard does, finding runs as EVENTS are made from them, and the
 * ways to copy within shared memory that the layout of shared-memory.ts is chosen for.
 * Runs on: whoever runs the benchmarks.
 */
import { keep, type MicroCase, type MicroGroup } from './case.js'
import { logUnderTest, PAYLOAD_BYTES } from './memory.js'

const APPENDS = 1024
const BATCH = 64
const EVENTS_BYTES_MAX = 256 * 1024
const RUN_ENTRIES = 256
const RUNS = 256

export function log(): MicroGroup {
  const cases = [append(1), append(BATCH), runFrom(), runFromToEnd()]
  return { name: 'log', cases }
}

function append(count: number): MicroCase {
  const target = logUnderTest()
  const messages = target.messagesAt(count, 'raw')
  return {
    name: `append ${PAYLOAD_BYTES} B with journal and index, ${count} at a time`,
    operations: APPENDS,
    bytes: PAYLOAD_BYTES,
    run() {
      for (let done = 0; done < APPENDS; done += count) target.append(messages)
    },
  }
}

/** Runs that end after some entries: both ends of the slice are found through the index. */
function runFrom(): MicroCase {
  const { log } = filledLog()
  return {
    name: `find the slice of ${RUN_ENTRIES} entries`,
    operations: RUNS,
    run() {
      for (let index = 0; index < RUNS; index++) {
        const first = log.firstSeq + index * 16
        const last = log.runFrom(first, first + RUN_ENTRIES - 1, EVENTS_BYTES_MAX)
        keep(log.endOf(last) - log.offsetOf(first))
      }
    },
  }
}

/** Runs that the size ends: where is found by binary search. */
function runFromToEnd(): MicroCase {
  const { log } = filledLog()
  return {
    name: `find the slice of at most ${EVENTS_BYTES_MAX / 1024} KiB of all that is held`,
    operations: RUNS,
    run() {
      for (let index = 0; index < RUNS; index++) {
        const first = log.firstSeq + index
        const last = log.runFrom(first, log.lastSeq, EVENTS_BYTES_MAX)
        keep(log.endOf(last) - log.offsetOf(first))
      }
    },
  }
}

function filledLog() {
  const target = logUnderTest()
  const messages = target.messagesAt(BATCH, 'raw')
  for (let appended = 0; appended < 2 * 8192; appended += BATCH) target.append(messages)
  return target
}

const COPIES = 256
const REGION_BYTES = 2 ** 20

export function copy(): MicroGroup {
  const shared = new Uint8Array(new SharedArrayBuffer(2 * REGION_BYTES))
  const lengths = [40, PAYLOAD_BYTES, 4096, 64 * 1024]
  const cases = lengths.flatMap((length) => [
    within(shared, length, 0),
    within(shared, length, 3),
    viaSet(shared, length),
  ])
  return { name: 'copy', cases }
}

function within(bytes: Uint8Array, length: number, skew: number): MicroCase {
  const places = skew === 0 ? 'alike modulo 8' : 'not alike modulo 8'
  return {
    name: `copyWithin ${length} B, places ${places}`,
    operations: COPIES,
    bytes: length,
    run() {
      const step = stepOf(length)
      for (let index = 0, from = 0; index < COPIES; index++, from += step) {
        if (from + length > REGION_BYTES) from = 0
        bytes.copyWithin(REGION_BYTES + from + skew, from, from + length)
      }
    },
  }
}

function viaSet(bytes: Uint8Array, length: number): MicroCase {
  return {
    name: `set(subarray) ${length} B, places alike modulo 8`,
    operations: COPIES,
    bytes: length,
    run() {
      const step = stepOf(length)
      for (let index = 0, from = 0; index < COPIES; index++, from += step) {
        if (from + length > REGION_BYTES) from = 0
        bytes.set(bytes.subarray(from, from + length), REGION_BYTES + from)
      }
    },
  }
}

/** Not a power of two, so that the caches see all their sets; small enough to stay in them. */
function stepOf(length: number): number {
  return (length % 8192) + 192
}
