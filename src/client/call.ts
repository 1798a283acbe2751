/**
 * One request as its caller waits for it, the frame that it travels in, and how it can end.
 * Runs on: Node and browsers. Owns: nothing; request.ts moves calls from stage to stage.
 */
import { messageOf } from './codecs.js'
import type { Timed } from './deadlines.js'
import { NoRespondersError, OverloadedError, PublishError, RequestFailedError } from './errors.js'
import type { Message } from './message.js'
import type { Reply } from './replies.js'
import type { OutgoingBatch, OutgoingMessage, WireError } from './wire.js'

/** Header of a reply that says that there is none: why the responder failed. */
export const ERROR_HEADER = 'ringcast-error'
const MS_MAX = 2 ** 31 - 1

export interface Call extends Timed {
  readonly topic: string
  readonly correlationId: string
  readonly timeoutMs: number
  /** What is to be sent; undefined once it is in a bundle. */
  message: OutgoingMessage | undefined
  bundle: RequestBundle | undefined
  onReply(reply: Reply): void
  onTimeout(): void
  onError(error: Error): void
}

/** Calls that travel in one frame. */
export interface RequestBundle {
  readonly topic: string
  readonly batch: OutgoingBatch
  /** By position in the batch. */
  readonly calls: Call[]
  /** Calls that are not over. */
  waiting: number
  requestId: number | undefined
}

/** What a request ends with that the broker refused. */
export function requestError({ code, message, retryable }: WireError): Error {
  if (code === 'NO_RESPONDERS') return new NoRespondersError(message)
  if (code === 'OVERLOADED') return new OverloadedError(message)
  return new PublishError(code, retryable, message)
}

/** What a responder sent: its answer, or why there is none. */
export function replyOf(message: Message): Reply {
  try {
    const reason = message.headers[ERROR_HEADER]
    return reason === undefined ? message : new RequestFailedError(reason)
  } catch (error) {
    return new RequestFailedError(`a reply that cannot be read: ${messageOf(error)}`)
  }
}

/** Throws RangeError for a time that no timer takes. */
export function checkMs(name: string, value: number): void {
  if (value >= 1 && value <= MS_MAX) return
  throw new RangeError(`${name}=${value} must be a number of 1 to ${MS_MAX}`)
}
