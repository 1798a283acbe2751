/**
 * Buffers of batches, used again: a client that publishes all the time allocates none.
 * Runs on: Node and browsers. Owns: free buffers, at most KEPT_BYTES_MAX.
 */
/** A frame leaves at 128 KiB, so this is a dozen of the largest that are usual. */
const KEPT_BYTES_MAX = 2 * 1024 * 1024
const BYTES_MIN = 1024

export class Buffers {
  /** By size: the power of two. */
  readonly #free: Uint8Array[][] = []
  #keptBytes = 0

  /** A buffer of at least this size. What is in it is left over from before. */
  take(bytes: number): Uint8Array {
    const power = powerFor(bytes)
    const buffer = this.#free[power]?.pop()
    if (buffer === undefined) return new Uint8Array(2 ** power)
    this.#keptBytes -= buffer.length
    return buffer
  }

  /** The caller, and whoever it has lent the buffer to, does not look at it again. */
  giveBack(buffer: Uint8Array): void {
    if (this.#keptBytes + buffer.length > KEPT_BYTES_MAX) return
    const power = powerFor(buffer.length)
    this.#free[power] ??= []
    this.#free[power].push(buffer)
    this.#keptBytes += buffer.length
  }
}

function powerFor(bytes: number): number {
  return Math.ceil(Math.log2(Math.max(bytes, BYTES_MIN)))
}
