/**
 * Payloads between values and bytes.
 * Runs on: Node and browsers. Owns: nothing.
 */
import { Packr, Unpackr } from 'msgpackr'
import { InvalidPayloadError } from './errors.js'

/**
 * How a client's payloads become bytes. Messages are decoded by what each says of itself, unless the
 * codec has a `decode` and the message has the codec's encoding.
 * @example
 * const protobuf: PayloadCodec = {
 *   encoding: 2,
 *   encode: (order) => Order.encode(order as Order).finish(),
 *   decode: (bytes) => Order.decode(bytes),
 * }
 */
export interface PayloadCodec {
  /** 0 MessagePack, 1 JSON text in UTF-8, 2 raw bytes: what other subscribers are told. */
  readonly encoding: 0 | 1 | 2
  /** Throws when the value has no such form. What it returns is copied before the next call. */
  encode(value: unknown): Uint8Array
  /** Throws when the bytes are none of its own. */
  decode?(bytes: Uint8Array): unknown
}

const packr = new Packr({ useRecords: false, variableMapSize: true })
// Bytes within a payload are copied, or each would keep what the message came in alive.
const unpackr = new Unpackr({
  useRecords: false,
  mapsAsObjects: true,
  int64AsType: 'number',
  copyBuffers: true,
})
const encoder = new TextEncoder()
/** What is encoded is copied before the next: short texts need no memory of their own. */
const scratch = new Uint8Array(16 * 1024)
/** A UTF-16 unit takes so many bytes of UTF-8 at most. */
const UTF8_BYTES_MAX = 3
const decoder = new TextDecoder('utf-8', { fatal: true })

export const msgpackCodec: PayloadCodec = {
  encoding: 0,
  encode: (value) => packr.pack(value),
}

export const jsonCodec: PayloadCodec = {
  encoding: 1,
  encode: (value) => {
    const text = JSON.stringify(value) as string | undefined
    if (text === undefined) throw new TypeError('the value has no JSON form')
    if (text.length * UTF8_BYTES_MAX > scratch.length) return encoder.encode(text)
    return scratch.subarray(0, encoder.encodeInto(text, scratch).written)
  },
}

/** Takes bytes as they are. */
export const bytesCodec: PayloadCodec = {
  encoding: 2,
  encode: (value) => {
    if (value instanceof Uint8Array) return value
    throw new TypeError('the bytes codec takes a Uint8Array')
  },
}

/** Encodes; throws InvalidPayloadError with the codec's reason. */
export function encodePayload(codec: PayloadCodec, value: unknown): Uint8Array {
  try {
    return codec.encode(value)
  } catch (cause) {
    throw new InvalidPayloadError(`payload cannot be encoded: ${messageOf(cause)}`, { cause })
  }
}

/** Decodes by the client's codec, or by what the message says of itself. Throws InvalidPayloadError. */
export function decodePayload(encoding: number, bytes: Uint8Array, codec?: PayloadCodec): unknown {
  try {
    if (codec?.decode !== undefined && codec.encoding === encoding) return codec.decode(bytes)
    if (encoding === 0) return unpackr.unpack(bytes)
    if (encoding === 1) return JSON.parse(decoder.decode(bytes))
    return bytes
  } catch (cause) {
    throw new InvalidPayloadError(`payload cannot be decoded: ${messageOf(cause)}`, { cause })
  }
}

/** A message's headers from their MessagePack map. Throws InvalidPayloadError. */
export function decodeHeaders(bytes: Uint8Array): Record<string, string> {
  try {
    return unpackr.unpack(bytes) as Record<string, string>
  } catch (cause) {
    throw new InvalidPayloadError(`headers cannot be decoded: ${messageOf(cause)}`, { cause })
  }
}

/** A message's properties from their MessagePack map. Throws InvalidPayloadError. */
export function decodeProperties(bytes: Uint8Array): Record<string, unknown> {
  try {
    return unpackr.unpack(bytes) as Record<string, unknown>
  } catch (cause) {
    throw new InvalidPayloadError(`properties cannot be decoded: ${messageOf(cause)}`, { cause })
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
