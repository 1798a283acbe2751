/**
 * Every option of the broker, in one table: name, default, bounds, meaning. Values are parsed once, checked
 * against each other, frozen and passed down; `--help` and docs/configuration.md are made from the table.
 * Runs on: the main thread, once at start.
 */
import { availableCores } from './cores.js'
import { findMisspellings, PREFIX } from './misspellings.js'
import {
  DAY_MS,
  formatBytes,
  formatValue,
  GiB,
  KiB,
  type Kind,
  MiB,
  ruleOf,
  schemaOf,
  type Value,
  type ValueOf,
} from './option-values.js'
import { WORKERS_MAX } from './shared-memory.js'

const LOG_MEMORY_DEFAULT = 256 * MiB
/**
 * A shard's logs lie in one buffer with its rings and directory, at int32 offsets. With rings, topics,
 * patterns, filters, groups, members and delayed messages at their upper bounds (512 + 427 + 2 + 1 + 13
 * + 8 + 16 MiB) 1 GiB of logs still stays below 2^31.
 */
const SHARD_LOG_MEMORY_MAX = 1 * GiB
const LOG_MEMORY_MAX = WORKERS_MAX * SHARD_LOG_MEMORY_MAX
/** What one message of a batch may take in a log beside its own bytes: seq, time, id, topic, alignment. */
const ENTRY_OVERHEAD_BYTES = 64
/** Room in a record beside the payload or frame: topic, headers, envelope. */
const RECORD_MARGIN_BYTES = 64 * KiB
const HELP_COLUMNS = 100

type Option = Kind & {
  readonly env: string
  readonly default: Value | ((known: Known) => number)
  /** For a default that depends on the machine or on other options: the rule in words. */
  readonly defaultText?: string
  readonly doc: string
}

/** What a computed default may look at: the machine, and the options above it in the table. */
type Known = Machine & { readonly workers: number; readonly topicBytesMax: number }

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
    doc: 'Subscriptions, patterns included, of one connection. Beyond: LIMIT_EXCEEDED.',
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
    doc: 'Consumer groups of each worker. Each takes 3.3 KiB, and about 32 bytes for every message that it has taken and not settled. Beyond: LIMIT_EXCEEDED.',
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
    doc: 'Bytes buffered for a socket above which its subscriptions stop receiving live frames and pull from the log as the socket drains. The worst case of socket memory is about this times MAX_CONNECTIONS.',
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

const sections = {
  'Server and process': server,
  'Threads and memory': memory,
  Topics: topics,
  'Connections and subscribers': subscribers,
  Publishing: publishing,
}

/** Every option by the name of its field in `Config`. */
const options = { ...server, ...memory, ...topics, ...subscribers, ...publishing }

type Options = typeof options
export type Config = { readonly [F in keyof Options]: ValueOf<Options[F]> }
type Field = keyof Options

const fields = Object.keys(options) as Field[]
const names = fields.map((field) => options[field].env)

type Environment = Readonly<Record<string, string | undefined>>

export type Override = { readonly env: string; readonly value: string; readonly default: string }

export type Loaded = {
  readonly config: Config
  /** Likely mistakes in the environment that do not keep the broker from starting. */
  readonly warnings: string[]
  /** The options whose value is not the default, in the order of the table. */
  readonly overrides: Override[]
}

/** The configuration cannot be used. `problems` names every mistake, not only the first. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: string[]

  constructor(problems: string[]) {
    super(`invalid configuration:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.problems = problems
  }
}

/**
 * Reads the configuration from environment variables: `NAME`, or `RINGCAST_NAME`, which wins. A variable set
 * to nothing counts as not set, since compose files cannot leave one out. Throws ConfigError.
 */
export function loadConfig(
  env: Environment,
  machine: Machine = { cores: availableCores() },
): Loaded {
  const problems: string[] = []
  const wrong = new Set<Field>()
  const values: Partial<Record<Field, Value>> = {}
  for (const field of fields) {
    const given = findVariable(env, options[field].env)
    if (given === undefined) continue
    const result = schemaOf(options[field]).safeParse(given.text)
    if (result.success) {
      values[field] = result.data
    } else {
      wrong.add(field)
      const reasons = result.error.issues.map((issue) => issue.message).join('; ')
      problems.push(`${given.name}=${JSON.stringify(given.text)}: ${reasons}`)
    }
  }

  const defaults = computeDefaults(machine, values)
  const config = Object.freeze({ ...defaults, ...values }) as Config
  for (const check of crossChecks) {
    // A value that could not be read has its default here; comparing with that would only confuse.
    if (check.of.some((field) => wrong.has(field)) || check.holds(config)) continue
    problems.push(`${check.of.map((field) => show(field, config)).join(', ')}: ${check.rule}`)
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return { config, warnings: findMisspellings(env, names), overrides: diff(config, defaults) }
}

/** Every option's name and value as text. None of them is a secret; one that is must be left out here. */
export function configTexts(config: Config): Record<string, string> {
  const texts = fields.map((field) => [
    options[field].env,
    formatValue(options[field], config[field]),
  ])
  return Object.fromEntries(texts) as Record<string, string>
}

/** One option as it stands, and where its value comes from. */
export type Explained = {
  readonly env: string
  readonly value: string
  /** The variable that set it, or `default`. */
  readonly source: string
  readonly default: string
}

/** Every option with its effective value, in the order of the table. Throws ConfigError. */
export function explainConfig(
  env: Environment,
  machine: Machine = { cores: availableCores() },
): Explained[] {
  const { config } = loadConfig(env, machine)
  const defaults = computeDefaults(machine, config)
  return fields.map((field) => ({
    env: options[field].env,
    value: formatValue(options[field], config[field]),
    source: findVariable(env, options[field].env)?.name ?? 'default',
    default: formatValue(options[field], defaults[field]),
  }))
}

/** Rules between options; `of` names those that the rule is about, in the order of the sentence. */
const crossChecks: readonly {
  readonly of: readonly Field[]
  readonly holds: (config: Config) => boolean
  readonly rule: string
}[] = [
  {
    of: ['topicHistorySize', 'subscriberQueueSize'],
    holds: (c) => c.topicHistorySize >= c.subscriberQueueSize,
    rule: "TOPIC_HISTORY_SIZE must be at least SUBSCRIBER_QUEUE_SIZE, since a topic's log is also the queue of its slow subscribers",
  },
  {
    of: ['maxPayloadBytes', 'maxFrameBytes'],
    holds: (c) => c.maxPayloadBytes < c.maxFrameBytes,
    rule: 'MAX_PAYLOAD_BYTES must be less than MAX_FRAME_BYTES, since a payload travels in a frame',
  },
  {
    of: ['ringBytes', 'maxFrameBytes'],
    holds: (c) => c.maxFrameBytes <= recordRoom(c),
    rule: `RING_BYTES must be at least 2 × (MAX_FRAME_BYTES + ${formatBytes(RECORD_MARGIN_BYTES)}), since a frame travels in one record and a record is at most half a ring`,
  },
  {
    of: ['ringBytes', 'maxPayloadBytes'],
    holds: (c) => 2 * c.maxPayloadBytes <= recordRoom(c),
    rule: `RING_BYTES must be at least 4 × MAX_PAYLOAD_BYTES + 2 × ${formatBytes(RECORD_MARGIN_BYTES)}, since a payload may leave as base64 in one record`,
  },
  {
    of: ['topicBytesMax', 'maxFrameBytes', 'maxBatchMessages'],
    holds: (c) =>
      c.topicBytesMax >= 2 * (c.maxFrameBytes + c.maxBatchMessages * ENTRY_OVERHEAD_BYTES),
    rule: `TOPIC_BYTES_MAX must be at least 2 × (MAX_FRAME_BYTES + MAX_BATCH_MESSAGES × ${ENTRY_OVERHEAD_BYTES}), since the largest batch must fit half a log`,
  },
  {
    of: ['logMemoryBytes', 'workers', 'topicBytesMax'],
    holds: (c) => c.logMemoryBytes / c.workers >= 2 * c.topicBytesMax,
    rule: "LOG_MEMORY_BYTES must be at least 2 × WORKERS × TOPIC_BYTES_MAX, since a log that grows needs the old and the new one for a moment, within its shard's part",
  },
  {
    of: ['logMemoryBytes', 'workers'],
    holds: (c) => c.logMemoryBytes / c.workers <= SHARD_LOG_MEMORY_MAX,
    rule: `LOG_MEMORY_BYTES must be at most ${formatBytes(SHARD_LOG_MEMORY_MAX)} × WORKERS, since a shard's memory is one buffer with 32-bit offsets`,
  },
]

/** What a frame or payload may take of the largest record. */
function recordRoom(config: Config): number {
  return config.ringBytes / 2 - RECORD_MARGIN_BYTES
}

/** Defaults, computed in the order of the table: one that depends on others comes after them. */
function computeDefaults(machine: Machine, values: Partial<Record<Field, Value>>): Config {
  const defaults: Partial<Record<Field, Value>> = {}
  for (const field of fields) {
    const option: Option = options[field]
    const known = { ...machine, ...defaults, ...values } as Known
    defaults[field] = typeof option.default === 'function' ? option.default(known) : option.default
  }
  return defaults as Config
}

function findVariable(env: Environment, name: string): { name: string; text: string } | undefined {
  for (const candidate of [PREFIX + name, name]) {
    const text = env[candidate]
    if (text !== undefined && text.trim() !== '') return { name: candidate, text }
  }
  return undefined
}

function diff(config: Config, defaults: Config): Override[] {
  return fields.flatMap((field) => {
    const value = formatValue(options[field], config[field])
    const standard = formatValue(options[field], defaults[field])
    return value === standard ? [] : [{ env: options[field].env, value, default: standard }]
  })
}

function show(field: Field, config: Config): string {
  return `${options[field].env}=${formatValue(options[field], config[field])}`
}

/** What `npm start -- --help` prints. */
export function helpText(): string {
  const lines = [
    'ringcast: a multi-threaded WebSocket publish/subscribe broker',
    '',
    'Usage: [NAME=value ...] npm start',
    '',
    ...wrap(INTRODUCTION, ''),
  ]
  for (const [title, table] of Object.entries(sections)) {
    lines.push('', `${title}:`)
    for (const option of Object.values<Option>(table)) {
      lines.push('', `  ${option.env}  (default: ${describeDefault(option) || 'empty'})`)
      lines.push(...wrap(`${capitalised(ruleOf(option))}. ${option.doc}`, '      '))
    }
  }
  return `${lines.join('\n')}\n`
}

/** The text of docs/configuration.md. */
export function configurationMarkdown(): string {
  const lines = [
    '# Configuration',
    '',
    '<!-- Made from the table in src/config.ts by `npm run docs:config`; a test compares them. -->',
    '',
    INTRODUCTION,
  ]
  for (const [title, table] of Object.entries(sections)) {
    lines.push(
      '',
      `## ${title}`,
      '',
      '| variable | default | value | meaning |',
      '|---|---|---|---|',
    )
    for (const option of Object.values<Option>(table)) {
      const standard = describeDefault(option)
      const cells = [
        `\`${option.env}\``,
        option.defaultText ?? (standard === '' ? 'empty' : `\`${standard}\``),
        ruleOf(option),
        option.doc,
      ]
      lines.push(`| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    }
  }
  lines.push('', '## Rules between options', '')
  lines.push(...crossChecks.map((check) => `- ${check.rule}.`))
  return `${lines.join('\n')}\n`
}

const INTRODUCTION =
  'Every option is an environment variable, read once at start. RINGCAST_<NAME> is read too, and wins over <NAME>. A variable set to nothing counts as not set. If any value is wrong, the broker names all mistakes and does not start; unknown RINGCAST_ names and names close to an option get a warning. The start-up log states every value that is not the default.'

function describeDefault(option: Option): string {
  if (typeof option.default === 'function') return option.defaultText ?? ''
  return formatValue(option, option.default)
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function wrap(text: string, indent: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > HELP_COLUMNS) {
      lines.push(indent + line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, indent + line]
}
