/**
 * What a SETTLE record says of a member's messages, done to its group.
 * Runs on: the shard. Owns: nothing.
 */
import type { Group } from '../groups/group.js'
import type { SettleKind } from '../groups/group-host.js'
import type { SharedViews } from '../ring/layout.js'
import { SettleRecord } from '../ring/record.js'

/** Returns how many messages the group was still waiting for. */
export function settleRecord(
  { ints, floats, buffer }: SharedViews,
  start: number,
  group: Group,
): number {
  const field = start >> 2
  const member = ints[field + SettleRecord.member] as number
  const kind = ints[field + SettleRecord.kind] as SettleKind
  const delayMs = ints[field + SettleRecord.delayMs] as number
  const ranges = ints[field + SettleRecord.ranges] as number
  const isUpTo = ints[field + SettleRecord.isUpTo] === 1
  const reasonStart = start + (ints[field + SettleRecord.reasonStart] as number)
  const reasonEnd = reasonStart + (ints[field + SettleRecord.reasonLength] as number)
  const reason = buffer.utf8Slice(reasonStart, reasonEnd)
  const delay = delayMs < 0 ? undefined : delayMs
  let settled = 0
  for (let range = 0; range < ranges; range++) {
    const at = ((start + SettleRecord.headerBytes) >> 3) + range * 2
    const [first, last] = [floats[at] as number, floats[at + 1] as number]
    settled += isUpTo
      ? group.ackUpTo(member, last)
      : group.settle(kind, member, first, last, delay, reason)
  }
  return settled
}
