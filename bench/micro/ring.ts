/**
 * The ring between two threads, both ends on one thread: what a record costs without the waiting.
 * Then the doorbell, which is the waiting. Runs on: whoever runs the benchmarks, and one thread more.
 */
import { Worker } from 'node:worker_threads'
import { ringBytes, viewsOf } from '../../src/ring/layout.js'
import { RingConsumer, RingProducer } from '../../src/ring/spsc-ring.js'
import { Doorbell, IDLE } from '../../src/ring/wakeup.js'
import { keep, type MicroCase, type MicroGroup } from './case.js'
import {
  DOORBELL_BYTES,
  OUR_BELL,
  OUR_TURNS,
  PEER_BELL,
  PEER_TURNS,
  STOP,
} from './doorbell-words.js'

const CAPACITY = 4 * 2 ** 20
const RECORD_BYTES = 128
const RECORDS = 1024
const BATCH = 64
const KIND = 1

export function ring(): MicroGroup {
  const views = viewsOf(new SharedArrayBuffer(ringBytes(CAPACITY)))
  const producer = new RingProducer(views, 0, CAPACITY)
  const consumer = new RingConsumer(views, 0, CAPACITY)
  const payload = Buffer.alloc(RECORD_BYTES, 'x')

  const passOn = (records: number) => {
    for (let index = 0; index < records; index++) {
      const start = producer.tryClaim(RECORD_BYTES)
      views.bytes.set(payload, start)
      producer.commit(KIND, RECORD_BYTES)
    }
    producer.publish()
    while (consumer.next()) keep(views.ints[consumer.start >> 2] as number)
    consumer.release()
  }
  const inBatchesOf = (batch: number): MicroCase => ({
    name: `write and read a record of ${RECORD_BYTES} B, published ${batch === 1 ? 'one by one' : `every ${batch}`}`,
    operations: RECORDS,
    bytes: RECORD_BYTES,
    run() {
      for (let done = 0; done < RECORDS; done += batch) passOn(batch)
    },
  })
  return { name: 'ring', cases: [inBatchesOf(1), inBatchesOf(BATCH)] }
}

export function doorbell(): MicroGroup {
  const memory = new SharedArrayBuffer(DOORBELL_BYTES)
  const ints = new Int32Array(memory)
  const ours = new Doorbell(ints, OUR_BELL)
  const peer = new Doorbell(ints, PEER_BELL)
  const worker = new Worker(peerFile(), { workerData: memory })
  const ended = new Promise<void>((resolve, reject) => {
    worker.once('exit', () => resolve())
    worker.once('error', reject)
  })
  const hasAnswer = () => Atomics.load(ints, OUR_TURNS >> 2) === Atomics.load(ints, PEER_TURNS >> 2)

  const roundTrip: MicroCase = {
    name: 'wake a parked thread and be woken by it',
    operations: 1,
    async run() {
      Atomics.add(ints, OUR_TURNS >> 2, 1)
      peer.ring()
      while (!hasAnswer()) await ours.park(IDLE, hasAnswer)
    },
  }
  const awake: MicroCase = {
    name: 'ring for a thread that is awake',
    operations: RECORDS,
    run() {
      for (let index = 0; index < RECORDS; index++) ours.ring()
    },
  }
  const close = async () => {
    Atomics.store(ints, STOP >> 2, 1)
    peer.ring()
    await ended
  }
  return { name: 'doorbell', cases: [roundTrip, awake], close }
}

/** As for the shards: threads run the build, also when this file runs as source. */
function peerFile(): URL {
  const isSource = import.meta.url.endsWith('.ts')
  const path = isSource ? '../../dist/bench/micro/doorbell-peer.js' : './doorbell-peer.js'
  return new URL(path, import.meta.url)
}
