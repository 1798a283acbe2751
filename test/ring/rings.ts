/** A ring with both of its ends on the test thread. Runs on: the test thread. Owns: its memory. */
import { ringBytes, type SharedViews, viewsOf } from '../../src/ring/layout.js'
import { RingConsumer, RingProducer, setHead, setTail } from '../../src/ring/spsc-ring.js'

/** Not 0, so that an offset that forgot the base shows. */
export const BASE = 64

export interface Ring {
  readonly views: SharedViews
  readonly producer: RingProducer
  readonly consumer: RingConsumer
}

export function ring(capacity: number, position = 0): Ring {
  const views = viewsOf(new SharedArrayBuffer(BASE + ringBytes(capacity)))
  setTail(views, BASE, position)
  setHead(views, BASE, position)
  return {
    views,
    producer: new RingProducer(views, BASE, capacity),
    consumer: new RingConsumer(views, BASE, capacity),
  }
}

/** Writes one record whose payload is `length` times the byte `kind`, and shows it. */
export function tryWrite({ views, producer }: Ring, kind: number, length: number): boolean {
  const start = producer.tryClaim(length)
  if (start < 0) return false
  views.bytes.fill(kind & 0xff, start, start + length)
  producer.commit(kind, length)
  producer.publish()
  return true
}

/** Reads one record that tryWrite() wrote: `[kind, length]`, or undefined when there is none. */
export function read({ views, consumer }: Ring): [kind: number, length: number] | undefined {
  if (!consumer.next()) return undefined
  const { kind, start, end } = consumer
  const torn = views.bytes.subarray(start, end).findIndex((byte) => byte !== (kind & 0xff))
  if (torn >= 0) throw new Error(`record ${kind} is torn at byte ${torn}`)
  return [kind, end - start]
}

/** Positions from which a few records cross an int32 boundary, and one from which none does. */
export const POSITIONS: readonly [name: string, position: number][] = [
  ['0', 0],
  ['just below 2^31', 2 ** 31 - 32],
  ['just below 2^32', -32],
]
