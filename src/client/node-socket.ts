/**
 * `ws`, the WebSocket on Node, without its garbage. It allocates a buffer for each binary frame,
 * to mask it into; 64 MiB of those make V8 collect everything, at high rates several times a second,
 * for 3 to 10 ms each. Here large frames are masked into buffers that are used again, and
 * written to the connection beneath. What comes over `ws:` is read by way of a slab, see read-slab.ts.
 * Runs on: Node. Owns: the connections, and one set of free buffers for all of them.
 *
 * `ws` writes whole frames, and without compression at once: ours go between them, in order.
 */
import { randomFillSync } from 'node:crypto'
import { createRequire } from 'node:module'
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'
import WebSocket from 'ws'
import {
  clientHeaderBytes,
  MASK_BYTES,
  Opcode,
  writeClientHeader,
} from '../protocol/client-frame.js'
import { Buffers } from './buffers.js'
import { ReadSlab, readRoom } from './read-slab.js'
import type { WebSocketClass } from './socket.js'

/** Below it Node cuts the buffer from a block that it has, and `ws` does as well. */
const LARGE_BYTES_MIN = 4096
const MASKS_AT_A_TIME = 1024

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

export function nodeWebSocket(): WebSocketClass {
  return frugal(nativeMask())
}

/** Installed where there is a binary for the platform; it is an optional dependency. */
function nativeMask(): MaskInto | undefined {
  try {
    return (createRequire(import.meta.url)('bufferutil') as { readonly mask: MaskInto }).mask
  } catch {
    return undefined
  }
}

/** Without native masking `ws` sends what is large as well. */
export function frugal(maskInto: MaskInto | undefined): WebSocketClass {
  return class extends WebSocket {
    readonly #beneath: { connection?: Socket }

    constructor(url: string, protocols: string[]) {
      const beneath: { connection?: Socket } = {}
      const createConnection = (options: TcpNetConnectOpts) => {
        const slab = new ReadSlab()
        const connection: Socket = connect({
          host: options.host ?? '',
          port: options.port,
          onread: {
            buffer: readRoom,
            callback: (bytes) => connection.push(slab.take(bytes)),
          },
        })
        beneath.connection = connection
        return connection
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
      const isOurs = isLarge && connection !== undefined && this.readyState === WebSocket.OPEN
      if (!isOurs || maskInto === undefined) {
        super.send(data)
        return
      }
      const header = clientHeaderBytes(data.length)
      const frame = buffers.take(header + data.length)
      const mask = nextMask()
      writeClientHeader(frame, 0, Opcode.binary, data.length)
      frame.set(mask, header - MASK_BYTES)
      maskInto(data, mask, frame, header, data.length)
      connection.write(frame.subarray(0, header + data.length), () => buffers.giveBack(frame))
    }
  }
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
