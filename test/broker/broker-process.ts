/**
 * The broker as users run it: a process of its own, its log lines and how it ended. What still runs at
 * the end of a test is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { type Json, waitUntil } from './harness.js'

const MAIN = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url))

export interface End {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export class BrokerProcess {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  end: End | undefined

  /** Runs the program with these arguments, and no environment but this. */
  constructor(env: Record<string, string>, args: readonly string[] = []) {
    const inherited = { PATH: process.env['PATH'] ?? '' }
    this.child = spawn(process.execPath, [MAIN, ...args], { env: { ...inherited, ...env } })
    this.child.stdout?.on('data', (chunk) => {
      this.stdout += chunk
    })
    this.child.stderr?.on('data', (chunk) => {
      this.stderr += chunk
    })
    this.child.on('close', (code, signal) => {
      this.end = { code, signal }
    })
    onTestFinished(() => void this.child.kill('SIGKILL'))
  }

  /** A broker on loopback, on a free port unless `env` says otherwise, that listens. */
  static async listening(env: Record<string, string> = {}): Promise<BrokerProcess> {
    const started = new BrokerProcess({ HOST: '127.0.0.1', PORT: '0', WORKERS: '2', ...env })
    await waitUntil(() => started.line('listening') !== undefined || started.end !== undefined)
    if (started.end !== undefined) throw new Error(`ended: ${started.stdout}${started.stderr}`)
    return started
  }

  /** Log lines so far. */
  get lines(): Json[] {
    const whole = this.stdout.slice(0, this.stdout.lastIndexOf('\n') + 1)
    return whole
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Json)
  }

  /** The first log line with this message. */
  line(message: string): Json | undefined {
    return this.lines.find(({ msg }) => msg === message)
  }

  get port(): number {
    return this.line('listening')?.['port'] as number
  }

  get wsUrl(): string {
    return `ws://127.0.0.1:${this.port}/ws`
  }

  get httpUrl(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async ended(timeoutMs?: number): Promise<End> {
    await waitUntil(() => this.end !== undefined, timeoutMs)
    return this.end as End
  }
}

/** A port of loopback that nothing listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
