/**
 * Bundles that were sent and wait for their ack.
 * Runs on: Node and browsers. Owns: them, by request id, until they are taken.
 */
import type { Bundle } from './bundle.js'

/** The broker takes 10 000 requests that wait for their ack, of each connection. */
const FRAMES_IN_FLIGHT_MAX = 1024

export class InFlight {
  readonly #byRequest = new Map<number, Bundle>()
  #bytes = 0

  get hasSlot(): boolean {
    return this.#byRequest.size < FRAMES_IN_FLIGHT_MAX
  }

  get bytes(): number {
    return this.#bytes
  }

  add(requestId: number, bundle: Bundle): void {
    this.#byRequest.set(requestId, bundle)
    this.#bytes += bundle.batch.bytes
  }

  take(requestId: number): Bundle | undefined {
    const bundle = this.#byRequest.get(requestId)
    if (bundle === undefined) return undefined
    this.#byRequest.delete(requestId)
    this.#bytes -= bundle.batch.bytes
    return bundle
  }

  takeOverdue(nowMs: number): Bundle[] {
    const overdue: Bundle[] = []
    for (const [requestId, bundle] of this.#byRequest) {
      if (bundle.dueMs <= nowMs) overdue.push(this.take(requestId) as Bundle)
    }
    return overdue
  }

  takeAll(): Bundle[] {
    const all = [...this.#byRequest.values()]
    this.#byRequest.clear()
    this.#bytes = 0
    return all
  }
}
