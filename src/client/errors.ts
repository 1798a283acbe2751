/**
 * What can go wrong for a user of the SDK: one class per kind, each with the broker's or its own
 * `code`, and `retryable`: whether the same call may succeed later.
 * Runs on: Node and browsers.
 */

/** Every error of the SDK is one of these. */
export abstract class RingcastError extends Error {
  /** Stable name of the kind, fit for a switch. */
  readonly code: string
  /** Whether doing the same again may succeed. */
  readonly retryable: boolean

  constructor(code: string, retryable: boolean, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
    this.retryable = retryable
  }
}

/** No answer in time. A publish that timed out may or may not be stored. */
export class TimeoutError extends RingcastError {
  constructor(message: string, options?: ErrorOptions) {
    super('TIMEOUT', true, message, options)
  }
}

/** The payload cannot be encoded, or a received one cannot be decoded. */
export class InvalidPayloadError extends RingcastError {
  constructor(message: string, options?: ErrorOptions) {
    super('INVALID_PAYLOAD', false, message, options)
  }
}

/** The broker refused a publish; `code` is the broker's. Nothing was stored. */
export class PublishError extends RingcastError {}

/** The broker refused a subscribe; `code` is the broker's. */
export class SubscribeError extends RingcastError {}

/** Too much is under way: the broker said OVERLOADED, or this client's own bound was reached. */
export class OverloadedError extends RingcastError {
  constructor(message: string, options?: ErrorOptions) {
    super('OVERLOADED', true, message, options)
  }
}

/** A message handler threw, hung or was rejected; `cause` is what it threw. */
export class HandlerError extends RingcastError {
  constructor(message: string, options?: ErrorOptions) {
    super('HANDLER_ERROR', false, message, options)
  }
}

/** The connection is gone, or the client was closed. */
export class ConnectionClosedError extends RingcastError {
  /** WebSocket close code, if there was one. */
  readonly closeCode: number | undefined

  constructor(message: string, retryable: boolean, closeCode?: number) {
    super('CONNECTION_CLOSED', retryable, message)
    this.closeCode = closeCode
  }
}

/** The other side said something that is not in the protocol. */
export class ProtocolError extends RingcastError {
  constructor(message: string, options?: ErrorOptions) {
    super('PROTOCOL_ERROR', false, message, options)
  }
}
