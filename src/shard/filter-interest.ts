/**
 * Which topics plain subscriptions read through which filter, kept for a successor.
 * Runs on: the shard. Owns: the interest slots in shared memory.
 *
 *   offset  field     type  meaning
 *   0       topicId   i32   0: free; stored last when an interest is added
 *   4       filterId  i32
 *   8       formats   i32   bit per format
 *
 * Without a filter the formats stand in the topic's own slot (log/slot.ts).
 */
import type { SharedViews } from '../ring/layout.js'
import { INTEREST_SLOT_BYTES, type ShardLayout } from '../shared-memory.js'

const TOPIC_ID = 0
const FILTER_ID = 4
const FORMATS = 8

export interface Interest {
  readonly topicId: number
  readonly filterId: number
  readonly formats: number
}

export class FilterInterest {
  readonly #views: SharedViews
  readonly #base: number
  readonly #slots = new Map<string, number>()
  readonly #freeSlots: number[] = []
  #fresh = 0
  readonly #slotsMax: number

  constructor(views: SharedViews, layout: ShardLayout) {
    this.#views = views
    this.#base = layout.interest
    this.#slotsMax = layout.interestSlots
  }

  /** What a predecessor knew; once, when a shard starts. `isKept` says what there still is. */
  load(isKept: (interest: Interest) => boolean): Interest[] {
    const found: Interest[] = []
    for (let slot = 0; slot < this.#slotsMax; slot++) {
      const field = this.#field(slot)
      const filterId = this.#views.ints[field + (FILTER_ID >> 2)] as number
      if (filterId === 0) break // It stays behind in a freed slot: from here on none was used.
      this.#fresh = slot + 1
      const topicId = this.#views.ints[field] as number
      const formats = this.#views.ints[field + (FORMATS >> 2)] as number
      const interest = { topicId, filterId, formats }
      if (topicId !== 0 && isKept(interest)) {
        this.#slots.set(keyOf(topicId, filterId), slot)
        found.push(interest)
      } else {
        this.#free(slot)
      }
    }
    return found
  }

  /** Notes the formats; 0 for none. False when every slot is taken. */
  set(topicId: number, filterId: number, formats: number): boolean {
    const key = keyOf(topicId, filterId)
    let slot = this.#slots.get(key)
    if (formats === 0) {
      if (slot !== undefined) this.#free(slot)
      this.#slots.delete(key)
      return true
    }
    if (slot === undefined) {
      slot = this.#freeSlots.pop()
      if (slot === undefined) {
        if (this.#fresh === this.#slotsMax) return false
        slot = this.#fresh++
      }
      this.#slots.set(key, slot)
    }
    const field = this.#field(slot)
    this.#views.ints[field + (FILTER_ID >> 2)] = filterId
    this.#views.ints[field + (FORMATS >> 2)] = formats
    Atomics.store(this.#views.ints, field + (TOPIC_ID >> 2), topicId)
    return true
  }

  #free(slot: number): void {
    Atomics.store(this.#views.ints, this.#field(slot) + (TOPIC_ID >> 2), 0)
    this.#freeSlots.push(slot)
  }

  #field(slot: number): number {
    return (this.#base + slot * INTEREST_SLOT_BYTES) >> 2
  }
}

function keyOf(topicId: number, filterId: number): string {
  return `${topicId}/${filterId}`
}
