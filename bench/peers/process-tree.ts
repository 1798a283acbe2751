/**
 * CPU time of a process and all that it has started, as Linux tells it: some servers are a shell
 * script that starts the server.
 * Runs on: the benchmark's main process. Owns: nothing. NaN elsewhere than on Linux.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { readProcessStats } from '../load/process-stats.js'

const DEPTH_MAX = 8

export function treeCpuSeconds(pid: number, depth = 0): number {
  const own = readProcessStats(pid).cpuSeconds
  if (depth === DEPTH_MAX) return own
  // A child that ended meanwhile counts nothing.
  return childrenOf(pid).reduce((sum, child) => sum + (treeCpuSeconds(child, depth + 1) || 0), own)
}

function childrenOf(pid: number): number[] {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`)
    const text = tasks.map((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8'))
    return text.join(' ').split(/\s+/).filter(Boolean).map(Number)
  } catch {
    return [] // Not Linux, or the process is gone.
  }
}
