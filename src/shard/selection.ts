/**
 * Which entries of a run are sent: those that have not expired and come through the filter.
 * Runs on: the shard. Owns: the list of their seqs; one is used again for every run.
 */
import type { Filter } from './filters.js'
import type { Topic } from './topics.js'

/** Entries looked at for one record, and so those that it may hold. */
export const SELECTION_ENTRIES_MAX = 1024
/** Work (see FilterTable.work) that one PULL may cause; about five milliseconds. */
const SELECTION_WORK_MAX = 100_000

export class Selection {
  /** The first `count` of these are the seqs that were selected. */
  readonly seqs = new Float64Array(SELECTION_ENTRIES_MAX)
  count = 0
  /** Bytes of those entries. */
  bytes = 0
  /** The last seq that was looked at. */
  last = 0

  /** Looks at entries from `first` on, at most to `last` and until about `maxBytes` are found. */
  take(
    topic: Topic,
    filter: Filter | undefined,
    first: number,
    last: number,
    maxBytes: number,
    isExpired: ((topic: Topic, seq: number) => boolean) | undefined,
  ): void {
    const { log } = topic
    const end = Math.min(last, first + SELECTION_ENTRIES_MAX - 1)
    const workMax = (filter?.work ?? 0) + SELECTION_WORK_MAX
    this.count = 0
    this.bytes = 0
    let seq = first
    for (; seq <= end; seq++) {
      if (filter !== undefined && seq > first && filter.work > workMax) break
      if (isExpired?.(topic, seq) === true) continue
      if (filter !== undefined && !filter.wants(topic, seq)) continue
      const bytes = log.endOf(seq) - log.offsetOf(seq)
      if (this.count > 0 && this.bytes + bytes > maxBytes) break
      this.seqs[this.count++] = seq
      this.bytes += bytes
    }
    this.last = seq - 1
  }
}
