import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { findBase, NoBaseError } from '../../../bench/regress/base-tree.js'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ringcast-git-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

function git(cwd: string, ...args: string[]): string {
  const own = ['-c', 'user.name=t', '-c', 'user.email=t@example.org', '-c', 'commit.gpgsign=false']
  return execFileSync('git', [...own, ...args], { cwd, encoding: 'utf8', stdio: 'pipe' }).trim()
}

/** A repository with that many commits on main. Returns their hashes. */
function repository(commits: number): { root: string; hashes: string[] } {
  const root = folder()
  git(root, 'init', '--quiet', '--initial-branch=main')
  const hashes = Array.from({ length: commits }, (_, n) => commit(root, String(n)))
  return { root, hashes }
}

function commit(root: string, content: string): string {
  writeFileSync(join(root, 'file'), content)
  git(root, 'add', 'file')
  git(root, 'commit', '--quiet', '--message', content)
  return git(root, 'rev-parse', 'HEAD')
}

test('findBase() takes the commit before on the main branch, and HEAD when the tree differs', () => {
  const { root, hashes } = repository(3)
  git(root, 'update-ref', 'refs/remotes/origin/main', 'HEAD')
  expect(findBase(undefined, root)).toBe(hashes[1])
  writeFileSync(join(root, 'file'), 'changed')
  expect(findBase(undefined, root)).toBe(hashes[2])
})

test('findBase() takes the fork from origin/main on a branch', () => {
  const { root, hashes } = repository(2)
  git(root, 'update-ref', 'refs/remotes/origin/main', 'HEAD')
  commit(root, 'mine')
  commit(root, 'mine too')
  expect(findBase(undefined, root)).toBe(hashes[1])
})

test('findBase() takes any name of a commit', () => {
  const { root, hashes } = repository(3)
  git(root, 'tag', 'v1', 'HEAD~2')
  expect(findBase('v1', root)).toBe(hashes[0])
  expect(findBase(hashes[1]?.slice(0, 8), root)).toBe(hashes[1])
  expect(() => findBase('nothing', root)).toThrow(/no commit nothing here; `--base`/)
})

test('findBase() says what is missing: git, history, or the rest of a shallow clone', () => {
  expect(() => findBase(undefined, folder())).toThrow(/git, or a clone made by it, is missing/)
  expect(() => findBase(undefined, repository(1).root)).toThrow(NoBaseError)
  const { root } = repository(3)
  const clone = join(folder(), 'clone')
  git(root, 'clone', '--quiet', '--depth', '1', `file://${root}`, clone)
  expect(() => findBase(undefined, clone)).toThrow(/shallow: `git fetch --unshallow`/)
})
