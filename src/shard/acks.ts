/**
 * Acks and refusals of publishes on their way to clients, as ready-made frames.
 * Runs on: the shard. Owns: a scratch buffer, and at most one open ACKS record.
 *
 * Consecutive frames for one connection travel in one record, and in MessagePack as one frame: a
 * publisher that pipelines gets its acks in a few sends.
 */
import assert from 'node:assert'
import { writeNumber } from '../protocol/msgpack.js'
import { Op } from '../protocol/msgpack-frames.js'
import { isoTime } from '../protocol/server-frames.js'
import type { SharedViews } from '../ring/layout.js'
import { Acks, type Format, JSON_TEXT, MSGPACK, Outbound } from '../ring/record.js'
import type { RingProducer } from '../ring/spsc-ring.js'
import type { Topic } from './topics.js'

/** Bytes of frames in one record at most. */
const SCRATCH_BYTES = 16 * 1024
/** No frame here is longer: ids and names are bounded, and JSON escapes six times at worst. */
const FRAME_BYTES_MAX = 6 * 1024
const FRAMES_MAX = 512

/** Room in the outbound ring that an open record may still need. */
export const ACKS_ROOM = Acks.headerBytes + 4 * FRAMES_MAX + SCRATCH_BYTES + 16

export class AckWriter {
  readonly #views: SharedViews
  readonly #out: RingProducer
  readonly #scratch = Buffer.allocUnsafe(SCRATCH_BYTES)
  readonly #lengths = new Int32Array(FRAMES_MAX)
  #session = 0
  #format: Format = MSGPACK
  #answered = 0
  #frames = 0
  #used = 0

  constructor(views: SharedViews, out: RingProducer) {
    this.#views = views
    this.#out = out
  }

  /** Says that `count` messages were stored from `firstSeq` on; `isBatch` in the words of a batch. The request id stands in shared memory. */
  ack(
    session: number,
    format: Format,
    requestStart: number,
    requestEnd: number,
    topic: Topic,
    firstSeq: number,
    count: number,
    isBatch: boolean,
    nowMs: number,
  ): void {
    const start = this.#open(session, format)
    this.#answered++
    const requestBytes = this.#views.bytes.subarray(requestStart, requestEnd)
    if (format === JSON_TEXT) {
      const seqs = isBatch
        ? `"first_seq":${firstSeq},"last_seq":${firstSeq + count - 1},"count":${count}}`
        : `"seq":${firstSeq}}`
      let at = start + this.#scratch.latin1Write('{"type":"ack","request_id":', start)
      this.#scratch.set(requestBytes, at)
      at += requestBytes.length
      at += this.#scratch.utf8Write(
        `,"topic":${topic.jsonName},"status":"ok","ts":"${isoTime(nowMs)}","epoch":"${topic.epoch}",${seqs}`,
        at,
      )
      this.#close(start, at)
      return
    }
    const scratch = this.#scratch
    scratch[start] = 0x94
    scratch[start + 1] = Op.ack
    scratch.set(requestBytes, start + 2)
    let at = start + 2 + requestBytes.length
    const middle = isBatch ? topic.batchAckMiddle : topic.ackMiddle
    scratch.set(middle, at)
    at = writeNumber(scratch, at + middle.length, firstSeq)
    if (isBatch) {
      at = writeKey(scratch, at, 'last_seq')
      at = writeNumber(scratch, at, firstSeq + count - 1)
      at = writeKey(scratch, at, 'count')
      at = writeNumber(scratch, at, count)
    }
    this.#close(start, at)
  }

  /**
   * Sends any other frame that answers a publish; `answered` is 0 when nobody waits for it. For one
   * over FRAME_BYTES_MAX the caller has made sure of room beyond ACKS_ROOM.
   */
  frame(session: number, format: Format, frame: Uint8Array, answered: number): void {
    if (frame.length > FRAME_BYTES_MAX) {
      this.#writeLarge(session, frame, answered)
      return
    }
    const start = this.#open(session, format)
    this.#answered += answered
    this.#scratch.set(frame, start)
    this.#close(start, start + frame.length)
  }

  /** Writes the open record, if there is one; the caller has made sure that ACKS_ROOM is there. */
  flush(): void {
    if (this.#frames === 0) return
    // In MessagePack all frames become one; in JSON each stays a frame of its own.
    const frames = this.#format === MSGPACK ? 1 : this.#frames
    if (this.#format === MSGPACK) this.#lengths[0] = this.#used
    const length = Acks.headerBytes + frames * 4 + this.#used
    const start = this.#out.tryClaim(length)
    if (start < 0) assert.fail(`no room for ${length} bytes of acks`)
    const field = start >> 2
    this.#views.ints[field + Acks.session] = this.#session
    this.#views.ints[field + Acks.answered] = this.#answered
    this.#views.ints[field + Acks.frames] = frames
    for (let index = 0; index < frames; index++) {
      this.#views.ints[field + 3 + index] = this.#lengths[index] as number
    }
    const body = start + Acks.headerBytes + frames * 4
    this.#views.bytes.set(this.#scratch.subarray(0, this.#used), body)
    this.#out.commit(Outbound.acks, length)
    this.#frames = 0
    this.#answered = 0
    this.#used = 0
  }

  /** A record of its own for one long frame, behind what was said before it. */
  #writeLarge(session: number, frame: Uint8Array, answered: number): void {
    this.flush()
    const length = Acks.headerBytes + 4 + frame.length
    const start = this.#out.tryClaim(length)
    assert(start >= 0, `no room for ${length} bytes of an ack`)
    const field = start >> 2
    this.#views.ints[field + Acks.session] = session
    this.#views.ints[field + Acks.answered] = answered
    this.#views.ints[field + Acks.frames] = 1
    this.#views.ints[field + 3] = frame.length
    this.#views.bytes.set(frame, start + Acks.headerBytes + 4)
    this.#out.commit(Outbound.acks, length)
  }

  /** Where in the scratch buffer the next frame for this connection goes. */
  #open(session: number, format: Format): number {
    const isOther = session !== this.#session || format !== this.#format
    const isFull = this.#used + FRAME_BYTES_MAX > SCRATCH_BYTES || this.#frames === FRAMES_MAX
    if (isOther || isFull) this.flush()
    this.#session = session
    this.#format = format
    return this.#used
  }

  #close(start: number, end: number): void {
    this.#lengths[this.#frames] = end - start
    this.#frames++
    this.#used = end
  }
}

function writeKey(buffer: Buffer, at: number, key: string): number {
  buffer[at] = 0xa0 | key.length
  return at + 1 + buffer.latin1Write(key, at + 1)
}
