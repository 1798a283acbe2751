/**
 * The header of a whole WebSocket frame from a client (RFC 6455, 5.2).
 * Runs on: Node and browsers. Owns: nothing; pure.
 *
 *   │ FIN, opcode │ masked, length │ length, 0, 2 or 8 bytes │ mask, 4 bytes │ payload …
 */
const FIN = 0x80
const MASKED = 0x80
const LENGTH_16 = 126
const LENGTH_64 = 127
const LENGTH_16_MAX = 0xffff

export const MASK_BYTES = 4
export const Opcode = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** Bytes before the payload, mask included. */
export function clientHeaderBytes(payloadBytes: number): number {
  if (payloadBytes < LENGTH_16) return 2 + MASK_BYTES
  return payloadBytes <= LENGTH_16_MAX ? 4 + MASK_BYTES : 10 + MASK_BYTES
}

/** Writes it at `at`, with a mask of zeros, which leaves the payload as it is; its place is the last four bytes. */
export function writeClientHeader(
  to: Uint8Array,
  at: number,
  opcode: number,
  payloadBytes: number,
): void {
  const view = new DataView(to.buffer, to.byteOffset, to.byteLength)
  view.setUint8(at, FIN | opcode)
  if (payloadBytes < LENGTH_16) {
    view.setUint8(at + 1, MASKED | payloadBytes)
  } else if (payloadBytes <= LENGTH_16_MAX) {
    view.setUint8(at + 1, MASKED | LENGTH_16)
    view.setUint16(at + 2, payloadBytes)
  } else {
    view.setUint8(at + 1, MASKED | LENGTH_64)
    view.setUint32(at + 2, Math.floor(payloadBytes / 2 ** 32))
    view.setUint32(at + 6, payloadBytes >>> 0)
  }
  view.setUint32(at + clientHeaderBytes(payloadBytes) - MASK_BYTES, 0)
}
