/**
 * Payloads and headers of any encoding as JSON text: what JSON clients are shown.
 * Runs on: any thread. Owns: nothing; pure.
 */
import { Unpackr } from 'msgpackr'
import { skipStandardValue } from './msgpack.js'
import { PAYLOAD_JSON, PAYLOAD_MSGPACK } from './msgpack-frames.js'

/** A BigInt has no JSON form; 64-bit integers become numbers, as they would in the browser. */
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })
/** Headers become a Map first: as an object "__proto__" would come out under another name. */
const headersUnpackr = new Unpackr({ useRecords: false, mapsAsObjects: false })

/**
 * A payload as it stands in JSON, with the mark of its encoding behind it where it needs one. JSON text
 * goes out as it is. `bytes` must be private memory: msgpackr reads shared memory 12–20 times slower.
 */
export function payloadText(bytes: Buffer, encoding: number, maxLength: number): string {
  if (encoding === PAYLOAD_JSON) return bytes.toString()
  const text = encoding === PAYLOAD_MSGPACK ? decodedText(bytes) : undefined
  if (text !== undefined && Buffer.byteLength(text) <= maxLength) return text
  return `"${bytes.toString('base64')}","encoding":"base64"`
}

/** A MessagePack map of headers as a JSON object with the comma and name before it. */
export function headersText(bytes: Buffer): string {
  const headers: Map<string, string> = headersUnpackr.unpack(bytes)
  return `,"headers":${JSON.stringify(Object.fromEntries(headers))}`
}

/** A MessagePack map of properties as members of a JSON message, with the comma before them. */
export function propertiesText(bytes: Buffer): string {
  const properties: Record<string, unknown> = unpackr.unpack(bytes)
  const text = JSON.stringify(properties).slice(1, -1)
  return text === '' ? '' : `,${text}`
}

function decodedText(bytes: Buffer): string | undefined {
  if (skipStandardValue(bytes, 0, bytes.length) !== bytes.length) return undefined
  try {
    // undefined where the value has no JSON form at all.
    return JSON.stringify(unpackr.unpack(bytes)) as string | undefined
  } catch {
    return undefined
  }
}
