/**
 * Everything that threads share, allocated once by the main thread at start.
 *
 *   common   one for the broker
 *   ┌──────────────┬───────────┬──────────────┬──────────────────────────────────────────┐
 *   │ gateway bell │ stop flag │ topic counts │ counters and timings: gateway, shard 0…n │
 *   └──────────────┴───────────┴──────────────┴──────────────────────────────────────────┘
 *
 *   shard i  one each, and one buffer for all its parts: copying between parts of one buffer is
 *            copyWithin, which needs no view objects (33 ns for 40 B, against 57 ns with set())
 *   ┌────────────┬──────────────┬───────────────┬───────────┬──────────┬──────────────────┐
 *   │ control    │ inbound ring │ outbound ring │ directory │ patterns │ blocks: logs     │
 *   │ shard bell │ gateway→shard│ shard→gateway │ of topics │ filters… │ and their index  │
 *   │ journal    │              │               │           │          │                  │
 *   └────────────┴──────────────┴───────────────┴───────────┴──────────┴──────────────────┘
 *
 * All of it outlives the shard's thread; that is why a successor can take over. Untouched pages
 * cost nothing: the system maps them when they are first written.
 */
import { GROUP_SLOT_BYTES, MEMBER_SLOT_BYTES } from './groups/layout.js'
import { SLOT_BYTES } from './log/slot.js'
import { align, LINE_BYTES, ringBytes } from './ring/layout.js'
import { COUNTER_BLOCK_BYTES } from './telemetry/counters.js'
import { THREAD_TIMINGS_BYTES } from './telemetry/thread-timings.js'

/** Byte offsets in the common buffer; each word on a line of its own. */
export const GATEWAY_BELL = 0
export const STOP_FLAG = LINE_BYTES
/** int32 per shard, written by that shard alone: how many topics it holds. */
const TOPIC_COUNTS = 2 * LINE_BYTES
export const WORKERS_MAX = 64
const COUNTERS = TOPIC_COUNTS + WORKERS_MAX * 4

/** Byte offset of a thread's counters; 0 is the gateway, i + 1 is shard i. */
export function countersOffset(thread: number): number {
  return COUNTERS + thread * (COUNTER_BLOCK_BYTES + THREAD_TIMINGS_BYTES)
}

/** Byte offset of a thread's timings, behind its counters. All zero unless THREAD_TIMINGS is on. */
export function timingsOffset(thread: number): number {
  return countersOffset(thread) + COUNTER_BLOCK_BYTES
}

export function setTopicCount(common: Int32Array, shard: number, count: number): void {
  Atomics.store(common, (TOPIC_COUNTS >> 2) + shard, count)
}

/**
 * Topics in the whole broker. Two shards that create one at the same moment may both find room for
 * the last: MAX_TOPICS can be passed by one topic per shard, never by more.
 */
export function topicCount(common: Int32Array): number {
  let count = 0
  for (let shard = 0; shard < WORKERS_MAX; shard++) {
    count += Atomics.load(common, (TOPIC_COUNTS >> 2) + shard)
  }
  return count
}

/** Byte offsets in a shard's control block. */
export const SHARD_BELL = 0
/** int32, written by the shard: counts its turns, so that the supervisor sees that the thread moves. */
export const HEARTBEAT = LINE_BYTES
/** int32, written by the shard: the id of its thread, so that the supervisor can end a stuck one. */
export const THREAD_ID = LINE_BYTES + 4
export const JOURNAL = 2 * LINE_BYTES
/** The journal's fixed fields and one float64 result per record of a batch. */
export const BATCH_RECORDS_MAX = 256
const CONTROL_BYTES = JOURNAL + 2 * LINE_BYTES + BATCH_RECORDS_MAX * 8

export const PATTERN_SLOT_BYTES = 320
/** One filter: its id, and its text of at most FILTER_BYTES_MAX. */
export const FILTER_SLOT_BYTES = 1088
/** One topic that plain subscriptions read through one filter. */
export const INTEREST_SLOT_BYTES = 16
const INTEREST_SLOTS = 16_384
/** Routing rules of the broker; one of the largest fits a slot. */
export const ROUTES_MAX = 100
export const ROUTE_SLOT_BYTES = 6208
/** One message that is kept for later (shard/delayed.ts). */
export const DELAYED_SLOT_BYTES = 64
const DELAYED_SLOTS_DEFAULT = 1024

/** Where the parts of one shard's memory begin, and how large they are. Plain data: it is posted. */
export interface ShardLayout {
  readonly ringCapacity: number
  readonly inbound: number
  readonly outbound: number
  readonly directory: number
  readonly directorySlots: number
  readonly patterns: number
  readonly patternSlots: number
  readonly groups: number
  readonly groupSlots: number
  readonly members: number
  readonly memberSlots: number
  readonly filters: number
  readonly filterSlots: number
  readonly interest: number
  readonly interestSlots: number
  readonly routes: number
  readonly routeSlots: number
  /** int32: number of the last chunk of routed copies. */
  readonly routeCounter: number
  readonly delayed: number
  readonly delayedSlots: number
  readonly blocks: number
  readonly blockBytes: number
}

/** What a shard's thread is given: shared buffers and where things are in them. */
export interface ShardMemory {
  readonly shard: number
  readonly common: SharedArrayBuffer
  readonly memory: SharedArrayBuffer
  readonly layout: ShardLayout
}

export interface MemoryPlan {
  readonly workers: number
  readonly ringBytes: number
  readonly maxTopics: number
  readonly maxPatterns: number
  readonly maxGroups: number
  readonly maxGroupMembers: number
  readonly maxFilters: number
  readonly maxDelayedMessages?: number
  readonly logMemoryBytes: number
}

export function allocateSharedMemory(plan: MemoryPlan): ShardMemory[] {
  const common = new SharedArrayBuffer(countersOffset(plan.workers + 1))
  const { layout, bytes } = planShard(plan)
  return Array.from({ length: plan.workers }, (_, shard) => ({
    shard,
    common,
    memory: new SharedArrayBuffer(bytes),
    layout,
  }))
}

/** Bytes that shared memory can grow to, all threads together. */
export function sharedMemoryCeiling(plan: MemoryPlan): number {
  return countersOffset(plan.workers + 1) + plan.workers * planShard(plan).bytes
}

function planShard(plan: MemoryPlan): { layout: ShardLayout; bytes: number } {
  let next = 0
  const take = (bytes: number) => {
    const start = next
    next = align(next + bytes, LINE_BYTES)
    return start
  }
  take(CONTROL_BYTES)
  const delayedSlots = plan.maxDelayedMessages ?? DELAYED_SLOTS_DEFAULT
  // The hash may put any share of topics on one shard, so each has a slot for all of them.
  const layout = {
    ringCapacity: plan.ringBytes,
    inbound: take(ringBytes(plan.ringBytes)),
    outbound: take(ringBytes(plan.ringBytes)),
    directory: take(plan.maxTopics * SLOT_BYTES),
    directorySlots: plan.maxTopics,
    patterns: take(plan.maxPatterns * PATTERN_SLOT_BYTES),
    patternSlots: plan.maxPatterns,
    groups: take(plan.maxGroups * GROUP_SLOT_BYTES),
    groupSlots: plan.maxGroups,
    members: take(plan.maxGroupMembers * MEMBER_SLOT_BYTES),
    memberSlots: plan.maxGroupMembers,
    filters: take(plan.maxFilters * FILTER_SLOT_BYTES),
    filterSlots: plan.maxFilters,
    interest: take(INTEREST_SLOTS * INTEREST_SLOT_BYTES),
    interestSlots: INTEREST_SLOTS,
    // One slot more: a rule is written beside the one that it replaces.
    routes: take((ROUTES_MAX + 1) * ROUTE_SLOT_BYTES),
    routeSlots: ROUTES_MAX + 1,
    routeCounter: take(4),
    delayed: take(delayedSlots * DELAYED_SLOT_BYTES),
    delayedSlots,
    blockBytes: Math.floor(plan.logMemoryBytes / plan.workers / LINE_BYTES) * LINE_BYTES,
    blocks: next,
  }
  return { layout, bytes: next + layout.blockBytes }
}
