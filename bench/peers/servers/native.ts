/**
 * A server that is no Node program, as a child process on a free port of loopback, with its files
 * in a temporary folder.
 * Runs on: the benchmark's main process. Owns: the child, and the folder until the child is gone.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, isAbsolute, join } from 'node:path'
import type { Server } from '../../server-process.js'

const HOST = '127.0.0.1'
const START_MS_MAX = 60_000
const STOP_MS_MAX = 10_000
const LINES_KEPT = 20
/** Where Debian puts servers that are on nobody's PATH. */
const MORE_FOLDERS = ['/usr/sbin', '/usr/local/sbin']

export interface NativeServer {
  readonly name: string
  readonly command: string
  /** File name → text; written to the folder before the start. */
  files(place: Place): Readonly<Record<string, string>>
  args(place: Place): readonly string[]
  env?(place: Place): Readonly<Record<string, string>>
  /** SIGTERM unless told. */
  readonly stopSignal?: NodeJS.Signals
}

export interface Place {
  readonly host: string
  readonly port: number
  readonly folder: string
}

/** The path of a program, or undefined when it is not installed. */
export function findCommand(command: string): string | undefined {
  if (isAbsolute(command)) return isExecutable(command) ? command : undefined
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...MORE_FOLDERS]
  return folders.map((folder) => join(folder, command)).find(isExecutable)
}

/** Resolves when the server accepts connections. */
export async function startNative(options: NativeServer): Promise<Server> {
  const command = findCommand(options.command)
  if (command === undefined) throw new Error(`${options.command} is not installed`)
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-peer-'))
  const place = { host: HOST, port: await freePort(), folder }
  for (const [file, text] of Object.entries(options.files(place))) {
    writeFileSync(join(folder, file), text)
  }
  const child = spawn(command, options.args(place), {
    cwd: folder,
    env: { ...process.env, ...options.env?.(place) },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // Its own process group: it is stopped as one, and Ctrl-C does not reach it.
  })
  const killOnExit = () => killGroup(child, 'SIGKILL')
  process.once('exit', killOnExit)
  const lines = lastLines(child)
  const ended = new Promise<string>((resolve) => {
    const end = (reason: string) => {
      process.off('exit', killOnExit)
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
      resolve([reason, ...lines].join('\n  '))
    }
    child.once('error', (error) => end(`${options.name}: ${error.message}`))
    child.once('exit', (code, signal) =>
      end(`${options.name} ended: code=${code}, signal=${signal}`),
    )
  })
  const dead = ended.then((reason) => Promise.reject(new Error(reason)))
  dead.catch(() => {}) // Only who races with it wants to know.
  try {
    await Promise.race([isListening(place, options.name), dead])
  } catch (error) {
    killGroup(child, 'SIGKILL')
    await ended
    throw error
  }
  const stop = () => stopChild(child, ended, options.stopSignal ?? 'SIGTERM')
  return { name: options.name, pid: child.pid ?? 0, host: HOST, port: place.port, ended, stop }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, HOST, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0))
    })
  })
}

async function isListening({ host, port }: Place, name: string): Promise<void> {
  const givenUpMs = performance.now() + START_MS_MAX
  while (performance.now() < givenUpMs) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect({ host, port })
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('close', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (isOpen) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${name} did not listen within ${START_MS_MAX} ms`)
}

async function stopChild(
  child: ChildProcess,
  ended: Promise<string>,
  signal: NodeJS.Signals,
): Promise<void> {
  killGroup(child, signal)
  const timer = setTimeout(() => killGroup(child, 'SIGKILL'), STOP_MS_MAX)
  await ended
  clearTimeout(timer)
  killGroup(child, 'SIGKILL') // What it started and left behind.
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // Nobody is left of the group.
  }
}

function lastLines(child: ChildProcess): string[] {
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      lines.push(...text.split('\n').filter((line) => line !== ''))
      lines.splice(0, Math.max(0, lines.length - LINES_KEPT))
    })
  }
  return lines
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
