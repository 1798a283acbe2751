/**
 * How each topic is read: the formats, and the views through filters, that EVENTS are made in.
 * Runs on: the shard. Owns: which topics the gateway has yet to hear of again after a predecessor died.
 */
import { FORMATS, type Format } from '../ring/record.js'
import type { Shard } from './shard.js'
import type { FilteredView, Topic } from './topics.js'

export class Interest {
  readonly #shard: Shard
  readonly #announcements: Topic[] = []

  constructor(shard: Shard) {
    this.#shard = shard
  }

  /** True while some topic has to be announced again. */
  get hasWork(): boolean {
    return this.#announcements.length > 0
  }

  /**
   * From here on EVENTS of the topic are made in this format. Entries before it are not: whoever
   * attaches a format again has flushed it. The gateway links the feed to these patterns.
   */
  attach(topic: Topic, format: Format, patternIds = patternIdsOf(topic, format)): void {
    topic.attached |= 1 << format
    topic.emitted[format] = topic.log.lastSeq
    const { id: topicId, name, epoch, log } = topic
    const about = { topicId, topic: name, epoch, format }
    this.#shard.notices.send({ op: 'attach', ...about, lastSeq: log.lastSeq, patternIds })
  }

  /** The view of a topic through a filter, made if it is not there; undefined for no such filter. */
  view(topic: Topic, filterId: number, format: Format): FilteredView | undefined {
    const filter = this.#shard.filters.get(filterId)
    const known = topic.view(filterId, format)
    if (filter === undefined || known !== undefined) return known
    const { lastSeq } = topic.log
    const isNew = { isPlain: false, isAnnounced: false }
    const view = { filter, format, ...isNew, emitted: lastSeq, told: lastSeq }
    topic.views.push(view)
    return view
  }

  /** As attach(), for a view; the topic has been flushed, or nothing was made of the view yet. */
  attachView(
    topic: Topic,
    view: FilteredView,
    patternIds = patternIdsOf(topic, view.format, view.filter.id),
  ): void {
    view.isAnnounced = true
    const { id: topicId, name, epoch } = topic
    const { format, told: lastSeq } = view
    const about = { topicId, topic: name, epoch, format, filterId: view.filter.id }
    this.#shard.notices.send({ op: 'attach', ...about, lastSeq, patternIds })
  }

  /** Makes what EVENTS are made of what is wanted now, after interest in a topic has changed. */
  detachUnwanted(topic: Topic): void {
    topic.attached &= topic.wantedFormats()
    topic.views = topic.views.filter(
      ({ filter, format, isPlain }) => isPlain || patternIdsOf(topic, format, filter.id).length > 0,
    )
  }

  /** Finds again how a predecessor's topics were read, and what of it the gateway has to hear. */
  takeOver(found: readonly Topic[]): void {
    const { topics, filters, filterInterest } = this.#shard
    const interests = filterInterest.load(
      ({ topicId, filterId }) =>
        topics.get(topicId) !== undefined && filters.get(filterId) !== undefined,
    )
    for (const { topicId, filterId, formats } of interests) {
      for (const format of FORMATS) {
        if ((formats & (1 << format)) === 0) continue
        const view = this.view(topics.get(topicId) as Topic, filterId, format)
        if (view !== undefined) view.isPlain = true
      }
    }
    this.#announcements.push(...found.filter((topic) => topic.isRead))
  }

  /**
   * After a predecessor: the gateway hears how far each topic got, and pulls what it missed. False
   * when room ran out.
   */
  announce(): boolean {
    while (this.#announcements.length > 0) {
      if (!this.#shard.hasRoom) return false
      const topic = this.#announcements.pop() as Topic
      for (const format of FORMATS) if (topic.isAttached(format)) this.attach(topic, format)
      if (topic.views.length > 0) this.#shard.stored(topic, 0, 0) // They are announced as if new.
    }
    return true
  }
}

function patternIdsOf(topic: Topic, format: Format, filterId = 0): number[] {
  return topic.patterns
    .filter((pattern) => pattern.format === format && pattern.filterId === filterId)
    .map(({ id }) => id)
}
