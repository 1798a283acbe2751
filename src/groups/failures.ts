/**
 * What went wrong with each message so far, for its dead letter.
 * Runs on: the shard. Owns: private memory: a successor begins with none, the attempts are counted in
 * the table.
 */
import type { FailedAttempt } from './group-host.js'

/** Attempts of one message that are remembered. */
const HISTORY_MAX = 32
const NONE: readonly FailedAttempt[] = []

export class Failures {
  readonly #bySeq = new Map<number, FailedAttempt[]>()

  note(seq: number, failure: FailedAttempt): void {
    const failures = this.#bySeq.get(seq) ?? []
    if (failures.length === HISTORY_MAX) failures.shift()
    failures.push(failure)
    this.#bySeq.set(seq, failures)
  }

  of(seq: number): readonly FailedAttempt[] {
    return this.#bySeq.get(seq) ?? NONE
  }

  forget(seq: number): void {
    this.#bySeq.delete(seq)
  }

  clear(): void {
    this.#bySeq.clear()
  }
}
