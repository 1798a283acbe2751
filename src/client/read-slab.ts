/**
 * What connections on Node are read with: one room for all of them, out of which each read is copied at
 * once, large ones behind each other into a slab.
 * Runs on: Node. Owns: the room and one slab; slabs before it belong to the messages that stand in them.
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
 * Who keeps a message keeps what it stands in, so small reads get memory of their own.
 */
import { Buffer } from 'node:buffer'

/** Four times what Node reads at a time. */
const ROOM_BYTES = 256 * 1024
const SLAB_BYTES = 2 * ROOM_BYTES
/** Of connections on which little comes. */
const SMALL_BYTES_MAX = 8 * 1024

export class ReadSlab {
  /** Where the next read goes, whichever connection it is. */
  readonly room = Buffer.allocUnsafeSlow(ROOM_BYTES)
  #slab = Buffer.alloc(0)
  #used = 0

  /** Returns for good the first `bytes` of the room, which have been read. */
  take(bytes: number): Buffer {
    const read = this.room.subarray(0, bytes)
    if (bytes <= SMALL_BYTES_MAX) return Buffer.from(read)
    if (this.#slab.length - this.#used < bytes) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#used = 0
    }
    const taken = this.#slab.subarray(this.#used, this.#used + bytes)
    taken.set(read)
    this.#used += bytes
    return taken
  }
}
