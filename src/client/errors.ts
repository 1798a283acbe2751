/**
 * What can go wrong for a user of the SDK: one class per kind, each with the broker's or its own
 * `code`, and `retryable`: whether the same call may succeed later.
 * Runs on: Node and browsers. Owns: nothing.
 *
 * Names are written out: a minified bundle has no class names.
 */

/**
 * What every error of the SDK is.
 * @example
 * try {
 *   await client.publish('orders', order)
 * } catch (error) {
 *   if (error instanceof RingcastError && error.retryable) queueForLater(order)
 *   else throw error
 * }
 */
export abstract class RingcastError extends Error {
  /** Stable name of what happened, fit for a switch: the broker's code, or that of the class. */
  readonly code: string
  /** Whether doing the same again may succeed. */
  readonly retryable: boolean

  /** @internal */
  constructor(code: string, retryable: boolean, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.retryable = retryable
  }
}

/** `TIMEOUT`: no answer in time. A publish that timed out may or may not be stored. */
export class TimeoutError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'TimeoutError'

  /** @internal */
  constructor(message: string, options?: ErrorOptions) {
    super('TIMEOUT', true, message, options)
  }
}

/**
 * `INVALID_PAYLOAD`: the payload (or id) cannot be encoded or does not fit a frame, or a received
 * one cannot be decoded; `cause` is what the codec threw.
 */
export class InvalidPayloadError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'InvalidPayloadError'

  /** @internal */
  constructor(message: string, options?: ErrorOptions) {
    super('INVALID_PAYLOAD', false, message, options)
  }
}

/** The broker refused a publish; `code` is the broker's. Nothing was stored. */
export class PublishError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'PublishError'
}

/** The broker refused to cancel a delayed message; `code` is the broker's. Nothing was cancelled. */
export class CancelError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'CancelError'
}

/** The broker, or this client, refused a subscribe; `code` is the broker's. */
export class SubscribeError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'SubscribeError'
}

/** `OVERLOADED`: the broker said so, or this client's own bound was reached. Nothing was stored. */
export class OverloadedError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'OverloadedError'

  /** @internal */
  constructor(message: string, options?: ErrorOptions) {
    super('OVERLOADED', true, message, options)
  }
}

/** `HANDLER_ERROR`: a message handler failed for good; `cause` is what it threw, or a TimeoutError. */
export class HandlerError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'HandlerError'

  /** @internal */
  constructor(message: string, options?: ErrorOptions) {
    super('HANDLER_ERROR', false, message, options)
  }
}

/**
 * `NO_RESPONDERS`: nobody listened to the topic of a request, and the broker said so at once. Nothing was
 * stored.
 */
export class NoRespondersError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'NoRespondersError'

  /** @internal */
  constructor(message: string) {
    super('NO_RESPONDERS', true, message)
  }
}

/** `REQUEST_FAILED`: a responder answered that it failed; the message is what it threw. */
export class RequestFailedError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'RequestFailedError'

  /** @internal */
  constructor(message: string) {
    super('REQUEST_FAILED', false, message)
  }
}

/** `CONNECTION_CLOSED`: the connection is gone, or the client was closed. */
export class ConnectionClosedError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'ConnectionClosedError'
  /** WebSocket close code, if there was one. */
  readonly closeCode: number | undefined

  /** @internal */
  constructor(message: string, retryable: boolean, closeCode?: number) {
    super('CONNECTION_CLOSED', retryable, message)
    this.closeCode = closeCode
  }
}

/** `PROTOCOL_ERROR`: the other side said something that is not in the protocol. */
export class ProtocolError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'ProtocolError'

  /** @internal */
  constructor(message: string, options?: ErrorOptions) {
    super('PROTOCOL_ERROR', false, message, options)
  }
}

/**
 * `NON_RETRYABLE`: thrown by a handler of a consumer group whose message can never succeed: it goes to
 * the dead letters at once, with this text as the reason.
 * @example
 * if (!isOrder(message.payload)) throw new NonRetryableError('no order')
 */
export class NonRetryableError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'NonRetryableError'

  constructor(message: string, options?: ErrorOptions) {
    super('NON_RETRYABLE', false, message, options)
  }
}

/**
 * `RETRY_LATER`: thrown by a handler of a consumer group that knows when its message may succeed: it
 * comes again after so long, whatever the group's backoff says.
 * @example
 * if (response.status === 429) throw new RetryLaterError(30_000, 'too many requests')
 */
export class RetryLaterError extends RingcastError {
  /** The name of the class. */
  override readonly name = 'RetryLaterError'
  /** How much later, ms. */
  readonly delayMs: number

  constructor(delayMs: number, message = 'later', options?: ErrorOptions) {
    super('RETRY_LATER', true, message, options)
    this.delayMs = delayMs
  }
}
