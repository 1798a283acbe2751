/**
 * The records that gateway and shard exchange: the only thing the two know of each other.
 *
 * Hot records have fixed fields, read where they stand; a record starts on 8 bytes, so field n of
 * int32 is ints[(start >> 2) + n] and field n of float64 is floats[(start >> 3) + n]. Everything
 * rare (subscribe, create, attach …) is one CONTROL record that carries a MessagePack map.
 * Offsets inside a record count from its start.
 */
import type { GroupOptions } from '../protocol/group-options.js'
import type { Start } from '../protocol/subscribe-options.js'

/** Encodings a client can speak; also the bit numbers in sets of formats. */
export const MSGPACK = 0
export const JSON_TEXT = 1
export type Format = typeof MSGPACK | typeof JSON_TEXT
export const FORMATS: readonly Format[] = [MSGPACK, JSON_TEXT]

/** Gateway → shard. */
export const Inbound = {
  publish: 1,
  pull: 2,
  control: 3,
  settle: 4,
} as const

/** Shard → gateway. */
export const Outbound = {
  acks: 1,
  events: 2,
  reply: 3,
  control: 4,
  deliver: 5,
  forward: 6,
} as const

/**
 * PUBLISH: messages of one client for one topic; all of them are stored, or none.
 * The messages stand back to back as MessagePack `[encoding, payload, id, headers, properties]`, of
 * which the last three may be left out.
 */
export const Publish = {
  /** int32: whom to ack; for HTTP the token of the request. */
  requester: 0,
  /** int32: PUBLISH_* bits. */
  flags: 1,
  topicHash: 2,
  topicStart: 3,
  topicLength: 4,
  /** The request id as it goes back: a MessagePack value, or JSON text. Length 0: no ack wanted. */
  requestStart: 5,
  requestLength: 6,
  messagesStart: 7,
  messagesEnd: 8,
  count: 9,
  /** Bytes before the variable part. */
  headerBytes: 40,
} as const
export const PUBLISH_JSON = 1
/** The requester is an HTTP request: answer with REPLY. */
export const PUBLISH_HTTP = 2
/** The ack says first_seq, last_seq and count, even of a single message: a batch was asked for. */
export const PUBLISH_BATCH = 4
/** Some of the messages have properties: a fifth element that is a map with something in it. */
export const PUBLISH_PROPERTIES = 8
/** All of the messages are to be delivered later: none of them goes into the log now. */
export const PUBLISH_DELAYED = 16

/** Copies that routing rules made; nobody waits for an ack, and what is refused is counted. */
export const PUBLISH_ROUTED = 64
/** A payload from a MessagePack client says that it is JSON text, which nobody has checked yet. */
export const PUBLISH_CLAIMS_JSON = 32

/** PULL: the next chunks of a topic's log for one subscription that is not LIVE there. */
export const Pull = {
  lag: 0,
  topicId: 1,
  format: 2,
  /** Chunks at most; each is an EVENTS record. */
  chunks: 3,
  /** Entries behind the newest that may be delivered; 0: all that the log holds. */
  queueSize: 4,
  /** The filter that entries come through; 0: all of them. */
  filter: 5,
  /** float64 field. */
  fromSeq: 3,
  headerBytes: 32,
} as const

/** ACKS: frames for one connection, in order. MessagePack: one frame; JSON: one text frame each. */
export const Acks = {
  session: 0,
  /** Publish requests that these frames answer. */
  answered: 1,
  frames: 2,
  /** int32 length of each frame, then the frames. */
  headerBytes: 12,
} as const

/**
 * EVENTS: a run of a topic's entries, ready to send; it may hold fewer than firstSeq to lastSeq covers:
 * none of those that have expired. With lag 0 for every LIVE subscription of the
 * topic in that format, otherwise a chunk that a PULL asked for.
 *
 *   MessagePack  frame: the whole EVENTS frame of a plain subscription; body: its array of entries
 *   JSON         frame = body: the event frames of a plain subscription, with commas between;
 *                int32 length of each stands behind the header
 */
export const Events = {
  topicId: 0,
  format: 1,
  count: 2,
  lag: 3,
  /** EVENTS_* bits. */
  flags: 4,
  frameStart: 5,
  bodyStart: 6,
  /** The filter that they came through, or 0: then there may be fewer than from first to last seq. */
  filter: 7,
  /** float64 fields: first and last seq; then the range that is lost before it, or 0 and 0. */
  firstSeq: 4,
  lastSeq: 5,
  gapFrom: 6,
  gapTo: 7,
  headerBytes: 64,
} as const
/** The run ends where the log ends: who has it is LIVE from here on. */
export const EVENTS_AT_END = 1
/** The topic is gone, or is another one by now; there is nothing in this chunk. */
export const EVENTS_TOPIC_GONE = 2
/** Another chunk of the same PULL follows. */
export const EVENTS_CONTINUED = 4

/** Bytes of entries in one EVENTS record; a single larger entry still goes. */
const EVENTS_BYTES_MAX = 256 * 1024
/** Records of entries that fill half a ring, at least: a run must find room long before it is empty. */
const RECORDS_PER_HALF_RING = 8

/** Bytes of entries in one EVENTS record of a ring whose records have at most `maxLength` bytes. */
export function eventsBytesMax(maxLength: number): number {
  return Math.min(EVENTS_BYTES_MAX, Math.floor(maxLength / RECORDS_PER_HALF_RING))
}

/**
 * SETTLE: what a member of a group says of messages that it has. Behind the fields stand `ranges`
 * pairs of float64, first and last seq; then the request id as it goes back, and the reason in UTF-8.
 */
export const SettleRecord = {
  member: 0,
  /** A SettleKind. */
  kind: 1,
  /** ms until a nacked message goes again; -1: as the group's backoff says. */
  delayMs: 2,
  /** 1: everything that the member has up to the last seq of the only range. */
  isUpTo: 3,
  ranges: 4,
  session: 5,
  format: 6,
  requestStart: 7,
  /** 0: no answer wanted. */
  requestLength: 8,
  reasonStart: 9,
  reasonLength: 10,
  headerBytes: 48,
} as const

/** DELIVER: frames for one member of a group, ready to send; laid out as ACKS are. */
export const Deliver = {
  member: 0,
  /** Entries in the frames. */
  count: 1,
  frames: 2,
  /** int32 length of each frame, then the frames. */
  headerBytes: 12,
} as const

/**
 * FORWARD: copies that routing rules made, in groups of one target each. A group is its fields, the
 * target's name, its messages as PUBLISH has them, and zeros up to a multiple of 4. The gateway
 * answers `forwarded` when all are in the rings of their targets; there is one such record under way.
 */
export const Forward = {
  chunk: 0,
  groups: 1,
  headerBytes: 8,
  /** int32 fields of a group. */
  topicLength: 0,
  messagesLength: 1,
  count: 2,
  hasProperties: 3,
  groupBytes: 16,
} as const

/** REPLY: the answer to one HTTP request; behind the fields stands the body, JSON text. */
export const HttpReply = {
  token: 0,
  status: 1,
  headerBytes: 8,
} as const

/** A filter as the gateway numbers it; the text goes along, so that the shard can make it. */
export interface FilterRef {
  readonly id: number
  readonly text: string
}

/** A routing rule: entries of the source that come through the filter are copied to the targets. */
export interface RouteRef {
  readonly name: string
  readonly source: string
  readonly targets: readonly string[]
  readonly filter?: FilterRef
}

/** CONTROL, gateway → shard. `token` is echoed by the answer. */
export type ControlRequest =
  | {
      readonly op: 'subscribe'
      readonly token: number
      readonly topic: string
      readonly format: Format
      readonly start: Start
      readonly filter?: FilterRef
    }
  | {
      readonly op: 'subscribePattern'
      readonly token: number
      readonly patternId: number
      readonly pattern: string
      readonly format: Format
      readonly start: Start
      readonly filter?: FilterRef
    }
  /** Formats that plain subscriptions of this topic still need, bit per format. */
  | {
      readonly op: 'interest'
      readonly topicId: number
      readonly formats: number
      readonly filterId?: number
    }
  | { readonly op: 'dropPattern'; readonly patternId: number }
  /** Nobody uses the filter any more. */
  | { readonly op: 'dropFilter'; readonly filterId: number }
  | { readonly op: 'setRoute'; readonly route: RouteRef }
  | { readonly op: 'dropRoute'; readonly name: string }
  /** The copies of this FORWARD record are in the rings of their targets. */
  | { readonly op: 'forwarded'; readonly chunk: number }
  | {
      readonly op: 'create'
      readonly token: number
      readonly topic: string
      /** Options that the request names; they stay with the topic. */
      readonly options?: TopicOptions
    }
  | { readonly op: 'delete'; readonly token: number; readonly topic: string }
  | { readonly op: 'info'; readonly token: number; readonly topic: string }
  /** Messages that wait: the next of them, and to cancel those of one id. */
  | {
      readonly op: 'delayed'
      readonly token: number
      readonly topic: string
      readonly limit: number
    }
  | {
      readonly op: 'cancel'
      readonly token: number
      readonly topic: string
      readonly id: Uint8Array
    }
  | {
      readonly op: 'history'
      readonly token: number
      readonly topic: string
      readonly lastN: number | null
      readonly fromSeq: number | null
      readonly limit: number
    }
  /** A page of the topic list, from this place on. */
  | { readonly op: 'list'; readonly token: number; readonly after: number }
  /** A member joins a group, which is made if it is not there. */
  | {
      readonly op: 'join'
      readonly token: number
      readonly topic: string
      readonly group: string
      readonly member: number
      /** The member's label. */
      readonly name: string
      readonly format: Format
      /** null: as the group says. */
      readonly maxInFlight: number | null
      readonly options: Partial<GroupOptions>
      readonly start: Start
    }
  | { readonly op: 'leave'; readonly member: number }
  | { readonly op: 'pauseMember'; readonly member: number; readonly isPaused: boolean }
  /** What the HTTP door asks of groups. */
  | {
      readonly op: 'group'
      readonly token: number
      readonly topic: string
      readonly action: GroupAction
    }
  | {
      readonly op: 'deadLetters'
      readonly token: number
      readonly topic: string
      readonly action: DeadLetterAction
    }

/** What the HTTP door asks of the dead letters of a topic. */
export type DeadLetterAction =
  | {
      readonly do: 'list'
      readonly fromSeq: number
      readonly limit: number
      readonly group: string | null
      readonly reason: string | null
    }
  | {
      readonly do: 'replay'
      /** Seqs in the dead letters; null: all. */
      readonly seqs: readonly number[] | null
      readonly fromSeq: number
      readonly group: string | null
      /** What came back as often as this stays. */
      readonly maxRounds: number
      /** ms from now; 0: at once. */
      readonly delayMs: number
    }
  | { readonly do: 'purge' }

export type GroupAction =
  | { readonly do: 'list' }
  | { readonly do: 'info' | 'delete' | 'pause' | 'resume'; readonly group: string }
  | {
      readonly do: 'create'
      readonly group: string
      readonly options: Partial<GroupOptions>
      readonly start: Start
    }
  | { readonly do: 'update'; readonly group: string; readonly options: Partial<GroupOptions> }
  | { readonly do: 'reset'; readonly group: string; readonly start: Start }

/** CONTROL, shard → gateway. */
export type ControlNotice =
  /** EVENTS of this topic in this format will follow, from lastSeq + 1. */
  | {
      readonly op: 'attach'
      readonly topicId: number
      readonly topic: string
      readonly epoch: string
      readonly format: Format
      /** The filter of these EVENTS; 0 or nothing: there is none. */
      readonly filterId?: number
      readonly lastSeq: number
      readonly patternIds: readonly number[]
    }
  /** A pattern matches a topic that is attached; deliver from startSeq on. */
  | {
      readonly op: 'match'
      readonly token: number
      readonly patternId: number
      readonly topicId: number
      readonly startSeq: number
      readonly lastSeq: number
      readonly recovered: boolean | null
    }
  | {
      readonly op: 'subscribed'
      readonly token: number
      readonly topicId: number
      readonly epoch: string
      readonly startSeq: number
      readonly lastSeq: number
      readonly recovered: boolean | null
    }
  /** Every topic that the pattern matches so far has been told. */
  | { readonly op: 'patternSubscribed'; readonly token: number }
  | { readonly op: 'topicDeleted'; readonly topicId: number; readonly topic: string }
  | {
      readonly op: 'refused'
      readonly token: number
      readonly replyId: number
      readonly message: string
    }
  | {
      readonly op: 'page'
      readonly token: number
      readonly topics: readonly TopicSummary[]
      /** Where the next page begins, or null when this was the last. */
      readonly next: number | null
    }
  | {
      readonly op: 'joined'
      readonly token: number
      readonly groupId: number
      readonly epoch: string
      readonly lastSeq: number
      readonly ackFloor: number
      readonly isNew: boolean
      readonly options: GroupOptions
    }
  /** Entries that the log dropped before the group was done with them. */
  | {
      readonly op: 'groupGap'
      readonly groupId: number
      readonly fromSeq: number
      readonly toSeq: number
      readonly dropped: number
    }
  /** The group is gone, and with it its members. */
  | { readonly op: 'groupDeleted'; readonly groupId: number; readonly isTopicGone: boolean }
  /** A PULL was set aside because it killed the shard: this subscription cannot go on. */
  | { readonly op: 'setAside'; readonly lag: number }

/** Options of one topic by their names on the wire, in the order in which a slot keeps them. */
export const TOPIC_OPTIONS = [
  'history_size',
  'history_bytes',
  'max_age_ms',
  'ttl_ms',
  'dedup_window_ms',
  'events',
] as const
export type TopicOption = (typeof TOPIC_OPTIONS)[number]
/** What a request or a rule says of a topic; `events` is 0 or 1. 0 turns the last four off. */
export type TopicOptions = { readonly [Name in TopicOption]?: number }

/** Options for every topic that the pattern matches. */
export interface TopicRule {
  readonly pattern: string
  readonly options: TopicOptions
}

export interface TopicSummary {
  readonly name: string
  readonly topicId: number
  readonly messages: number
  readonly held: number
}
