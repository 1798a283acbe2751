/**
 * What was stored goes out as EVENTS, to everyone who reads the topic LIVE.
 * Runs on: the shard. Owns: the list of topics with something to send, and how much filters may work.
 *
 * Topics wait here, not messages: what could not be sent for want of room stands in the log.
 */
import { FORMATS } from '../ring/record.js'
import type { AckWriter } from './acks.js'
import { LIVE, NO_ROOM } from './events.js'
import { SELECTION_ENTRIES_MAX, Selection } from './selection.js'
import type { Shard } from './shard.js'
import type { FilteredView, Topic } from './topics.js'

/**
 * Work of filters in one batch at most (FilterTable.work), about 200 ms: what is left is done before
 * new records are begun, and between the two the supervisor sees that the thread moves.
 */
const BATCH_FILTER_WORK_MAX = 4_000_000

export class Flushing {
  readonly #shard: Shard
  readonly #acks: AckWriter
  /** Topics with entries that attached formats have yet to be sent. */
  #dirty: Topic[] = []
  /** FilterTable.work at which this batch has had its share. */
  #filterWorkMax = 0
  /** True when it had: filters have yet to look at entries, and nothing new is begun before. */
  #isBehind = false
  readonly #selection = new Selection()

  constructor(shard: Shard, acks: AckWriter) {
    this.#shard = shard
    this.#acks = acks
  }

  get hasWork(): boolean {
    return this.#dirty.length > 0
  }

  /** True when filters had to stop before they had looked at everything. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  /** False when filters have had their share of this batch. */
  get mayFilter(): boolean {
    return this.#shard.filters.work < this.#filterWorkMax
  }

  /** True when they have had more than that. */
  get isFilterWorkSpent(): boolean {
    return this.#shard.filters.work > this.#filterWorkMax
  }

  /** Gives filters their share of a batch. */
  beginBatch(): void {
    this.#filterWorkMax = this.#shard.filters.work + BATCH_FILTER_WORK_MAX
  }

  /** The topic has something to send; told once, when it gets dirty. */
  add(topic: Topic): void {
    topic.isDirty = true
    this.#dirty.push(topic)
  }

  /** Goes on where filters had to stop. False when they have to stop again, or room ran out. */
  catchUp(): boolean {
    this.#isBehind = false
    return this.flush()
  }

  /** Sends the EVENTS of every topic that has any. False when room ran out, or filters are behind. */
  flush(): boolean {
    const dirty = this.#dirty
    let done = 0
    while (done < dirty.length && this.#flushTopic(dirty[done] as Topic)) {
      ;(dirty[done] as Topic).isDirty = false
      done++
    }
    if (done === dirty.length) {
      dirty.length = 0
      return true
    }
    this.#dirty = dirty.slice(done)
    return false
  }

  /** Sends the EVENTS of one topic up to its newest entry. False when room ran out. */
  flushTopic(topic: Topic): boolean {
    this.#acks.flush()
    return this.#flushTopic(topic) && this.#shard.hasRoom
  }

  #flushTopic(topic: Topic): boolean {
    const { log } = topic
    const { events } = this.#shard
    for (const format of FORMATS) {
      if (!topic.isAttached(format)) continue
      // Entries that are gone already are a gap for the gateway to see.
      let next = Math.max((topic.emitted[format] as number) + 1, log.firstSeq)
      while (next <= log.lastSeq) {
        if (!this.#shard.hasRoom) return false
        const last = events.write(topic, format, next, log.lastSeq, LIVE, 0)
        if (last === NO_ROOM) return false
        topic.emitted[format] = last
        next = last + 1
      }
    }
    return topic.views.length === 0 || this.#flushViews(topic)
  }

  /** Entries go through all filters before the next ones do, so that a payload is decoded once. */
  #flushViews(topic: Topic): boolean {
    const { log, views } = topic
    const { filters, interest } = this.#shard
    for (const view of views) {
      if (view.isAnnounced) continue
      if (!this.#shard.hasRoom) return false
      interest.attachView(topic, view)
    }
    for (;;) {
      let from = log.lastSeq + 1
      for (const { emitted } of views) from = Math.min(from, emitted + 1)
      if (from > log.lastSeq) return true
      from = Math.max(from, log.firstSeq)
      const to = Math.min(log.lastSeq, from + SELECTION_ENTRIES_MAX - 1)
      let end = from
      for (; end <= to && filters.work <= this.#filterWorkMax; end++) {
        for (const { filter } of views) filter.wants(topic, end)
      }
      if (end === from) {
        this.#isBehind = true
        return false
      }
      for (const view of views) if (!this.#flushView(topic, view, end - 1)) return false
    }
  }

  #flushView(topic: Topic, view: FilteredView, to: number): boolean {
    const { log } = topic
    const { events } = this.#shard
    const selection = this.#selection
    const { filter, format } = view
    if (view.emitted + 1 < log.firstSeq) {
      // Entries that are gone already are a gap for the gateway to see.
      view.emitted = log.firstSeq - 1
      view.told = view.emitted
    }
    while (view.emitted < to) {
      if (!this.#shard.hasRoom) return false
      events.select(selection, topic, filter, view.emitted + 1, to)
      if (selection.count === 0) {
        view.emitted = selection.last // Said with the next record that has something to say.
        continue
      }
      const first = view.told + 1
      const last = events.writeSelected(topic, format, filter.id, first, selection, LIVE, 0)
      if (last === NO_ROOM) return false
      view.emitted = last
      view.told = last
    }
    return true
  }
}
