/**
 * The commit to compare with, checked out and built beside the working tree.
 * Runs on: the benchmark's main process. Owns: a temporary git worktree, removed in any case.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** From dist/bench/regress. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const MAIN_BRANCH = 'origin/main'

/** There is nothing to compare with; the message says why, and what to do. */
export class NoBaseError extends Error {}

export interface BaseTree {
  readonly commit: string
  /** The compiled broker. */
  readonly module: string
  remove(): void
}

/**
 * The full hash of `wanted`; without it where this branch left the main one, or, on the main branch
 * itself, the last commit: HEAD if the working tree differs from it, else the one before.
 */
export function findBase(wanted: string | undefined, root = ROOT): string {
  if (tryGit(root, 'rev-parse', '--is-inside-work-tree') !== 'true') {
    throw new NoBaseError('no base to compare with: git, or a clone made by it, is missing')
  }
  if (wanted !== undefined) return commitOf(root, wanted)
  const head = commitOf(root, 'HEAD')
  const fork = tryGit(root, 'merge-base', 'HEAD', MAIN_BRANCH)
  if (fork !== undefined && fork !== head) return fork
  const isClean = tryGit(root, 'status', '--porcelain', '--untracked-files=no') === ''
  return isClean ? commitOf(root, 'HEAD~1') : head
}

function commitOf(root: string, ref: string): string {
  const commit = tryGit(root, 'rev-parse', '--verify', '--quiet', `${ref}^{commit}`)
  if (commit !== undefined) return commit
  const isShallow = tryGit(root, 'rev-parse', '--is-shallow-repository') === 'true'
  const advice = isShallow
    ? 'this clone is shallow: `git fetch --unshallow` gets the rest'
    : '`--base` takes any commit, branch or tag of this clone'
  throw new NoBaseError(`no base to compare with: there is no commit ${ref} here; ${advice}`)
}

/** Checks the commit out into a temporary folder and builds it. */
export function buildBase(commit: string): BaseTree {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-base-'))
  const tree = join(folder, 'tree')
  const remove = () => {
    process.off('exit', remove)
    tryGit(ROOT, 'worktree', 'remove', '--force', tree)
    rmSync(folder, { recursive: true, force: true })
    tryGit(ROOT, 'worktree', 'prune')
  }
  process.once('exit', remove) // Ctrl-C, too: run.ts exits then.
  try {
    git(ROOT, 'worktree', 'add', '--detach', '--quiet', tree, commit)
    shareModules(tree)
    const prepare = join(tree, 'scripts', 'prepare.mjs')
    if (!existsSync(prepare)) {
      throw new NoBaseError(`no base to compare with: ${commit} is older than scripts/prepare.mjs`)
    }
    // Its output goes where progress goes: stdout is for the result.
    execFileSync(process.execPath, [prepare], { cwd: tree, stdio: ['ignore', 2, 2] })
    return { commit, module: join(tree, 'dist', 'src', 'main.js'), remove }
  } catch (error) {
    remove()
    throw error
  }
}

/** The same lock file means the same packages: no need to install them twice. Else prepare.mjs does. */
function shareModules(tree: string): void {
  const lockOf = (root: string) => readFileSync(join(root, 'package-lock.json'))
  if (lockOf(tree).equals(lockOf(ROOT))) {
    symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'))
  }
}

function git(cwd: string, ...args: string[]): string {
  return execFileSync('git', args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim()
}

function tryGit(cwd: string, ...args: string[]): string | undefined {
  try {
    return git(cwd, ...args)
  } catch {
    return undefined // No git, no repository, or no such commit.
  }
}
