/**
 * Publishers and subscribers that keep account: what was sent, how each request was answered, what
 * every subscriber got. Plain `ws` and msgpackr on the client's side, JSON or MessagePack.
 *
 * The payload of every message is a string of its own, its key, so that a message can be found again.
 */
import { Packr, unpackMultiple } from 'msgpackr'
import { expect, onTestFinished } from 'vitest'
import WebSocket from 'ws'
import { waitUntil } from './harness.js'

const packr = new Packr({ useRecords: false, variableMapSize: true })

/** Nothing is to be dropped for want of room in the log or for lag. */
export const DEEP = { TOPIC_HISTORY_SIZE: '1000000', SUBSCRIBER_QUEUE_SIZE: '1000000' }
/** The smallest ring, and the largest frame and payload that go with it. */
export const TINY = { RING_BYTES: '256KiB', MAX_FRAME_BYTES: '64KiB', MAX_PAYLOAD_BYTES: '32KiB' }

export type Encoding = 'json' | 'msgpack'

/** One publish request and what became of it. */
export interface Request {
  readonly topic: string
  readonly keys: readonly string[]
  /** 'ok', an error code, or undefined while nothing was heard. */
  answer: string | undefined
  firstSeq: number
}

/** A frame of either encoding, as far as accounts need it. */
interface Heard {
  readonly kind: 'ack' | 'error' | 'events' | 'info'
  readonly id: string
  /** Error or info code. */
  readonly code: string
  readonly topic: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly events: readonly { seq: number; key: string }[]
}

abstract class Client {
  readonly encoding: Encoding
  readonly socket: WebSocket
  /** INFO frames, in order. */
  readonly infos: Heard[] = []
  /** Errors that answer no request of ours. */
  readonly errors: Heard[] = []
  closed: { code: number; reason: string } | undefined

  constructor(url: string, encoding: Encoding) {
    this.encoding = encoding
    this.socket = new WebSocket(url, [`ringcast.v1.${encoding}`])
    this.socket.on('message', (data) => this.#onMessage(data as Buffer))
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
    })
    this.socket.on('error', () => {}) // What matters shows in `closed`.
    onTestFinished(() => this.socket.terminate())
  }

  async opened(): Promise<this> {
    await waitUntil(() => this.socket.readyState === WebSocket.OPEN || this.closed !== undefined)
    expect(this.closed).toBe(undefined)
    return this
  }

  protected abstract onHeard(heard: Heard): void

  #onMessage(data: Buffer): void {
    if (this.encoding === 'json') {
      this.#onHeard(ofJson(JSON.parse(data.toString())))
      return
    }
    for (const frame of unpackMultiple(data) as unknown[][]) this.#onHeard(ofMsgpack(frame))
  }

  #onHeard(heard: Heard): void {
    if (heard.kind === 'info') this.infos.push(heard)
    else if (heard.kind === 'error' && heard.id === '') this.errors.push(heard)
    else this.onHeard(heard)
  }
}

export class Publisher extends Client {
  readonly name: string
  readonly requests: Request[] = []
  /** Requests that nothing was heard of yet. */
  waiting = 0
  readonly epochs = new Map<string, Set<string>>()
  #padding: string

  private constructor(url: string, encoding: Encoding, name: string, paddingBytes: number) {
    super(url, encoding)
    this.name = name
    this.#padding = '.'.repeat(paddingBytes)
  }

  static connect(
    url: string,
    encoding: Encoding,
    name: string,
    paddingBytes = 0,
  ): Promise<Publisher> {
    return new Publisher(url, encoding, name, paddingBytes).opened()
  }

  /** Publishes `count` messages in one request. */
  publish(topic: string, count: number, mark = ''): Request {
    const number = this.requests.length
    const keys = Array.from(
      { length: count },
      (_, index) => `${this.name}-${number}-${index}${mark}${this.#padding}`,
    )
    const request: Request = { topic, keys, answer: undefined, firstSeq: 0 }
    this.requests.push(request)
    this.waiting++
    if (this.encoding === 'msgpack') {
      const messages = keys.map((key) => [1, Buffer.from(JSON.stringify(key))])
      this.socket.send(packr.pack([1, String(number), topic, messages]))
      return request
    }
    const messages = keys.map((payload) => ({ payload }))
    const body =
      count === 1 ? { type: 'publish', message: messages[0] } : { type: 'publish_batch', messages }
    this.socket.send(JSON.stringify({ ...body, topic, request_id: String(number) }))
    return request
  }

  async answered(timeoutMs?: number): Promise<void> {
    await waitUntil(() => this.waiting === 0 || this.closed !== undefined, timeoutMs)
  }

  with(answer: string | undefined): Request[] {
    return this.requests.filter((request) => request.answer === answer)
  }

  protected override onHeard({ kind, id, code, fields, topic }: Heard): void {
    const request = this.requests[Number(id)]
    if (request === undefined || request.answer !== undefined) {
      throw new Error(`${this.name}: an answer to ${id}, which waits for none`)
    }
    this.waiting--
    request.answer = kind === 'ack' ? 'ok' : code
    if (kind !== 'ack') return
    request.firstSeq = Number(fields['seq'] ?? fields['first_seq'])
    const epochs = this.epochs.get(topic) ?? new Set()
    this.epochs.set(topic, epochs.add(String(fields['epoch'])))
  }
}

export class Subscriber extends Client {
  readonly name: string
  /** Keys by topic, in the order of seq: the message with seq 1 is at 0. */
  readonly got = new Map<string, string[]>()
  /** What should never be: a gap, a repeat, an error. */
  readonly problems: string[] = []
  readonly acks = new Map<string, Heard>()

  private constructor(url: string, encoding: Encoding, name: string) {
    super(url, encoding)
    this.name = name
  }

  static connect(url: string, encoding: Encoding, name: string): Promise<Subscriber> {
    return new Subscriber(url, encoding, name).opened()
  }

  /** Subscribes and waits for the ack. */
  async subscribe(topic: string, options: Record<string, unknown> = {}): Promise<void> {
    const frame =
      this.encoding === 'msgpack'
        ? packr.pack([2, topic, topic, options])
        : JSON.stringify({ type: 'subscribe', topic, request_id: topic, ...options })
    this.socket.send(frame)
    await waitUntil(() => this.acks.has(topic))
  }

  protected override onHeard(heard: Heard): void {
    if (heard.kind === 'ack') this.acks.set(heard.id, heard)
    if (heard.kind === 'error') this.problems.push(`error ${heard.code} to ${heard.id}`)
    if (heard.events.length === 0) return
    let keys = this.got.get(heard.topic)
    if (keys === undefined) {
      keys = []
      this.got.set(heard.topic, keys)
    }
    for (const { seq, key } of heard.events) {
      if (seq !== keys.length + 1) {
        this.problems.push(`${heard.topic}: seq ${seq} after ${keys.length}`)
      }
      keys[seq - 1] = key
    }
  }
}

/** Answers that say that nothing was stored. */
const NOT_STORED = ['OVERLOADED', 'SHUTTING_DOWN', 'INTERNAL']

/**
 * The promise to publishers and subscribers: of every topic each subscriber has 1…N without a gap or
 * a repeat; what was acked stands there at the seq of the ack; the rest stands there at most once,
 * what was refused not at all.
 */
export function checkAccounts(
  publishers: readonly Publisher[],
  subscribers: readonly Subscriber[],
  topics: Iterable<string> = ackedUpTo(publishers).keys(),
): void {
  const problems: string[] = []
  for (const { name, problems: own, errors } of subscribers) {
    problems.push(...own.slice(0, 5).map((problem) => `${name}: ${problem}`))
    problems.push(...errors.map(({ code }) => `${name}: error ${code}`))
  }
  for (const topic of topics) {
    const [first, ...others] = subscribers.map((subscriber) => subscriber.got.get(topic) ?? [])
    if (first === undefined) continue
    for (const [index, other] of others.entries()) {
      if (other.length !== first.length || other.some((key, at) => key !== first[at])) {
        const lengths = `${other.length} messages, the first has ${first.length}`
        problems.push(`${topic}: ${subscribers[index + 1]?.name} got something else: ${lengths}`)
      }
    }
    const times = new Map<string, number>()
    for (const key of first) times.set(key, (times.get(key) ?? 0) + 1)
    for (const publisher of publishers) {
      let lastSeq = 0
      for (const request of publisher.requests) {
        if (request.topic !== topic) continue
        for (const [index, key] of request.keys.entries()) {
          const count = times.get(key) ?? 0
          times.delete(key)
          const of = `${topic}: ${key.slice(0, 40)} (${request.answer})`
          if (count > 1) problems.push(`${of} stored ${count} times`)
          if (request.answer === 'ok' && first[request.firstSeq + index - 1] !== key) {
            problems.push(`${of} is not at ${request.firstSeq + index}`)
          }
          if (count > 0 && NOT_STORED.includes(request.answer ?? '')) problems.push(`${of} stored`)
        }
        if (request.answer !== 'ok') continue
        if (request.firstSeq <= lastSeq)
          problems.push(`${topic}: acks of ${publisher.name} go back`)
        lastSeq = request.firstSeq
      }
    }
    if (times.size > 0) problems.push(`${topic}: ${times.size} messages that nobody sent`)
  }
  expect(problems.slice(0, 20)).toEqual([])
}

/** Messages whose request was acked, by topic. */
export function ackedMessages(publishers: readonly Publisher[]): number {
  return publishers
    .flatMap((publisher) => publisher.with('ok'))
    .reduce((sum, { keys }) => sum + keys.length, 0)
}

/** Highest seq acked, by topic. */
export function ackedUpTo(publishers: readonly Publisher[]): Map<string, number> {
  const upTo = new Map<string, number>()
  for (const { topic, firstSeq, keys } of publishers.flatMap((publisher) => publisher.with('ok'))) {
    upTo.set(topic, Math.max(upTo.get(topic) ?? 0, firstSeq + keys.length - 1))
  }
  return upTo
}

/** Waits until every subscriber has everything that was acked. */
export async function delivered(
  publishers: readonly Publisher[],
  subscribers: readonly Subscriber[],
  timeoutMs?: number,
  topics?: readonly string[],
): Promise<void> {
  const upTo = [...ackedUpTo(publishers)].filter(([topic]) => topics?.includes(topic) ?? true)
  await waitUntil(
    () =>
      subscribers.every(({ got }) =>
        upTo.every(([topic, seq]) => (got.get(topic)?.length ?? 0) >= seq),
      ),
    timeoutMs,
  )
}

function ofJson(frame: Record<string, unknown>): Heard {
  const { type, code, topic } = frame
  const error = frame['error'] as Record<string, unknown> | undefined
  const list = type === 'events' ? (frame['events'] as Record<string, unknown>[]) : [frame]
  const isEvents = type === 'event' || type === 'events'
  return {
    kind: isEvents ? 'events' : type === 'ack' || type === 'pong' ? 'ack' : (type as 'info'),
    id: String(frame['request_id'] ?? ''),
    code: String(error?.['code'] ?? code ?? ''),
    topic: String(topic ?? ''),
    fields: frame,
    events: isEvents
      ? list.map((event) => ({
          seq: event['seq'] as number,
          key: (event['message'] as { payload: string }).payload,
        }))
      : [],
  }
}

function ofMsgpack(frame: unknown[]): Heard {
  const [op, second, third, fourth] = frame
  const nothing = { id: '', code: '', topic: '', fields: {}, events: [] }
  if (op === 33) {
    const fields = fourth as Record<string, unknown>
    return { ...nothing, kind: 'ack', id: String(second), topic: String(third), fields }
  }
  if (op === 34) {
    const events = (fourth as unknown[][]).map((entry) => ({
      seq: entry[0] as number,
      key: JSON.parse(String(entry[3])) as string,
    }))
    return { ...nothing, kind: 'events', topic: String(second), events }
  }
  if (op === 35) {
    return { ...nothing, kind: 'error', id: String(second ?? ''), code: String(third) }
  }
  const fields = fourth as Record<string, unknown>
  return { ...nothing, kind: 'info', code: String(second), topic: String(third ?? ''), fields }
}
