/**
 * Many deadlines, one timer.
 * Runs on: Node and browsers. Owns: a heap of what is due, the earliest on top, and the timer of that one.
 * Whoever adds keeps the bound. What is taken out leaves nothing behind.
 */
export interface Timed {
  /** By performance.now(). Not to be changed while it is in here. */
  dueMs: number
  /** Where it is in the heap; −1: it is not. Deadlines alone changes this. */
  heapIndex: number
}

/** Longer delays of setTimeout() would fire at once. */
const DELAY_MS_MAX = 2 ** 31 - 1

export class Deadlines<Item extends Timed> {
  readonly #heap: Item[] = []
  readonly #onDue: (item: Item) => void
  #timer: ReturnType<typeof setTimeout> | undefined
  #timerDueMs = Number.POSITIVE_INFINITY

  /** `onDue` is called for each item when its time has come; by then it is taken out. */
  constructor(onDue: (item: Item) => void) {
    this.#onDue = onDue
  }

  get size(): number {
    return this.#heap.length
  }

  add(item: Item): void {
    item.heapIndex = this.#heap.length
    this.#heap.push(item)
    this.#rise(item)
    if (item.dueMs < this.#timerDueMs) this.#setTimer()
  }

  /** Does nothing when it is not in here. */
  remove(item: Item): void {
    const { heapIndex } = item
    if (heapIndex < 0) return
    item.heapIndex = -1
    const last = this.#heap.pop() as Item
    if (last !== item) {
      this.#place(last, heapIndex)
      this.#rise(last)
      this.#sink(last)
    }
    // A timer that is too early now finds nothing and is set again: cheaper than a new one each time.
    if (this.#heap.length === 0) this.#setTimer()
  }

  #setTimer(): void {
    clearTimeout(this.#timer)
    const [first] = this.#heap
    this.#timerDueMs = first?.dueMs ?? Number.POSITIVE_INFINITY
    if (first === undefined) return
    const delayMs = Math.max(0, Math.ceil(first.dueMs - performance.now()))
    this.#timer = setTimeout(() => this.#onTimer(), Math.min(delayMs, DELAY_MS_MAX))
  }

  #onTimer(): void {
    this.#timerDueMs = Number.NEGATIVE_INFINITY // Who adds meanwhile need not set it.
    const nowMs = performance.now()
    for (;;) {
      const [first] = this.#heap
      if (first === undefined || first.dueMs > nowMs) break
      this.remove(first)
      this.#onDue(first)
    }
    this.#setTimer()
  }

  #rise(item: Item): void {
    while (item.heapIndex > 0) {
      const index = item.heapIndex
      const parent = this.#heap[(index - 1) >> 1] as Item
      if (parent.dueMs <= item.dueMs) return
      this.#place(item, parent.heapIndex)
      this.#place(parent, index)
    }
  }

  #sink(item: Item): void {
    for (;;) {
      const index = item.heapIndex
      const left = this.#heap[index * 2 + 1]
      if (left === undefined) return
      const right = this.#heap[index * 2 + 2]
      const child = right !== undefined && right.dueMs < left.dueMs ? right : left
      if (item.dueMs <= child.dueMs) return
      this.#place(item, child.heapIndex)
      this.#place(child, index)
    }
  }

  #place(item: Item, index: number): void {
    this.#heap[index] = item
    item.heapIndex = index
  }
}
