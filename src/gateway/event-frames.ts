/**
 * The frames that one EVENTS record becomes, made once and shared by everybody who gets them.
 * Runs on: the front thread. Owns: views of ring memory; not to be kept past release().
 *
 * Plain subscriptions get bytes that stand in the record ready-made. What a pattern matched carries
 * the pattern's name, so for each pattern a head is put before the shared body.
 */
import type { SharedViews } from '../ring/layout.js'
import { Events, MSGPACK } from '../ring/record.js'
import type { Feed, PatternGroup, Subscription } from './subscription.js'

/** What every JSON event begins with; the rest of it is the same for plain and pattern. */
const JSON_HEAD = '{"type":"event",'

export class EventFrames {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly count: number
  /** Entries lost before the first, or 0 and 0. */
  readonly gapFrom: number
  readonly gapTo: number
  readonly #views: SharedViews
  readonly #start: number
  readonly #end: number
  readonly #feed: Feed
  #plain: Uint8Array[] | undefined
  #plainBatch: Uint8Array[] | undefined
  /** Made when a pattern wants them; most topics have none. */
  #ofGroups: Map<PatternGroup, Uint8Array[]> | undefined
  #batchOfGroups: Map<PatternGroup, Uint8Array[]> | undefined

  constructor(views: SharedViews, start: number, end: number, feed: Feed) {
    const { ints, floats } = views
    const float = start >> 3
    this.#views = views
    this.#start = start
    this.#end = end
    this.#feed = feed
    this.firstSeq = floats[float + Events.firstSeq] as number
    this.lastSeq = floats[float + Events.lastSeq] as number
    this.gapFrom = floats[float + Events.gapFrom] as number
    this.gapTo = floats[float + Events.gapTo] as number
    this.count = ints[(start >> 2) + Events.count] as number
  }

  /** The frames for this subscription. */
  of(subscription: Subscription): readonly Uint8Array[] {
    const { group, batch } = subscription
    if (this.#feed.format === MSGPACK) {
      if (group !== undefined) {
        this.#ofGroups ??= new Map()
        return cached(this.#ofGroups, group, () => this.#msgpack(group))
      }
      this.#plain ??= [this.#slice(Events.frameStart)]
      return this.#plain
    }
    if (batch) {
      if (group !== undefined) {
        this.#batchOfGroups ??= new Map()
        return cached(this.#batchOfGroups, group, () => this.#jsonBatch(group))
      }
      this.#plainBatch ??= this.#jsonBatch(undefined)
      return this.#plainBatch
    }
    this.#plain ??= this.#jsonEvents()
    const plain = this.#plain
    if (group === undefined) return plain
    this.#ofGroups ??= new Map()
    return cached(this.#ofGroups, group, () => {
      const head = Buffer.from(`{"type":"event","subscription":${group.jsonText},`)
      return plain.map((event) => Buffer.concat([head, event.subarray(JSON_HEAD.length)]))
    })
  }

  #msgpack(group: PatternGroup): Uint8Array[] {
    const body = this.#slice(Events.bodyStart)
    return [Buffer.concat([this.#feed.eventsHead, group.strText, body])]
  }

  #jsonEvents(): Uint8Array[] {
    const { ints, bytes } = this.#views
    const lengths = (this.#start + Events.headerBytes) >> 2
    const events: Uint8Array[] = []
    let at = this.#start + (ints[(this.#start >> 2) + Events.bodyStart] as number)
    for (let index = 0; index < this.count; index++) {
      const length = ints[lengths + index] as number
      events.push(bytes.subarray(at, at + length))
      at += length + 1 // And the comma.
    }
    return events
  }

  #jsonBatch(group: PatternGroup | undefined): Uint8Array[] {
    const subscription = group === undefined ? '' : `"subscription":${group.jsonText},`
    const head = `{"type":"events",${subscription}"topic":${this.#feed.jsonTopic},"events":[`
    return [Buffer.concat([Buffer.from(head), this.#slice(Events.bodyStart), Buffer.from(']}')])]
  }

  #slice(field: number): Uint8Array {
    const from = this.#start + (this.#views.ints[(this.#start >> 2) + field] as number)
    return this.#views.bytes.subarray(from, this.#end)
  }
}

function cached(
  cache: Map<PatternGroup, Uint8Array[]>,
  group: PatternGroup,
  make: () => Uint8Array[],
): Uint8Array[] {
  let frames = cache.get(group)
  if (frames === undefined) {
    frames = make()
    cache.set(group, frames)
  }
  return frames
}
