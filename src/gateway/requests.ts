/**
 * Requests that wait for a shard's answer, by token.
 * Runs on: the front thread. Owns: the table, bounded by REQUESTS_MAX.
 */
import { Refusal, Reply } from '../errors.js'
import type { ControlNotice } from '../ring/record.js'

/** Requests in flight of all clients together. */
const REQUESTS_MAX = 65_536
const TOKEN_MAX = 2 ** 31 - 1

/** Who asked: `notice` gets the answers that carry the token, `reply` the body of an HTTP answer. */
export interface Requester {
  notice(notice: ControlNotice & { token: number }, shard: number): void
  reply?(status: number, body: Buffer): void
}

export class Requests {
  readonly #byToken = new Map<number, Requester>()
  #lastToken = 0

  /** Throws Refusal (OVERLOADED) when too many wait already. */
  add(requester: Requester): number {
    this.reserve(1)
    do {
      this.#lastToken = this.#lastToken === TOKEN_MAX ? 1 : this.#lastToken + 1
    } while (this.#byToken.has(this.#lastToken))
    this.#byToken.set(this.#lastToken, requester)
    return this.#lastToken
  }

  /** Makes sure that `count` requests can be added. Throws as add() does. */
  reserve(count: number): void {
    if (this.#byToken.size + count <= REQUESTS_MAX) return
    throw new Refusal(Reply.overloaded, `${REQUESTS_MAX} requests wait for an answer already`)
  }

  get(token: number): Requester | undefined {
    return this.#byToken.get(token)
  }

  delete(token: number): void {
    this.#byToken.delete(token)
  }

  get size(): number {
    return this.#byToken.size
  }
}
