/**
 * What a topic name and a pattern may look like: the only place that knows these rules.
 * Runs on: any thread; fit for browsers too, hence TextEncoder and not Buffer. Owns: nothing; pure.
 */

const TOPIC_BYTES_MIN = 1
export const TOPIC_BYTES_MAX = 255
export const TOPIC_SEGMENTS_MAX = 16

const SEPARATOR = '.'
/** In a pattern: exactly one segment. */
export const ONE_SEGMENT = '*'
/** In a pattern: zero or more segments. */
export const ANY_SEGMENTS = '#'

/** Names that begin with this belong to the broker. */
const RESERVED_PREFIX = '$'

/** Before the name of a topic: where its dead letters are. */
export const DEAD_LETTERS = '$dlq.'

/** With the u flag a surrogate that is half of a pair is not seen as one: only lone ones match. */
const LONE_SURROGATE = /\p{Surrogate}/u
/** Cc is C0, DEL and C1. Cf stays allowed: joined emoji and several scripts are spelt with it. */
const SPACE_OR_CONTROL = /[\s\p{Cc}]/u
const WILDCARD = /[*#]/

const utf8 = new TextEncoder()

/** Says which rule a name breaks, to follow the word "topic". Undefined when it breaks none. */
export function topicNameProblem(name: string): string | undefined {
  return textProblem(name) ?? (isPattern(name) ? 'must not contain * or #' : undefined)
}

/** As topicNameProblem(), for a pattern. Every topic name is also a pattern without wildcards. */
export function patternProblem(pattern: string): string | undefined {
  const problem = textProblem(pattern)
  if (problem !== undefined) return problem

  for (const segment of segmentsOf(pattern)) {
    if (segment.length > 1 && WILDCARD.test(segment)) {
      return 'must have * and # stand alone as a segment'
    }
  }
  return undefined
}

/** True when the text cannot be a topic name. It may still be ill-formed: see patternProblem(). */
export function isPattern(text: string): boolean {
  return WILDCARD.test(text)
}

/** True for names that clients may subscribe to, but not publish to. */
export function isReserved(name: string): boolean {
  return name.startsWith(RESERVED_PREFIX)
}

export function segmentsOf(topic: string): string[] {
  return topic.split(SEPARATOR)
}

/** The rules that both share. The size comes first: it bounds the work of the rest. */
function textProblem(text: string): string | undefined {
  const bytes = utf8.encode(text).length
  if (bytes < TOPIC_BYTES_MIN || bytes > TOPIC_BYTES_MAX) {
    return `must be ${TOPIC_BYTES_MIN} to ${TOPIC_BYTES_MAX} bytes of UTF-8, got ${bytes}`
  }
  // A lone surrogate has no UTF-8: it would turn into U+FFFD, so that two names became one topic.
  if (LONE_SURROGATE.test(text)) return 'must be well-formed Unicode, got a lone surrogate'
  if (SPACE_OR_CONTROL.test(text)) return 'must not contain white space or control characters'

  const segments = segmentsOf(text)
  if (segments.length > TOPIC_SEGMENTS_MAX) {
    return `must have at most ${TOPIC_SEGMENTS_MAX} segments, got ${segments.length}`
  }
  if (segments.includes('')) return 'must not have an empty segment'
  return undefined
}
