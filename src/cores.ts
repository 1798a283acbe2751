/**
 * How many cores this process may use: the cgroup's CPU quota when there is one, else what the system offers.
 * `os.availableParallelism()` alone does not see quotas: in a container with 2 of 64 cores it says 64, and 63
 * shards would fight for 2 cores.
 * Runs on: the main thread, once at start.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

const CGROUP_ROOT = '/sys/fs/cgroup'
/** Where version 1 mounts the CPU controller; the name differs between distributions. */
const V1_MOUNTS = ['cpu', 'cpu,cpuacct', 'cpuacct,cpu']

export type ReadText = (path: string) => string | undefined

/** A quota of 1.5 cores counts as 2: two threads that mostly wait use it better than one. */
export function availableCores(
  readText: ReadText = readTextFile,
  offered = availableParallelism(),
): number {
  return Math.max(1, Math.min(offered, Math.ceil(quotaCores(readText))))
}

/** The least quota of our cgroup and those around it; Infinity when none of them has one. */
function quotaCores(readText: ReadText): number {
  let least = Number.POSITIVE_INFINITY
  for (const line of (readText('/proc/self/cgroup') ?? '').split('\n')) {
    // `0::/path` in version 2, `4:cpu,cpuacct:/path` in version 1.
    const [id, controllers, ...rest] = line.split(':')
    const path = rest.join(':')
    if (id === '0' && controllers === '') {
      for (const folder of foldersUpFrom(path)) {
        least = Math.min(least, quotaV2(readText(`${CGROUP_ROOT}${folder}/cpu.max`)))
      }
    } else if (controllers?.split(',').includes('cpu')) {
      for (const mount of V1_MOUNTS) {
        for (const folder of foldersUpFrom(path)) {
          const base = `${CGROUP_ROOT}/${mount}${folder}`
          least = Math.min(
            least,
            quotaV1(readText(`${base}/cpu.cfs_quota_us`), readText(`${base}/cpu.cfs_period_us`)),
          )
        }
      }
    }
  }
  return least
}

/** `/a/b` → `/a/b`, `/a`, ``. Inside a container the path may be the host's and lead nowhere; the root always exists. */
function foldersUpFrom(path: string): string[] {
  const segments = path.split('/').filter((segment) => segment !== '')
  return [...segments.keys(), segments.length].reverse().map((length) =>
    segments
      .slice(0, length)
      .map((segment) => `/${segment}`)
      .join(''),
  )
}

/** `150000 100000` is 1.5 cores; `max 100000` is no limit. */
function quotaV2(text: string | undefined): number {
  const [quota, period] = (text ?? '').trim().split(' ')
  return ratio(Number(quota), Number(period))
}

/** A quota of −1 is no limit. */
function quotaV1(quota: string | undefined, period: string | undefined): number {
  return ratio(Number(quota), Number(period))
}

function ratio(quota: number, period: number): number {
  return quota > 0 && period > 0 ? quota / period : Number.POSITIVE_INFINITY
}

function readTextFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined // No such cgroup version, or not Linux.
  }
}
