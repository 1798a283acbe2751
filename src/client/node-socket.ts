/**
 * `ws`, the WebSocket on Node, without its garbage. It allocates a buffer for each frame, to mask it
 * into. V8 counts that memory: frames of any size, at a few 10 MB/s, made it collect everything several
 * times a second, for 3 to 10 ms each and with all its threads. Here frames are masked into buffers that
 * are used again, and written to the connection beneath. What comes over `ws:` is read by way of a
 * slab, see read-slab.ts.
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

const MASKS_AT_A_TIME = 1024
/** A queued frame takes no more than twice its size, however small it is. */
const FRAME_BYTES_MIN = 64

type MaskInto = (
  source: Uint8Array,
  mask: Uint8Array,
  target: Uint8Array,
  offset: number,
  length: number,
) => void

const buffers = new Buffers(FRAME_BYTES_MIN)
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

/** Without native masking `ws` sends everything itself. */
export function frugal(maskInto: MaskInto | undefined): WebSocketClass {
  return class extends WebSocket {
    #connection: Socket | undefined

    constructor(url: string, protocols: string[]) {
      const isPlain = /^ws:/i.test(url)
      super(url, protocols, {
        perMessageDeflate: false,
        ...(isPlain ? { createConnection: connectWithSlab as typeof connect } : {}),
      })
      this.once('upgrade', (response) => {
        this.#connection = response.socket
      })
    }

    override send(data: Uint8Array | string): void {
      const connection = this.#connection
      const isOpen = connection !== undefined && this.readyState === WebSocket.OPEN
      if (!isOpen || maskInto === undefined) {
        super.send(data)
        return
      }
      const isText = typeof data === 'string'
      const bytes = Buffer.byteLength(data)
      const header = clientHeaderBytes(bytes)
      const frame = buffers.take(header + bytes)
      const mask = nextMask()
      writeClientHeader(frame, 0, isText ? Opcode.text : Opcode.binary, bytes)
      frame.set(mask, header - MASK_BYTES)
      const payload = isText ? textAt(frame, header, data, bytes) : data
      maskInto(payload, mask, frame, header, bytes)
      connection.write(frame.subarray(0, header + bytes), () => buffers.giveBack(frame))
    }
  }
}

/** Room for exactly so much is enough for write(); encodeInto() of later Node versions wants more. */
function textAt(frame: Uint8Array, at: number, text: string, bytes: number): Uint8Array {
  const target = Buffer.from(frame.buffer, at, bytes)
  target.write(text)
  return target
}

function connectWithSlab(options: TcpNetConnectOpts): Socket {
  const slab = new ReadSlab()
  const connection: Socket = connect({
    host: options.host ?? '',
    port: options.port,
    onread: {
      buffer: readRoom,
      callback: (bytes) => connection.push(slab.take(bytes)),
    },
  })
  return connection
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
