/**
 * Message ids for publishers that gave none: UUIDs of version 4, drawn in bulk.
 * Runs on: shards, and the gateway for replies. Owns: a pool of random bytes.
 */
import { randomFillSync } from 'node:crypto'
import { ID_BYTES } from './msgpack-frames.js'

/** One system call a pool: 64 KiB are 4096 ids. */
const POOL_BYTES = 64 * 1024

export class RandomIds {
  readonly #pool = Buffer.alloc(POOL_BYTES)
  #used = POOL_BYTES

  /** Writes 16 bytes. */
  write(target: Uint8Array, at: number): void {
    if (this.#used === POOL_BYTES) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const from = this.#used
    for (let index = 0; index < ID_BYTES; index++) {
      target[at + index] = this.#pool[from + index] as number
    }
    target[at + 6] = ((target[at + 6] as number) & 0x0f) | 0x40 // Version 4.
    target[at + 8] = ((target[at + 8] as number) & 0x3f) | 0x80 // Variant of RFC 9562.
    this.#used += ID_BYTES
  }
}
