/**
 * Loaded into a measured broker by `node --import`: each of its threads tells, once a second, which
 * thread of the kernel it is and how large its heap is. Nothing of it is in the product.
 * Runs on: every JavaScript thread of the measured broker. Owns: one file per thread.
 */
import { readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'

export const PROBE_FOLDER = 'BENCH_PROBE_FOLDER'
const INTERVAL_MS = 1000

export interface ThreadNote {
  /** Of node:worker_threads; 0 is the main thread. */
  readonly threadId: number
  /** Of the kernel. */
  readonly tid: number
  readonly heapUsedMb: number
  readonly externalMb: number
}

const folder = process.env[PROBE_FOLDER]
if (folder !== undefined) {
  // A synchronous call: made on the thread that asks, so it names this one.
  const tid = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
  const file = join(folder, `${threadId}.json`)
  const note = () => {
    const { heapUsed, external } = process.memoryUsage()
    const content = { threadId, tid, heapUsedMb: heapUsed / 1e6, externalMb: external / 1e6 }
    writeFileSync(file, JSON.stringify(content satisfies ThreadNote))
  }
  note()
  setInterval(note, INTERVAL_MS).unref()
}
