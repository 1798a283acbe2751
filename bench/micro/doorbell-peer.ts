/**
 * The other thread of the doorbell benchmark: answers every turn, and parks in between.
 * Runs on: a worker thread, started by ring.ts. Owns: PEER_TURNS of the shared words.
 */
import { workerData } from 'node:worker_threads'
import { Doorbell, IDLE } from '../../src/ring/wakeup.js'
import { OUR_BELL, OUR_TURNS, PEER_BELL, PEER_TURNS, STOP } from './doorbell-words.js'

/** A pending waitAsync does not keep a thread alive. */
const KEEP_ALIVE_MS = 60_000

const ints = new Int32Array(workerData as SharedArrayBuffer)
const own = new Doorbell(ints, PEER_BELL)
const asker = new Doorbell(ints, OUR_BELL)
const mustStop = () => Atomics.load(ints, STOP >> 2) === 1
const isAsked = () => Atomics.load(ints, OUR_TURNS >> 2) !== Atomics.load(ints, PEER_TURNS >> 2)

const alive = setInterval(() => {}, KEEP_ALIVE_MS)
while (!mustStop()) {
  while (isAsked()) {
    Atomics.add(ints, PEER_TURNS >> 2, 1)
    asker.ring()
  }
  await own.park(IDLE, () => isAsked() || mustStop())
}
clearInterval(alive)
