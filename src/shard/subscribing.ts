/**
 * Requests about who reads what: subscribe, patterns, and interest that is no more.
 * Runs on: the shard. Owns: the scan of a pattern subscribe that did not finish in one batch.
 *
 * Handlers return as those of control.ts do.
 */
import { Reply } from '../errors.js'
import { type FilterRef, FORMATS, type Format } from '../ring/record.js'
import type { RequestOf } from './control.js'
import type { Shard } from './shard.js'
import { resolveStart } from './start.js'
import { type FilteredView, Topic } from './topics.js'

const NO_FILTER_SLOT = 'MAX_FILTERS filters are in use'

interface Scan {
  readonly token: number
  readonly topics: readonly Topic[]
  done: number
}

export class Subscribing {
  readonly #shard: Shard
  #scan: Scan | undefined

  constructor(shard: Shard) {
    this.#shard = shard
  }

  subscribe(request: RequestOf<'subscribe'>): number | undefined {
    const { token, topic: name, format, start, filter } = request
    const shard = this.#shard
    const topic = shard.catalog.findOrCreate(name)
    if (!(topic instanceof Topic)) {
      shard.notices.refuse(token, topic.reply, topic.message)
      return 0
    }
    // What was stored before this moment must be out before it: a new subscriber is not to see it.
    if (!shard.flushing.flushTopic(topic)) return undefined
    if (filter !== undefined) {
      const refusal = this.#attachFiltered(topic, format, filter)
      if (refusal !== undefined) {
        shard.notices.refuse(token, Reply.limitExceeded, refusal)
        return 0
      }
    } else {
      topic.plainFormats |= 1 << format
      shard.catalog.directory.setPlainFormats(topic.slot, topic.plainFormats)
      if (!topic.isAttached(format)) shard.interest.attach(topic, format)
    }
    const { startSeq, recovered } = resolveStart(start, topic, shard)
    const { epoch, id: topicId } = topic
    const { lastSeq } = topic.log
    shard.notices.send({ op: 'subscribed', token, topicId, epoch, startSeq, lastSeq, recovered })
    shard.endBatch()
    return 0
  }

  /** Why a plain subscription cannot have the filter, or undefined: it has it from here on. */
  #attachFiltered(topic: Topic, format: Format, ref: FilterRef): string | undefined {
    const { filters, filterInterest } = this.#shard
    const filter = filters.add(ref)
    if (filter === undefined) return NO_FILTER_SLOT
    const isNew = topic.view(filter.id, format) === undefined
    const formats = FORMATS.filter((other) => topic.view(filter.id, other)?.isPlain === true)
    const bits = formats.reduce((sum, other) => sum | (1 << other), 1 << format)
    if (!filterInterest.set(topic.id, filter.id, bits)) {
      return 'too many topics are read through filters'
    }
    const view = this.#shard.interest.view(topic, filter.id, format) as FilteredView
    view.isPlain = true
    if (isNew) this.#shard.interest.attachView(topic, view)
    return undefined
  }

  /** Tells of every topic that matches; may take several batches, in which nothing else is done. */
  subscribePattern(request: RequestOf<'subscribePattern'>): number | undefined {
    const shard = this.#shard
    const { token, patternId, pattern: text, format, start, filter } = request
    let scan = this.#scan
    if (scan === undefined || scan.token !== token) {
      if (filter !== undefined && shard.filters.add(filter) === undefined) {
        shard.notices.refuse(token, Reply.limitExceeded, NO_FILTER_SLOT)
        return 0
      }
      const pattern = shard.patterns.add(patternId, text, format, filter?.id ?? 0)
      if (pattern === undefined) {
        shard.notices.refuse(token, Reply.limitExceeded, 'MAX_PATTERNS patterns are in use')
        return 0
      }
      const matching = [...shard.topics.values()].filter((topic) => {
        const isKnown = topic.patterns.includes(pattern)
        if (!isKnown && shard.patterns.match(topic.name).includes(pattern)) {
          topic.patterns.push(pattern)
        }
        return topic.patterns.includes(pattern)
      })
      scan = { token, topics: matching, done: 0 }
      this.#scan = scan
    }
    for (; scan.done < scan.topics.length; scan.done++) {
      const topic = scan.topics[scan.done] as Topic
      if (!shard.flushing.flushTopic(topic)) return undefined
      // Told even if attached: the gateway may have let go of a feed that nobody else wants now.
      const view = shard.interest.view(topic, filter?.id ?? 0, format)
      if (view === undefined) shard.interest.attach(topic, format, [patternId])
      else shard.interest.attachView(topic, view, [patternId])
      const { startSeq, recovered } = resolveStart(start, topic, shard)
      const { id: topicId, log } = topic
      shard.notices.send({
        op: 'match',
        token,
        patternId,
        topicId,
        startSeq,
        lastSeq: log.lastSeq,
        recovered,
      })
    }
    if (!shard.hasRoom) return undefined
    this.#scan = undefined
    shard.notices.send({ op: 'patternSubscribed', token })
    shard.endBatch()
    return 0
  }

  interest({ topicId, formats, filterId = 0 }: RequestOf<'interest'>): number {
    const topic = this.#shard.topics.get(topicId)
    if (topic === undefined) return 0
    if (filterId === 0) {
      topic.plainFormats = formats
      this.#shard.catalog.directory.setPlainFormats(topic.slot, formats)
    } else {
      for (const view of topic.views) {
        if (view.filter.id === filterId) view.isPlain = (formats & (1 << view.format)) !== 0
      }
      // Less than there was, for which there was a slot; and none for a filter that is gone.
      const known = this.#shard.filters.get(filterId) === undefined ? 0 : formats
      this.#shard.filterInterest.set(topicId, filterId, known)
    }
    this.#shard.interest.detachUnwanted(topic)
    return 0
  }

  /** Patterns that used it have been dropped before. */
  dropFilter({ filterId }: RequestOf<'dropFilter'>): number {
    for (const topic of this.#shard.topics.values()) {
      if (!topic.views.some(({ filter }) => filter.id === filterId)) continue
      for (const view of topic.views) if (view.filter.id === filterId) view.isPlain = false
      this.#shard.filterInterest.set(topic.id, filterId, 0)
      this.#shard.interest.detachUnwanted(topic)
    }
    this.#shard.filters.remove(filterId)
    return 0
  }

  dropPattern({ patternId }: RequestOf<'dropPattern'>): number {
    const pattern = this.#shard.patterns.get(patternId)
    if (pattern === undefined) return 0
    this.#shard.patterns.remove(patternId)
    for (const topic of this.#shard.topics.values()) {
      const index = topic.patterns.indexOf(pattern)
      if (index < 0) continue
      topic.patterns.splice(index, 1)
      this.#shard.interest.detachUnwanted(topic)
    }
    return 0
  }
}
