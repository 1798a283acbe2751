/**
 * A trickle of messages of its own through a loaded broker: what an ordinary client of it feels.
 * Runs on: the benchmark's main process, which does little else. Owns: one client, one topic.
 *
 * Latency is from the call of publishNow() to the handler, through the SDK. The trickle waits for no
 * answer: while the broker stalls, probes go on being sent, and all of them feel the stall.
 */
import { type Client, connect, type Subscription } from '../../src/client/ringcast.js'
import type { Target } from '../load/plan.js'

const INTERVAL_MS = 5
/** After the last probe was sent. */
const ARRIVAL_MS_MAX = 10_000
export const PROBE_TOPIC = 'probe'

/** One probe that arrived; times of performance.now(). */
export interface Probed {
  readonly sentMs: number
  readonly latencyMs: number
}

export class LatencyProbe {
  readonly #client: Client
  readonly #subscription: Subscription<number>
  readonly #timer: NodeJS.Timeout
  #sent = 0
  #arrived = 0

  private constructor(client: Client, subscription: Subscription<number>) {
    this.#client = client
    this.#subscription = subscription
    this.#timer = setInterval(() => this.#send(), INTERVAL_MS)
  }

  /** Calls `onProbed` for every probe that comes back. */
  static async start(target: Target, onProbed: (probed: Probed) => void): Promise<LatencyProbe> {
    const client = await connect(`ws://${target.host}:${target.port}/ws`)
    let probe: LatencyProbe | undefined
    const subscription = client.subscribe<number>(PROBE_TOPIC, ({ payload }) => {
      if (probe !== undefined) probe.#arrived++
      onProbed({ sentMs: payload, latencyMs: performance.now() - payload })
    })
    await subscription.ready
    probe = new LatencyProbe(client, subscription)
    return probe
  }

  /** Stops sending, waits for what is under way. Returns how many probes never came. */
  async stop(): Promise<number> {
    clearInterval(this.#timer)
    const untilMs = performance.now() + ARRIVAL_MS_MAX
    while (this.#arrived < this.#sent && performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS))
    }
    this.#subscription.unsubscribe()
    await this.#client.drain()
    return this.#sent - this.#arrived
  }

  #send(): void {
    if (this.#client.publishNow(PROBE_TOPIC, performance.now())) this.#sent++
  }
}
