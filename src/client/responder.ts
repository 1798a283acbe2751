/**
 * Answering requests: what a handler returns, or why it failed, goes to the requester's inbox.
 * Runs on: Node and browsers. Owns: nothing; the publisher owns replies on their way.
 *
 * A reply that is refused because its inbox is gone is late: counted, and no error. Everything else that
 * keeps a reply from its requester is told as an `error` event of the client.
 */

import { ERROR_HEADER } from './call.js'
import { encodePayload, jsonCodec, messageOf, type PayloadCodec } from './codecs.js'
import { type HandlerError, PublishError } from './errors.js'
import type { HandlerContext, MessageHandler } from './handler.js'
import type { Message } from './message.js'
import { uuidBytes } from './uuid.js'
import type { OutgoingMessage } from './wire.js'

/**
 * Answers one request: returns the reply's payload (undefined becomes null), or a promise of it. To throw, or
 * to return a promise that rejects, is to fail: the requester gets a RequestFailedError.
 * @example
 * const quote: RequestHandler<string, number> = async ({ payload }) => await priceOf(payload)
 */
export type RequestHandler<Payload, Reply> = (
  request: Message<Payload>,
  context: HandlerContext,
) => Reply | Promise<Reply>

export interface ResponderHost {
  readonly codec: PayloadCodec
  /** Publishes what is encoded already. */
  publish(topic: string, message: OutgoingMessage): Promise<unknown>
  /** The requester was gone. */
  onLate(): void
  onError(error: Error): void
}

/** A header's part of HEADERS_BYTES_MAX that an error's text may take, in characters of 1 to 3 bytes. */
const ERROR_TEXT_MAX = 2000

export class Responder {
  readonly #host: ResponderHost

  constructor(host: ResponderHost) {
    this.#host = host
  }

  /** The handler as subscribe() takes it. A message that asks for no reply gets none. */
  handlerOf<Payload>(handler: RequestHandler<Payload, unknown>): MessageHandler<Payload> {
    return (request, context) => {
      const result = handler(request, context)
      if (request.replyTo === undefined) return result
      if (isThenable(result)) {
        return result.then((payload) => {
          // Given up already: the next try answers, or the failure has.
          if (!context.signal.aborted) this.#reply(request, payload)
        })
      }
      this.#reply(request, result)
      return undefined
    }
  }

  /** The handler has failed for good: the requester need not wait. */
  onFailure(request: Message, { cause }: HandlerError): void {
    if (request.replyTo === undefined) return
    const text = messageOf(cause).slice(0, ERROR_TEXT_MAX)
    this.#send(request, {
      ...this.#envelope(request),
      encoding: jsonCodec.encoding,
      payload: jsonCodec.encode(null),
      headers: { [ERROR_HEADER]: text },
    })
  }

  /** Throws InvalidPayloadError: then the handler has failed. */
  #reply(request: Message, payload: unknown): void {
    const { codec } = this.#host
    this.#send(request, {
      ...this.#envelope(request),
      encoding: codec.encoding,
      payload: encodePayload(codec, payload === undefined ? null : payload),
    })
  }

  #envelope({ correlationId }: Message): Pick<OutgoingMessage, 'id' | 'headers' | 'properties'> {
    const properties = correlationId === undefined ? undefined : { correlation_id: correlationId }
    return { id: uuidBytes(undefined), headers: undefined, properties } // Sent again, it is the same.
  }

  #send(request: Message, message: OutgoingMessage): void {
    this.#host.publish(request.replyTo as string, message).catch((error: Error) => {
      if (error instanceof PublishError && error.code === 'NO_RESPONDERS') this.#host.onLate()
      else this.#host.onError(error)
    })
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value
}
