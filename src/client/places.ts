/**
 * Where a subscription is in each of its topics: what was handed out, what comes next, what is lost.
 * Runs on: Node and browsers. Owns: a place per topic; the broker's MAX_TOPICS bounds them.
 *
 * The ack of a subscribe says for each topic that there is what will come next (`cursors`), so a gap
 * is told with its exact range as soon as we are back, and nothing is taken twice.
 */
import type { AckResult } from './wire.js'

/** Topics that one ack names and one subscribe may name; the broker has the same bound. */
const CURSORS_MAX = 1000

/** Messages that the subscriber will never see. */
export interface Gap {
  /** Where they are missing. */
  readonly topic: string
  /** First `seq` that is missing. */
  readonly fromSeq: number
  /** Last `seq` that is missing. */
  readonly toSeq: number
  /** How many that are. */
  readonly dropped: number
}

/** The topic's log began anew: the broker was restarted, or the topic deleted and made again. */
export interface EpochChange {
  /** Whose log it is. */
  readonly topic: string
  /** The new log, whose seqs begin at 1. */
  readonly epoch: string
  /** The log that is gone. */
  readonly previousEpoch: string
  /** What the old log held from this `seq` on has not come, and will not. */
  readonly lostFromSeq: number
}

export interface PlaceEvents {
  onGap(gap: Gap): void
  onEpoch(change: EpochChange): void
  onDeleted(topic: string): void
}

interface Place {
  epoch: string | undefined
  /** 0: not known. */
  nextSeq: number
  /** Last seq that came and was not taken; it is asked for again. */
  skippedTo: number
}

export class Places {
  readonly #text: string
  readonly #isPattern: boolean
  readonly #events: PlaceEvents
  readonly #places = new Map<string, Place>()
  /** Where the last message came from: a frame has many of the same topic. */
  #last: { readonly topic: string; readonly place: Place } | undefined
  #wasOn = false
  /** Every topic that matches is known: one that is not is new. */
  #isComplete = true

  constructor(text: string, isPattern: boolean, events: PlaceEvents) {
    this.#text = text
    this.#isPattern = isPattern
    this.#events = events
  }

  /** Begins at a place that the user has kept. */
  startAt(fromSeq: number, epoch: string | undefined): void {
    this.#places.set(this.#text, { epoch, nextSeq: fromSeq, skippedTo: 0 })
  }

  /** The fields of a subscribe that goes on where we are; undefined when we have been nowhere yet. */
  resumeOptions(): Record<string, unknown> | undefined {
    if (!this.#wasOn) return undefined
    if (this.#isPattern) {
      const cursors = this.#knownCursors().map(([topic, { epoch, nextSeq }]) => [
        topic,
        { epoch, seq: nextSeq },
      ])
      return { cursors: Object.fromEntries(cursors) }
    }
    const place = this.#places.get(this.#text)
    if (place === undefined || place.nextSeq === 0) return undefined
    const { epoch, nextSeq } = place
    return { from_seq: nextSeq, ...(epoch === undefined ? {} : { epoch }) }
  }

  /** The subscribe was acked. Returns whether everything since the last time will come, if it is known. */
  onAck({ recovered, cursors = {} }: AckResult): boolean | undefined {
    const told = Object.entries(cursors)
    const isWhole = told.length < CURSORS_MAX
    let isEveryTopicThere = true
    if (this.#wasOn && this.#isPattern && isWhole) {
      for (const [topic] of this.#knownCursors()) {
        if (Object.hasOwn(cursors, topic)) continue
        isEveryTopicThere = false
        this.onDeleted(topic)
      }
    }
    for (const [topic, { epoch, seq }] of told) this.#learn(topic, epoch, seq)
    if (!this.#wasOn) this.#isComplete = isWhole
    this.#wasOn = true
    return isEveryTopicThere ? recovered : false
  }

  /** The epoch of a topic whose first message follows, and what comes next there if it was told. */
  onEpoch(topic: string, epoch: string, seq?: number): void {
    if (this.#places.get(topic)?.epoch === epoch) return
    this.#learn(topic, epoch, seq ?? (this.#wasOn && this.#isComplete ? 1 : 0))
  }

  /** The broker dropped messages before they could be sent. */
  onGap(topic: string, fromSeq: number, toSeq: number): void {
    const place = this.#placeOf(topic)
    if (toSeq < place.nextSeq) return
    this.#tellGap(topic, Math.max(fromSeq, place.nextSeq), toSeq)
    place.nextSeq = toSeq + 1
  }

  onDeleted(topic: string): void {
    const place = this.#places.get(topic)
    if (place !== undefined) this.#tellGap(topic, place.nextSeq, place.skippedTo)
    this.#places.delete(topic)
    this.#last = undefined
    this.#events.onDeleted(topic)
  }

  /** The epoch of the message when it is new ('' if it is not known); then it counts as taken. */
  take(topic: string, seq: number): string | undefined {
    const place = this.#placeOf(topic)
    // Seqs in between are no loss: they have expired. What is lost the broker tells by GAP, or the
    // ack of the next subscribe.
    if (seq < place.nextSeq) return undefined
    place.nextSeq = seq + 1
    return place.epoch ?? ''
  }

  /** The message is not taken: there is no room. It will be asked for again. */
  skip(topic: string, seq: number): void {
    const place = this.#placeOf(topic)
    if (place.nextSeq === 0) place.nextSeq = seq
    if (seq >= place.nextSeq) place.skippedTo = seq
  }

  /** What comes next in this topic is `seq`, in the log of this epoch. */
  #learn(topic: string, epoch: string, seq: number): void {
    const place = this.#places.get(topic)
    if (place === undefined) {
      this.#places.set(topic, { epoch, nextSeq: seq, skippedTo: 0 })
      if (this.#wasOn && this.#isComplete) this.#tellGap(topic, 1, seq - 1)
      return
    }
    const { epoch: previousEpoch, nextSeq } = place
    if (previousEpoch !== undefined && previousEpoch !== epoch) {
      this.#events.onEpoch({ topic, epoch, previousEpoch, lostFromSeq: nextSeq })
      place.nextSeq = seq
      this.#tellGap(topic, 1, seq - 1)
    } else if (seq > nextSeq) {
      if (nextSeq > 0) this.#tellGap(topic, nextSeq, seq - 1)
      place.nextSeq = seq
    }
    place.epoch = epoch
    place.skippedTo = 0
  }

  /** Topics whose place can be named to the broker, the newest of them if there are too many. */
  #knownCursors(): [string, Place][] {
    const known = [...this.#places].filter(
      ([, { epoch, nextSeq }]) => epoch !== undefined && nextSeq > 0,
    )
    return known.slice(-CURSORS_MAX)
  }

  #placeOf(topic: string): Place {
    if (this.#last?.topic === topic) return this.#last.place
    let place = this.#places.get(topic)
    if (place === undefined) {
      place = { epoch: undefined, nextSeq: 0, skippedTo: 0 }
      this.#places.set(topic, place)
    }
    this.#last = { topic, place }
    return place
  }

  #tellGap(topic: string, fromSeq: number, toSeq: number): void {
    if (toSeq < fromSeq || fromSeq < 1) return
    this.#events.onGap({ topic, fromSeq, toSeq, dropped: toSeq - fromSeq + 1 })
  }
}
