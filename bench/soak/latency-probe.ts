/**
 * A trickle of messages of its own through a loaded broker: what an ordinary client of it feels.
 * Runs on: the benchmark's main process, which does little else. Owns: one client, one topic.
 *
 * Latency is from the call of publish() to the handler, through the SDK. The trickle waits for no
 * answer: while the broker stalls, probes go on being sent, and all of them feel the stall.
 */
import {
  type Client,
  connect,
  OverloadedError,
  type Subscription,
} from '../../src/client/ringcast.js'
import type { Target } from '../load/plan.js'

const INTERVAL_MS = 5
/** After the last probe was sent. */
const ARRIVAL_MS_MAX = 10_000
const PROBE_TOPIC = 'probe'

/** One probe that arrived; times of performance.now(). */
export interface Probed {
  readonly sentMs: number
  readonly latencyMs: number
}

export interface ProbeCounts {
  /** With OVERLOADED: not stored. */
  readonly refused: number
  /** Confirmed by the broker, and never delivered. */
  readonly lost: number
}

export class LatencyProbe {
  readonly #client: Client
  readonly #subscription: Subscription<number>
  readonly #timer: NodeJS.Timeout
  #underWay = 0
  #confirmed = 0
  #refused = 0
  #arrived = 0
  #failure: Error | undefined

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

  /** Stops sending and waits for what is under way. Throws when a probe got no proper answer. */
  async stop(): Promise<ProbeCounts> {
    clearInterval(this.#timer)
    const untilMs = performance.now() + ARRIVAL_MS_MAX
    const isComplete = () => this.#underWay === 0 && this.#arrived >= this.#confirmed
    while (!isComplete() && performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS))
    }
    this.#subscription.unsubscribe()
    await this.#client.drain()
    if (this.#failure !== undefined) throw this.#failure
    return { refused: this.#refused, lost: this.#confirmed - this.#arrived }
  }

  #send(): void {
    this.#underWay++
    const confirmed = this.#client.publish(PROBE_TOPIC, performance.now())
    void confirmed
      .then(
        () => {
          this.#confirmed++
        },
        (error: Error) => {
          if (isOverloaded(error)) this.#refused++
          else this.#failure ??= error
        },
      )
      .then(() => {
        this.#underWay--
      })
  }
}

/** By the broker, or by the SDK because too much waits for the broker. */
function isOverloaded(error: Error): boolean {
  return error instanceof OverloadedError || ('code' in error && error.code === 'OVERLOADED')
}
