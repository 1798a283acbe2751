/**
 * What connections on Node are read with: one room for all of them, out of which each read is copied at
 * once, large ones behind each other into a slab of the connection.
 * Runs on: Node. Owns: the room, one for each thread, and a slab for each connection that large reads came
 * on; slabs before it belong to the messages that stand in them.
 *
 *   room   │ the read of any connection │              → copied before the next read
 *   slab   │ read │ read │ read │ free │               → messages are views of it
 *
 * Node itself allocates 64 KiB for each read and gives back what it did not need. At high rates that is
 * fresh memory for every byte that comes, and touching its pages for the first time costs more than reading
 * does. The room stays in the cache, and blocks as large as a slab come back from the allocator with their
 * pages: that saves more than the copy costs. A large room also means that few frames are cut in
 * two by the end of a read, which `ws` would have to join.
 *
 * Who keeps a message keeps the slab it stands in. So a slab holds what came on one connection
 * only, and not for long where much comes; small reads do without, and after two of them in a row, as
 * between heartbeats, the connection gives its slab up.
 */
import { Buffer } from 'node:buffer'

/** Four times what Node reads at a time, and as much as the broker's largest frames of events. */
const SLAB_BYTES_MAX = 256 * 1024
const SLAB_BYTES_MIN = 16 * 1024
/**
 * A slab has room for what comes in this time at the rate of the one before, if the sizes allow it.
 * What V8 finds alive twice, every 30 ms or so at high rates, it looks at again only when it collects
 * everything: slabs that lasted longer made it do that several times a second (decision 15).
 */
const SLAB_MS = 4
/**
 * Of connections on which little comes. Below half of `Buffer.poolSize` their copies are cut from the
 * blocks that Node keeps.
 */
const SMALL_BYTES_MAX = 8 * 1024

/** Where the next read goes, whichever connection it is. */
export const readRoom = Buffer.allocUnsafeSlow(SLAB_BYTES_MAX)

const NO_SLAB = Buffer.alloc(0)

export class ReadSlab {
  #slab = NO_SLAB
  #used = 0
  #sinceMs = Number.NEGATIVE_INFINITY
  #wasSmall = false

  /** Returns for good the first `bytes` of the room, which have been read. */
  take(bytes: number): Buffer {
    const read = readRoom.subarray(0, bytes)
    if (bytes <= SMALL_BYTES_MAX) {
      if (this.#wasSmall) this.#slab = NO_SLAB
      this.#wasSmall = true
      return Buffer.from(read)
    }
    this.#wasSmall = false
    if (this.#slab.length < this.#used + bytes) this.#renew(bytes)
    const taken = this.#slab.subarray(this.#used, this.#used + bytes)
    taken.set(read)
    this.#used += bytes
    return taken
  }

  /** The faster the last was filled, the larger the next; powers of two, which the allocator has ready. */
  #renew(bytes: number): void {
    const nowMs = performance.now()
    const wanted = (this.#used * SLAB_MS) / (nowMs - this.#sinceMs)
    const size = Math.min(SLAB_BYTES_MAX, Math.max(SLAB_BYTES_MIN, bytes, wanted))
    this.#slab = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(size)))
    this.#used = 0
    this.#sinceMs = nowMs
  }
}
