/** Each system that is installed here, started and talked to through its own client. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import type { PeerReport } from '../../../bench/peers/report.js'
import { missing, SYSTEMS } from '../../../bench/peers/systems.js'

const COMMAND = fileURLToPath(new URL('../../../dist/bench/peers/run.js', import.meta.url))
/** RabbitMQ takes its time. */
const TEST_MS_MAX = 90_000
const run = promisify(execFile)

test.for(SYSTEMS)(
  '$name delivers everything once and in order',
  {
    timeout: TEST_MS_MAX,
  },
  async (system, { skip }) => {
    const absent = missing(system)
    if (absent !== undefined) skip(absent)
    const scenario = system.only?.[0] ?? 'medium-5k'
    const options = ['--systems', system.name, '--scenarios', scenario]
    await withReport(options, ({ comparisons: [one] }) => {
      const { result, failure } = one?.outcomes[scenario]?.[0] ?? {}
      expect(failure).toBeUndefined()
      expect(result?.received).toBeGreaterThan(0)
      expect(result).toMatchObject({
        received: result?.expected,
        lost: 0,
        repeated: 0,
        outOfOrder: 0,
      })
    })
  },
)

test(
  'a picture and tables can be made again from what was measured',
  async () => {
    const options = ['--systems', 'ringcast', '--scenarios', 'one-to-one']
    await withReport(options, async (_, { json, folder }) => {
      const plot = join(folder, 'again.svg')
      const { stdout } = await run(process.execPath, [COMMAND, '--from', json, '--plot', plot])
      expect(stdout).toContain('| ringcast, `publishNow` |')
      expect(readFileSync(plot, 'utf8')).toContain('ringcast, publishNow')
    })
  },
  TEST_MS_MAX,
)

async function withReport(
  options: readonly string[],
  check: (report: PeerReport, place: { json: string; folder: string }) => void | Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-peers-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const json = join(folder, 'result.json')
  const args = [COMMAND, '--runs', '1', '--seconds', '0.3', '--json', json, ...options]
  await run(process.execPath, args)
  await check(JSON.parse(readFileSync(json, 'utf8')) as PeerReport, { json, folder })
}
