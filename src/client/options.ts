/**
 * What connect() can be told, checked and with its defaults.
 * Runs on: Node and browsers. Owns: nothing; pure.
 */
import { bytesCodec, jsonCodec, msgpackCodec, type PayloadCodec } from './codecs.js'
import { jsonWire } from './json-wire.js'
import type { Message } from './message.js'
import { msgpackWire } from './msgpack-wire.js'
import type { WebSocketClass } from './socket.js'
import type { Wire } from './wire.js'

/** Calls at moments of a client's life. What a hook throws goes to `onError`, and stops nothing. */
export interface ClientHooks {
  /** A message is published: before it is sent. */
  readonly onPublish?: (topic: string, payload: unknown) => void
  /** A message came in: before it is handled. */
  readonly onConsume?: (message: Message) => void
  /** What went wrong and no promise tells; the same as the `error` event. */
  readonly onError?: (error: Error) => void
  /** The broker is going away; the client comes back by itself after this many ms. */
  readonly onShutdown?: (reconnectAfterMs: number) => void
}

/** How connect() connects. */
export interface ConnectOptions extends ClientHooks {
  /** Encoding of the connection. Default msgpack; json is for looking at it with other tools. */
  readonly encoding?: 'msgpack' | 'json'
  /** Encoding of payloads, or one of your own. Default: that of the connection. */
  readonly codec?: 'msgpack' | 'json' | 'bytes' | PayloadCodec
  /** How long connect() tries in all, ms. Default 10 000. */
  readonly connectTimeoutMs?: number
  /** How long one try to connect may take, ms. Default 5000. */
  readonly attemptTimeoutMs?: number
  /** Longest delay before the first try to reconnect, ms; doubles with each try. Default 100. */
  readonly reconnectBaseMs?: number
  /** Longest delay of all, ms. Default 30 000. */
  readonly reconnectMaxMs?: number
  /** The broker is pinged after this long a silence, and given up after twice that, ms. Default 20 000. */
  readonly heartbeatMs?: number
  /** How long a publish may take from its call to its ack, ms. Default 30 000. */
  readonly publishTimeoutMs?: number
  /** How long the broker has to answer a subscribe before it is asked again, ms. Default 10 000. */
  readonly subscribeTimeoutMs?: number
  /** How long a request waits for its reply unless it says otherwise, ms. Default 5000. */
  readonly requestTimeoutMs?: number
  /** Requests that may wait for replies at once; one more is rejected. Default 100 000. */
  readonly maxRequests?: number
  /** Bytes not yet taken by the network above which publishNow() refuses. Default 4 MiB. */
  readonly highWaterMarkBytes?: number
  /** Messages that wait for their ack; more of them wait for room. Default 100 000. */
  readonly maxInFlight?: number
  /** Calls of publish() that may wait for room; one more is rejected. Default 100 000. */
  readonly maxWaiting?: number
  /** Bytes of messages that wait for their ack, of those that wait for room, and of requests that wait for a
   * connection, each. Default 64 MiB. */
  readonly maxHeldBytes?: number
  /** Bytes of one frame; as large as the broker's MAX_FRAME_BYTES. Default 1 MiB. */
  readonly maxFrameBytes?: number
  /**
   * Publishes that were sent and not acked when the connection was lost: sent again under the same
   * message id (the default; one that had been stored is stored twice then), or rejected.
   */
  readonly onLostConnection?: 'resend' | 'reject'
  /** A WebSocket class other than `ws` on Node and the platform's elsewhere; a global one counts elsewhere only. */
  readonly WebSocket?: WebSocketClass
}

const DEFAULTS = {
  connectTimeoutMs: 10_000,
  attemptTimeoutMs: 5000,
  reconnectBaseMs: 100,
  reconnectMaxMs: 30_000,
  heartbeatMs: 20_000,
  publishTimeoutMs: 30_000,
  subscribeTimeoutMs: 10_000,
  requestTimeoutMs: 5000,
  maxRequests: 100_000,
  highWaterMarkBytes: 4 * 1024 * 1024,
  maxInFlight: 100_000,
  maxWaiting: 100_000,
  maxHeldBytes: 64 * 1024 * 1024,
  maxFrameBytes: 1024 * 1024,
} as const

type Numbers = Readonly<Record<keyof typeof DEFAULTS, number>>

/** The options as the client uses them. */
export interface Settings extends Numbers {
  readonly wire: Wire
  readonly codec: PayloadCodec
  readonly onLostConnection: 'resend' | 'reject'
  readonly hooks: ClientHooks
}

const CODECS = { msgpack: msgpackCodec, json: jsonCodec, bytes: bytesCodec } as const
const JSON_ENCODING = 1

/** Throws RangeError or TypeError with the name of the option. */
export function settingsOf(options: ConnectOptions): Settings {
  const { encoding = 'msgpack', codec: chosen = encoding, onLostConnection = 'resend' } = options
  const codec = typeof chosen === 'string' ? CODECS[chosen] : chosen
  if (encoding === 'json' && codec.encoding !== JSON_ENCODING) {
    throw new TypeError('encoding "json" takes JSON payloads only: choose codec "json"')
  }
  return {
    ...numbersOf(options),
    wire: encoding === 'json' ? jsonWire() : msgpackWire(),
    codec,
    onLostConnection,
    hooks: options,
  }
}

function numbersOf(options: ConnectOptions): Numbers {
  const names = Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[]
  const entries = names.map((name) => {
    const value = options[name] ?? DEFAULTS[name]
    if (!(value >= 1) || value === Number.POSITIVE_INFINITY) {
      throw new RangeError(`${name}=${value} must be a number of at least 1`)
    }
    return [name, value] as const
  })
  return Object.fromEntries(entries) as Numbers
}
