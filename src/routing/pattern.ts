/**
 * One pattern against one topic. To match a topic against many patterns see pattern-set.ts.
 * Runs on: any thread. Owns: nothing; a compiled pattern never changes.
 */

import { ANY_SEGMENTS, isReserved, ONE_SEGMENT, segmentsOf } from './topic-name.js'

export interface CompiledPattern {
  readonly text: string
  /** The topic comes split, see segmentsOf(), so that it is split once for many patterns. */
  matches(topicSegments: readonly string[]): boolean
}

/** Compiles a pattern that patternProblem() finds no fault in. */
export function compilePattern(pattern: string): CompiledPattern {
  const wanted = segmentsOf(pattern)
  const seesReserved = wanted[0] !== ONE_SEGMENT && wanted[0] !== ANY_SEGMENTS

  return {
    text: pattern,
    matches(topicSegments) {
      if (!seesReserved && isReserved(topicSegments[0] ?? '')) return false
      return segmentsMatch(wanted, topicSegments)
    },
  }
}

/**
 * Lets each # take as little as it can, and returns to the latest # when the rest does not fit: an
 * earlier one need never take more, as the latest can take whatever that would have left over. So
 * the work is of the order wanted × segments; plain backtracking is exponential in the number of #.
 */
function segmentsMatch(wanted: readonly string[], segments: readonly string[]): boolean {
  let wantedIndex = 0
  let segmentIndex = 0
  let resumeWanted = -1 // Just after the latest #; -1 until there is one.
  let resumeSegment = 0 // Where that # stops taking segments.

  while (segmentIndex < segments.length) {
    const want = wanted[wantedIndex]
    if (want === ANY_SEGMENTS) {
      wantedIndex += 1
      resumeWanted = wantedIndex
      resumeSegment = segmentIndex
    } else if (want !== undefined && (want === ONE_SEGMENT || want === segments[segmentIndex])) {
      wantedIndex += 1
      segmentIndex += 1
    } else if (resumeWanted !== -1) {
      resumeSegment += 1
      wantedIndex = resumeWanted
      segmentIndex = resumeSegment
    } else {
      return false
    }
  }

  while (wanted[wantedIndex] === ANY_SEGMENTS) wantedIndex += 1
  return wantedIndex === wanted.length
}
