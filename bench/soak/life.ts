/**
 * One short connection: opened, subscribed, unsubscribed in part, ended politely or not.
 * Runs on: the churn process. Owns: its socket.
 */
import { Packr, unpackMultiple } from 'msgpackr'
import WebSocket from 'ws'
import type { Target } from '../load/plan.js'
import type { ChurnCounts } from './churn-plan.js'

const ANSWER_MS_MAX = 10_000
const JSON_ENCODING = 1
const packr = new Packr({ useRecords: false, variableMapSize: true })

export type Encoding = 'json' | 'msgpack'

export interface LifePlan {
  readonly target: Target
  readonly encoding: Encoding
  /** Topics and patterns. */
  readonly subscriptions: readonly string[]
  readonly publishTo: string
  readonly publishes: number
  readonly lingerMs: number
  readonly isPolite: boolean
}

/** Refusals that the deletion of a topic explains. */
const EXPLAINED = 'TOPIC_NOT_FOUND'

/** Lives it. Throws what went wrong. */
export async function live(plan: LifePlan, counts: ChurnCounts): Promise<void> {
  const connection = new Connection(plan, counts)
  try {
    await connection.opened()
    await Promise.all(plan.subscriptions.map((text) => connection.subscribe(text)))
    counts.subscribes += plan.subscriptions.length
    const publishes = Array.from({ length: plan.publishes }, (_, n) =>
      connection.publish(plan.publishTo, n),
    )
    await Promise.all(publishes)
    counts.publishes += plan.publishes
    await new Promise((resolve) => setTimeout(resolve, plan.lingerMs))
    // The others end with the connection.
    const given = plan.subscriptions.filter((_, index) => index % 2 === 0)
    await Promise.all(given.map((text) => connection.unsubscribe(text)))
    counts.unsubscribes += given.length
    if (plan.isPolite) await connection.closed()
  } finally {
    connection.destroy()
  }
}

class Connection {
  readonly #socket: WebSocket
  readonly #encoding: Encoding
  readonly #counts: ChurnCounts
  readonly #waiting = new Map<string, (error: string | undefined) => void>()
  #requests = 0
  #lost: string | undefined

  constructor({ target, encoding }: LifePlan, counts: ChurnCounts) {
    this.#encoding = encoding
    this.#counts = counts
    const url = `ws://${target.host}:${target.port}/ws`
    this.#socket = new WebSocket(url, [`ringcast.v1.${encoding}`], { perMessageDeflate: false })
    this.#socket.on('message', (data) => this.#onMessage(data as Buffer))
    this.#socket.on('error', (error) => this.#onEnd(error.message))
    this.#socket.on('close', (code) => this.#onEnd(`closed with ${code}`))
  }

  opened(): Promise<void> {
    return this.#answered('open', () => this.#socket.once('open', () => this.#settle('open')))
  }

  subscribe(text: string): Promise<void> {
    return this.#request((id) =>
      this.#encoding === 'json'
        ? { type: 'subscribe', topic: text, request_id: id }
        : [2, id, text, null],
    )
  }

  unsubscribe(text: string): Promise<void> {
    return this.#request((id) =>
      this.#encoding === 'json'
        ? { type: 'unsubscribe', topic: text, request_id: id }
        : [3, id, text],
    )
  }

  publish(topic: string, payload: number): Promise<void> {
    return this.#request((id) =>
      this.#encoding === 'json'
        ? { type: 'publish', topic, message: { payload }, request_id: id }
        : [1, id, topic, [[JSON_ENCODING, Buffer.from(JSON.stringify(payload))]]],
    )
  }

  /** Closes with a frame, and waits for that of the broker. */
  closed(): Promise<void> {
    return this.#answered('close', () => this.#socket.close(1000))
  }

  /** Takes the socket away, whatever is on it. */
  destroy(): void {
    this.#socket.terminate()
  }

  #request(frameOf: (id: string) => object): Promise<void> {
    const id = String(this.#requests++)
    const frame = frameOf(id)
    return this.#answered(id, () =>
      this.#socket.send(this.#encoding === 'json' ? JSON.stringify(frame) : packr.pack(frame)),
    )
  }

  #answered(id: string, begin: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined) return reject(new Error(this.#lost))
      const timer = setTimeout(() => this.#settle(id, 'no answer'), ANSWER_MS_MAX)
      this.#waiting.set(id, (error) => {
        clearTimeout(timer)
        if (error === undefined || error === EXPLAINED) resolve()
        else reject(new Error(`${id}: ${error}`))
      })
      begin()
    })
  }

  #settle(id: string, error?: string): void {
    const settle = this.#waiting.get(id)
    this.#waiting.delete(id)
    settle?.(error)
  }

  #onEnd(reason: string): void {
    this.#lost ??= reason
    this.#settle('close')
    for (const id of [...this.#waiting.keys()]) this.#settle(id, reason)
  }

  #onMessage(data: Buffer): void {
    if (this.#encoding === 'json') {
      const { type, request_id, error } = JSON.parse(data.toString()) as Record<string, unknown>
      if (type === 'event') this.#counts.events++
      else if (type === 'ack') this.#settle(String(request_id))
      else if (type === 'error') this.#onError(request_id, (error as { code: string }).code)
      return
    }
    for (const frame of unpackMultiple(data) as unknown[][]) {
      const [op, id, code, entries] = frame
      if (op === 34) this.#counts.events += (entries as unknown[]).length
      else if (op === 33) this.#settle(String(id))
      else if (op === 35) this.#onError(id, String(code))
    }
  }

  #onError(id: unknown, code: string): void {
    if (typeof id === 'string') this.#settle(id, code)
    else this.#onEnd(`an error that answers nothing: ${code}`)
  }
}
