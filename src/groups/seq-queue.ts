/**
 * A first-in first-out list of seqs.
 * Runs on: the shard. Owns: an array; what was taken is given back when half of it is.
 */
export class SeqQueue {
  #seqs: number[] = []
  #head = 0

  get length(): number {
    return this.#seqs.length - this.#head
  }

  push(seq: number): void {
    this.#seqs.push(seq)
  }

  shift(): number | undefined {
    if (this.#head === this.#seqs.length) return undefined
    const seq = this.#seqs[this.#head++]
    if (this.#head * 2 > this.#seqs.length) {
      this.#seqs = this.#seqs.slice(this.#head)
      this.#head = 0
    }
    return seq
  }

  /** Everything, in order; the queue is empty after it. */
  takeAll(): number[] {
    const all = this.#seqs.slice(this.#head)
    this.#seqs = []
    this.#head = 0
    return all
  }
}
