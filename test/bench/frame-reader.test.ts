import { expect, test } from 'vitest'
import { FrameReader } from '../../bench/load/frame-reader.js'
import { Opcode } from '../../src/protocol/client-frame.js'

interface Seen {
  readonly opcode: number
  readonly payload: string
}

function reader(areaBytes = 64, frameBytesMax = 1 << 20) {
  const seen: Seen[] = []
  const frames = new FrameReader(
    (area, start, end, opcode) => seen.push({ opcode, payload: area.toString('hex', start, end) }),
    { areaBytes, frameBytesMax },
  )
  /** Feeds `bytes` in pieces of at most `size`, as a socket would. */
  const feed = (bytes: Buffer, size = bytes.length) => {
    for (let at = 0; at < bytes.length; ) {
      const room = frames.room()
      if (room.length === 0) throw new Error('no room')
      const count = bytes.copy(room, 0, at, Math.min(bytes.length, at + size))
      frames.received(count)
      at += count
    }
  }
  return { seen, feed }
}

/** A server's frame: no mask. */
function frame(payload: Buffer, opcode: number = Opcode.binary): Buffer {
  const { length } = payload
  if (length < 126) return Buffer.concat([Buffer.of(0x80 | opcode, length), payload])
  if (length < 65_536) {
    return Buffer.concat([Buffer.of(0x80 | opcode, 126, length >> 8, length & 255), payload])
  }
  const header = Buffer.alloc(10)
  header[0] = 0x80 | opcode
  header[1] = 127
  header.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([header, payload])
}

function pattern(length: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 31 + seed) & 255))
}

const LENGTHS = [0, 1, 125, 126, 127, 1000, 65_535, 65_536, 100_000, 3, 0, 40]

test.each([1, 2, 3, 7, 61, 64, 1000, 1 << 20])(
  'FrameReader.received() finds every frame when bytes come in pieces of %i',
  (size) => {
    const payloads = LENGTHS.map((length, i) => pattern(length, i))
    const { seen, feed } = reader()
    feed(Buffer.concat(payloads.map((payload) => frame(payload))), size)
    expect(seen.map(({ payload }) => payload)).toEqual(payloads.map((p) => p.toString('hex')))
  },
)

test('FrameReader.received() hands over control frames between messages with their opcodes', () => {
  const { seen, feed } = reader()
  const opcodes = [Opcode.text, Opcode.ping, Opcode.binary, Opcode.pong, Opcode.close]
  feed(Buffer.concat(opcodes.map((opcode) => frame(Buffer.from('ab'), opcode))), 3)
  expect(seen.map(({ opcode }) => opcode)).toEqual(opcodes)
})

test('FrameReader.received() waits for the last byte of a frame', () => {
  const { seen, feed } = reader()
  const whole = frame(pattern(50, 1))
  feed(whole.subarray(0, -1))
  expect(seen).toEqual([])
  feed(whole.subarray(-1))
  expect(seen).toHaveLength(1)
})

test('FrameReader.received() refuses a frame beyond its limit once the header is there', () => {
  const { feed } = reader(64, 1000)
  expect(() => feed(frame(Buffer.alloc(2000)).subarray(0, 4))).toThrow(/too large/)
})

test.each([
  ['a fragment', Buffer.of(0x02, 0)],
  ['a continuation', Buffer.of(0x80, 0)],
  ['a compressed frame', Buffer.of(0xc2, 0)],
  ['a masked frame', Buffer.of(0x82, 0x80, 0, 0, 0, 0)],
])('FrameReader.received() throws on %s and does not skip it', (_, bytes) => {
  const { feed } = reader()
  expect(() => feed(bytes)).toThrow()
})
