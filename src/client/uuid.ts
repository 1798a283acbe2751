/** Message ids as 16 bytes. Runs on: Node and browsers. Owns: a pool of random bytes. */
import { InvalidPayloadError } from './errors.js'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const ID_BYTES = 16
const POOL_BYTES = 16_384 // getRandomValues() gives at most 65 536 at once.

const pool = new Uint8Array(POOL_BYTES)
let used = POOL_BYTES
const id = new Uint8Array(ID_BYTES)

/**
 * The bytes of a UUID given as text, or of a new random one, which are valid until the next call: one
 * is made for each message that is confirmed. Throws InvalidPayloadError.
 */
export function uuidBytes(text: string | undefined): Uint8Array {
  if (text === undefined) return randomId()
  if (!UUID.test(text)) throw new InvalidPayloadError('id must be a valid UUID')
  const hex = text.replaceAll('-', '')
  return Uint8Array.from({ length: ID_BYTES }, (_, index) =>
    Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16),
  )
}

function randomId(): Uint8Array {
  if (used === POOL_BYTES) {
    crypto.getRandomValues(pool)
    used = 0
  }
  for (let index = 0; index < ID_BYTES; index++) id[index] = pool[used + index] as number
  used += ID_BYTES
  id[6] = ((id[6] as number) & 0x0f) | 0x40
  id[8] = ((id[8] as number) & 0x3f) | 0x80
  return id
}
