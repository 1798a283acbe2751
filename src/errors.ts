/**
 * Every refusal and every close code of the wire. PROTOCOL.md repeats this table and a test compares them.
 *
 * Three kinds of failure are never mixed here: an outcome is a return value (a full ring), a reply is a
 * row below (the connection stays), and a fatal mistake of ours is an assert (the thread dies).
 * `id` is what travels in ring records; ids are never reused.
 */
export const Reply = {
  badRequest: {
    id: 1,
    code: 'BAD_REQUEST',
    retryable: false,
    status: 400,
    doc: 'malformed frame, unknown type or bad field; the text names the field and the rule',
  },
  topicNotFound: {
    id: 2,
    code: 'TOPIC_NOT_FOUND',
    retryable: false,
    status: 404,
    doc: 'the topic does not exist (publish and subscribe make it, unless `AUTO_CREATE_TOPICS` is off), or there is no such subscription',
  },
  payloadTooLarge: {
    id: 3,
    code: 'PAYLOAD_TOO_LARGE',
    retryable: false,
    status: 413,
    doc: 'a payload over `MAX_PAYLOAD_BYTES`',
  },
  limitExceeded: {
    id: 4,
    code: 'LIMIT_EXCEEDED',
    retryable: false,
    status: 429,
    doc: 'a named bound was reached: topics, patterns, filters, routes, groups, members, subscribers, subscriptions, delayed messages, log memory',
  },
  slowConsumer: {
    id: 5,
    code: 'SLOW_CONSUMER',
    retryable: true,
    status: 503,
    doc: 'the subscriber fell behind and its policy is `disconnect`; close 4008 follows',
  },
  overloaded: {
    id: 6,
    code: 'OVERLOADED',
    retryable: true,
    status: 503,
    doc: 'the broker is saturated; the message was **not** stored, what was asked was not done',
  },
  shuttingDown: {
    id: 7,
    code: 'SHUTTING_DOWN',
    retryable: true,
    status: 503,
    doc: 'the broker is draining; the message was **not** stored',
  },
  internal: {
    id: 8,
    code: 'INTERNAL',
    retryable: true,
    status: 500,
    doc: 'our fault; logged with the request',
  },
  groupNotFound: {
    id: 9,
    code: 'GROUP_NOT_FOUND',
    retryable: false,
    status: 404,
    doc: 'the topic has no such group, or this connection is no member of it',
  },
  noResponders: {
    id: 10,
    code: 'NO_RESPONDERS',
    retryable: true,
    status: 503,
    doc: 'a request that nobody listens for, or a reply whose inbox is gone; the message was **not** stored',
  },
} as const satisfies Record<string, ReplyCode>

/** Close codes: 4000–4499 ask the client to connect again, 4500–4999 ask it not to. */
export const Close = {
  shuttingDown: { code: 4001, reason: 'shutting down', doc: 'the broker is going away' },
  heartbeat: { code: 4002, reason: 'heartbeat missed', doc: 'no sign of life for two heartbeats' },
  slowConsumer: { code: 4008, reason: 'slow consumer', doc: 'the subscriber could not keep up' },
  protocolError: {
    code: 4503,
    reason: 'protocol error',
    doc: 'too many malformed frames in a row',
  },
} as const satisfies Record<string, CloseCode>

export interface ReplyCode {
  /** Number of this reply in ring records. */
  readonly id: number
  /** Name on the wire. */
  readonly code: string
  /** Whether the same request may succeed later. */
  readonly retryable: boolean
  /** HTTP status of the same refusal. */
  readonly status: number
  readonly doc: string
}

export interface CloseCode {
  readonly code: number
  readonly reason: string
  readonly doc: string
}

const byId = new Map<number, ReplyCode>(Object.values(Reply).map((reply) => [reply.id, reply]))

/** The reply that a ring record names. Unknown ids are our own bug and become INTERNAL. */
export function replyById(id: number): ReplyCode {
  return byId.get(id) ?? Reply.internal
}

/** A request that is refused: which reply, and a sentence for the client that names field and rule. */
export class Refusal extends Error {
  readonly reply: ReplyCode

  constructor(reply: ReplyCode, message: string) {
    super(message)
    this.name = 'Refusal'
    this.reply = reply
  }
}
