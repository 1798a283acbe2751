/**
 * The body of an entry that the broker itself writes: JSON text, a new id, no headers.
 * Runs on: the shard. Owns: nothing.
 */
import { BIN8, binHeadBytes, NIL, writeBinHead } from '../protocol/msgpack.js'
import { ID_BYTES, PAYLOAD_JSON } from '../protocol/msgpack-frames.js'
import { RandomIds } from './random-ids.js'

const ids = new RandomIds()

export function writeJsonBody(text: string): Buffer {
  const payload = Buffer.from(text)
  const body = Buffer.alloc(1 + binHeadBytes(payload.length) + payload.length + 2 + ID_BYTES + 1)
  body[0] = PAYLOAD_JSON
  const start = writeBinHead(body, 1, payload.length)
  body.set(payload, start)
  const id = start + payload.length
  body[id] = BIN8
  body[id + 1] = ID_BYTES
  ids.write(new DataView(body.buffer, body.byteOffset), id + 2)
  body[id + 2 + ID_BYTES] = NIL
  return body
}
