/**
 * One topic's place in the directory: everything that must outlive the thread that owns the topic.
 * Runs on: the shard (the only writer and, while it lives, the only reader; its successor reads it
 * after the thread has ended). Owns: SLOT_BYTES of shared memory.
 *
 *   offset  field         type  meaning
 *   0       state         i32   0 free, 1 in use; stored last when a topic is created
 *   4       topicId       i32   number of this topic in this shard; never used again
 *   8       nameBytes     i32   length of the name
 *   12      descriptor    i32   which of the two descriptors holds: 0 or 1
 *   16      plainFormats  i32   formats that plain subscriptions of the gateway need, bit per format
 *   20      features      i32   FEATURE_* bits: what entries of the topic may have
 *   24      lastSeq       f64   newest seq, 0 before the first entry
 *   32      firstSeq      f64   oldest seq held; lastSeq + 1 when none is
 *   40      lastTimeMs    f64   time of the newest entry; the times of a topic never go back
 *   48      expiredDueMs  f64   entries that expired have been counted and told up to this time,
 *   56      expiredSeq    f64   and of those that expired at this very time up to this seq
 *   64      descriptors   2 ×   dataOffset, dataBytes, indexOffset, indexSlots, tail, padStart (i32 each)
 *   128     epoch         16 B  ASCII
 *   144     name          255 B UTF-8
 *   400     options       6 ×   i32 each, in the order of TOPIC_OPTIONS; value + 1, 0: not given by a request
 *   424     expiredFrom   f64   entries [expiredFrom, expiredTo] left at the old end because they had
 *   432     expiredTo     f64   expired: nobody has lost them. Holds while expiredTo + 1 is firstSeq
 *   440     routedSeq     f64   newest seq that routing rules have looked at; what came of it is stored
 *
 * Growing a log writes the other descriptor whole and then flips `descriptor`: one store, so a
 * thread that dies in the middle leaves the old log intact.
 */
export const SLOT_BYTES = 448

export const STATE = 0
export const TOPIC_ID = 4
export const NAME_BYTES = 8
export const DESCRIPTOR = 12
export const PLAIN_FORMATS = 16
export const FEATURES = 20
export const LAST_SEQ = 24
export const FIRST_SEQ = 32
export const LAST_TIME_MS = 40
export const EXPIRED_DUE_MS = 48
export const EXPIRED_SEQ = 56
export const DESCRIPTORS = 64
export const DESCRIPTOR_BYTES = 24
export const EPOCH = 128
export const EPOCH_BYTES = 16
export const NAME = 144
export const NAME_BYTES_MAX = 255
export const OPTIONS = 400
export const EXPIRED_FROM = 424
export const EXPIRED_TO = 432
export const ROUTED_SEQ = 440

/** Fields of a descriptor, as int32 steps from its start. */
export const DATA_OFFSET = 0
export const DATA_BYTES = 1
export const INDEX_OFFSET = 2
export const INDEX_SLOTS = 3
export const TAIL = 4
export const PAD_START = 5

/** The log was given an entry with properties: an array of 7 (entry-properties.ts). */
export const FEATURE_PROPERTIES = 1
/** The log was given an entry that has a ttl of its own. */
export const FEATURE_TTL = 2

export const SLOT_FREE = 0
export const SLOT_USED = 1
