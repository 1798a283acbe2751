/**
 * Many timers, each an id and a time: a hierarchical wheel.
 * Runs on: the shard, which gives it its clock. Owns: its timers, in private memory; a successor makes
 * them again from what stands in shared memory.
 *
 *   level 0   64 slots of one tick (16 ms)     the ticks of the current 64
 *   level 1   64 slots of 64 ticks (1 s)       the rest of the current 64 × 64
 *   …         each level 64 times as coarse; the last reaches 35 years
 *   beyond    one list
 *
 * A timer stands at the lowest level whose current block holds its tick, and moves down when the
 * clock enters its slot: adding, cancelling and firing cost O(1), however many there are. It never
 * fires early, and at most one tick late as far as the wheel is concerned.
 *
 * A heap costs O(log n) and cannot cancel without a search or a map; setTimeout() for each costs an
 * object of Node's per timer and cannot be bounded.
 */
const TICK_MS = 16
const SLOT_BITS = 6
const SLOTS = 1 << SLOT_BITS
const LEVELS = 6
const BEYOND = LEVELS * SLOTS
const NODES_MIN = 64
const NONE = -1

/** add() found as many timers as there may be. */
export const NO_TIMER = -1

export class TimerWheel {
  readonly #timersMax: number
  /** First timer of each slot. */
  readonly #slots = new Int32Array(BEYOND + 1).fill(NONE)
  /** Timers at each level; the last count is that of the list beyond. */
  readonly #counts = new Int32Array(LEVELS + 1)
  /** The time of tick 0, and the last tick that is over. */
  readonly #baseMs: number
  #tick = 0
  #size = 0
  #free = NONE
  #fresh = 0
  #next = new Int32Array(NODES_MIN)
  #previous = new Int32Array(NODES_MIN)
  #slotOf = new Int32Array(NODES_MIN)
  #ids = new Float64Array(NODES_MIN)
  #dues = new Float64Array(NODES_MIN)

  constructor(nowMs: number, timersMax: number) {
    this.#baseMs = nowMs
    this.#timersMax = timersMax
  }

  get size(): number {
    return this.#size
  }

  /** Returns a handle for cancel(), or NO_TIMER. The handle is used again once the timer has fired. */
  add(dueMs: number, id: number): number {
    if (this.#size === this.#timersMax) return NO_TIMER
    const node = this.#takeNode()
    this.#ids[node] = id
    this.#dues[node] = dueMs
    this.#size++
    this.#place(node, this.#tick + 1) // The slot of this tick has fired, or is firing.
    return node
  }

  /** The timer, which has not fired yet, will not fire. */
  cancel(handle: number): void {
    this.#unlink(handle)
    this.#release(handle)
  }

  /** When advance() has something to do next, at the earliest; Infinity when there is no timer. */
  get nextDueMs(): number {
    if (this.#size === 0) return Number.POSITIVE_INFINITY
    return this.#timeOf(this.#nextTick())
  }

  /** Fires every timer that is due at `nowMs`, tick by tick. `onDue` may add and cancel timers. */
  advance(nowMs: number, onDue: (id: number, dueMs: number) => void): void {
    const target = Math.floor((nowMs - this.#baseMs) / TICK_MS)
    while (this.#size > 0) {
      const tick = this.#nextTick()
      if (tick > target) break
      this.#enter(tick)
      this.#fire(tick, onDue)
    }
    if (target > this.#tick) this.#enter(target)
  }

  #timeOf(tick: number): number {
    return this.#baseMs + tick * TICK_MS
  }

  /** The next tick at which there is a timer to fire or to move down. */
  #nextTick(): number {
    for (let level = 0; level < LEVELS; level++) {
      if (this.#counts[level] === 0) continue
      const width = SLOTS ** level
      const current = Math.floor(this.#tick / width)
      const block = current - (current % SLOTS)
      for (let slot = (current % SLOTS) + 1; slot < SLOTS; slot++) {
        if (this.#slots[level * SLOTS + slot] !== NONE) return (block + slot) * width
      }
    }
    const width = SLOTS ** LEVELS
    return (Math.floor(this.#tick / width) + 1) * width
  }

  /** The clock stands at `tick`: what stood in slots that it enters moves down, the highest first. */
  #enter(tick: number): void {
    const before = this.#tick
    this.#tick = tick
    const width = SLOTS ** LEVELS
    if (Math.floor(before / width) !== Math.floor(tick / width)) this.#moveDown(BEYOND)
    for (let level = LEVELS - 1; level > 0; level--) {
      const slot = Math.floor(tick / SLOTS ** level)
      if (slot !== Math.floor(before / SLOTS ** level))
        this.#moveDown(level * SLOTS + (slot % SLOTS))
    }
  }

  #moveDown(slot: number): void {
    let node = this.#slots[slot] as number
    while (node !== NONE) {
      const next = this.#next[node] as number
      this.#unlink(node)
      this.#place(node, this.#tick)
      node = next
    }
  }

  #fire(tick: number, onDue: (id: number, dueMs: number) => void): void {
    const slot = tick % SLOTS
    for (;;) {
      const node = this.#slots[slot] as number
      if (node === NONE) return
      const [id, dueMs] = [this.#ids[node] as number, this.#dues[node] as number]
      this.cancel(node)
      onDue(id, dueMs)
    }
  }

  #place(node: number, earliest: number): void {
    const due = Math.ceil(((this.#dues[node] as number) - this.#baseMs) / TICK_MS)
    const tick = Math.max(due, earliest)
    for (let level = 0; level < LEVELS; level++) {
      const block = SLOTS ** (level + 1)
      if (Math.floor(tick / block) === Math.floor(this.#tick / block)) {
        this.#link(node, level * SLOTS + (Math.floor(tick / SLOTS ** level) % SLOTS))
        return
      }
    }
    this.#link(node, BEYOND)
  }

  #link(node: number, slot: number): void {
    const first = this.#slots[slot] as number
    this.#next[node] = first
    this.#previous[node] = NONE
    this.#slotOf[node] = slot
    if (first !== NONE) this.#previous[first] = node
    this.#slots[slot] = node
    const level = slot >> SLOT_BITS
    this.#counts[level] = (this.#counts[level] as number) + 1
  }

  #unlink(node: number): void {
    const slot = this.#slotOf[node] as number
    const next = this.#next[node] as number
    const previous = this.#previous[node] as number
    if (previous === NONE) this.#slots[slot] = next
    else this.#next[previous] = next
    if (next !== NONE) this.#previous[next] = previous
    const level = slot >> SLOT_BITS
    this.#counts[level] = (this.#counts[level] as number) - 1
  }

  #takeNode(): number {
    const node = this.#free
    if (node !== NONE) {
      this.#free = this.#next[node] as number
      return node
    }
    if (this.#fresh === this.#next.length) this.#grow()
    return this.#fresh++
  }

  #release(node: number): void {
    this.#next[node] = this.#free
    this.#free = node
    this.#size--
  }

  #grow(): void {
    const length = this.#next.length * 2
    const copy = <Numbers extends Int32Array | Float64Array>(
      from: Numbers,
      to: Numbers,
    ): Numbers => {
      to.set(from)
      return to
    }
    this.#next = copy(this.#next, new Int32Array(length))
    this.#previous = copy(this.#previous, new Int32Array(length))
    this.#slotOf = copy(this.#slotOf, new Int32Array(length))
    this.#ids = copy(this.#ids, new Float64Array(length))
    this.#dues = copy(this.#dues, new Float64Array(length))
  }
}
