/**
 * Where a group and its members stand in shared memory, so that a successor finds them again.
 * Runs on: the shard (the only writer and, while it lives, the only reader). Owns: nothing.
 *
 *   group slot   offset  field         type  meaning
 *                0       state         i32   0 free, 1 in use; stored last when a group is made
 *                4       groupId       i32   number of this group in this shard; never used again
 *                8       topicId       i32
 *                12      isPaused      i32
 *                16      nameBytes     i32
 *                20      options       i32   which of the two texts of options holds: 0 or 1
 *                24      table         i32   which of the two table descriptors holds: 0 or 1
 *                28      loss          i32   which of the two copies of what was lost holds: 0 or 1
 *                32      tables        2 ×   address, bytes (i32 each) of the table of outstanding entries
 *                48      cursor        f64   first seq that the group has not taken yet
 *                56      lastActiveMs  f64   when it last had a member, or did anything
 *                64      tallies       f64 × 6, see TALLIES
 *                128     name          128 B UTF-8
 *                256     losses        2 × 48 B, see loss.ts
 *                352     texts         2 × 1536 B: int32 length, then the options as JSON
 *
 *   member slot  0       memberId      i32   0: free; stored last when a member joins
 *                4       groupId       i32
 *                8       format        i32
 *                12      maxInFlight   i32
 *                16      isPaused      i32
 *                20      nameBytes     i32
 *                24      name          128 B UTF-8, its label
 */
import { CLIENT_ID_BYTES_MAX } from '../protocol/limits.js'

export const GROUP_SLOT_BYTES = 3456
export const STATE = 0
export const GROUP_ID = 4
export const TOPIC_ID = 8
export const IS_PAUSED = 12
export const NAME_BYTES = 16
export const OPTIONS = 20
export const TABLE = 24
export const LOSS = 28
export const TABLES = 32
export const TABLE_DESCRIPTOR_BYTES = 8
export const CURSOR = 48
export const LAST_ACTIVE_MS = 56
export const TALLIES_OFFSET = 64
export const NAME = 128
export const LOSSES = 256
export const LOSS_BYTES = 48
export const TEXTS = 352
export const TEXT_BYTES = 1536

export const SLOT_FREE = 0
export const SLOT_USED = 1

/** What a group counts over its lifetime, in the order in which the slot holds it. */
export const TALLIES = [
  'delivered',
  'redelivered',
  'acked',
  'dead_lettered',
  'expired',
  'lost',
] as const
export type Tally = (typeof TALLIES)[number]

export const MEMBER_ID = 0
export const MEMBER_GROUP_ID = 4
export const MEMBER_FORMAT = 8
export const MEMBER_MAX_IN_FLIGHT = 12
export const MEMBER_IS_PAUSED = 16
export const MEMBER_NAME_BYTES = 20
export const MEMBER_NAME = 24
export const MEMBER_SLOT_BYTES = MEMBER_NAME + CLIENT_ID_BYTES_MAX
