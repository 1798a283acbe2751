/**
 * One message as text: a line to read, an object for machines, or the bare payload.
 * Runs on: the command's process.
 */
import type { Message } from '../client/ringcast.js'
import type { Terminal } from './terminal.js'

/** A message from either door. */
export interface Entry {
  readonly topic: string
  readonly seq: number
  readonly ts: string
  readonly id: string
  readonly payload: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** `base64` when the payload is such a string in place of bytes. */
  readonly encoding?: 'base64'
  /** The pattern that matched. */
  readonly subscription?: string
  /** Of a message that came to a member of a group. */
  readonly group?: string
  readonly attempt?: number
}

/** Throws InvalidPayloadError when the payload is not what it claims to be. */
export function entryOf(message: Message): Entry {
  const { topic, seq, id, payload, headers, pattern } = message
  const isBytes = payload instanceof Uint8Array
  return {
    topic,
    seq,
    ts: new Date(message.timeMs).toISOString(),
    id,
    payload: isBytes ? Buffer.from(payload).toString('base64') : payload,
    ...(Object.keys(headers).length > 0 ? { headers } : {}),
    ...(isBytes ? { encoding: 'base64' } : {}),
    ...(pattern === undefined ? {} : { subscription: pattern }),
  }
}

export function entryJson(entry: Entry): string {
  const { topic, seq, ts, id, payload, ...rest } = entry
  return jsonText({ type: 'message', topic, seq, ts, id, payload, ...rest })
}

/** The payload alone: strings as they are, bytes as they were published, the rest as JSON. */
export function rawPayload({ payload, encoding }: Entry): string | Uint8Array {
  if (encoding === 'base64') return Buffer.from(payload as string, 'base64')
  return typeof payload === 'string' ? payload : jsonText(payload)
}

export function entryLine({ topic, seq, ts, payload, headers }: Entry, terminal: Terminal): string {
  const parts = [
    terminal.paint('dim', ts.slice('2026-01-01T'.length, -1)),
    terminal.paint('cyan', topic),
    terminal.paint('dim', `#${seq}`),
    printable(payload),
  ]
  if (headers !== undefined) parts.push(terminal.paint('dim', printable(headers)))
  return parts.join(' ')
}

/** Nothing in it can move the cursor or make two lines of one. */
function printable(value: unknown): string {
  if (typeof value !== 'string') return jsonText(value)
  return /\p{Cc}/u.test(value) ? JSON.stringify(value) : value
}

/** JSON, also of what MessagePack knows and JSON does not. */
function jsonText(value: unknown): string {
  return JSON.stringify(value, function replace(this: Record<string, unknown>, key, part: unknown) {
    // Looked up, not `part`: of a Buffer its toJSON() has made something else by now.
    const original = this[key]
    if (original instanceof Uint8Array) return Buffer.from(original).toString('base64')
    return typeof part === 'bigint' ? part.toString() : part
  })
}
