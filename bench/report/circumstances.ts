/**
 * Where and when a run was made, for the files and for the line above its results.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

export interface Circumstances {
  readonly cpu: string
  readonly cores: number
  readonly memoryMb: number
  readonly kernel: string
  readonly node: string
  readonly commit: string
  readonly startedAt: string
}

export function circumstances(): Circumstances {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryMb: Math.round(totalmem() / 1e6),
    kernel: release(),
    node: process.version,
    commit: commit(),
    startedAt: new Date().toISOString(),
  }
}

export function circumstancesLine({ cpu, cores, node, commit, startedAt }: Circumstances): string {
  return `${cpu}, ${cores} cores, node ${node}, commit ${commit}, ${startedAt}`
}

/** The commit is that of the repository that this file lies in, wherever the command was called. */
const HERE = fileURLToPath(new URL('.', import.meta.url))

function commit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, {
      cwd: HERE,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  try {
    const dirty = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+changes'
    return `${git('rev-parse', '--short', 'HEAD')}${dirty}`
  } catch {
    return 'none' // No git, no repository, or no commit yet.
  }
}
