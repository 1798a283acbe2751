/**
 * A member of a consumer group that is not ours (`ws`, msgpackr), in either encoding, which comes back
 * when its connection is cut. It keeps the books: what came, what it said, what was confirmed.
 */
import { randomBytes } from 'node:crypto'
import { onTestFinished } from 'vitest'
import { type Json, JsonClient, MsgpackClient, type Packed, sleep } from './harness.js'
import type { Encoding } from './load.js'

const OPS = { ack: 5, nack: 6, term: 7, working: 8, pause: 9, resume: 10, release: 11 } as const
export type MemberOp = keyof typeof OPS

/** Payloads are numbers. */
export interface Delivered {
  readonly seq: number
  readonly value: number
  readonly key: string | undefined
  readonly attempt: number
  readonly deadlineMs: number
  readonly atMs: number
}

export interface Answer {
  readonly settled?: number
  readonly code?: string
  readonly message?: string
}

export class GroupMember {
  readonly topic: string
  readonly group: string
  readonly delivered: Delivered[] = []
  /** Other frames, as JSON has them. */
  readonly infos: Json[] = []
  joined: Json | undefined
  onDelivered: (delivered: Delivered[]) => void = () => {}
  readonly #url: string
  readonly #encoding: Encoding
  readonly #options: Json
  readonly #waiting = new Map<string, (answer: Answer | undefined) => void>()
  readonly #name = randomBytes(4).toString('hex')
  #client: JsonClient | MsgpackClient | undefined
  #lastId = 0
  #isOver = false

  constructor(url: string, encoding: Encoding, topic: string, group: string, options: Json = {}) {
    this.#url = url
    this.#encoding = encoding
    this.topic = topic
    this.group = group
    this.#options = options
    onTestFinished(() => this.close())
  }

  static async join(...args: ConstructorParameters<typeof GroupMember>): Promise<GroupMember> {
    const member = new GroupMember(...args)
    await member.connect()
    return member
  }

  /** Connects and joins; asks again while the broker is too busy. */
  async connect(): Promise<void> {
    const isJson = this.#encoding === 'json'
    const client = await (isJson ? JsonClient : MsgpackClient).connect(this.#url)
    client.socket.on('message', (data, isBinary) => this.#onFrame(data as Buffer, isBinary))
    client.socket.on('close', () => this.#onClosed())
    this.#client = client
    for (let tries = 0; tries < 100 && !this.#isOver; tries++) {
      const options = { group: this.group, ...this.#options }
      const answer = await this.#ask((id) =>
        isJson
          ? { type: 'subscribe', request_id: id, topic: this.topic, ...options }
          : [2, id, this.topic, options],
      )
      if (answer === undefined) return // Cut before it was answered.
      if (answer.code === undefined) {
        this.joined = answer as Json
        return
      }
      await sleep(10)
    }
  }

  /** The connection ends without a word; with `comesBack` there is a new one after a moment. */
  async cut(awayMs: number): Promise<void> {
    this.#client?.socket.terminate()
    await sleep(awayMs)
    if (!this.#isOver) await this.connect()
  }

  close(): void {
    this.#isOver = true
    this.#client?.socket.terminate()
  }

  leave(): Promise<Answer | undefined> {
    return this.#ask((id) =>
      this.#encoding === 'json'
        ? { type: 'unsubscribe', request_id: id, topic: this.topic, group: this.group }
        : [3, id, this.topic, { group: this.group }],
    )
  }

  /** Says something of messages; undefined when the connection was cut before the answer. */
  say(op: MemberOp, seqs?: unknown, details?: Json): Promise<Answer | undefined> {
    return this.#ask((id) => {
      const { topic, group } = this
      if (this.#encoding === 'msgpack') {
        const more = details === undefined ? [] : [details]
        return seqs === undefined
          ? [OPS[op], id, topic, group]
          : [OPS[op], id, topic, group, seqs, ...more]
      }
      const isUpTo = typeof seqs === 'object' && seqs !== null && !Array.isArray(seqs)
      const which = isUpTo ? seqs : { seqs }
      return { type: op, request_id: id, topic, group, ...which, ...details }
    })
  }

  async #ask(frameFor: (id: string) => unknown): Promise<Answer | undefined> {
    const client = this.#client
    if (client === undefined || client.socket.readyState !== client.socket.OPEN) return undefined
    const id = `${this.#name}-${++this.#lastId}`
    const answered = new Promise<Answer | undefined>((resolve) => this.#waiting.set(id, resolve))
    const frame = frameFor(id)
    if (client instanceof JsonClient) client.send(frame)
    else client.send(frame as unknown[])
    return answered
  }

  #onClosed(): void {
    for (const resolve of this.#waiting.values()) resolve(undefined)
    this.#waiting.clear()
  }

  /** The client has decoded it already, and keeps it; here it is taken from there. */
  #onFrame(_data: Buffer, _isBinary: boolean): void {
    const client = this.#client
    if (client === undefined) return
    const atMs = Date.now()
    if (client instanceof JsonClient) {
      for (const frame of client.frames.splice(0)) this.#onJson(frame, atMs)
    } else {
      for (const frame of client.frames.splice(0)) this.#onPacked(frame, atMs)
    }
  }

  #onJson(frame: Json, atMs: number): void {
    const { type, request_id: id } = frame
    if (type === 'event') {
      const message = frame['message'] as { payload: number; key?: string }
      const [seq, attempt] = [frame['seq'] as number, frame['attempt'] as number]
      const deadlineMs = Date.parse(frame['deadline'] as string)
      const { payload: value, key } = message
      this.#take([{ seq, value, key, attempt, deadlineMs, atMs }])
    } else if (type === 'ack') {
      this.#answer(id, frame as Answer)
    } else if (type === 'error') {
      this.#answer(id, frame['error'] as Answer)
    } else {
      this.infos.push(frame)
    }
  }

  #onPacked(frame: Packed, atMs: number): void {
    const [op, first, second, third, fourth, fifth] = frame
    if (op === 38) {
      const [attempt, deadlineMs] = [third as number, fourth as number]
      this.#take(
        (fifth as unknown[][]).map((entry) => {
          const properties = entry[6] as { key?: string } | undefined
          const value = JSON.parse((entry[3] as Buffer).toString()) as number
          return { seq: entry[0] as number, value, key: properties?.key, attempt, deadlineMs, atMs }
        }),
      )
      expectGroup(second, this.group)
    } else if (op === 33) {
      this.#answer(first, third as Answer)
    } else if (op === 35) {
      this.#answer(first, { code: second as string, message: third as string })
    } else {
      this.infos.push({ code: first, topic: second, ...(third as Json) })
    }
  }

  #take(delivered: Delivered[]): void {
    this.delivered.push(...delivered)
    this.onDelivered(delivered)
  }

  #answer(id: unknown, answer: Answer): void {
    this.#waiting.get(id as string)?.(answer)
    this.#waiting.delete(id as string)
  }
}

function expectGroup(group: unknown, wanted: string): void {
  if (group !== wanted) throw new Error(`a delivery for ${String(group)}, not for ${wanted}`)
}
