/**
 * Cuts the bytes of a WebSocket server into frames, in place.
 * Runs on: the process that owns the socket. Owns: one receive area per connection.
 *
 *   area   [ part of a frame | room for the next read        ]
 *          0                 filled                          area.length
 *
 * The socket reads straight into `room()`; `received(n)` hands every whole frame to `onFrame` as
 * offsets into the area, valid only inside the call, and moves the unfinished rest to the front.
 * Not supported, because no server we drive sends them: fragments, compression, masked frames. Each
 * throws, so that a run with them fails and is not half counted.
 */

export type OnFrame = (area: Buffer, start: number, end: number, opcode: number) => void

export class FrameReader {
  readonly #onFrame: OnFrame
  readonly #frameBytesMax: number
  #area: Buffer
  #room: Buffer
  #filled = 0

  constructor(onFrame: OnFrame, options: { areaBytes: number; frameBytesMax: number }) {
    this.#onFrame = onFrame
    this.#frameBytesMax = options.frameBytesMax
    this.#area = Buffer.allocUnsafeSlow(options.areaBytes)
    this.#room = this.#area
  }

  /** Where the next bytes of the socket go. Never empty. */
  room(): Buffer {
    return this.#room
  }

  /** `count` bytes have been written at the start of `room()`. */
  received(count: number): void {
    const area = this.#area
    const filled = this.#filled + count
    let at = 0
    let wanted = 0
    while (at < filled) {
      const header = headerBytes(area, at, filled)
      if (at + header > filled) break
      wanted = header + payloadBytes(area, at)
      if (wanted > this.#frameBytesMax) {
        throw new Error(`frame too large: length=${wanted}, max=${this.#frameBytesMax}`)
      }
      if (at + wanted > filled) break
      const opcode = readOpcode(area, at)
      const start = at + header
      at += wanted
      wanted = 0
      this.#onFrame(area, start, at, opcode)
    }
    this.#keepRest(at, filled, wanted)
  }

  /** Moves the unfinished frame to the front, into a larger area if it cannot end in this one. */
  #keepRest(at: number, end: number, wanted: number): void {
    const rest = end - at
    if (rest === 0 && this.#filled === 0) return
    let area = this.#area
    if (wanted > area.length) {
      area = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(wanted)))
      this.#area.copy(area, 0, at, end)
      this.#area = area
    } else if (at > 0) {
      area.copyWithin(0, at, end)
    }
    this.#filled = rest
    this.#room = rest === 0 ? area : area.subarray(rest)
  }
}

/** Length of the header at `at`; 2 as long as not even that can be told. */
function headerBytes(area: Buffer, at: number, filled: number): number {
  if (filled - at < 2) return 2
  const short = byte(area, at + 1) & 0x7f
  return short < 126 ? 2 : short === 126 ? 4 : 10
}

function payloadBytes(area: Buffer, at: number): number {
  const second = byte(area, at + 1)
  if ((second & 0x80) !== 0) throw new Error('the server sent a masked frame')
  if (second < 126) return second
  if (second === 126) return area.readUInt16BE(at + 2)
  return area.readUInt32BE(at + 2) * 2 ** 32 + area.readUInt32BE(at + 6)
}

function readOpcode(area: Buffer, at: number): number {
  const first = byte(area, at)
  const opcode = first & 0x0f
  if ((first & 0xf0) !== 0x80 || opcode === 0) {
    throw new Error(`fragmented or compressed frame, not supported here: first byte=${first}`)
  }
  return opcode
}

function byte(area: Buffer, at: number): number {
  return area[at] as number
}
