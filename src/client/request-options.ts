/**
 * What a caller says of a request, and can ask about all of them.
 * Runs on: Node and browsers. Owns: nothing.
 */

/** How long a request waits, and what goes with it. */
export interface RequestOptions {
  /** How long to wait for the reply, ms. Default: `requestTimeoutMs` of the client. */
  readonly timeoutMs?: number
  /** At most 32, names and values together at most 8192 bytes. */
  readonly headers?: Readonly<Record<string, string>>
}

/** When requestMany() has enough. */
export interface RequestManyOptions extends RequestOptions {
  /** Ends after so many replies. Default 1000. */
  readonly max?: number
  /** Ends when after a reply no other comes for so long, ms. Default: only `timeoutMs` counts. */
  readonly stallMs?: number
}

/** What became of requests and replies so far. */
export interface RequestStats {
  /** Requests that wait for a reply. */
  readonly pending: number
  /** Replies that nobody waited for: after the timeout, or after another responder's. They were dropped. */
  readonly lateReplies: number
  /** Replies of this client's responders whose requester was gone. */
  readonly undeliveredReplies: number
}
