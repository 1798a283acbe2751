/**
 * What entries say that groups care for: whether a filter lets them through, key, priority.
 * Runs on: the shard. Owns: the filters of groups, one for every text.
 */
import type { Class } from '../groups/group-host.js'
import { hashOfKey, NORMAL } from '../groups/lineup.js'
import { newEntryProperties, readProperties } from '../log/entry-properties.js'
import type { Filter } from './filters.js'
import type { Shard } from './shard.js'
import type { Topic } from './topics.js'

const SKIPPED: Class = { isSkipped: true, key: 0, priority: NORMAL }

export class GroupEntries {
  readonly #shard: Shard
  readonly #filters = new Map<string, Filter>()
  readonly #properties = newEntryProperties()

  constructor(shard: Shard) {
    this.#shard = shard
  }

  /** True when entries of the topic have to be looked at one by one. */
  hasProperties(topic: Topic): boolean {
    return topic.features !== 0 || topic.mayExpire
  }

  classify(topic: Topic, filter: string, seq: number): Class {
    if (filter !== '' && !this.#filterOf(filter).wants(topic, seq)) return SKIPPED
    const { buffer, bytes } = this.#shard.views
    readProperties(buffer, topic.log.offsetOf(seq), this.#properties)
    const { keyStart, keyLength, priority } = this.#properties
    const key = keyLength === 0 ? 0 : hashOfKey(bytes, keyStart, keyLength)
    return { isSkipped: false, key, priority: priority as Class['priority'] }
  }

  /** No group has it any more. */
  forgetFilter(text: string): void {
    this.#filters.delete(text)
  }

  #filterOf(text: string): Filter {
    let filter = this.#filters.get(text)
    if (filter === undefined) {
      filter = this.#shard.filters.unnumbered(text)
      this.#filters.set(text, filter)
    }
    return filter
  }
}
