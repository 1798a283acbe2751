/**
 * A server under test as a child process: started, waited for, stopped.
 * Runs on: the benchmark's main process. Owns: the child and its pipes.
 *
 * The server logs one JSON object per line. The one whose `msg` says «listening» tells its port;
 * the last lines are kept for the error message of a server that dies.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const START_MS_MAX = 20_000
const STOP_MS_MAX = 15_000
const LINES_KEPT = 20

export interface Server {
  readonly name: string
  readonly pid: number
  readonly host: string
  readonly port: number
  /** Where it tells its version, configuration and threads, if it is a broker of ours. */
  readonly statsUrl?: string
  /** Settles when the process ends, with the reason; never rejects. */
  readonly ended: Promise<string>
  stop(): Promise<void>
}

export interface ServerOptions {
  readonly name: string
  /** The compiled module to run. */
  readonly module: string
  readonly env: Readonly<Record<string, string>>
  /** Arguments of Node itself. */
  readonly execArgv?: readonly string[]
}

export async function startServer(options: ServerOptions): Promise<Server> {
  const host = '127.0.0.1'
  const child = spawn(process.execPath, [...(options.execArgv ?? []), options.module], {
    env: { ...process.env, HOST: host, PORT: '0', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // Its own process group: Ctrl-C reaches the benchmark, which then stops it.
  })
  const killOnExit = () => child.kill('SIGKILL')
  process.once('exit', killOnExit)
  const lines: string[] = []
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`${options.name}: ${error.message}`))
    child.once('close', (code, signal) => {
      process.off('exit', killOnExit)
      resolve([`${options.name} ended: code=${code}, signal=${signal}`, ...lines].join('\n  '))
    })
  })
  const dead = ended.then((reason) => Promise.reject(new Error(reason)))
  dead.catch(() => {}) // Only who races with it wants to know.

  try {
    const port = await Promise.race([
      listeningPort(child, lines),
      dead,
      tooLate(options.name, lines),
    ])
    await Promise.race([isHealthy(host, port), dead, tooLate(options.name, lines)])
    const stop = () => stopChild(child, ended, options.name)
    return { name: options.name, pid: child.pid ?? 0, host, port, ended, stop }
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
}

function listeningPort(child: ChildProcess, lines: string[]): Promise<number> {
  return new Promise((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line)
        if (lines.length > LINES_KEPT) lines.shift()
        const port = portIn(line)
        if (port !== undefined) resolve(port)
      })
    }
  })
}

function portIn(line: string): number | undefined {
  if (!line.includes('listening')) return undefined
  const port = /"port":(\d+)/.exec(line)?.[1]
  return port === undefined ? undefined : Number(port)
}

async function isHealthy(host: string, port: number): Promise<void> {
  for (;;) {
    const response = await fetch(`http://${host}:${port}/health`).catch(() => undefined)
    await response?.arrayBuffer()
    if (response?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function tooLate(name: string, lines: readonly string[]): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, START_MS_MAX).unref())
  throw new Error([`${name} was not ready after ${START_MS_MAX} ms`, ...lines].join('\n  '))
}

/** SIGTERM, and SIGKILL for one that does not go. Throws if it did not end cleanly. */
async function stopChild(child: ChildProcess, ended: Promise<string>, name: string): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
  const reason = await ended
  clearTimeout(timer)
  if (child.signalCode === 'SIGKILL') {
    throw new Error(`${name} ignored SIGTERM for ${STOP_MS_MAX} ms`)
  }
  if (child.exitCode !== 0) throw new Error(`${name} did not stop cleanly: ${reason}`)
}
