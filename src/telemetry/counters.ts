/**
 * Counters in shared memory: one block of float64 per thread, one writer each, read by anybody.
 * Runs on: every thread. Owns: its own block only.
 *
 * Plain stores and loads: a reader may be one update behind, never torn (a float64 that is aligned
 * is one store on every machine Node runs on). RUNBOOK-style documents quote these names; a test
 * compares them.
 */
export const GATEWAY_COUNTERS = {
  connectionsOpened: 'WebSocket connections accepted',
  connectionsClosed: 'WebSocket connections ended, for whatever reason',
  connectionsRefused:
    'upgrades refused: over `MAX_CONNECTIONS`, wrong origin, unknown subprotocol, draining',
  framesReceived: 'WebSocket frames received from clients',
  framesMalformed: 'frames answered with `BAD_REQUEST` because they could not be parsed',
  publishesRefused: 'publish requests refused, for whatever reason; nothing of them was stored',
  publishesHeld: 'times a full ring held the front thread',
  framesSent: 'WebSocket frames handed to sockets',
  bytesSent: 'bytes of those frames',
  messagesDelivered: 'entries handed to sockets, once per subscription',
  subscriptionsLagged: 'times a LIVE subscription turned PULLING because its socket was full',
  gaps: '`GAP` notices sent',
  messagesDropped: 'entries that a `GAP` notice said were lost to a subscriber',
  slowConsumersClosed: 'connections closed with 4008',
  requests: 'messages with `reply_to` that were passed on to a topic',
  requestsUnanswered: 'messages with `reply_to` refused with `NO_RESPONDERS`: nobody listened',
  repliesDelivered: 'messages for an inbox handed to its socket',
  repliesDropped:
    'messages for an inbox that was gone, or whose socket was full, or that were too large for it; their senders were told',
  heartbeatsMissed: 'connections closed because no sign of life came',
  copiesDropped: 'routed copies dropped by the front thread: over half of `RING_BYTES`',
  shardRestarts: 'times a dead shard was replaced',
} as const

export const SHARD_COUNTERS = {
  messagesStored: 'entries appended to topic logs',
  bytesStored: 'bytes of those entries',
  batches: 'turns of the duty cycle that did work',
  recordsProcessed: 'inbound records processed',
  recordsSetAside: 'inbound records that killed the shard twice and were refused',
  publishesRefused: 'publish requests refused by the shard; nothing of them was stored',
  messagesReplayed: 'entries read again for subscribers that pull',
  copiesRouted: 'copies that routing rules made and sent to their targets',
  copiesDropped:
    'routed copies that came to nothing: refused by this shard, over `ROUTE_HOPS_MAX`, or dropped by retention before rules could look (then every entry counts)',
  messagesExpired: 'entries whose TTL ended while a log held them',
  messagesDelayed: 'messages kept for later',
  duplicates: 'messages that were not stored because they had been, by their id',
  topicsCreated: 'topics created',
  topicsDeleted: 'topics deleted',
  groupsDelivered: 'entries handed to members of groups for the first time',
  groupsRedelivered:
    'entries handed to members again, after a nack, a missed deadline or a member that left',
  groupsAcked: 'entries acked by members of groups',
  groupsLost: 'entries that a log dropped before a group was done with them',
  deadLettered: 'entries copied to a `$dlq.` topic',
} as const

export type GatewayCounter = keyof typeof GATEWAY_COUNTERS
export type ShardCounter = keyof typeof SHARD_COUNTERS

/** Bytes of one thread's block; a multiple of a cache line, so that no two threads share one. */
export const COUNTER_BLOCK_BYTES = 256

export class Counters<Name extends string> {
  readonly #values: Float64Array
  readonly #indexes: ReadonlyMap<Name, number>

  constructor(memory: SharedArrayBuffer, byteOffset: number, names: Record<Name, string>) {
    this.#values = new Float64Array(memory, byteOffset, COUNTER_BLOCK_BYTES / 8)
    this.#indexes = new Map((Object.keys(names) as Name[]).map((name, index) => [name, index]))
  }

  /** Adds to a counter. Only the thread that owns the block may. */
  add(name: Name, amount = 1): void {
    const index = this.#indexes.get(name) as number
    this.#values[index] = (this.#values[index] as number) + amount
  }

  get(name: Name): number {
    return this.#values[this.#indexes.get(name) as number] as number
  }

  snapshot(): Record<Name, number> {
    const entries = [...this.#indexes].map(([name, index]) => [name, this.#values[index] as number])
    return Object.fromEntries(entries) as Record<Name, number>
  }
}
