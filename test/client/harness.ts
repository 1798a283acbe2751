/**
 * What the tests of the SDK share: a TCP proxy that cuts and stops, and a broker as a process of its
 * own that can be killed and frozen.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import {
  type Client,
  type ConnectOptions,
  connect,
  type Message,
} from '../../src/client/ringcast.js'
import { sleep, waitUntil } from '../broker/harness.js'

const MAIN = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url))

/** Fast enough for a test, and what it opens is closed after it. */
export async function open(url: string, options: ConnectOptions = {}): Promise<Client> {
  const client = await connect(url, { reconnectBaseMs: 10, reconnectMaxMs: 100, ...options })
  onTestFinished(() => client.close())
  return client
}

export type Direction = 'toBroker' | 'toClient'

/** Passes bytes on until it is told to cut the connection after so many of them. */
export class CuttingProxy {
  readonly url: string
  /** Bytes passed on the newest connection, by direction. */
  readonly passed = { toBroker: 0, toClient: 0 }
  connections = 0
  /** While true, new connections are closed at once. */
  isRefusing = false
  /** While true, nothing passes and nothing is closed. */
  isStuck = false
  readonly #target: () => number
  readonly #sockets = new Set<Socket>()
  #cutAt: { direction: Direction; bytes: number } | undefined
  #cutNextAt: { direction: Direction; bytes: number } | undefined

  private constructor(port: number, target: () => number) {
    this.url = `ws://127.0.0.1:${port}/ws`
    this.#target = target
  }

  static async start(target: number | (() => number)): Promise<CuttingProxy> {
    const server = createServer((socket) => proxy.#onConnection(socket))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const find = typeof target === 'number' ? () => target : target
    const proxy = new CuttingProxy((server.address() as AddressInfo).port, find)
    onTestFinished(() => {
      server.close()
      proxy.cut()
    })
    return proxy
  }

  /** Cuts once: when so many more bytes have gone this way; what is behind them is lost. */
  cutAfter(direction: Direction, bytes: number): void {
    this.#cutAt = { direction, bytes: this.passed[direction] + bytes }
  }

  /** Cuts the next connection, once: when so many bytes have gone this way. */
  cutFromStart(direction: Direction, bytes: number): void {
    this.#cutNextAt = { direction, bytes }
  }

  get isArmed(): boolean {
    return this.#cutAt !== undefined
  }

  disarm(): void {
    this.#cutAt = undefined
    this.#cutNextAt = undefined
  }

  /** Cuts every connection now. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  #onConnection(client: Socket): void {
    if (this.isRefusing) {
      client.destroy()
      return
    }
    this.connections++
    if (this.#cutNextAt !== undefined) {
      this.#cutAt = this.#cutNextAt
      this.#cutNextAt = undefined
    }
    this.passed.toBroker = 0
    this.passed.toClient = 0
    const broker = connectTcp(this.#target(), '127.0.0.1')
    for (const [from, to, direction] of [
      [client, broker, 'toBroker'],
      [broker, client, 'toClient'],
    ] as const) {
      this.#sockets.add(from)
      from.setNoDelay(true)
      from.on('error', () => {})
      from.on('data', (data) => this.#pass(data, from, to, direction))
      from.on('close', () => {
        this.#sockets.delete(from)
        if (!to.destroyed) to.end()
      })
    }
  }

  #pass(data: Buffer, from: Socket, to: Socket, direction: Direction): void {
    if (this.isStuck) {
      from.pause()
      return
    }
    const cut = this.#cutAt
    const room = cut?.direction === direction ? cut.bytes - this.passed[direction] : data.length
    if (room >= data.length) {
      this.passed[direction] += data.length
      to.write(data)
      return
    }
    this.#cutAt = undefined
    // end() sends what is allowed; whatever comes the other way after this is lost too.
    to.end(data.subarray(0, room))
    from.destroy()
  }
}

/** A broker that is a process. */
export class BrokerProcess {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`
  }

  /** Starts one on this port, or a free one; resolves when it listens. */
  static async start(wanted = 0, env: Record<string, string> = {}): Promise<BrokerProcess> {
    // Not PORT=0: a port that the kernel chose cannot be listened on again for a minute.
    const port = wanted === 0 ? await freePort() : wanted
    const child = spawn(process.execPath, [MAIN], {
      env: {
        ...process.env,
        NODE_ENV: 'production',
        HOST: '127.0.0.1',
        PORT: String(port),
        WORKERS: '1',
        LOG_LEVEL: 'info',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    let text = ''
    child.stdout?.on('data', (data) => {
      text += data
    })
    await waitUntil(() => text.includes('listening') || child.exitCode !== null)
    if (child.exitCode !== null) throw new Error(`the broker did not start: ${text}`)
    return new BrokerProcess(child, port)
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill(signal)
    await exited
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}

/** Resolves when the event comes next. */
export function event(
  emitter: { once(name: string, listener: (...values: unknown[]) => void): unknown },
  name: string,
): Promise<unknown[]> {
  return new Promise((resolve) => {
    emitter.once(name, (...values) => resolve(values))
  })
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Collects what comes, as `topic epoch seq`, so that a repeat shows. */
export class Log {
  readonly messages: Message[] = []

  readonly add = (message: Message): void => {
    this.messages.push(message)
  }

  get places(): string[] {
    return this.messages.map(({ topic, epoch, seq }) => `${topic} ${epoch} ${seq}`)
  }

  get payloads(): unknown[] {
    return this.messages.map(({ payload }) => payload)
  }

  get repeats(): string[] {
    const seen = new Set<string>()
    return this.places.filter((place) => seen.size === seen.add(place).size)
  }

  async whenLength(length: number, timeoutMs?: number): Promise<void> {
    await waitUntil(() => this.messages.length >= length, timeoutMs)
  }
}

export { sleep, waitUntil }
