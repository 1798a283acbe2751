/**
 * One end of a ring on a thread of its own, run from the build: Node 20 cannot load .ts in a worker.
 * Runs on: the two workers of ring-threads.test.ts. Owns: nothing.
 *
 * Record n has a length drawn from the seed and says n in its kind and in every int32 of its payload,
 * so that a gap, a repeat and a torn read all show.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { viewsOf } from '../../dist/src/ring/layout.js'
import { maxRecordLength, RingConsumer, RingProducer } from '../../dist/src/ring/spsc-ring.js'
import { BLOCKED, Doorbell, IDLE } from '../../dist/src/ring/wakeup.js'

const { memory, base, capacity, consumerBell, producerBell, role, records, seed, parks } =
  workerData
/** Records between two turns: a producer publishes, a consumer releases. */
const BATCH_MAX = 64
/** Polls without work after which a thread that may not park lets others have its core. */
const POLLS_MAX = 1000

const views = viewsOf(memory)
const bells = {
  producer: new Doorbell(views.ints, producerBell),
  consumer: new Doorbell(views.ints, consumerBell),
}
const nap = new Int32Array(new SharedArrayBuffer(4))
let parked = 0

// A pending waitAsync keeps no thread alive.
const alive = setInterval(() => {}, 1000)
try {
  await (role === 'producer' ? produce() : consume())
  parentPort.postMessage({ parked })
} catch (error) {
  parentPort.postMessage({ error: error.message })
} finally {
  clearInterval(alive)
}

async function produce() {
  const ring = new RingProducer(views, base, capacity)
  const random = numbers(seed)
  for (let number = 0; number < records; ) {
    const batchEnd = Math.min(records, number + 1 + (random() % BATCH_MAX))
    for (; number < batchEnd; number++) {
      const length = lengthOf(random())
      const claim = length + (random() & 7) // Claims may be larger than what is committed.
      let start = ring.tryClaim(Math.min(claim, maxRecordLength(capacity)))
      for (let polls = 0; start < 0; polls++) {
        ring.publish()
        bells.consumer.ring()
        if (parks) {
          const tail = ring.tail
          // Awake again once the consumer has emptied the ring, as the gateway's bell is used.
          await park(bells.producer, BLOCKED, () => ring.consumed() === tail)
        } else if (polls % POLLS_MAX === POLLS_MAX - 1) Atomics.wait(nap, 0, 0, 0.05)
        start = ring.tryClaim(Math.min(claim, maxRecordLength(capacity)))
      }
      views.ints.fill(number, start >> 2, (start + (length & -4)) >> 2)
      views.bytes.fill(number & 0xff, start + (length & -4), start + length)
      ring.commit(number, length)
    }
    ring.publish()
    bells.consumer.ring()
  }
}

async function consume() {
  const ring = new RingConsumer(views, base, capacity)
  const random = numbers(seed)
  let batchEnd = 0
  let polls = 0
  for (let number = 0; number < records; ) {
    if (!ring.next()) {
      ring.release()
      bells.producer.ringIfBlocked()
      if (parks) await park(bells.consumer, IDLE, () => !ring.isEmpty())
      else if (++polls % POLLS_MAX === 0) Atomics.wait(nap, 0, 0, 0.05)
      continue
    }
    if (number === batchEnd) batchEnd += 1 + (random() % BATCH_MAX)
    const length = lengthOf(random())
    random()
    check(ring, number, length)
    number++
    if ((number & 31) === 0) {
      ring.release()
      bells.producer.ringIfBlocked()
    }
  }
  ring.release()
  bells.producer.ringIfBlocked()
  if (ring.next()) throw new Error(`a record behind the last: kind=${ring.kind}`)
}

function check({ kind, start, end }, number, length) {
  if (kind !== number) throw new Error(`record ${number} expected, got ${kind}`)
  if (end - start !== length)
    throw new Error(`record ${number}: ${end - start} bytes, not ${length}`)
  const wordsEnd = start + (length & -4)
  for (let at = start; at < wordsEnd; at += 4) {
    if (views.ints[at >> 2] !== number) throw new Error(`record ${number} is torn at ${at - start}`)
  }
  for (let at = wordsEnd; at < end; at++) {
    if (views.bytes[at] !== (number & 0xff)) throw new Error(`record ${number} is torn at its end`)
  }
}

async function park(bell, state, mayWork) {
  const rung = bell.park(state, mayWork)
  if (rung === undefined) return
  parked++
  await rung
}

/** Mostly small records, and one in 64 up to the largest that the ring takes. */
function lengthOf(random) {
  return random % 64 === 0 ? (random >>> 6) % (maxRecordLength(capacity) + 1) : (random >>> 6) % 100
}

/** Numbers of 31 bits from a seed (mulberry32); both threads draw the same. */
function numbers(from) {
  let state = from
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 1
  }
}
