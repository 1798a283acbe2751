/**
 * A consumer group on a real shard, and beside it a plain model that knows what must not be: it does
 * not foresee who gets what, it watches.
 * Runs on: the test thread, with a virtual clock.
 *
 *   new ──► held ──► acked            what is delivered is new or back, is not doomed, not expired
 *    ▲       │  ▲
 *    │       ▼  │                     skipped: the filter lets it not through
 *    └────── back                     over: what became of it cannot be known from outside
 *            doomed ──► dead          doomed: termed, or out of attempts; dead: its letter was seen
 */
import { expect } from 'vitest'
import type { GroupOptions } from '../../src/protocol/group-options.js'
import type { GroupAction } from '../../src/ring/record.js'
import {
  deliveries,
  type JsonEvent,
  type Message,
  notices,
  only,
  replies,
  ShardRig,
} from '../shard/shard-rig.js'
import { Crash, type Stepper } from '../shard/stepped.js'
import { PriorityWatch } from './priority-watch.js'

export const MEMBERS = 4
export const ACK_WAIT_MS = 1000
export const MAX_IN_FLIGHT = 3
const MAX_DELIVER = 3
const NEVER = Number.POSITIVE_INFINITY
/** Deaths in one step; a record that kills more threads is set aside. */
const TRIES = 5

export const PRIORITIES = ['high', 'normal', 'low'] as const

export interface WorldOptions {
  readonly isOrdered: boolean
  readonly buriesExpired: boolean
  readonly isFiltered: boolean
  readonly historySize: number | undefined
  readonly window: number
  /** Whether who goes first is watched. */
  readonly watchesPriority: boolean
}

/** What is to be published. */
export interface Draft {
  /** 0: none. */
  readonly key: number
  /** 0: none. */
  readonly ttlMs: number
  readonly priority: (typeof PRIORITIES)[number]
}

export interface Entry {
  readonly seq: number
  readonly key: string | undefined
  readonly priority: number
  readonly timeMs: number
  readonly expiresMs: number
  attempts: number
  /** Who has it, or had it last. */
  member: number
  deadlineMs: number
  /** It must not come before this. */
  notBeforeMs: number
  state: 'new' | 'held' | 'back' | 'doomed' | 'acked' | 'dead' | 'skipped' | 'over'
  isTermed: boolean
  isReleased: boolean
}

export interface LostRange {
  readonly fromSeq: number
  readonly toSeq: number
  readonly dropped: number
}

export class World {
  readonly rig: ShardRig
  readonly options: WorldOptions
  readonly entries: Entry[] = []
  readonly live = new Set<number>()
  readonly paused = new Set<number>()
  readonly gaps: LostRange[] = []
  isGroupPaused = false
  /** One thread dies after so many statements. */
  crashAfter = NEVER
  crashes = 0
  readonly #stepper: Stepper
  readonly #priorities: PriorityWatch
  #watched = 0
  #crashesBeforeReset = NEVER
  #nextLetter = 1

  constructor(stepper: Stepper, options: WorldOptions) {
    this.#stepper = stepper
    stepper.crashAfter(NEVER) // A run that failed may have left it armed.
    this.options = options
    this.#priorities = new PriorityWatch(options.window)
    this.rig = new ShardRig({ shardClass: stepper.Shard })
    const { historySize } = options
    const topicOptions = historySize === undefined ? {} : { history_size: historySize }
    const create = { op: 'create', topic: 't', options: topicOptions } as const
    this.rig.send({ ...create, token: this.rig.nextToken() })
    const group: Partial<GroupOptions> = {
      ack_wait_ms: ACK_WAIT_MS,
      max_deliver: MAX_DELIVER,
      window: options.window,
      backoff: [0],
      ordered: options.isOrdered ? 'key' : 'none',
      dead_letter_expired: options.buriesExpired,
      filter: options.isFiltered ? 'key == "key-1" || key == "key-2"' : '',
    }
    this.send({ do: 'create', group: 'g', options: group, start: { from: 'live' } })
    this.rig.settle()
  }

  get nowMs(): number {
    return this.rig.nowMs
  }

  /** The oldest seq that the topic's log holds. */
  get firstSeq(): number {
    return this.rig.shard.topics.named('t')?.log.firstSeq ?? 1
  }

  get lostTo(): number {
    return this.rig.shard.topics.named('t')?.log.lostTo ?? 0
  }

  send(action: GroupAction): void {
    this.rig.send({ op: 'group', token: this.rig.nextToken(), topic: 't', action })
  }

  info(): JsonEvent {
    const action = { do: 'info', group: 'g' } as const
    return only(replies(this.rig.ask({ op: 'group', topic: 't', action } as never))).body
  }

  /** Sends something, and runs until there is nothing to do, over the shard's dead body if need be. */
  step(act: () => void): void {
    act()
    this.#stepper.crashAfter(this.crashAfter)
    this.crashAfter = NEVER
    for (let tries = 0; tries < TRIES; tries++) {
      try {
        this.rig.settle()
        this.#stepper.crashAfter(NEVER)
        this.#watch()
        this.#readLetters()
        return
      } catch (error) {
        if (!(error instanceof Crash)) throw error
        this.crashes++
        this.#stepper.crashAfter(NEVER)
        this.rig.take()
        this.#watch()
        this.#priorities.onCrash()
        this.rig.restart()
      }
    }
    throw new Error('the shard dies again and again')
  }

  publish(drafts: readonly Draft[]): void {
    const { isFiltered } = this.options
    for (const { key: number, ttlMs, priority } of drafts) {
      const key = number === 0 ? undefined : `key-${number}`
      this.entries.push({
        seq: this.entries.length + 1,
        key,
        priority: PRIORITIES.indexOf(priority),
        timeMs: this.nowMs,
        expiresMs: ttlMs === 0 ? NEVER : this.nowMs + ttlMs,
        attempts: 0,
        member: 0,
        deadlineMs: 0,
        notBeforeMs: 0,
        state: isFiltered && number !== 1 && number !== 2 ? 'skipped' : 'new',
        isTermed: false,
        isReleased: false,
      })
    }
    this.step(() => this.rig.publish('t', drafts.map(messageOf)))
  }

  heldBy(member: number): Entry[] {
    return this.entries.filter((entry) => entry.state === 'held' && entry.member === member)
  }

  isExpired({ expiresMs }: Entry): boolean {
    return expiresMs <= this.nowMs
  }

  /** The group waits for it no more, or will find out as soon as it looks. */
  isDone(entry: Entry): boolean {
    const { state, seq } = entry
    if (state === 'held') return false
    const isGone = this.isExpired(entry) || seq < this.firstSeq
    return isGone || (state !== 'new' && state !== 'back')
  }

  /** An attempt came to nothing. */
  failed(entry: Entry, notBeforeMs: number): void {
    if (entry.attempts >= MAX_DELIVER) entry.state = 'doomed'
    else {
      entry.state = 'back'
      entry.notBeforeMs = notBeforeMs
    }
  }

  /** Somebody says that it is done, whoever has it. */
  acked(entry: Entry): void {
    const isSure = entry.state === 'held' || !(this.isExpired(entry) || entry.seq < this.firstSeq)
    entry.state = isSure ? 'acked' : 'over'
  }

  /** The group begins again at `startSeq`. */
  reset(startSeq: number, act: () => void): void {
    const before = this.entries.map(({ state }) => state)
    for (const entry of this.entries) {
      if (entry.state === 'skipped') continue
      entry.attempts = 0
      entry.member = 0
      entry.notBeforeMs = 0
      entry.isTermed = false
      entry.isReleased = false
      entry.state = entry.seq < startSeq ? 'over' : 'new'
    }
    this.#priorities.onReset()
    this.#crashesBeforeReset = this.crashes
    this.step(act)
    this.#crashesBeforeReset = NEVER
    for (const [index, entry] of this.entries.entries()) {
      // What the log dropped is not delivered a second time, and what it was before is its end.
      const isAgain = entry.seq >= startSeq && entry.state === 'new'
      if (isAgain && entry.seq < this.firstSeq && before[index] !== 'skipped') entry.state = 'over'
    }
  }

  /** What came since the last look. */
  #watch(): void {
    const records = this.rig.taken.slice(this.#watched)
    this.#watched = this.rig.taken.length
    for (const { member, seqs, attempt, dueMs } of deliveries(records)) {
      expect(this.live.has(member), `member ${member} is gone`).toBe(true)
      expect(this.paused.has(member), `member ${member} is paused`).toBe(false)
      expect(this.isGroupPaused).toBe(false)
      expect(dueMs).toBe(this.nowMs + ACK_WAIT_MS)
      for (const seq of seqs) this.#onDelivered(seq, member, attempt)
      expect(this.heldBy(member).length).toBeLessThanOrEqual(MAX_IN_FLIGHT)
    }
    for (const gap of notices(records, 'groupGap')) {
      expect(gap.toSeq).toBeLessThan(this.firstSeq)
      expect(gap.dropped).toBeLessThanOrEqual(gap.toSeq - gap.fromSeq + 1)
      expect(this.live.size, 'nobody was there to be told').toBeGreaterThan(0)
      this.gaps.push(gap)
    }
  }

  #onDelivered(seq: number, member: number, attempt: number): void {
    const entry = this.entries[seq - 1] as Entry
    expect(['new', 'back'], `seq ${seq} is ${entry.state}`).toContain(entry.state)
    expect(attempt, `attempt of seq ${seq}`).toBe(entry.attempts + 1)
    expect(attempt).toBeLessThanOrEqual(MAX_DELIVER)
    expect(this.nowMs).toBeGreaterThanOrEqual(entry.notBeforeMs)
    expect(this.isExpired(entry), `seq ${seq} had expired`).toBe(false)
    if (this.options.isOrdered && entry.key !== undefined) {
      const earlier = this.entries.find(
        (other) => other.seq < seq && other.key === entry.key && !this.isDone(other),
      )
      expect(earlier, `seq ${seq} overtakes one of its key`).toBeUndefined()
    }
    if (this.options.watchesPriority) this.#priorities.onDelivered(entry, this.entries)
    entry.attempts = attempt
    entry.member = member
    entry.deadlineMs = this.nowMs + ACK_WAIT_MS
    entry.state = 'held'
  }

  #readLetters(): void {
    const action = { do: 'list', fromSeq: this.#nextLetter, limit: 1000, group: null, reason: null }
    const request = { op: 'deadLetters', topic: 't', action }
    const { body } = only(replies(this.rig.ask(request as never)))
    for (const letter of body['dead_letters'] as JsonEvent[]) {
      this.#nextLetter = (letter['seq'] as number) + 1
      this.#onLetter(letter['headers'] as Readonly<Record<string, string>>)
    }
  }

  #onLetter(headers: Readonly<Record<string, string>>): void {
    const entry = this.entries[Number(headers['dlq-seq']) - 1] as Entry
    const reason = headers['dlq-reason']
    const what = `seq ${entry.seq}, a dead letter for ${reason}, is ${entry.state}`
    if (entry.state === 'over') return
    // A thread that died in a reset had perhaps begun again already; its successor does it once more.
    if (entry.state === 'dead' && this.crashes > this.#crashesBeforeReset) return
    if (reason === 'expired') {
      expect(this.options.buriesExpired && this.isExpired(entry), what).toBe(true)
      expect(['new', 'back'], what).toContain(entry.state)
    } else {
      expect(entry.state, what).toBe('doomed')
      expect(reason === 'term', what).toBe(entry.isTermed)
      expect(Number(headers['dlq-attempts'])).toBe(entry.attempts)
      expect(entry.isTermed || entry.attempts === MAX_DELIVER, what).toBe(true)
    }
    entry.state = 'dead'
  }
}

function messageOf({ key, ttlMs, priority }: Draft, index: number): Message {
  const properties = {
    ...(key === 0 ? {} : { key: `key-${key}` }),
    ...(ttlMs === 0 ? {} : { ttl_ms: ttlMs }),
    ...(priority === 'normal' ? {} : { priority }),
  }
  const plain = [1, Buffer.from(JSON.stringify(index))]
  return Object.keys(properties).length === 0 ? plain : [...plain, null, null, properties]
}
