/**
 * A real broker in this process, on a free port of loopback, and clients that are not ours (`ws`,
 * msgpackr). Everything that was started is closed after each test.
 */
import { Packr, unpackMultiple } from 'msgpackr'
import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import WebSocket from 'ws'
import { Broker } from '../../src/broker.js'
import { loadConfig } from '../../src/config.js'

const WAIT_MS = 10_000
const POLL_MS = 2

export type Json = Record<string, unknown>

export interface TestBroker {
  readonly broker: Broker
  readonly wsUrl: string
  readonly httpUrl: string
  /** Errors that would have ended the process. */
  readonly fatal: Error[]
  /** Parsed JSON answer of the HTTP door. */
  http(method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }>
}

/**
 * Starts a broker with these environment variables; WORKERS is 2 unless told. What would have ended
 * the process goes to `fatal`.
 */
export async function startBroker(
  env: Record<string, string> = {},
  workerFile?: URL,
  fatal: Error[] = [],
) {
  const { config } = loadConfig({
    HOST: '127.0.0.1',
    PORT: '0',
    WORKERS: '2',
    LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'silent',
    ...env,
  })
  const broker = await Broker.start({
    config,
    loggerFor: (component) => pino({ level: config.logLevel, base: { component } }),
    onFatal: (error) => fatal.push(error),
    ...(workerFile === undefined ? {} : { workerFile }),
  })
  onTestFinished(() => broker.stop())
  const httpUrl = `http://127.0.0.1:${broker.port}`
  const testBroker: TestBroker = {
    broker,
    fatal,
    httpUrl,
    wsUrl: `ws://127.0.0.1:${broker.port}/ws`,
    http: async (method, path, body) => {
      const init = body === undefined ? { method } : { method, body: JSON.stringify(body) }
      const answer = await fetch(httpUrl + path, init)
      return { status: answer.status, body: (await answer.json()) as Json }
    },
  }
  return testBroker
}

/** A topic that the given shard owns. */
export function topicOn({ broker }: TestBroker, shard: number, prefix = 'topic'): string {
  for (let number = 0; ; number++) {
    const topic = `${prefix}.${number}`
    if (broker.gateway.names.byName(topic).shard === shard) return topic
  }
}

/** What both kinds of client have: frames in the order they came, and the end of the connection. */
export class TestClient<Frame> {
  readonly socket: WebSocket
  readonly frames: Frame[] = []
  /** Code and reason once the connection is closed. */
  closed: { code: number; reason: string } | undefined

  protected constructor(socket: WebSocket, decode: (data: Buffer, isBinary: boolean) => Frame[]) {
    this.socket = socket
    socket.on('message', (data, isBinary) => {
      this.frames.push(...decode(data as Buffer, isBinary))
    })
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
    })
    socket.on('error', () => {}) // What matters shows in `closed`.
    onTestFinished(() => socket.terminate())
  }

  /** The first frame, from `from` on, that fits; waits for it. */
  async next(fits: (frame: Frame) => boolean, from = 0): Promise<Frame> {
    let checked = from
    let found: Frame | undefined
    await waitUntil(() => {
      for (; checked < this.frames.length; checked++) {
        const frame = this.frames[checked] as Frame
        if (fits(frame)) {
          found = frame
          return true
        }
      }
      return false
    })
    return found as Frame
  }

  async whenClosed(): Promise<{ code: number; reason: string }> {
    await waitUntil(() => this.closed !== undefined)
    return this.closed as { code: number; reason: string }
  }
}

export class JsonClient extends TestClient<Json> {
  static async connect(url: string, protocols: string[] = []): Promise<JsonClient> {
    const socket = new WebSocket(url, protocols)
    const client = new JsonClient(socket, (data) => [JSON.parse(data.toString()) as Json])
    await opened(socket)
    return client
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  /** Sends a request with a request id of its own and resolves with the ack, error or pong to it. */
  async ask(frame: Json): Promise<Json> {
    const id = `ask-${nextId++}`
    const from = this.frames.length
    this.send({ ...frame, request_id: id })
    return this.next((answer) => answer['request_id'] === id, from)
  }

  get events(): Json[] {
    return this.frames.filter((frame) => frame['type'] === 'event')
  }
}

/** A frame of MessagePack: the op, then what PROTOCOL.md says. */
export type Packed = readonly [number, ...unknown[]]

const packr = new Packr({ useRecords: false, variableMapSize: true })

export class MsgpackClient extends TestClient<Packed> {
  static async connect(url: string): Promise<MsgpackClient> {
    const socket = new WebSocket(url, ['ringcast.v1.msgpack'])
    const client = new MsgpackClient(socket, (data) => unpackMultiple(data) as unknown as Packed[])
    await opened(socket)
    return client
  }

  send(...frames: unknown[][]): void {
    this.socket.send(Buffer.concat(frames.map((frame) => packr.pack(frame))))
  }

  /** Sends `[op, id, ...rest]` and resolves with the frame that answers the id. */
  async ask(op: number, ...rest: unknown[]): Promise<Packed> {
    const id = `ask-${nextId++}`
    const from = this.frames.length
    this.send([op, id, ...rest])
    return this.next((answer) => answer[1] === id, from)
  }

  /** Entries `[seq, ts, encoding, payload, id, headers]` of all EVENTS frames, in order. */
  get entries(): unknown[][] {
    return this.frames.filter(([op]) => op === 34).flatMap((frame) => frame[3] as unknown[][])
  }
}

let nextId = 1

/** Polls until `condition` holds; rejects after `timeoutMs`. */
export async function waitUntil(condition: () => boolean, timeoutMs = WAIT_MS): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${condition}`)
    await sleep(POLL_MS)
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function opened(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.on('open', () => resolve())
    socket.on('unexpected-response', (_request, response) => {
      reject(new Error(`refused with ${response.statusCode}`))
    })
    socket.on('error', reject)
  })
}
