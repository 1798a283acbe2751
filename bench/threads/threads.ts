/**
 * CPU time and heap of each JavaScript thread of a broker that was started with preload.ts.
 * Runs on: the benchmark's main process. Owns: the folder of notes, until `close()`.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startBroker } from '../broker-process.js'
import { threadCpuSeconds } from '../load/process-stats.js'
import type { Server } from '../server-process.js'
import { PROBE_FOLDER, type ThreadNote } from './preload.js'

export interface ThreadUse extends ThreadNote {
  readonly cpuSeconds: number
}

export interface WatchedBroker {
  readonly server: Server
  /** By thread id, the front thread first. */
  threads(): ThreadUse[]
  /** Stops the broker. */
  stop(): Promise<void>
}

export async function startWatchedBroker(
  env: Readonly<Record<string, string>>,
  execArgv: readonly string[] = [],
): Promise<WatchedBroker> {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-threads-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove)
  try {
    const preload = new URL('./preload.js', import.meta.url)
    const args = [...execArgv, '--import', preload.href]
    const server = await startBroker({ ...env, [PROBE_FOLDER]: folder }, args)
    return {
      server,
      threads: () => notes(folder).map((note) => ({ ...note, cpuSeconds: cpu(server, note) })),
      async stop() {
        try {
          await server.stop()
        } finally {
          process.off('exit', remove)
          remove()
        }
      },
    }
  } catch (error) {
    process.off('exit', remove)
    remove()
    throw error
  }
}

function cpu({ pid }: Server, { tid }: ThreadNote): number {
  return threadCpuSeconds(pid, tid)
}

function notes(folder: string): ThreadNote[] {
  return readdirSync(folder)
    .flatMap((file) => parsed(readFileSync(join(folder, file), 'utf8')))
    .sort((one, other) => one.threadId - other.threadId)
}

/** A note that is being written again may be empty at this moment. */
function parsed(text: string): ThreadNote[] {
  try {
    return [JSON.parse(text) as ThreadNote]
  } catch {
    return []
  }
}
