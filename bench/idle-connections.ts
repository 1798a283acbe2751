/**
 *   c1 … c10000 ═══► broker        open WebSocket connections that say nothing
 *
 * Question: how much memory does an idle connection cost the broker?
 * Runs on: the benchmark's main process. Owns: its broker, and the process that holds the clients.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { startBroker } from './broker-process.js'
import type { Target } from './load/plan.js'
import { openFilesMax, readProcessStats } from './load/process-stats.js'
import type { Server } from './server-process.js'

/** Files that broker and client process have open besides the sockets. */
const OTHER_FILES = 200
/** Garbage of the start, and of the handshakes, goes before memory is read. */
const SETTLE_MS = 4000
const OPEN_MS_MAX = 120_000

export interface OpenIdle {
  readonly target: Target
  readonly connections: number
}

export type FromIdle =
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly reason: string }

/** Returns the exit code. */
export async function measureIdleConnections(connections: number): Promise<number> {
  // Node raises its own soft limit to the hard one at start; children inherit it.
  const files = openFilesMax('self')
  if (files < connections + OTHER_FILES) {
    const wanted = connections + OTHER_FILES
    console.error(`bench: ${connections} connections need ${wanted} open files, but the limit is`)
    console.error(
      `${files}. Raise it (ulimit -Hn ${wanted}; ulimit -n ${wanted}) or ask for fewer.`,
    )
    return 1
  }
  const server = await startBroker({ MAX_CONNECTIONS: String(connections + OTHER_FILES) })
  try {
    await pause(SETTLE_MS)
    const emptyMb = readProcessStats(server.pid).rssMb
    const clients = await openClients(server, connections)
    try {
      await pause(SETTLE_MS)
      const fullMb = readProcessStats(server.pid).rssMb
      const loss = clients.loss()
      if (loss !== undefined) throw new Error(`connections did not stay open: ${loss}`)
      const grownMb = fullMb - emptyMb
      console.log(`rss empty broker            ${emptyMb.toFixed(1)} MB`)
      console.log(`rss ${String(connections).padStart(6)} idle connections ${fullMb.toFixed(1)} MB`)
      console.log(`above the empty broker      ${grownMb.toFixed(1)} MB`)
      console.log(`per connection              ${((grownMb * 1e3) / connections).toFixed(2)} kB`)
    } finally {
      clients.kill()
    }
  } finally {
    await server.stop()
  }
  return 0
}

interface IdleClients {
  /** Why a connection was lost, if one was. */
  loss(): string | undefined
  kill(): void
}

async function openClients(server: Server, connections: number): Promise<IdleClients> {
  const file = fileURLToPath(new URL('./load/idle.js', import.meta.url))
  const child = fork(file, { stdio: 'inherit' })
  let loss: string | undefined
  const ready = new Promise<void>((resolve, reject) => {
    child.on('message', (message: FromIdle) => {
      if (message.type === 'ready') return resolve()
      loss = message.reason
      reject(new Error(loss))
    })
    child.once('exit', () => reject(new Error('the client process ended')))
    void server.ended.then((reason) => reject(new Error(reason)))
    setTimeout(() => reject(new Error('connecting took too long')), OPEN_MS_MAX).unref()
  })
  child.send({ target: { host: server.host, port: server.port }, connections } satisfies OpenIdle)
  try {
    await ready
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
  return { loss: () => loss, kill: () => child.kill('SIGKILL') }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
