/**
 * What a group may be of, and its options with the one that has a language of its own: the filter.
 * Runs on: the front thread. Owns: nothing; pure.
 */
import { Refusal, Reply } from '../errors.js'
import { parseFilter } from '../filter/expression.js'
import { type GroupOptions, givenGroupOptions } from '../protocol/group-options.js'
import { DEAD_LETTERS, topicNameProblem } from '../routing/topic-name.js'

type Given = { -readonly [Name in keyof GroupOptions]?: GroupOptions[Name] }

/** The options that the fields give. Throws Refusal naming field and rule. */
export function checkedOptions(fields: Readonly<Record<string, unknown>>): Given {
  const given = givenGroupOptions(fields)
  if (given.filter !== undefined && given.filter !== '') parseFilter(given.filter)
  return { ...given }
}

/** Throws Refusal for a topic whose dead letters could have no topic. */
export function checkTopicOfGroup(topic: string): void {
  const problem = topicNameProblem(DEAD_LETTERS + topic)
  if (problem === undefined) return
  throw new Refusal(Reply.badRequest, `topic of a group, with $dlq. before it, ${problem}`)
}
