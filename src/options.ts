/**
 * Every option of the broker, in one table: name, default, bounds, meaning. `--help` and
 * docs/configuration.md are made from it.
 * Runs on: the main thread, once at start. Owns: nothing.
 */
import { DAY_MS, GiB, KiB, type Kind, MiB, type Value, type ValueOf } from './option-values.js'
import { WORKERS_MAX } from './shared-memory.js'

const LOG_MEMORY_DEFAULT = 256 * MiB
/**
 * A shard's logs lie in one buffer with its rings and directory, at int32 offsets. With rings, topics,
 * patterns, filters, groups, members and delayed messages at their upper bounds (512 + 427 + 2 + 1 + 13
 * + 8 + 16 MiB) 1 GiB of logs still stays below 2^31.
 */
export const SHARD_LOG_MEMORY_MAX = 1 * GiB
const LOG_MEMORY_MAX = WORKERS_MAX * SHARD_LOG_MEMORY_MAX

export type Option = Kind & {
  readonly env: string
  readonly default: Value | ((known: Known) => number)
  /** For a default that depends on the machine or on other options: the rule in words. */
  readonly defaultText?: string
  readonly doc: string
}

/** What a computed default may look at: the machine, and the options above it in the table. */
export type Known = Machine & { readonly workers: number; readonly topicBytesMax: number }

type Table = Readonly<Record<string, Option>>

export type Machine = { readonly cores: number }

const server = {
  host: {
    env: 'HOST',
    kind: 'host',
    default: '0.0.0.0',
    doc: 'Address to listen on. 127.0.0.1 takes connections from this machine only.',
  },
  port: {
    env: 'PORT',
    kind: 'integer',
    default: 8080,
    min: 0,
    max: 65_535,
    doc: 'Port for WebSocket and HTTP. 0 takes any free port; the start-up log names it.',
  },
  corsOrigins: {
    env: 'CORS_ORIGINS',
    kind: 'origins',
    default: [],
    doc: 'Browser origins that may use the broker, separated by commas; * for every one. When set, a WebSocket upgrade from another origin is refused too; clients that send no Origin header are not browsers and may connect. Empty: HTTP answers carry no CORS headers, and WebSockets are not checked.',
  },
  logLevel: {
    env: 'LOG_LEVEL',
    kind: 'choice',
    default: 'info',
    values: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    doc: 'Least level that is logged. Payloads are never logged, at any level.',
  },
  routesFile: {
    env: 'ROUTES_FILE',
    kind: 'file',
    default: '',
    doc: 'JSON file with the routing rules to begin with: a list of {"name", "source", "filter", "targets"}. Read once at start; a rule that is wrong keeps the broker from starting. Empty: none.',
  },
  threadTimings: {
    env: 'THREAD_TIMINGS',
    kind: 'boolean',
    default: false,
    doc: 'Whether each thread measures its garbage collection and the delay of its event loop, for `threads` of GET /stats. It costs a hundred timers a second on each.',
  },
  shutdownTimeoutMs: {
    env: 'SHUTDOWN_TIMEOUT_MS',
    kind: 'duration',
    default: 10_000,
    min: 100,
    max: 600_000,
    doc: 'Longest graceful stop after SIGTERM or SIGINT. What is not flushed by then is given up. Keep it below the grace period of what stops the process (docker: 10 s unless told otherwise).',
  },
} as const satisfies Table

const memory = {
  workers: {
    env: 'WORKERS',
    kind: 'integer',
    unit: 'threads',
    default: ({ cores }) => Math.min(WORKERS_MAX, Math.max(1, cores - 1)),
    defaultText: 'cores − 1, at least 1',
    min: 1,
    max: WORKERS_MAX,
    doc: 'Shards: threads that own the topics, beside the one that owns the sockets. Cores are those of the cgroup CPU quota if there is one. More than cores − 1 makes the threads wait for each other.',
  },
  ringBytes: {
    env: 'RING_BYTES',
    kind: 'bytes',
    default: 4 * MiB,
    min: 256 * KiB,
    max: 256 * MiB,
    powerOfTwo: true,
    doc: 'Each ring between the gateway and a shard; there are two for each shard, one per direction. A record is at most half a ring. A larger ring rides out longer bursts before OVERLOADED, and takes that memory from the start.',
  },
  topicBytesMax: {
    env: 'TOPIC_BYTES_MAX',
    kind: 'bytes',
    default: 16 * MiB,
    min: 1 * MiB,
    max: 512 * MiB,
    powerOfTwo: true,
    doc: "What one topic's log may grow to; its oldest entries go first. A log starts small and doubles when it needs to.",
  },
  logMemoryBytes: {
    env: 'LOG_MEMORY_BYTES',
    kind: 'bytes',
    default: ({ workers, topicBytesMax }) =>
      Math.min(LOG_MEMORY_MAX, Math.max(LOG_MEMORY_DEFAULT, 2 * workers * topicBytesMax)),
    defaultText: '256MiB, or 2 × WORKERS × TOPIC_BYTES_MAX if that is more',
    min: 16 * MiB,
    max: LOG_MEMORY_MAX,
    doc: 'All topic logs together, split evenly over the shards. When a shard has used its part, logs stop growing and drop their oldest entries sooner.',
  },
  shardHeapMb: {
    env: 'SHARD_HEAP_MB',
    kind: 'integer',
    unit: 'MiB',
    default: 256,
    min: 16,
    max: 16_384,
    doc: "JavaScript heap of each shard's thread; logs and rings lie outside it. A shard that exceeds it is replaced and takes over its logs.",
  },
  shardStallMs: {
    env: 'SHARD_STALL_MS',
    kind: 'duration',
    default: 10_000,
    min: 100,
    max: 600_000,
    doc: 'A shard that has work and makes no progress for so long counts as dead and is replaced.',
  },
  shardRestartTimeoutMs: {
    env: 'SHARD_RESTART_TIMEOUT_MS',
    kind: 'duration',
    default: 10_000,
    min: 100,
    max: 600_000,
    doc: 'A shard that is not back for so long stops the process: exit with an error is better than serving part of the topics.',
  },
} as const satisfies Table

const topics = {
  autoCreateTopics: {
    env: 'AUTO_CREATE_TOPICS',
    kind: 'boolean',
    default: true,
    doc: 'Whether publish and subscribe create a topic that does not exist. If false they get TOPIC_NOT_FOUND, and topics are created by POST /topics.',
  },
  maxTopics: {
    env: 'MAX_TOPICS',
    kind: 'integer',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    doc: 'Topics that may exist at once. Beyond: LIMIT_EXCEEDED.',
  },
  topicHistorySize: {
    env: 'TOPIC_HISTORY_SIZE',
    kind: 'integer',
    unit: 'entries',
    default: 8192,
    min: 1,
    max: 16_777_216,
    doc: 'Entries that a topic keeps for replay, if TOPIC_BYTES_MAX and TOPIC_MAX_AGE_MS let it. At least SUBSCRIBER_QUEUE_SIZE: the log is also the queue of a subscriber that lags. 100, as brokers of this kind often have, is 2 ms of a topic at 50 000 messages/s, too short to resume after a reconnect; 8192 is 160 ms there, and minutes on a quiet topic.',
  },
  topicMaxAgeMs: {
    env: 'TOPIC_MAX_AGE_MS',
    kind: 'duration',
    default: 0,
    min: 0,
    // Below 2^31, so that it fits an Int32 and a timer.
    max: 24 * DAY_MS,
    doc: 'Entries older than this are dropped from history. 0: no limit by age.',
  },
  maxDelayedMessages: {
    env: 'MAX_DELAYED_MESSAGES',
    kind: 'integer',
    default: 10_000,
    min: 1,
    max: 250_000,
    doc: 'Delayed messages that each worker keeps at once. Each takes a block of LOG_MEMORY_BYTES: 1 KiB, or the next power of two above its size. Beyond: LIMIT_EXCEEDED.',
  },
  dedupMaxIds: {
    env: 'DEDUP_MAX_IDS',
    kind: 'integer',
    default: 1_000_000,
    min: 1024,
    max: 64_000_000,
    doc: 'Message ids remembered for topics with a deduplication window, in the whole broker, split evenly over the shards; 48 B each, taken as they are needed. Beyond, the oldest of the shard is forgotten before its window is over.',
  },
  topicRulesFile: {
    env: 'TOPIC_RULES_FILE',
    kind: 'file',
    default: '',
    doc: 'JSON file with options of topics by pattern: history size, bytes and age, TTL, deduplication window, events (PROTOCOL.md has the form). Read and checked once at start. Empty: the options above hold for every topic, unless POST /topics says otherwise.',
  },
} as const satisfies Table

const subscribers = {
  maxConnections: {
    env: 'MAX_CONNECTIONS',
    kind: 'integer',
    default: 20_000,
    min: 1,
    max: 1_000_000,
    doc: 'WebSocket connections at once; further upgrades get 503. The limit on open files (ulimit -n) must be higher.',
  },
  maxSubscriptionsPerConnection: {
    env: 'MAX_SUBSCRIPTIONS_PER_CONNECTION',
    kind: 'integer',
    default: 1000,
    min: 1,
    max: 1_000_000,
    doc: 'Subscriptions of one connection, patterns and consumer groups included. Beyond: LIMIT_EXCEEDED.',
  },
  maxSubscribersPerTopic: {
    env: 'MAX_SUBSCRIBERS_PER_TOPIC',
    kind: 'integer',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    doc: 'Subscriptions of one topic, or of one pattern. Beyond: LIMIT_EXCEEDED.',
  },
  maxPatterns: {
    env: 'MAX_PATTERNS',
    kind: 'integer',
    default: 1000,
    min: 0,
    max: 5000,
    doc: 'Different patterns subscribed at once, in the whole broker; one that is wanted in JSON and in MessagePack counts twice. Beyond: LIMIT_EXCEEDED. 0 turns patterns off.',
  },
  maxGroups: {
    env: 'MAX_GROUPS',
    kind: 'integer',
    default: 1024,
    min: 1,
    max: 4096,
    doc: 'Consumer groups of each worker. Each takes 3.3 KiB, and 40 bytes of LOG_MEMORY_BYTES for every message that it has taken and not settled (a table that doubles). Beyond: LIMIT_EXCEEDED.',
  },
  maxGroupMembers: {
    env: 'MAX_GROUP_MEMBERS',
    kind: 'integer',
    default: 16_384,
    min: 1,
    max: 65_536,
    doc: 'Members of all groups of each worker, 128 bytes each. Beyond: LIMIT_EXCEEDED.',
  },
  maxFilters: {
    env: 'MAX_FILTERS',
    kind: 'integer',
    default: 128,
    min: 0,
    max: 1000,
    doc: 'Different filters in use at once, in the whole broker: every message of a topic is looked at once for each that its readers use. Beyond: LIMIT_EXCEEDED. 0 turns filters off.',
  },
  heartbeatIntervalMs: {
    env: 'HEARTBEAT_INTERVAL_MS',
    kind: 'duration',
    default: 30_000,
    min: 50,
    max: 480_000,
    doc: 'A connection that sends nothing for this long gets a WebSocket ping; one that stays silent as long again is closed.',
  },
  slowConsumerPolicy: {
    env: 'SLOW_CONSUMER_POLICY',
    kind: 'choice',
    default: 'drop_oldest',
    values: ['drop_oldest', 'disconnect'],
    doc: 'What happens to a subscriber that lags by more than SUBSCRIBER_QUEUE_SIZE, unless its subscribe names a policy. drop_oldest: it skips ahead and gets a GAP that names the lost seqs. disconnect: it gets SLOW_CONSUMER and is closed with 4008.',
  },
  subscriberQueueSize: {
    env: 'SUBSCRIBER_QUEUE_SIZE',
    kind: 'integer',
    unit: 'entries',
    default: 1000,
    min: 1,
    max: 16_777_216,
    doc: 'How many entries a live subscriber may lag behind its topic. It costs no memory: a lagging subscriber is a cursor into the log.',
  },
  highWaterMarkBytes: {
    env: 'HIGH_WATER_MARK_BYTES',
    kind: 'bytes',
    default: 1 * MiB,
    min: 16 * KiB,
    max: 64 * MiB,
    doc: 'Bytes buffered for a socket above which its subscriptions stop receiving live frames and pull from the log as the socket drains. The worst case of socket memory is about this, and the 256 KiB to 2 MiB of one pull (or one larger message), times MAX_CONNECTIONS.',
  },
} as const satisfies Table

const publishing = {
  maxPayloadBytes: {
    env: 'MAX_PAYLOAD_BYTES',
    kind: 'bytes',
    default: 64 * KiB,
    min: 1,
    max: 32 * MiB,
    doc: "One message's payload. Beyond: PAYLOAD_TOO_LARGE.",
  },
  maxFrameBytes: {
    env: 'MAX_FRAME_BYTES',
    kind: 'bytes',
    default: 1 * MiB,
    min: 1 * KiB,
    max: 64 * MiB,
    doc: 'One WebSocket frame or HTTP body from a client, batches included. A larger frame closes the connection; a larger body gets 413.',
  },
  maxBatchMessages: {
    env: 'MAX_BATCH_MESSAGES',
    kind: 'integer',
    unit: 'messages',
    default: 4096,
    min: 1,
    max: 65_536,
    doc: 'Messages in one batch. Beyond: BAD_REQUEST.',
  },
  maxInFlightPublishes: {
    env: 'MAX_IN_FLIGHT_PUBLISHES',
    kind: 'integer',
    default: 10_000,
    min: 1,
    max: 10_000_000,
    doc: 'Publishes of one connection that wait for their ack; a batch counts as one. Beyond: OVERLOADED.',
  },
  publishWaitMs: {
    env: 'PUBLISH_WAIT_MS',
    kind: 'duration',
    default: 500,
    min: 0,
    max: 10_000,
    doc: 'How long a full ring may hold back the gateway, and with it every socket, before a publish is refused with OVERLOADED. A ring whose shard has not moved since is not waited for again. 0 refuses at once.',
  },
} as const satisfies Table

/** The parts of the table, as help and documentation show them. */
export const sections = {
  'Server and process': server,
  'Threads and memory': memory,
  Topics: topics,
  'Connections and subscribers': subscribers,
  Publishing: publishing,
}

/** Every option by the name of its field in `Config`. */
export const options = { ...server, ...memory, ...topics, ...subscribers, ...publishing }

type Options = typeof options
export type Config = { readonly [F in keyof Options]: ValueOf<Options[F]> }
export type Field = keyof Options

/** In the order of the table. */
export const fields = Object.keys(options) as Field[]
