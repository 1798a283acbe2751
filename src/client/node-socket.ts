/**
 * `ws`, the WebSocket of Node 20, without its garbage. It allocates a buffer for each binary frame,
 * to mask it into; 64 MiB of those make V8 collect everything, at high rates several times a second,
 * for 3 to 10 ms each. Here large frames are masked into buffers that are used again, and
 * written to the connection beneath.
 * Runs on: Node. Owns: the connections, and one set of free buffers for all of them.
 *
 * `ws` writes whole frames, and without compression at once: ours go between them, in order.
 */
import { randomFillSync } from 'node:crypto'
import { createRequire } from 'node:module'
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'
import WebSocket from 'ws'
import { Buffers } from './buffers.js'
import type { WebSocketClass } from './socket.js'

/** Below it Node cuts the buffer from a block that it has, and `ws` does as well. */
const LARGE_BYTES_MIN = 4096
/** Of a large frame: two bytes, eight of length, four of the mask. */
const HEADER_BYTES_MAX = 14
const MASK_BYTES = 4
const MASKS_AT_A_TIME = 1024

const FIN_BINARY = 0x82
const MASKED = 0x80
const LENGTH_16 = 126
const LENGTH_64 = 127
const LENGTH_16_MAX = 0xffff

type MaskInto = (
  source: Uint8Array,
  mask: Uint8Array,
  target: Uint8Array,
  offset: number,
  length: number,
) => void

const buffers = new Buffers()
const masks = new Uint8Array(MASK_BYTES * MASKS_AT_A_TIME)
let masksUsed = masks.length

/** `ws`, or its child below where masking is native. */
export function nodeWebSocket(): WebSocketClass {
  const maskInto = nativeMask()
  return maskInto === undefined ? WebSocket : frugal(maskInto)
}

/** Installed where there is a binary for the platform; it is an optional dependency. */
function nativeMask(): MaskInto | undefined {
  try {
    return (createRequire(import.meta.url)('bufferutil') as { readonly mask: MaskInto }).mask
  } catch {
    return undefined
  }
}

function frugal(maskInto: MaskInto): WebSocketClass {
  return class extends WebSocket {
    readonly #beneath: { connection?: Socket }

    constructor(url: string, protocols: string[]) {
      const beneath: { connection?: Socket } = {}
      const createConnection = (options: TcpNetConnectOpts) => {
        beneath.connection = connect({ host: options.host ?? '', port: options.port })
        return beneath.connection
      }
      const isPlain = /^ws:/i.test(url)
      super(url, protocols, {
        perMessageDeflate: false,
        ...(isPlain ? { createConnection: createConnection as typeof connect } : {}),
      })
      this.#beneath = beneath
    }

    override send(data: Uint8Array | string): void {
      const { connection } = this.#beneath
      const isLarge = typeof data !== 'string' && data.length >= LARGE_BYTES_MIN
      if (!isLarge || connection === undefined || this.readyState !== WebSocket.OPEN) {
        super.send(data)
        return
      }
      const frame = buffers.take(HEADER_BYTES_MAX + data.length)
      const start = writeHeader(frame, data.length)
      const mask = nextMask()
      frame.set(mask, start - MASK_BYTES)
      maskInto(data, mask, frame, start, data.length)
      connection.write(frame.subarray(0, start + data.length), () => buffers.giveBack(frame))
    }
  }
}

/** Returns where the payload begins; the four bytes before that are for the mask. */
function writeHeader(frame: Uint8Array, length: number): number {
  const view = new DataView(frame.buffer, frame.byteOffset)
  frame[0] = FIN_BINARY
  if (length <= LENGTH_16_MAX) {
    frame[1] = MASKED | LENGTH_16
    view.setUint16(2, length)
    return 4 + MASK_BYTES
  }
  frame[1] = MASKED | LENGTH_64
  view.setBigUint64(2, BigInt(length))
  return HEADER_BYTES_MAX
}

/** RFC 6455, 5.3: nobody may foresee it. */
function nextMask(): Uint8Array {
  if (masksUsed === masks.length) {
    randomFillSync(masks)
    masksUsed = 0
  }
  masksUsed += MASK_BYTES
  return masks.subarray(masksUsed - MASK_BYTES, masksUsed)
}
