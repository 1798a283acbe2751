/**
 * The filters in use: each different text has a number, by which the shards know it.
 * Runs on: the front thread. Owns: the numbers, bounded by MAX_FILTERS.
 */
import { Refusal, Reply } from '../errors.js'
import { parseFilter } from '../filter/expression.js'
import type { FilterRef } from '../ring/record.js'
import type { ShardLink } from './shard-link.js'

const FILTER_ID_MAX = 2 ** 31 - 1

interface Use {
  readonly ref: FilterRef
  users: number
}

export class Filters {
  readonly #links: readonly ShardLink[]
  readonly #max: number
  readonly #byText = new Map<string, Use>()
  #lastId = 0

  constructor(links: readonly ShardLink[], max: number) {
    this.#links = links
    this.#max = max
  }

  /**
   * One more uses this filter. Throws Refusal when it is no filter, or one too many. What was asked
   * of a shard with the filter must have been sent before release().
   */
  acquire(text: string): FilterRef {
    let use = this.#byText.get(text)
    if (use === undefined) {
      parseFilter(text)
      if (this.#byText.size >= this.#max) {
        throw new Refusal(Reply.limitExceeded, `MAX_FILTERS=${this.#max} reached`)
      }
      use = { ref: { id: this.#freeId(), text }, users: 0 }
      this.#byText.set(text, use)
    }
    use.users++
    return use.ref
  }

  /** One less does; with the last the shards forget it. */
  release({ id, text }: FilterRef): void {
    const use = this.#byText.get(text)
    if (use === undefined || use.ref.id !== id || --use.users > 0) return
    this.#byText.delete(text)
    for (const link of this.#links) link.send({ op: 'dropFilter', filterId: id })
  }

  /** Ids come back after two billion others: what was sent with the last one has been read by then. */
  #freeId(): number {
    const isUsed = (id: number) => [...this.#byText.values()].some(({ ref }) => ref.id === id)
    do {
      this.#lastId = this.#lastId === FILTER_ID_MAX ? 1 : this.#lastId + 1
    } while (isUsed(this.#lastId))
    return this.#lastId
  }
}
