/**
 * Who goes first among what stands in line: high before normal before low, and after 8 of a higher
 * priority one of the next lower. Runs on: the test thread.
 *
 * It watches first deliveries as long as everything unsettled fits the window; what was released comes
 * again out of its turn, as redeliveries do.
 */
import { expect } from 'vitest'
import type { Entry } from './group-world.js'

const HIGHER_IN_A_ROW_MAX = 8
/** high, normal, low: the lowest waits for 8 turns of the next higher, each after 8 of the highest. */
const STREAK_MAX = [0, HIGHER_IN_A_ROW_MAX, (HIGHER_IN_A_ROW_MAX + 1) ** 2 - 1] as const
const LEVELS = [0, 1, 2] as const

export class PriorityWatch {
  readonly #window: number
  /** Per level: deliveries of higher ones in a row, while it waited. */
  #streaks = [0, 0, 0]
  /** Per level: deliveries of higher ones since one of it went. */
  #higher = [0, 0, 0]

  constructor(window: number) {
    this.#window = window
  }

  /** A successor counts anew. */
  onCrash(): void {
    this.#streaks = [0, 0, 0]
  }

  onReset(): void {
    this.#streaks = [0, 0, 0]
  }

  /** Before the model takes note of the delivery. */
  onDelivered(entry: Entry, entries: readonly Entry[]): void {
    const { priority } = entry
    if (entry.isReleased) {
      this.#streaks[priority] = 0 // After a death it has its turn in the line, and that counts.
      this.#noteHigher(priority)
      return
    }
    if (entry.attempts > 0) return
    const unsettled = entries.filter(({ state }) => ['new', 'held', 'back'].includes(state))
    if (unsettled.length > this.#window) {
      this.onReset()
    } else {
      const waiting = unsettled.filter(({ state, isReleased }) => state === 'new' && !isReleased)
      const isWaiting = (level: number) => waiting.some((other) => other.priority === level)
      if (LEVELS.some((level) => level < priority && isWaiting(level))) {
        const what = `seq ${entry.seq} goes before one of a higher priority`
        expect(this.#higher[priority], what).toBeGreaterThanOrEqual(HIGHER_IN_A_ROW_MAX)
      }
      for (const level of LEVELS) {
        if (level <= priority || !isWaiting(level)) continue
        this.#streaks[level] = (this.#streaks[level] as number) + 1
        expect(this.#streaks[level], `priority ${level} starves`).toBeLessThanOrEqual(
          STREAK_MAX[level] as number,
        )
      }
    }
    this.#streaks[priority] = 0
    this.#higher[priority] = 0
    this.#noteHigher(priority)
  }

  #noteHigher(priority: number): void {
    for (const level of LEVELS) {
      if (level > priority) this.#higher[level] = (this.#higher[level] as number) + 1
    }
  }
}
