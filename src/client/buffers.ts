/**
 * Buffers of batches and of frames, used again: a client that publishes all the time allocates none.
 * Runs on: Node and browsers. Owns: free buffers, at most KEPT_BYTES_MAX in each set.
 */
/** A batch leaves at 128 KiB and has a buffer of 256 with its head: eight of the largest that are usual. */
const KEPT_BYTES_MAX = 2 * 1024 * 1024

export class Buffers {
  readonly #bytesMin: number
  /** By size: the power of two. */
  readonly #free: Uint8Array[][] = []
  #keptBytes = 0

  /** `bytesMin`: the smallest that it makes. */
  constructor(bytesMin: number) {
    this.#bytesMin = bytesMin
  }

  /** A buffer of at least this size. What is in it is left over from before. */
  take(bytes: number): Uint8Array {
    const power = powerFor(Math.max(bytes, this.#bytesMin))
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
  return Math.ceil(Math.log2(bytes))
}
