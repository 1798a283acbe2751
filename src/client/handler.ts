/**
 * Running a user's message handler so that what it does wrong stays with it.
 * Runs on: Node and browsers. Owns: the circuit breaker of one subscription.
 *
 *   message ──► retry ──► circuit breaker ──► timeout ──► handler
 *
 * An open breaker loses nothing: the message waits until the breaker lets one through again, and the
 * messages behind it wait in the subscription, which pauses when its queue is full.
 */
import {
  BrokenCircuitError,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleAll,
  type IPolicy,
  noop,
  retry,
  TaskCancelledError,
  TimeoutStrategy,
  timeout,
  wrap,
} from 'cockatiel'
import { messageOf } from './codecs.js'
import { HandlerError, TimeoutError } from './errors.js'
import type { Message } from './message.js'

export interface HandlerContext {
  /** 1 for the first try of this message, 2 for the first retry … */
  readonly attempt: number
  /** Aborted when the handler has taken too long. */
  readonly signal: AbortSignal
}

export type MessageHandler<Payload> = (
  message: Message<Payload>,
  context: HandlerContext,
) => unknown

export interface HandlerOptions {
  /** A handler that takes longer has failed; ms. Default: no bound. */
  readonly timeoutMs?: number
  readonly retry?: {
    /** Tries in all, the first included. */
    readonly maxAttempts: number
    /** First delay, ms; doubles with jitter. Default 100. */
    readonly baseMs?: number
    /** Longest delay, ms. Default 10 000. */
    readonly maxMs?: number
  }
  readonly breaker?: {
    /** Failures in a row that open it. */
    readonly threshold: number
    /** How long it stays open before one message is let through, ms. */
    readonly halfOpenAfterMs: number
  }
}

export type BreakerState = 'closed' | 'open' | 'half-open'

export interface HandlerEvents {
  onFailure(message: Message, error: HandlerError): void
  onBreaker(state: BreakerState): void
}

/** Never rejects: what goes wrong is told to `events`. */
export type RunHandler = (message: Message) => void | Promise<void>

const BREAKER_STATES: Readonly<Record<CircuitState, BreakerState>> = {
  [CircuitState.Closed]: 'closed',
  [CircuitState.Open]: 'open',
  [CircuitState.HalfOpen]: 'half-open',
  [CircuitState.Isolated]: 'open',
}
/** Added to the breaker's own delay, so that it has surely passed. */
const BREAKER_MARGIN_MS = 5

export function makeHandler<Payload>(
  handler: MessageHandler<Payload>,
  options: HandlerOptions,
  events: HandlerEvents,
): RunHandler {
  const fail = (message: Message, cause: unknown) => {
    const isTimeout = cause instanceof TaskCancelledError
    const reason = isTimeout
      ? new TimeoutError(`the handler took longer than ${options.timeoutMs} ms`, { cause })
      : cause
    const text = `handler failed on ${message.topic} seq ${message.seq}: ${messageOf(reason)}`
    events.onFailure(message, new HandlerError(text, { cause: reason }))
  }
  const isPlain =
    options.timeoutMs === undefined && options.retry === undefined && options.breaker === undefined
  return isPlain ? plainHandler(handler, fail) : guardedHandler(handler, options, events, fail)
}

/** Without a policy a handler costs a call, and a promise only if it returns one. */
function plainHandler<Payload>(
  handler: MessageHandler<Payload>,
  fail: (message: Message, cause: unknown) => void,
): RunHandler {
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

function guardedHandler<Payload>(
  handler: MessageHandler<Payload>,
  options: HandlerOptions,
  events: HandlerEvents,
  fail: (message: Message, cause: unknown) => void,
): RunHandler {
  const { retry: again, breaker, timeoutMs } = options
  const retrying: IPolicy =
    again === undefined
      ? noop
      : retry(
          handleAll.orWhenResult(() => false),
          {
            maxAttempts: again.maxAttempts - 1,
            backoff: new ExponentialBackoff({
              initialDelay: again.baseMs ?? 100,
              maxDelay: again.maxMs ?? 10_000,
            }),
          },
        )
  const breaking =
    breaker === undefined
      ? undefined
      : circuitBreaker(handleAll, {
          halfOpenAfter: breaker.halfOpenAfterMs,
          breaker: new ConsecutiveBreaker(breaker.threshold),
        })
  breaking?.onStateChange((state) => events.onBreaker(BREAKER_STATES[state]))
  const bounded: IPolicy =
    timeoutMs === undefined ? noop : timeout(timeoutMs, TimeoutStrategy.Aggressive)
  const inner = breaking === undefined ? bounded : wrap(breaking, bounded)

  return async (message) => {
    let attempt = 0
    const tryOnce = async () => {
      // A message that meets an open breaker has not been tried; it waits and is tried then.
      for (;;) {
        try {
          return await inner.execute(async ({ signal }) => {
            attempt++
            return handler(message as Message<Payload>, { attempt, signal })
          })
        } catch (error) {
          if (!(error instanceof BrokenCircuitError) || breaker === undefined) throw error
          await new Promise((resolve) =>
            setTimeout(resolve, breaker.halfOpenAfterMs + BREAKER_MARGIN_MS),
          )
        }
      }
    }
    try {
      await retrying.execute(tryOnce)
    } catch (cause) {
      fail(message, cause)
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value
}
