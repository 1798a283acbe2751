/** `ringcast bench` as a process against a real broker: what it measures, writes and refuses. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readResults } from '../../bench/report/results-file.js'
import { startBroker } from '../broker/harness.js'
import { jsonLines, runHere, runProcess } from './harness.js'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ringcast-bench-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

test('bench measures groups of topics, patterns and a ramp, and writes every kind of report', async () => {
  const broker = await startBroker({ THREAD_TIMINGS: 'true', WORKERS: '2' })
  const path = folder()
  const files = {
    json: join(path, 'a.json'),
    hgrm: join(path, 'a.hgrm'),
    html: join(path, 'a.html'),
  }
  const { code, stdout, stderr } = await runProcess(
    [
      ...['bench', '--rate', '2000', '--publishers', '2', '--topics', '6', '--topic-groups', '2'],
      ...['--subscribers', '6', '--pattern-subscribers', '2', '--payload', '16'],
      ...['--ramp', '500ms', '--warm-up', '1s', '--duration', '2s'],
      ...['--json-file', files.json, '--hgrm', files.hgrm, '--html', files.html],
      ...['--fail-if', 'lost>0', '--fail-if', 'rate<1'],
    ],
    { RINGCAST_URL: broker.wsUrl },
  )
  expect({ code, stderr: stderr.split('\n')[0] }).toEqual({
    code: 0,
    stderr: '2 s after a warm-up of 1 s …',
  })
  expect(stdout).toMatch(/^delivered +[\d,]+ messages\/s\nlatency +p50 [\d.]+ ms, p90 /)
  expect(stdout).toMatch(/^thread .*\nfront .*\nshard-0 .*\nshard-1 .*\npublisher-0 .*\nsub/m)

  const file = readResults(files.json)
  const result = file.results[0]?.systems[0]?.runs[0]
  // Half a second of ramp is a quarter of a second less of messages; each is heard twice.
  expect(result?.published).toBe(2000 * 3 - 500)
  expect(result).toMatchObject({ received: 11_000, expected: 11_000, lost: 0, outOfOrder: 0 })
  expect(result?.server.config).toMatchObject({ WORKERS: '2', THREAD_TIMINGS: 'true' })
  expect(result?.course.map(({ second }) => second)).toEqual([-1, 0, 1])
  expect(result?.course.slice(1).map(({ published }) => published > 0)).toEqual([true, true])
  expect(result?.course.at(-1)?.server.rssMb).toBeGreaterThan(10)
  expect(readFileSync(files.hgrm, 'utf8')).toMatch(/^ +Value +Percentile/)
  const html = readFileSync(files.html, 'utf8')
  expect(html).toContain('every message came once and in order')
  expect(html.match(/<svg/g)).toHaveLength(7)

  const compared = await runHere(['bench', 'compare', files.json, files.json])
  expect(compared.code).toBe(0)
  expect(compared.stdout).toMatch(/^rate +([\d,]+) +\1 +×1\.00$/m)
  const json = await runHere(['bench', 'compare', files.json, files.json, '--json'])
  expect(jsonLines(json.stdout)).toMatchObject([{ name: 'command line / ringcast', warnings: [] }])
  expect((await broker.http('GET', '/topics')).body).toEqual({ topics: [] })
})

test('bench takes JSON, one publisher for many topics, large payloads, as fast as it gets', async () => {
  const broker = await startBroker()
  const { code, stdout } = await runProcess(
    [
      ...['bench', '--encoding', 'json', '--topics', '3', '--subscribers', '2', '--json'],
      ...['--payload', '60000', '--window', '20', '--duration', '300ms', '--warm-up', '0'],
    ],
    { RINGCAST_URL: broker.wsUrl },
  )
  expect(code).toBe(0)
  const [result] = jsonLines(stdout)
  expect(result).toMatchObject({ system: 'ringcast', lost: 0, repeated: 0, out_of_order: 0 })
  expect(result?.['received']).toBeGreaterThan(5)
})

test('bench ends with 3 when a condition holds, and says which', async () => {
  const broker = await startBroker()
  const { code, stderr } = await runProcess(
    [
      ...['bench', '--rate', '500', '--duration', '300ms', '--warm-up', '100ms'],
      ...['--fail-if', 'lost>0', '--fail-if', 'p50>1us'],
    ],
    { RINGCAST_URL: broker.wsUrl },
  )
  expect(code).toBe(3)
  expect(stderr).toMatch(/^ringcast: command line: p50>1us, it is \d+\.\d+ ms$/m)
  expect(stderr).not.toContain('lost>0')
})

test('bench --noise-floor runs the same load on a bare server beside', async () => {
  const broker = await startBroker()
  const { code, stdout } = await runProcess(
    [
      ...['bench', '--rate', '500', '--duration', '300ms', '--warm-up', '0', '--json'],
      '--noise-floor',
    ],
    { RINGCAST_URL: broker.wsUrl },
  )
  expect(code).toBe(0)
  expect(jsonLines(stdout)).toMatchObject([
    { system: 'ringcast', published: 150, received: 150 },
    { system: 'noise floor', published: 150, received: 150 },
  ])
})

test('bench compare of what is no file of results ends with 1', async () => {
  const file = join(folder(), 'none.json')
  const { code, stderr } = await runHere(['bench', 'compare', file, file])
  expect(code).toBe(1)
  expect(stderr).toMatch(/^ringcast: .*ENOENT.*\n$/)
})
