/**
 * What of a group's entries may be given to somebody now, and in which order: what comes again before
 * what is new.
 * Runs on: the shard. Owns: private lines; a successor makes them again from the table and the log.
 */
import { Lineup, type Priority } from './lineup.js'
import { SeqQueue } from './seq-queue.js'

export class Queue {
  readonly #lineup = new Lineup()
  /** What comes again and has no key. */
  readonly #ready = new SeqQueue()
  /** Seqs that stand in `#ready`, or in a line of the lineup, because they come again. */
  readonly #again = new Set<number>()

  setMembers(members: readonly number[]): void {
    this.#lineup.setMembers(members)
  }

  /** A new entry; `key` is 0 for none, or if the group is not ordered by it. */
  push(seq: number, key: number, priority: Priority): void {
    if (key !== 0) this.#lineup.pushKeyed(seq, key)
    else this.#lineup.push(seq, priority)
  }

  /** An entry that is under way has this key: what follows it waits. */
  claim(seq: number, key: number): void {
    this.#lineup.claim(seq, key)
  }

  /** An entry that was under way goes again. */
  again(seq: number): void {
    if (this.#again.has(seq)) return
    this.#again.add(seq)
    if (!this.#lineup.again(seq)) this.#ready.push(seq)
  }

  /** The next for this member, if there is one. It may have been settled, or be under way: look. */
  next(member: number): number | undefined {
    const seq = this.#ready.shift() ?? this.#lineup.take(member)
    if (seq !== undefined) this.#again.delete(seq)
    return seq
  }

  /** The next of its key may go. */
  settled(seq: number): void {
    this.#again.delete(seq)
    this.#lineup.settled(seq)
  }

  clear(): void {
    this.#lineup.clear()
    this.#ready.takeAll()
    this.#again.clear()
  }
}
