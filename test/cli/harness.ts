/**
 * The command line under test: in this process with streams of its own (quick, and counted by the
 * coverage), and as a real process, whose signals, pipes and exit codes are those of a user's.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { run } from '../../src/cli/program.js'
import type { Io, OutputStream } from '../../src/cli/terminal.js'
import { waitUntil } from '../broker/harness.js'

export const COMMAND = fileURLToPath(new URL('../../dist/src/cli/ringcast.js', import.meta.url))

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly stdout: string
  readonly stderr: string
  readonly ended: Promise<Ended>
  interrupt(): void
}

export interface HereOptions {
  readonly stdin?: string | readonly string[] | NodeJS.ReadableStream
  readonly env?: Readonly<Record<string, string>>
  readonly terminal?: { readonly columns: number; readonly rows: number }
}

/** Runs a command line in this process. */
export function startHere(args: readonly string[], options: HereOptions = {}): Running {
  const interrupted = new AbortController()
  const [stdout, stderr] = [new Collected(options.terminal), new Collected(options.terminal)]
  const { stdin = '' } = options
  const lines = typeof stdin === 'string' ? [stdin] : stdin
  const io: Io = {
    stdin: Array.isArray(lines) ? Readable.from(lines) : (lines as NodeJS.ReadableStream),
    stdout,
    stderr,
    env: options.env ?? {},
    interruption: () => interrupted.signal,
  }
  const ended = run(args, io).then((code) => ({ code, stdout: stdout.text, stderr: stderr.text }))
  return {
    get stdout() {
      return stdout.text
    },
    get stderr() {
      return stderr.text
    },
    ended,
    interrupt: () => interrupted.abort(),
  }
}

export function runHere(args: readonly string[], options: HereOptions = {}): Promise<Ended> {
  return startHere(args, options).ended
}

/** The parsed lines of what a command printed. */
export function jsonLines(text: string): Record<string, unknown>[] {
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}

class Collected extends Writable implements OutputStream {
  text = ''
  readonly isTTY: boolean
  readonly columns: number
  readonly rows: number

  constructor(terminal: { readonly columns: number; readonly rows: number } | undefined) {
    super({ decodeStrings: false })
    this.isTTY = terminal !== undefined
    this.columns = terminal?.columns ?? 100
    this.rows = terminal?.rows ?? 24
  }

  override _write(chunk: string | Uint8Array, _: BufferEncoding, done: () => void): void {
    this.text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()
    done()
  }
}

/** Runs it as a process, with a URL in RINGCAST_URL. */
export function startProcess(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Running & { readonly child: ChildProcess } {
  const child = spawn(process.execPath, [COMMAND, ...args], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: 'pipe',
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (data) => {
    stdout += data
  })
  child.stderr.on('data', (data) => {
    stderr += data
  })
  child.stdin.on('error', () => {}) // It may end before it has read everything.
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      resolve({ code: code ?? Number.NaN, stdout, stderr: stderr + (signal ?? '') })
    })
  })
  return {
    child,
    get stdout() {
      return stdout
    },
    get stderr() {
      return stderr
    },
    ended,
    interrupt: () => child.kill('SIGINT'),
  }
}

/** Runs it as a process, with `stdin` as all that it reads. */
export function runProcess(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  stdin = '',
): Promise<Ended> {
  const { child, ended } = startProcess(args, env)
  child.stdin?.end(stdin)
  return ended
}

/** Runs a command line of the shell; `ringcast` in it is the command under test. */
export function runShell(line: string, env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const script = `ringcast() { "${process.execPath}" "${COMMAND}" "$@"; }; ${line}`
  const child = spawn('bash', ['-c', script], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (data) => {
    stdout += data
  })
  child.stderr.on('data', (data) => {
    stderr += data
  })
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code: code ?? Number.NaN, stdout, stderr }))
  })
}

export function untilPrinted(running: Running, text: string): Promise<void> {
  return waitUntil(() => running.stdout.includes(text) || running.stderr.includes(text))
}
