/**
 * The options of a group with the one that has a language of its own: the filter.
 * Runs on: the front thread. Owns: nothing; pure.
 */
import { parseFilter } from '../filter/expression.js'
import { type GroupOptions, givenGroupOptions } from '../protocol/group-options.js'

type Given = { -readonly [Name in keyof GroupOptions]?: GroupOptions[Name] }

/** The options that the fields give. Throws Refusal naming field and rule. */
export function checkedOptions(fields: Readonly<Record<string, unknown>>): Given {
  const given = givenGroupOptions(fields)
  if (given.filter !== undefined && given.filter !== '') parseFilter(given.filter)
  return { ...given }
}
