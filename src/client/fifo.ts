/**
 * A queue: an array used as a ring, so that neither end moves what is between, and what comes and goes
 * one by one allocates nothing.
 * Runs on: Node and browsers. Owns: its items. Whoever pushes keeps the bound.
 */
/** Slots that are there at all times; a power of two. */
const SLOTS_MIN = 16
/** Slots beyond which an empty queue begins anew. */
const SLOTS_KEPT = 1024

export class Fifo<Item> {
  /** As many as a power of two. */
  #slots: (Item | undefined)[] = emptySlots(SLOTS_MIN)
  #head = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  push(item: Item): void {
    if (this.#length === this.#slots.length) this.#grow()
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = item
    this.#length++
  }

  peek(): Item | undefined {
    return this.#slots[this.#head]
  }

  shift(): Item | undefined {
    if (this.#length === 0) return undefined
    const item = this.#slots[this.#head]
    this.#slots[this.#head] = undefined // Or it would live for another lap.
    this.#head = (this.#head + 1) & (this.#slots.length - 1)
    this.#length--
    if (this.#length === 0 && this.#slots.length > SLOTS_KEPT) this.#reset()
    return item
  }

  /** Takes everything out. */
  takeAll(): Item[] {
    const items = this.#inOrder() as Item[]
    this.#reset()
    return items
  }

  #grow(): void {
    const slots = this.#inOrder()
    slots.length = this.#slots.length * 2
    this.#slots = slots.fill(undefined, this.#length)
    this.#head = 0
  }

  #reset(): void {
    this.#slots = emptySlots(SLOTS_MIN)
    this.#head = 0
    this.#length = 0
  }

  #inOrder(): (Item | undefined)[] {
    const end = this.#head + this.#length
    const wrapped = this.#slots.slice(0, Math.max(0, end - this.#slots.length))
    return [...this.#slots.slice(this.#head, end), ...wrapped]
  }
}

function emptySlots<Item>(count: number): (Item | undefined)[] {
  return new Array<Item | undefined>(count).fill(undefined)
}
