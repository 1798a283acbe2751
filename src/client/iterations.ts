/**
 * The iterators over a subscription.
 * Runs on: Node and browsers. Owns: the calls of next() that wait for a message, as many as the user makes.
 */
import type { Message } from './message.js'

/** What iterators need of their subscription. */
export interface IterationSource<Payload> {
  /** The oldest message received, if there is one. */
  shift(): Message<Payload> | undefined
  isEnded(): boolean
  /** Why no more messages come; undefined if nothing went wrong. */
  endError(): Error | undefined
  /** An iterator was left before the end. */
  onLeft(): void
}

interface Pull<Payload> {
  resolve(result: IteratorResult<Message<Payload>, undefined>): void
  reject(error: Error): void
}

export class Iterations<Payload> {
  readonly #source: IterationSource<Payload>
  /** Iterators that have begun and not ended. */
  #running = 0
  #pulls: Pull<Payload>[] = []

  constructor(source: IterationSource<Payload>) {
    this.#source = source
  }

  get running(): number {
    return this.#running
  }

  begin(): AsyncIterator<Message<Payload>, undefined> {
    const source = this.#source
    let isOver = false
    this.#running++
    const finish = (): IteratorReturnResult<undefined> => {
      if (!isOver) this.#running--
      isOver = true
      return { done: true, value: undefined }
    }
    return {
      next: async () => {
        if (isOver) return finish()
        const value = source.shift()
        if (value !== undefined) return { done: false, value }
        if (source.isEnded()) {
          const result = finish()
          const error = source.endError()
          if (error !== undefined) throw error
          return result
        }
        return new Promise((resolve, reject) => {
          this.#pulls.push({
            resolve: (result) => resolve(result.done ? finish() : result),
            reject: (error) => {
              finish()
              reject(error)
            },
          })
        })
      },
      return: async () => {
        const result = finish()
        source.onLeft()
        return result
      },
    }
  }

  /** There may be messages for those who wait. */
  serve(): void {
    while (this.#pulls.length > 0) {
      const value = this.#source.shift()
      if (value === undefined) return
      this.#pulls.shift()?.resolve({ done: false, value })
    }
  }

  /** No more messages will come. */
  end(error: Error | undefined): void {
    const pulls = this.#pulls
    this.#pulls = []
    for (const pull of pulls) {
      if (error === undefined) pull.resolve({ done: true, value: undefined })
      else pull.reject(error)
    }
  }
}
