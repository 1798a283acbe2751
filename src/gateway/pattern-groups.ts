/**
 * The patterns that somebody subscribes to: one group for each text, format and filter.
 * Runs on: the front thread. Owns: their ids, at most MAX_PATTERNS.
 */
import { Refusal, Reply } from '../errors.js'
import type { Format } from '../ring/record.js'
import { PatternSet } from '../routing/pattern-set.js'
import { PatternGroup } from './subscription.js'

const PATTERN_ID_MAX = 2 ** 31 - 1

export class PatternGroups {
  /** By id; the fan-out finds them by it, too. */
  readonly #byId: Map<number, PatternGroup>
  readonly #maxPatterns: number
  /** By format, then filter and text. */
  readonly #byKey = [new Map<string, PatternGroup>(), new Map<string, PatternGroup>()] as const
  /** The same patterns, to ask which of them match a topic that need not exist. */
  readonly #patterns = new PatternSet()
  #lastId = 0

  constructor(byId: Map<number, PatternGroup>, maxPatterns: number) {
    this.#byId = byId
    this.#maxPatterns = maxPatterns
  }

  /** Whether any of them matches the topic. */
  match(topic: string): boolean {
    return this.#patterns.size > 0 && this.#patterns.match(topic).length > 0
  }

  has(group: PatternGroup): boolean {
    return this.#byId.has(group.id)
  }

  /** Throws Refusal when there are too many. */
  findOrMake(text: string, format: Format, filterId: number): PatternGroup {
    const key = keyOf(filterId, text)
    const known = this.#byKey[format].get(key)
    if (known !== undefined) return known
    if (this.#byId.size >= this.#maxPatterns) {
      throw new Refusal(Reply.limitExceeded, `MAX_PATTERNS=${this.#maxPatterns} reached`)
    }
    do {
      this.#lastId = this.#lastId === PATTERN_ID_MAX ? 1 : this.#lastId + 1
    } while (this.#byId.has(this.#lastId))
    const group = new PatternGroup(this.#lastId, text, format, filterId)
    this.#byKey[format].set(key, group)
    this.#patterns.add(text, group.id)
    this.#byId.set(group.id, group)
    return group
  }

  remove(group: PatternGroup): void {
    this.#byKey[group.format].delete(keyOf(group.filterId, group.text))
    this.#patterns.remove(group.text, group.id)
    this.#byId.delete(group.id)
  }
}

function keyOf(filterId: number, pattern: string): string {
  return `${filterId} ${pattern}`
}
