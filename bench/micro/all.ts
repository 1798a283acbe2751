/**
 * Every group of micro-benchmarks by name, in the order of a message's journey.
 * Runs on: whoever runs the benchmarks. Owns: the list.
 */
import { type MicroResult, type Mode, measure } from './case.js'
import { codec } from './codec.js'
import { limits } from './limits.js'
import { copy, log } from './log.js'
import { matcher } from './matcher.js'
import { doorbell, ring } from './ring.js'

/** Made when they are run: each takes memory, and one of them starts a thread. */
export const GROUPS = { codec, matcher, ring, doorbell, log, copy, limits } as const

export type GroupName = keyof typeof GROUPS

export function isGroupName(name: string): name is GroupName {
  return Object.hasOwn(GROUPS, name)
}

export async function runGroup(name: GroupName, mode: Mode): Promise<MicroResult[]> {
  const group = GROUPS[name]()
  try {
    return await measure(group, mode)
  } finally {
    await group.close?.()
  }
}
