/**
 * What the HTTP door asks of consumer groups, from method, path and body.
 * Runs on: the front thread. Owns: nothing; pure.
 *
 *   GET    /topics/{t}/groups                     all groups of the topic
 *   POST   /topics/{t}/groups                     {name, options…, start}: make one
 *   GET    /topics/{t}/groups/{g}                 what it has under way, its members, its options
 *   PATCH  /topics/{t}/groups/{g}                 change options
 *   DELETE /topics/{t}/groups/{g}
 *   POST   /topics/{t}/groups/{g}/pause | resume
 *   POST   /topics/{t}/groups/{g}/reset           {from_seq | since | last_n | start}
 */
import { checkedGroupName } from '../protocol/group-options.js'
import { groupStartOf } from '../protocol/subscribe-options.js'
import type { GroupAction } from '../ring/record.js'
import { checkedOptions } from './group-options.js'

type Fields = Readonly<Record<string, unknown>>

/** undefined: there is nothing at this path. Throws Refusal. */
export function groupAction(
  method: string,
  rest: readonly string[],
  body: () => Fields,
  nowMs: number,
): GroupAction | { readonly allow: string } | undefined {
  const [name, verb, ...more] = rest
  if (more.length > 0) return undefined
  if (name === undefined) {
    if (method === 'GET') return { do: 'list' }
    if (method !== 'POST') return { allow: 'GET, POST' }
    const fields = body()
    const group = checkedGroupName(fields['name'], 'name')
    const options = checkedOptions(fields)
    return { do: 'create', group, options, start: groupStartOf(fields, nowMs) }
  }
  const group = checkedGroupName(name, 'group')
  if (verb === undefined) {
    if (method === 'GET') return { do: 'info', group }
    if (method === 'DELETE') return { do: 'delete', group }
    if (method === 'PATCH') return { do: 'update', group, options: checkedOptions(body()) }
    return { allow: 'GET, PATCH, DELETE' }
  }
  if (verb !== 'pause' && verb !== 'resume' && verb !== 'reset') return undefined
  if (method !== 'POST') return { allow: 'POST' }
  if (verb === 'reset') return { do: 'reset', group, start: groupStartOf(body(), nowMs) }
  return { do: verb, group }
}
