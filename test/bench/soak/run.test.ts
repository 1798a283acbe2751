/** The real thing, for three seconds: promises are kept and everybody goes home. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'

const COMMAND = fileURLToPath(new URL('../../../dist/bench/run.js', import.meta.url))
const run = promisify(execFile)

test('a short soak run loses nothing, leaves nothing, and notes its samples', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-soak-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const json = join(folder, 'soak.json')
  const options = ['soak', '--minutes', '0.1', '--rate', '1000', '--json', json]
  const { stdout } = await run(process.execPath, [COMMAND, ...options], { timeout: 90_000 })
  expect(stdout).toMatch(/PASSED\n$/)
  const { outcome, judged } = JSON.parse(readFileSync(json, 'utf8'))
  expect(judged.complaints).toEqual([])
  expect(outcome.load).toMatchObject({ lost: 0, repeated: 0, outOfOrder: 0 })
  expect(outcome.load.received).toBe(outcome.load.published)
  expect(outcome.churn.connections).toBeGreaterThan(10)
  expect(outcome.churn.destroyed).toBeGreaterThan(0)
  expect(outcome.churn.topicsDeleted).toBeGreaterThan(0)
  expect(outcome.samples.length).toBeGreaterThan(0)
  for (const { frontHeapMb, shardHeapMb, threads, openFiles, connections } of outcome.samples) {
    for (const value of [frontHeapMb, shardHeapMb, threads, openFiles, connections]) {
      expect(value).toBeGreaterThan(0)
    }
  }
}, 100_000)

test('a check that is told nonsense says what it takes', async () => {
  const refused = await run(process.execPath, [COMMAND, 'soak', '--minutes', 'ten']).catch(
    (error: { code: number; stderr: string }) => error,
  )
  expect(refused).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--minutes VALUE +\(60\)/),
  })
})
