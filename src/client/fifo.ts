/**
 * A queue whose shift() costs the same at any length; Array's moves what is behind.
 * Runs on: Node and browsers. Owns: its items. Whoever pushes keeps the bound.
 */
/** Slots in front that are given up only together. */
const SLACK = 1024

export class Fifo<Item> {
  #items: (Item | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: Item): void {
    this.#items.push(item)
  }

  peek(): Item | undefined {
    return this.#items[this.#head]
  }

  shift(): Item | undefined {
    if (this.#head === this.#items.length) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head] = undefined // Or it would live until the slack is given up.
    this.#head++
    if (this.#head === this.#items.length) {
      this.#items = []
      this.#head = 0
    } else if (this.#head >= SLACK && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  forEach(look: (item: Item) => void): void {
    for (let index = this.#head; index < this.#items.length; index++) {
      look(this.#items[index] as Item)
    }
  }

  /** Takes everything out. */
  takeAll(): Item[] {
    const items = this.#items.slice(this.#head) as Item[]
    this.#items = []
    this.#head = 0
    return items
  }
}
