/**
 * The package as a user gets it: packed, installed in an empty folder, run by npx. Takes some 20 s, and
 * the registry (or npm's cache of it) for what the package depends on.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { version } from '../../src/version.js'
import { startBroker } from '../broker/harness.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const runFile = promisify(execFile)

test('the packed tarball, installed in an empty folder, gives npx ringcast and ringcast/client', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-pack-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  // What the tests themselves run is what is packed: built, and not built again under their feet.
  await npm(root, 'pack', '--ignore-scripts', '--pack-destination', folder)
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))
  writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}')
  await npm(folder, 'install', `./${tarball}`, '--prefer-offline', '--no-audit', '--no-fund')

  const npx = async (...args: string[]) =>
    (await npm(folder, 'exec', '--no', '--', 'ringcast', ...args)).stdout
  expect(await npx('--version')).toBe(`${version()}\n`)
  const { wsUrl, httpUrl } = await startBroker()
  expect(await npx('pub', 'orders', '{"id":1}', '--url', wsUrl)).toBe(
    'published to orders: seq 1\n',
  )
  expect(await npx('sub', 'orders', '--last', '1', '-n', '1', '--raw', '--url', httpUrl)).toBe(
    '{"id":1}\n',
  )
  const bench = await npx('bench', '--duration', '300ms', '--rate', '200', '--json', '--url', wsUrl)
  expect(JSON.parse(bench)).toMatchObject({ lost: 0, repeated: 0 })

  writeFileSync(
    join(folder, 'client.js'),
    `import { connect } from 'ringcast/client'
     const client = await connect(process.argv[2])
     console.log(await client.publish('orders', 2))
     client.close()`,
  )
  const client = await runFile(process.execPath, ['client.js', wsUrl], { cwd: folder })
  expect(client.stdout).toContain('seq: 2')

  // The broker itself: its binary, its workers.
  const bad = await npm(folder, 'exec', '--no', '--', 'ringcast', 'start').catch((error) => error)
  expect(bad.code).toBe(78)
}, 180_000)

function npm(cwd: string, ...args: string[]) {
  const { npm_execpath: given = '' } = process.env
  const [file, before] = /\.c?js$/.test(given) ? [process.execPath, [given]] : ['npm', []]
  // PORT: so that `start` says what it thinks of it and ends.
  return runFile(file, [...before, ...args], { cwd, env: { ...process.env, PORT: 'none' } })
}
