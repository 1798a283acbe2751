/**
 * CPU time and memory of another process, as Linux tells them.
 * Runs on: the coordinator. Owns: nothing. Elsewhere than on Linux everything is NaN.
 */
import { readdirSync, readFileSync } from 'node:fs'

/** The kernel's unit for CPU times; 100 a second on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100
const USER_TICKS_FIELD = 11
const KIB_PER_MB = 1e6 / 1024

export interface ProcessStats {
  readonly cpuSeconds: number
  readonly rssMb: number
  readonly rssPeakMb: number
}

export function readProcessStats(pid: number): ProcessStats {
  const status = readProc(pid, 'status')
  return {
    cpuSeconds: cpuSecondsOf(readProc(pid, 'stat')),
    rssMb: statusMb(status, 'VmRSS'),
    rssPeakMb: statusMb(status, 'VmHWM'),
  }
}

/** CPU time that everything on this machine has used so far, the time of waiting not counted. */
export function machineCpuSeconds(): number {
  const [user, nice, system, , , irq, softIrq, steal] = readProc('', 'stat')
    .slice('cpu'.length)
    .trimStart()
    .split(/\s+/, 8)
    .map(Number)
  const ticks = [user, nice, system, irq, softIrq, steal]
  return ticks.reduce<number>((sum, value) => sum + (value ?? Number.NaN), 0) / TICKS_PER_SECOND
}

/** Open files that a process of this kind may have; Infinity where it cannot be told. */
export function openFilesMax(pid: number | 'self'): number {
  const limit = /^Max open files\s+(\S+)/m.exec(readProc(pid, 'limits'))?.[1]
  return limit === undefined || limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit)
}

/** Of one thread of that process. */
export function threadCpuSeconds(pid: number, tid: number): number {
  return cpuSecondsOf(readProc(pid, `task/${tid}/stat`))
}

function cpuSecondsOf(stat: string): number {
  // The second field is the name in parentheses and may hold spaces: count from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[USER_TICKS_FIELD]) + Number(fields[USER_TICKS_FIELD + 1])
  return ticks / TICKS_PER_SECOND
}

export function threadCount(pid: number): number {
  return Number(/^Threads:\s+(\d+)/m.exec(readProc(pid, 'status'))?.[1])
}

/** Open file descriptors: sockets, pipes, files. NaN where it cannot be told. */
export function openFiles(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return Number.NaN
  }
}

function statusMb(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / KIB_PER_MB
}

function readProc(pid: number | 'self' | '', file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return '' // Not Linux, or the process is gone: the callers' numbers become NaN.
  }
}
