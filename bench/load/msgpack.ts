/**
 * Walks MessagePack without decoding what nobody asked for, and writes the little that we send.
 * Runs on: publishers, subscribers and the control. Owns: a position in the caller's bytes.
 *
 * By hand because a decoder builds an object per entry: at a million entries a second that would
 * measure the decoder. Everything throws RangeError at the end of the bytes.
 */

const NO_BYTES = Buffer.alloc(0)

export class MsgpackCursor {
  bytes: Buffer = NO_BYTES
  view: DataView = new DataView(NO_BYTES.buffer)
  at = 0
  end = 0

  /** Looks at `bytes[start, end)`. Costs nothing while the bytes stay the same. */
  attach(bytes: Buffer, start: number, end: number): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    }
    this.at = start
    this.end = end
  }

  /** Number of elements of the array that begins here. */
  arrayLength(): number {
    const type = this.#byte()
    if ((type & 0xf0) === 0x90) return type & 0x0f
    if (type === 0xdc) return this.view.getUint16(this.#take(2))
    if (type === 0xdd) return this.view.getUint32(this.#take(4))
    throw new Error(`array expected, got type 0x${type.toString(16)}`)
  }

  /** Number of pairs of the map that begins here. */
  mapLength(): number {
    const type = this.#byte()
    if ((type & 0xf0) === 0x80) return type & 0x0f
    if (type === 0xde) return this.view.getUint16(this.#take(2))
    if (type === 0xdf) return this.view.getUint32(this.#take(4))
    throw new Error(`map expected, got type 0x${type.toString(16)}`)
  }

  /** A number of any width. */
  number(): number {
    const type = this.#byte()
    if (type < 0x80) return type
    if (type >= 0xe0) return type - 256
    switch (type) {
      case 0xca:
        return this.view.getFloat32(this.#take(4))
      case 0xcb:
        return this.view.getFloat64(this.#take(8))
      case 0xcc:
        return this.view.getUint8(this.#take(1))
      case 0xcd:
        return this.view.getUint16(this.#take(2))
      case 0xce:
        return this.view.getUint32(this.#take(4))
      case 0xcf:
        return Number(this.view.getBigUint64(this.#take(8)))
      case 0xd0:
        return this.view.getInt8(this.#take(1))
      case 0xd1:
        return this.view.getInt16(this.#take(2))
      case 0xd2:
        return this.view.getInt32(this.#take(4))
      case 0xd3:
        return Number(this.view.getBigInt64(this.#take(8)))
      default:
        throw new Error(`number expected, got type 0x${type.toString(16)}`)
    }
  }

  /** Steps over a bin or str and returns where its bytes begin; they end at `at`. */
  bytesStart(): number {
    const length = this.#bytesLength(this.#byte())
    return this.#take(length)
  }

  text(): string {
    const start = this.bytesStart()
    return this.bytes.toString('utf8', start, this.at)
  }

  skip(): void {
    // A loop, not recursion: `open` counts the values still to be stepped over.
    for (let open = 1; open > 0; open--) open += this.#skipOne()
  }

  /** Steps over one value's own bytes. Returns how many values it contains. */
  #skipOne(): number {
    const type = this.#byte()
    if (type < 0x80 || type >= 0xe0 || (type >= 0xc0 && type <= 0xc3 && type !== 0xc1)) return 0
    if (type >= 0x90 && type < 0xa0) return type & 0x0f
    if (type < 0x90) return (type & 0x0f) * 2
    if (type === 0xcb || type === 0xcf || type === 0xd3) return this.#skipBytes(8)
    if (type === 0xca || type === 0xce || type === 0xd2) return this.#skipBytes(4)
    if (type === 0xcd || type === 0xd1) return this.#skipBytes(2)
    if (type === 0xcc || type === 0xd0) return this.#skipBytes(1)
    if (type === 0xdc) return this.view.getUint16(this.#take(2))
    if (type === 0xdd) return this.view.getUint32(this.#take(4))
    if (type === 0xde) return this.view.getUint16(this.#take(2)) * 2
    if (type === 0xdf) return this.view.getUint32(this.#take(4)) * 2
    return this.#skipBytes(this.#bytesLength(type))
  }

  #skipBytes(count: number): number {
    this.#take(count)
    return 0
  }

  #bytesLength(type: number): number {
    if (type >= 0xa0 && type < 0xc0) return type & 0x1f
    if (type === 0xc4 || type === 0xd9) return this.view.getUint8(this.#take(1))
    if (type === 0xc5 || type === 0xda) return this.view.getUint16(this.#take(2))
    if (type === 0xc6 || type === 0xdb) return this.view.getUint32(this.#take(4))
    throw new Error(`bytes expected, got type 0x${type.toString(16)}`)
  }

  #byte(): number {
    return this.bytes[this.#take(1)] as number
  }

  /** Steps over `count` bytes and returns where they begin. */
  #take(count: number): number {
    const start = this.at
    if (count > this.end - start) {
      throw new RangeError(`MessagePack ends early: at=${start}, wanted=${count}, end=${this.end}`)
    }
    this.at = start + count
    return start
  }
}

export function arrayHeader(length: number): Buffer {
  if (length < 16) return Buffer.of(0x90 | length)
  return Buffer.of(0xdc, length >> 8, length & 0xff)
}

export function shortText(text: string): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.length > 255) throw new Error(`text too long: length=${bytes.length}, max=255`)
  return Buffer.concat([Buffer.of(0xd9, bytes.length), bytes])
}

export function binHeader(length: number): Buffer {
  if (length < 256) return Buffer.of(0xc4, length)
  if (length < 65_536) return Buffer.of(0xc5, length >> 8, length & 0xff)
  const header = Buffer.alloc(5, 0xc6)
  header.writeUInt32BE(length, 1)
  return header
}

export const NIL = Buffer.of(0xc0)
