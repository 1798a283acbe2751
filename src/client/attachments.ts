/**
 * What one client is attached to at the broker: topics, patterns and memberships of groups.
 * Runs on: Node and browsers. Owns: the attachments, and their requests until the answers have come.
 */
import { Attachment } from './attachment.js'
import type { Line } from './connection.js'
import { ConnectionClosedError } from './errors.js'
import { type AckResult, membershipKey, type Wire, type WireError, type WireInfo } from './wire.js'

/** What attachments need of the connection. */
export interface AttachmentsHost {
  readonly line: Pick<Line, 'isOpen' | 'send'>
  nextRequestId(): number
  /** The connection is of no use. */
  abandon(reason: string): void
  onError(error: Error): void
}

/** Who sent a request and waits for its answer. */
interface Asker {
  onAck(result: AckResult): void
  onError(error: WireError): void
  /** The connection is gone, and the answer with it. */
  onLost?(error: ConnectionClosedError): void
}

export class Attachments {
  readonly #wire: Wire
  readonly #host: AttachmentsHost
  readonly #timeoutMs: number
  /** By topic or pattern, or by topic and group; the broker takes one of each per connection. */
  readonly #byKey = new Map<string, Attachment>()
  /** Subscribes, unsubscribes, settlements and cancellations that wait for their answer, by request id. */
  readonly #requests = new Map<number, Asker>()

  constructor(wire: Wire, host: AttachmentsHost, timeoutMs: number) {
    this.#wire = wire
    this.#host = host
    this.#timeoutMs = timeoutMs
  }

  get(key: string): Attachment | undefined {
    return this.#byKey.get(key)
  }

  /** Makes one that is not there; without a group, for a topic or pattern. */
  add(key: string, text: string, group: string | undefined): Attachment {
    const wire = this.#wire
    const shared = this.#host
    const host = {
      line: shared.line,
      sendSubscribe: (attachment: Attachment, options: Readonly<Record<string, unknown>>) =>
        shared.line.send(wire.subscribe(this.newRequest(attachment), text, options)),
      sendUnsubscribe: (attachment: Attachment) =>
        shared.line.send(wire.unsubscribe(this.newRequest(attachment), text, group)),
      forget: (attachment: Attachment) => {
        if (this.#byKey.get(key) === attachment) this.#byKey.delete(key)
      },
      giveUpRequest: (attachment: Attachment) => {
        for (const [id, waiting] of this.#requests) {
          if (waiting === attachment) this.#requests.delete(id)
        }
      },
      abandon: (reason: string) => shared.abandon(reason),
      onError: (error: Error) => shared.onError(error),
    }
    const attachment = new Attachment(host, text, this.#timeoutMs)
    this.#byKey.set(key, attachment)
    return attachment
  }

  /** The id of a request whose answer is for this one. */
  newRequest(asker: Asker): number {
    const requestId = this.#host.nextRequestId()
    this.#requests.set(requestId, asker)
    return requestId
  }

  onAck(requestId: number, result: AckResult): void {
    this.#answered(requestId)?.onAck(result)
  }

  onError(requestId: number, error: WireError): void {
    this.#answered(requestId)?.onError(error)
  }

  onInfo(info: WireInfo): void {
    const { subscription, group } = info.details as { subscription?: string; group?: string }
    const text = subscription ?? info.topic
    if (text === undefined) return
    this.#byKey.get(group === undefined ? text : membershipKey(text, group))?.onInfo(info)
  }

  onConnected(): void {
    for (const attachment of [...this.#byKey.values()]) attachment.onConnected()
  }

  /** Nobody waits for its answer any more. */
  forgetRequest(requestId: number): void {
    this.#requests.delete(requestId)
  }

  /** No answer will come to what was asked. */
  loseRequests(why: string): void {
    const askers = [...this.#requests.values()]
    this.#requests.clear()
    for (const asker of askers) asker.onLost?.(new ConnectionClosedError(why, true))
  }

  onDisconnected(): void {
    for (const attachment of [...this.#byKey.values()]) attachment.onDisconnected()
  }

  /** Leaves no timer behind. */
  stop(): void {
    for (const attachment of this.#byKey.values()) attachment.stop()
    this.#byKey.clear()
    this.loseRequests('the client was closed before the answer came')
  }

  #answered(requestId: number): Asker | undefined {
    const asker = this.#requests.get(requestId)
    this.#requests.delete(requestId)
    return asker
  }
}
