/**
 * Entries on their way to one member of a group, as DELIVER records.
 * Runs on: the shard. Owns: a scratch buffer for JSON.
 *
 * In MessagePack a run of entries is a head and one slice of the log, as EVENTS are; in JSON every
 * entry is a frame of its own.
 */
import type { Group } from '../groups/group.js'
import { type Delivery, NO_ROOM } from '../groups/group-host.js'
import type { Member } from '../groups/member.js'
import { strBytes, writeArrayHead, writeNumber } from '../protocol/msgpack.js'
import { Op } from '../protocol/msgpack-frames.js'
import { isoTime } from '../protocol/server-frames.js'
import type { SharedViews } from '../ring/layout.js'
import { Deliver, MSGPACK, Outbound } from '../ring/record.js'
import type { RingProducer } from '../ring/spsc-ring.js'
import { EntryView, writeEvent } from './json-text.js'
import type { Topic } from './topics.js'

const ARRAY_OF_6 = 0x96
const FLOAT64 = 0xcb
/** Bytes of a frame that are neither names nor entries, at most. */
const FRAME_EXTRA_BYTES = 32
/** Frames of one JSON record. */
const FRAMES_MAX = 256

export class DeliveryWriter {
  readonly #views: SharedViews
  readonly #out: RingProducer
  readonly #scratch: Buffer
  readonly #lengths = new Int32Array(FRAMES_MAX)
  readonly #entry = new EntryView()
  /** What MessagePack frames of a group begin with. */
  readonly #heads = new WeakMap<Group, Buffer>()

  constructor(views: SharedViews, out: RingProducer) {
    this.#views = views
    this.#out = out
    // One record must hold any single event, with its header and one length.
    this.#scratch = Buffer.allocUnsafe(out.maxLength - Deliver.headerBytes - 8)
  }

  /** Writes one record. Returns the last seq in it, or NO_ROOM. */
  write(topic: Topic, group: Group, delivery: Delivery): number {
    return delivery.member.format === MSGPACK
      ? this.#writeMsgpack(topic, group, delivery)
      : this.#writeJson(topic, group, delivery)
  }

  #writeMsgpack(
    topic: Topic,
    group: Group,
    { member, first, last, attempt, dueMs }: Delivery,
  ): number {
    const { bytes, buffer, ints } = this.#views
    const { log } = topic
    const end = log.runFrom(first, last, Math.floor(this.#out.maxLength / 2))
    const from = log.offsetOf(first)
    const length = log.endOf(end) - from
    const head = this.#headOf(topic, group)
    const fixed = Deliver.headerBytes + 4
    const start = this.#out.tryClaim(fixed + head.length + FRAME_EXTRA_BYTES + length)
    if (start < 0) return NO_ROOM
    const frame = start + fixed
    bytes.set(head, frame)
    let at = writeNumber(buffer, frame + head.length, attempt)
    buffer[at] = FLOAT64
    buffer.writeDoubleBE(dueMs, at + 1)
    at = writeArrayHead(buffer, at + 9, end - first + 1)
    bytes.copyWithin(at, from, from + length)
    ints[(start + Deliver.headerBytes) >> 2] = at + length - frame
    this.#writeFields(start, member, end - first + 1, 1)
    this.#out.commit(Outbound.deliver, at + length - start)
    return end
  }

  #writeJson(
    topic: Topic,
    group: Group,
    { member, first, last, attempt, dueMs }: Delivery,
  ): number {
    const { bytes, buffer, ints } = this.#views
    const scratch = this.#scratch
    const name = JSON.stringify(group.record.name)
    const head = Buffer.from(
      `{"type":"event","topic":${topic.jsonName},"group":${name},"attempt":${attempt},"deadline":"${isoTime(dueMs)}","message":{"id":"`,
    )
    let at = 0
    let count = 0
    for (let seq = first; seq <= last && count < FRAMES_MAX; seq++) {
      this.#entry.read(buffer, topic.log.offsetOf(seq))
      const end = writeEvent(
        scratch,
        at,
        scratch.length - 4 * (count + 1),
        head,
        buffer,
        this.#entry,
      )
      if (end < 0) break
      this.#lengths[count] = end - at
      count++
      at = end
    }
    if (count === 0) throw new RangeError(`seq=${first} does not fit a record as JSON`)
    const fixed = Deliver.headerBytes + 4 * count
    const start = this.#out.tryClaim(fixed + at)
    if (start < 0) return NO_ROOM
    const lengths = (start + Deliver.headerBytes) >> 2
    for (let index = 0; index < count; index++) {
      ints[lengths + index] = this.#lengths[index] as number
    }
    bytes.set(scratch.subarray(0, at), start + fixed)
    this.#writeFields(start, member, count, count)
    this.#out.commit(Outbound.deliver, fixed + at)
    return first + count - 1
  }

  #writeFields(start: number, member: Member, count: number, frames: number): void {
    const { ints } = this.#views
    const field = start >> 2
    ints[field + Deliver.member] = member.id
    ints[field + Deliver.count] = count
    ints[field + Deliver.frames] = frames
  }

  #headOf(topic: Topic, group: Group): Buffer {
    let head = this.#heads.get(group)
    if (head === undefined) {
      const names = [strBytes(topic.name), strBytes(group.record.name)]
      head = Buffer.concat([Buffer.of(ARRAY_OF_6, Op.deliver), ...names])
      this.#heads.set(group, head)
    }
    return head
  }
}
