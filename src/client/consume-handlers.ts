/**
 * Messages of a group on their way through the handler, so many at a time.
 * Runs on: Node and browsers. Owns: messages whose handler has not begun; the broker bounds them
 * (maxInFlight).
 */
import type { ConsumeHandler } from './consume-options.js'
import type { ConsumedMessage } from './consumed-message.js'
import { TimeoutError } from './errors.js'
import { Fifo } from './fifo.js'

const NO_LIMIT = { signal: new AbortController().signal }

/** Who is told what became of a message. */
export interface ConsumeHandlersHost {
  /** Its handler has returned a promise. */
  onWorking(message: ConsumedMessage): void
  onReturned(message: ConsumedMessage): void
  onFailed(message: ConsumedMessage, cause: unknown): void
}

export class ConsumeHandlers<Payload> {
  readonly #handler: ConsumeHandler<Payload>
  readonly #concurrency: number
  readonly #timeoutMs: number | undefined
  readonly #host: ConsumeHandlersHost
  readonly #queue = new Fifo<ConsumedMessage>()
  #running = 0

  constructor(
    handler: ConsumeHandler<Payload>,
    concurrency: number,
    timeoutMs: number | undefined,
    host: ConsumeHandlersHost,
  ) {
    this.#handler = handler
    this.#concurrency = concurrency
    this.#timeoutMs = timeoutMs
    this.#host = host
  }

  /** Messages whose handler has not begun. */
  get queued(): number {
    return this.#queue.length
  }

  /** Handlers that run now. */
  get running(): number {
    return this.#running
  }

  push(message: ConsumedMessage): void {
    this.#queue.push(message)
    if (this.#running < this.#concurrency) this.#startHandlers()
  }

  /** What no handler has begun; none will. */
  takeAll(): ConsumedMessage[] {
    return this.#queue.takeAll()
  }

  forEachQueued(visit: (message: ConsumedMessage) => void): void {
    this.#queue.forEach(visit)
  }

  /** Runs handlers while there are messages and hands free. */
  #startHandlers(): void {
    while (this.#running < this.#concurrency) {
      const message = this.#queue.shift()
      if (message === undefined) return
      this.#running++
      const running = this.#run(message)
      if (running === undefined) this.#running--
      else void running.then(() => this.#onHandled())
    }
  }

  #onHandled(): void {
    this.#running--
    this.#startHandlers()
  }

  /** A promise only if the handler returned one; it never rejects. */
  #run(message: ConsumedMessage): Promise<void> | undefined {
    const own = message as ConsumedMessage<Payload>
    let result: unknown
    try {
      result =
        this.#timeoutMs === undefined
          ? this.#handler(own, NO_LIMIT)
          : withinTime(this.#handler, own, this.#timeoutMs)
    } catch (cause) {
      this.#host.onFailed(message, cause)
      return undefined
    }
    if (!isThenable(result)) {
      this.#host.onReturned(message)
      return undefined
    }
    if (!message.isSettled) this.#host.onWorking(message)
    return Promise.resolve(result).then(
      () => this.#host.onReturned(message),
      (cause: unknown) => this.#host.onFailed(message, cause),
    )
  }
}

/** Calls the handler; what takes too long fails, and is told so. */
function withinTime<Payload>(
  handler: ConsumeHandler<Payload>,
  message: ConsumedMessage<Payload>,
  timeoutMs: number,
): unknown {
  const controller = new AbortController()
  const result = handler(message, { signal: controller.signal })
  if (!isThenable(result)) return result
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      const error = new TimeoutError(`the handler took longer than ${timeoutMs} ms`)
      controller.abort(error)
      reject(error)
    }, timeoutMs)
    const settle = (settled: (value: unknown) => void) => (value: unknown) => {
      clearTimeout(timer)
      settled(value)
    }
    result.then(settle(resolve), settle(reject))
  })
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value
}
