/**
 * The kinds of moves, as numbers in the journal: they stay the same for ever.
 * Runs on: the shard. Owns: nothing.
 */
export const MoveKind = {
  /** From a group to the dead letters of its topic. */
  deadLetter: 10,
  /** From the dead letters back to the topic. */
  replay: 11,
  /** The same, kept until it is due. */
  replayLater: 12,
} as const
