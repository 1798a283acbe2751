/**
 * The replies to one requestMany(), as they come.
 * Runs on: Node and browsers. Owns: replies that nobody has taken yet; `max` of the request bounds them.
 */
import type { RequestFailedError } from './errors.js'
import { Fifo } from './fifo.js'
import type { Message } from './message.js'

/** What a responder answered: a message, or that it failed. */
export type Reply<Payload = unknown> = Message<Payload> | RequestFailedError

type Result<Payload> = IteratorResult<Reply<Payload>, undefined>

interface Pull<Payload> {
  resolve(result: Result<Payload>): void
  reject(error: Error): void
}

/**
 * What Client.requestMany() returns: iterate over it, once, or collect() it. `break` ends the request.
 * A responder that failed is one of the replies; what ends the request as a whole (nobody listens, the
 * connection is lost) is thrown, after the replies that had come by then.
 * @example
 * for await (const reply of client.requestMany('inventory.count', 'tea', { stallMs: 100 })) {
 *   if (reply instanceof RequestFailedError) console.error(reply.message)
 *   else console.log(reply.payload)
 * }
 */
export class Replies<Payload = unknown> implements AsyncIterable<Reply<Payload>> {
  readonly #queue = new Fifo<Reply<Payload>>()
  readonly #onLeft: () => void
  #pulls: Pull<Payload>[] = []
  #isEnded = false
  #error: Error | undefined

  /** @internal `onLeft` is called when nobody wants more of it. */
  constructor(onLeft: () => void) {
    this.#onLeft = onLeft
  }

  /**
   * All replies, once there are `max` of them, or `timeoutMs` or `stallMs` are over.
   * @throws NoRespondersError, ConnectionClosedError, OverloadedError, PublishError
   */
  async collect(): Promise<Reply<Payload>[]> {
    const replies: Reply<Payload>[] = []
    for await (const reply of this) replies.push(reply)
    return replies
  }

  /** The replies as they come. */
  [Symbol.asyncIterator](): AsyncIterator<Reply<Payload>, undefined> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.#onLeft()
        this.#queue.takeAll()
        this.end(undefined)
        return { done: true, value: undefined }
      },
    }
  }

  /** @internal */
  push(reply: Reply): void {
    if (this.#isEnded) return
    const typed = reply as Reply<Payload>
    const pull = this.#pulls.shift()
    if (pull === undefined) this.#queue.push(typed)
    else pull.resolve({ done: false, value: typed })
  }

  /** @internal No more come; with an error the request failed. */
  end(error: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    const pulls = this.#pulls
    this.#pulls = []
    // Thrown once, to who waits for the next reply now or asks for it later.
    const [first] = pulls
    this.#error = first === undefined ? error : undefined
    for (const pull of pulls) {
      if (pull === first && error !== undefined) pull.reject(error)
      else pull.resolve({ done: true, value: undefined })
    }
  }

  #next(): Promise<Result<Payload>> {
    const value = this.#queue.shift()
    if (value !== undefined) return Promise.resolve({ done: false, value })
    if (!this.#isEnded) {
      return new Promise((resolve, reject) => {
        this.#pulls.push({ resolve, reject })
      })
    }
    const error = this.#error
    this.#error = undefined
    if (error !== undefined) return Promise.reject(error)
    return Promise.resolve({ done: true, value: undefined })
  }
}
