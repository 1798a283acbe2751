/**
 * Running a user's message handler so that what it does wrong stays with it.
 * Runs on: Node and browsers. Owns: the circuit breaker of one subscription.
 *
 *   message ──► tries, with backoff between them ──► circuit breaker ──► timeout ──► handler
 *
 * An open breaker loses nothing: the message waits until the breaker lets one through again, and the
 * messages behind it wait in the subscription, which pauses when its queue is full. Waiting is not
 * a try: only calls of the handler count.
 */
import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleAll,
  type IPolicy,
  noop,
  TaskCancelledError,
  TimeoutStrategy,
  timeout,
  wrap,
} from 'cockatiel'
import { messageOf } from './codecs.js'
import { HandlerError, TimeoutError } from './errors.js'
import type { Message } from './message.js'

/** What a handler gets beside the message. */
export interface HandlerContext {
  /** 1 for the first try of this message, 2 for the first retry … */
  readonly attempt: number
  /** Aborted when the handler has taken longer than `timeoutMs`; always there. */
  readonly signal: AbortSignal
}

/**
 * Handles one message. To throw, or to return a promise that rejects, is to fail.
 * @example
 * const save: MessageHandler<Order> = async ({ payload }, { attempt, signal }) => {
 *   await fetch(url, { method: 'PUT', body: JSON.stringify(payload), signal })
 * }
 */
export type MessageHandler<Payload> = (
  message: Message<Payload>,
  context: HandlerContext,
) => unknown

/** What becomes of a handler that fails. */
export interface HandlerOptions {
  /** A handler that takes longer has failed; ms. Default: no bound. */
  readonly timeoutMs?: number
  /** Tries again what failed. Default: one try. */
  readonly retry?: RetryOptions
  /** Stops calling a handler that fails again and again. Default: none. */
  readonly breaker?: BreakerOptions
}

/** How a failed message is tried again. */
export interface RetryOptions {
  /** Tries in all, the first included; Infinity: until it succeeds. */
  readonly maxAttempts: number
  /** First delay, ms; doubles, with jitter. Default 100. */
  readonly baseMs?: number
  /** Longest delay, ms. Default 10 000. */
  readonly maxMs?: number
}

/** When the circuit breaker opens, and when it tries again. */
export interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly threshold: number
  /** How long it stays open before one message is let through, ms. */
  readonly halfOpenAfterMs: number
}

/** closed: all is well; open: the handler is not called; half-open: one message is tried. */
export type BreakerState = 'closed' | 'open' | 'half-open'

export interface HandlerEvents {
  onFailure(message: Message, error: HandlerError): void
  onBreaker(state: BreakerState): void
}

export interface RunHandler {
  /** Handles one message. Never rejects: what goes wrong is told to `events`. */
  run(message: Message): void | Promise<void>
  /** Gives up what waits for its next try; leaves no timer behind. */
  stop(): void
}

const BREAKER_STATES: Readonly<Record<CircuitState, BreakerState>> = {
  [CircuitState.Closed]: 'closed',
  [CircuitState.Open]: 'open',
  [CircuitState.HalfOpen]: 'half-open',
  [CircuitState.Isolated]: 'open',
}
const RETRY_BASE_MS = 100
const RETRY_MAX_MS = 10_000
/** An open breaker is asked again this often, in parts of its own delay. */
const BREAKER_ASKS = 4
const BREAKER_ASK_MS_MIN = 5

interface Failure {
  readonly error: unknown
  /** False when the breaker was open. */
  readonly wasCalled: boolean
}

type Fail = (message: Message, cause: unknown) => void

export function makeHandler<Payload>(
  handler: MessageHandler<Payload>,
  options: HandlerOptions,
  events: HandlerEvents,
): RunHandler {
  const fail: Fail = (message, cause) => {
    const isTimeout = cause instanceof TaskCancelledError
    const reason = isTimeout
      ? new TimeoutError(`the handler took longer than ${options.timeoutMs} ms`, { cause })
      : cause
    const text = `handler failed on ${message.topic} seq ${message.seq}: ${messageOf(reason)}`
    events.onFailure(message, new HandlerError(text, { cause: reason }))
  }
  const { timeoutMs, retry, breaker } = options
  const numbers = {
    timeoutMs,
    'retry.maxAttempts': retry?.maxAttempts,
    'breaker.threshold': breaker?.threshold,
    'breaker.halfOpenAfterMs': breaker?.halfOpenAfterMs,
  }
  for (const [name, value] of Object.entries(numbers)) {
    if (value === undefined || value >= 1) continue
    throw new RangeError(`${name}=${value} must be a number of at least 1`)
  }
  const isPlain = timeoutMs === undefined && retry === undefined && breaker === undefined
  if (isPlain) return { run: plainHandler(handler, fail), stop: () => {} }
  return new GuardedHandler(handler, options, events, fail)
}

/** Without a policy a handler costs a call, and a promise only if it returns one. */
function plainHandler<Payload>(handler: MessageHandler<Payload>, fail: Fail): RunHandler['run'] {
  const context: HandlerContext = { attempt: 1, signal: new AbortController().signal }
  return (message) => {
    try {
      const result = handler(message as Message<Payload>, context)
      if (!isThenable(result)) return undefined
      return Promise.resolve(result).then(
        () => undefined,
        (cause: unknown) => fail(message, cause),
      )
    } catch (cause) {
      fail(message, cause)
      return undefined
    }
  }
}

class GuardedHandler<Payload> implements RunHandler {
  readonly #handler: MessageHandler<Payload>
  readonly #fail: Fail
  readonly #policy: IPolicy
  readonly #maxAttempts: number
  readonly #backoff: ExponentialBackoff<unknown>
  readonly #breakerAskMs: number
  readonly #naps = new Naps()

  constructor(
    handler: MessageHandler<Payload>,
    { timeoutMs, retry, breaker }: HandlerOptions,
    events: HandlerEvents,
    fail: Fail,
  ) {
    this.#handler = handler
    this.#fail = fail
    this.#maxAttempts = retry?.maxAttempts ?? 1
    this.#backoff = new ExponentialBackoff({
      initialDelay: retry?.baseMs ?? RETRY_BASE_MS,
      maxDelay: retry?.maxMs ?? RETRY_MAX_MS,
    })
    const halfOpenAfterMs = breaker?.halfOpenAfterMs ?? 0
    this.#breakerAskMs = Math.max(BREAKER_ASK_MS_MIN, halfOpenAfterMs / BREAKER_ASKS)
    const bounded: IPolicy =
      timeoutMs === undefined ? noop : timeout(timeoutMs, TimeoutStrategy.Aggressive)
    if (breaker === undefined) {
      this.#policy = bounded
      return
    }
    const breaking = circuitBreaker(handleAll, {
      halfOpenAfter: halfOpenAfterMs,
      breaker: new ConsecutiveBreaker(breaker.threshold),
    })
    breaking.onStateChange((state) => events.onBreaker(BREAKER_STATES[state]))
    this.#policy = wrap(breaking, bounded)
  }

  async run(message: Message): Promise<void> {
    let delay = this.#backoff.next()
    for (let attempt = 1; ; ) {
      const failure = await this.#try(message, attempt)
      if (failure === undefined) return
      if (!failure.wasCalled) {
        // The breaker is open: the message waits its turn.
        if (!(await this.#naps.sleep(this.#breakerAskMs))) return
        continue
      }
      if (attempt >= this.#maxAttempts) {
        this.#fail(message, failure.error)
        return
      }
      delay = attempt === 1 ? delay : delay.next(undefined)
      if (!(await this.#naps.sleep(delay.duration))) return
      attempt++
    }
  }

  stop(): void {
    this.#naps.end()
  }

  /** Undefined when it went well. */
  async #try(message: Message, attempt: number): Promise<Failure | undefined> {
    let wasCalled = false
    try {
      await this.#policy.execute(async ({ signal }) => {
        wasCalled = true
        return this.#handler(message as Message<Payload>, { attempt, signal })
      })
      return undefined
    } catch (error) {
      return { error, wasCalled }
    }
  }
}

/** Sleeps that can all be ended at once. */
class Naps {
  readonly #sleepers = new Map<ReturnType<typeof setTimeout>, (isSlept: boolean) => void>()
  #isOver = false

  /** True when the time has passed, false when it was ended. */
  sleep(ms: number): Promise<boolean> {
    if (this.#isOver) return Promise.resolve(false)
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#sleepers.delete(timer)
        resolve(true)
      }, ms)
      this.#sleepers.set(timer, resolve)
    })
  }

  end(): void {
    this.#isOver = true
    for (const [timer, resolve] of this.#sleepers) {
      clearTimeout(timer)
      resolve(false)
    }
    this.#sleepers.clear()
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value
}
