/**
 * Message ids for publishers that gave none: UUIDs of version 4, drawn in bulk.
 * Runs on: the shard. Owns: a pool of random bytes.
 */
import { randomFillSync } from 'node:crypto'

/** One system call a pool: 64 KiB are 4096 ids. */
const POOL_WORDS = 16 * 1024
const ID_WORDS = 4

export class RandomIds {
  readonly #pool = new Int32Array(POOL_WORDS)
  #used = POOL_WORDS

  /** Writes 16 bytes. */
  write(target: DataView, at: number): void {
    if (this.#used === POOL_WORDS) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const pool = this.#pool
    const from = this.#used
    const second = pool[from + 1] as number
    const third = pool[from + 2] as number
    target.setInt32(at, pool[from] as number)
    target.setInt32(at + 4, (second & 0xffff_0fff) | 0x4000) // Byte 6: version 4.
    target.setInt32(at + 8, (third & 0x3fff_ffff) | 0x8000_0000) // Byte 8: variant of RFC 9562.
    target.setInt32(at + 12, pool[from + 3] as number)
    this.#used = from + ID_WORDS
  }
}
