/**
 * Entries that a group has taken and that stand in line: by priority, and with `ordered: "key"` one
 * at a time for each key.
 * Runs on: the shard. Owns: private queues; a successor makes them again from the log.
 *
 *   no key   ──► high │ normal │ low          any member; see take() for who comes first
 *   key      ──► one line per key; its first stands in the line of the member that the key belongs
 *                to, and the next follows when that one is settled, whoever had it
 *
 * So a key that moves to another member, because members came or left, waits there until the entry
 * that its old member has is settled or given back: the barrier is the line itself.
 */
import { SeqQueue } from './seq-queue.js'

export const PRIORITIES = [0, 1, 2] as const
/** high, normal, low. */
export type Priority = (typeof PRIORITIES)[number]
export const NORMAL: Priority = 1

/** After so many entries of a higher priority one of the next lower goes, so that none starves. */
const HIGHER_IN_A_ROW_MAX = 8

interface Line {
  /** The entry whose turn it is; nobody overtakes it. */
  first: number
  readonly rest: SeqQueue
}

export class Lineup {
  readonly #byPriority = PRIORITIES.map(() => new SeqQueue())
  /** How often in a row a higher priority went while this one waited. */
  readonly #passedBy = PRIORITIES.map(() => 0)
  /** By the hash of the key: two keys of one hash share a line, which is slower and not wrong. */
  readonly #lines = new Map<number, Line>()
  /** Key of each keyed entry that is first in its line. */
  readonly #keyOf = new Map<number, number>()
  /** Entries that are under way, or were, and wait for their place in a line. */
  readonly #claimed = new Set<number>()
  /** Firsts whose turn has come, by the member their key belongs to. */
  readonly #byMember = new Map<number, SeqQueue>()
  #members: readonly number[] = []

  /** The members that keys are spread over; firsts that nobody has yet change hands. */
  setMembers(members: readonly number[]): void {
    const waiting = [...this.#byMember.values()].flatMap((queue) => queue.takeAll())
    this.#byMember.clear()
    this.#members = members
    for (const seq of waiting.sort((one, other) => one - other)) this.#toMember(seq)
  }

  push(seq: number, priority: Priority): void {
    this.#byPriority[priority]?.push(seq)
  }

  /** Puts a keyed entry at the end of its key's line. */
  pushKeyed(seq: number, key: number): void {
    const line = this.#lines.get(key)
    if (line !== undefined) {
      line.rest.push(seq)
      return
    }
    this.#lines.set(key, { first: seq, rest: new SeqQueue() })
    this.#keyOf.set(seq, key)
    this.#toMember(seq)
  }

  /**
   * An entry is under way already: its key is taken, but it stands in no queue. Of one key there may
   * be several that went before the group was ordered: the others wait for their place in its line.
   */
  claim(seq: number, key: number): void {
    const line = this.#lines.get(key)
    if (line !== undefined) {
      line.rest.push(seq)
      this.#claimed.add(seq)
      return
    }
    this.#lines.set(key, { first: seq, rest: new SeqQueue() })
    this.#keyOf.set(seq, key)
  }

  /** The next entry that this member may have, or undefined. */
  take(member: number): number | undefined {
    const own = this.#byMember.get(member)?.shift()
    return own ?? this.#takeByPriority()
  }

  /**
   * An entry that was first in its line goes again: to whom its key belongs now; one further back when
   * it is first. False: it has no key.
   */
  again(seq: number): boolean {
    if (this.#claimed.has(seq)) return true
    if (!this.#keyOf.has(seq)) return false
    this.#toMember(seq)
    return true
  }

  /** It is settled: the next of its key may go. */
  settled(seq: number): void {
    const key = this.#keyOf.get(seq)
    if (key === undefined) return
    this.#keyOf.delete(seq)
    const line = this.#lines.get(key) as Line
    const next = line.rest.shift()
    if (next === undefined) {
      this.#lines.delete(key)
      return
    }
    this.#claimed.delete(next)
    line.first = next
    this.#keyOf.set(next, key)
    this.#toMember(next)
  }

  clear(): void {
    for (const queue of this.#byPriority) queue.takeAll()
    this.#passedBy.fill(0)
    this.#lines.clear()
    this.#keyOf.clear()
    this.#claimed.clear()
    this.#byMember.clear()
  }

  #takeByPriority(): number | undefined {
    for (const priority of PRIORITIES) {
      const queue = this.#byPriority[priority] as SeqQueue
      if (queue.length === 0) continue
      const lower = PRIORITIES.find(
        (other) => other > priority && (this.#byPriority[other] as SeqQueue).length > 0,
      )
      if (lower !== undefined) {
        const passed = (this.#passedBy[lower] as number) + 1
        this.#passedBy[lower] = passed
        if (passed > HIGHER_IN_A_ROW_MAX) continue
      }
      this.#passedBy[priority] = 0
      return queue.shift()
    }
    return undefined
  }

  #toMember(seq: number): void {
    const member = this.#memberOf(this.#keyOf.get(seq) as number)
    let queue = this.#byMember.get(member)
    if (queue === undefined) {
      queue = new SeqQueue()
      this.#byMember.set(member, queue)
    }
    queue.push(seq)
  }

  /**
   * Rendezvous hashing: when a member leaves only its own keys move. 0 while there is nobody.
   * Source: Thaler and Ravishankar, «A Name-Based Mapping Scheme for Rendezvous», 1996.
   */
  #memberOf(key: number): number {
    let best = 0
    let bestWeight = -1
    for (const member of this.#members) {
      const weight = mix(key ^ mix(member))
      if (weight > bestWeight) {
        best = member
        bestWeight = weight
      }
    }
    return best
  }
}

/** FNV-1a of bytes; never 0, which means none. */
export function hashOfKey(bytes: Uint8Array, start: number, length: number): number {
  let hash = 0x811c9dc5 | 0
  for (let at = start; at < start + length; at++) {
    hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193)
  }
  return hash === 0 ? 1 : hash
}

/** The finalizer of MurmurHash3: every bit of the input moves every bit of the output. */
function mix(value: number): number {
  let mixed = value >>> 0
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
