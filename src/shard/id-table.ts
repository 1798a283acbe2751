/**
 * Message ids that a shard remembers, to know a message that comes again.
 * Runs on: the shard. Owns: at most `idsMax` ids of all its topics, first in, first out, in private
 * memory (48 B each); a successor fills it again from the logs.
 *
 * A ring of ids in the order they came, and an open-addressed index into it. The hash is seeded, since
 * publishers choose the ids. An id that comes again after its window stands in the ring twice; the
 * index knows the newer one.
 */
const CAPACITY_MIN = 1024
const WORDS = 4
const NONE = -1

export class IdTable {
  readonly #idsMax: number
  readonly #seed: number
  #capacity = 0
  #oldest = 0
  #count = 0
  #words = new Int32Array(0)
  #topics = new Int32Array(0)
  #seqs = new Float64Array(0)
  #times = new Float64Array(0)
  /** Place in the ring + 1; 0: free. */
  #index = new Int32Array(0)
  readonly #id = new Int32Array(WORDS)

  constructor(idsMax: number, seed: number) {
    this.#idsMax = idsMax
    this.#seed = seed | 0
  }

  get size(): number {
    return this.#count
  }

  /** The seq of the newest message with the id at bytes[at], not stored before `sinceMs`; 0: there is none. */
  find(topicId: number, bytes: Uint8Array, at: number, sinceMs: number): number {
    if (this.#count === 0) return 0
    this.#read(bytes, at)
    const place = (this.#index[this.#slotOf(topicId)] as number) - 1
    return place !== NONE && (this.#times[place] as number) > sinceMs
      ? (this.#seqs[place] as number)
      : 0
  }

  add(topicId: number, bytes: Uint8Array, at: number, seq: number, timeMs: number): void {
    if (this.#count === this.#idsMax) this.#forgetOldest()
    if (this.#count === this.#capacity) this.#grow()
    this.#read(bytes, at)
    const place = (this.#oldest + this.#count) % this.#capacity
    this.#words.set(this.#id, place * WORDS)
    this.#topics[place] = topicId
    this.#seqs[place] = seq
    this.#times[place] = timeMs
    this.#index[this.#slotOf(topicId)] = place + 1
    this.#count++
  }

  #read(bytes: Uint8Array, at: number): void {
    for (let word = 0; word < WORDS; word++) {
      const from = at + word * 4
      this.#id[word] =
        ((bytes[from] as number) << 24) |
        ((bytes[from + 1] as number) << 16) |
        ((bytes[from + 2] as number) << 8) |
        (bytes[from + 3] as number)
    }
  }

  /** The slot of the index that has #id, or the free one where it would go. */
  #slotOf(topicId: number): number {
    const mask = this.#index.length - 1
    let slot = this.#hash(topicId) & mask
    for (;;) {
      const place = (this.#index[slot] as number) - 1
      if (place === NONE || this.#isAt(place, topicId)) return slot
      slot = (slot + 1) & mask
    }
  }

  #isAt(place: number, topicId: number): boolean {
    if (this.#topics[place] !== topicId) return false
    for (let word = 0; word < WORDS; word++) {
      if (this.#words[place * WORDS + word] !== this.#id[word]) return false
    }
    return true
  }

  #hash(topicId: number): number {
    let hash = this.#seed ^ topicId
    for (let word = 0; word < WORDS; word++) {
      hash = Math.imul(hash ^ (this.#id[word] as number), 0x9e3779b1)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    return (hash ^ (hash >>> 16)) >>> 0
  }

  #forgetOldest(): void {
    const place = this.#oldest
    this.#oldest = (place + 1) % this.#capacity
    this.#count--
    this.#recall(place)
    const slot = this.#slotOf(this.#topics[place] as number)
    if (this.#index[slot] === place + 1) this.#free(slot)
  }

  #recall(place: number): void {
    this.#id.set(this.#words.subarray(place * WORDS, (place + 1) * WORDS))
  }

  /** Frees a slot of the index and moves up what would not be found behind it. */
  #free(freed: number): void {
    const mask = this.#index.length - 1
    let hole = freed
    let slot = freed
    for (;;) {
      slot = (slot + 1) & mask
      const place = (this.#index[slot] as number) - 1
      if (place === NONE) break
      this.#recall(place)
      const home = this.#hash(this.#topics[place] as number) & mask
      // It may move to the hole if its home does not lie between the two.
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        this.#index[hole] = place + 1
        hole = slot
      }
    }
    this.#index[hole] = 0
  }

  #grow(): void {
    const before = {
      capacity: this.#capacity,
      words: this.#words,
      topics: this.#topics,
      seqs: this.#seqs,
      times: this.#times,
    }
    const capacity = Math.max(CAPACITY_MIN, this.#capacity * 2)
    this.#words = new Int32Array(capacity * WORDS)
    this.#topics = new Int32Array(capacity)
    this.#seqs = new Float64Array(capacity)
    this.#times = new Float64Array(capacity)
    this.#index = new Int32Array(2 * capacity)
    for (let rank = 0; rank < this.#count; rank++) {
      const from = (this.#oldest + rank) % before.capacity
      this.#id.set(before.words.subarray(from * WORDS, (from + 1) * WORDS))
      this.#words.set(this.#id, rank * WORDS)
      this.#topics[rank] = before.topics[from] as number
      this.#seqs[rank] = before.seqs[from] as number
      this.#times[rank] = before.times[from] as number
      this.#capacity = capacity
      this.#index[this.#slotOf(this.#topics[rank] as number)] = rank + 1
    }
    this.#capacity = capacity
    this.#oldest = 0
  }
}
