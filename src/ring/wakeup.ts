/**
 * A doorbell: how a thread that ran dry sleeps without missing work.
 * Runs on: the owner parks, any other thread rings. Owns: one int32 on a line of its own.
 *
 *   word   written by                          read by  meaning
 *   state  owner (IDLE, BLOCKED, AWAKE),       both     IDLE: asleep, or about to be, for want of work
 *          ringers (IDLE or BLOCKED → AWAKE)            BLOCKED: the same, for want of room
 *
 * No wake-up is lost: the owner stores its state and then looks for work once more; a ringer
 * publishes its work and then looks at the word. Whatever the order, one of the two sees the other
 * (both words are sequentially consistent). waitAsync and not wait: the owner's timers and sockets
 * stay alive, and a round trip takes the same 20 µs.
 */
const AWAKE = 0
/** Nothing to do. */
export const IDLE = 1
/** There is work, but no room for its results. */
export const BLOCKED = 2

export class Doorbell {
  readonly #ints: Int32Array
  readonly #index: number

  constructor(ints: Int32Array, byteOffset: number) {
    this.#ints = ints
    this.#index = byteOffset >> 2
  }

  /** There is new work. Wakes the owner if it sleeps; costs one load when it does not. */
  ring(): void {
    // Pairs with the store in park().
    if (Atomics.load(this.#ints, this.#index) !== AWAKE) this.#wake()
  }

  /** There is new room. Wakes the owner only if that is what it waits for. */
  ringIfBlocked(): void {
    if (Atomics.load(this.#ints, this.#index) === BLOCKED) this.#wake() // Pairs with park().
  }

  /** True while the owner sleeps for want of work: it has done all that it was rung for. */
  get isIdle(): boolean {
    return Atomics.load(this.#ints, this.#index) === IDLE // Pairs with park().
  }

  /**
   * Goes to sleep unless `mayWork()` says otherwise. Returns a promise that settles when the bell is
   * rung, or undefined when there is work now. A pending promise keeps no process alive.
   */
  park(state: typeof IDLE | typeof BLOCKED, mayWork: () => boolean): Promise<unknown> | undefined {
    Atomics.store(this.#ints, this.#index, state) // Pairs with the loads in ring().
    if (mayWork()) {
      Atomics.store(this.#ints, this.#index, AWAKE)
      return undefined
    }
    const waiting = Atomics.waitAsync(this.#ints, this.#index, state)
    return waiting.async ? waiting.value : undefined
  }

  /** The owner goes on by itself: what park() gave it settles, so that no promise stays behind. */
  unpark(): void {
    Atomics.store(this.#ints, this.#index, AWAKE)
    Atomics.notify(this.#ints, this.#index)
  }

  /** Whether the owner sleeps: then it is not stuck, whatever waits for it. */
  get isParked(): boolean {
    return Atomics.load(this.#ints, this.#index) !== AWAKE
  }

  #wake(): void {
    if (Atomics.exchange(this.#ints, this.#index, AWAKE) !== AWAKE) {
      Atomics.notify(this.#ints, this.#index)
    }
  }
}
