import { type AddressInfo, createServer } from 'node:net'
import { expect, test } from 'vitest'
import { startBroker, waitUntil } from '../broker/harness.js'
import { jsonLines, runHere, runProcess, runShell, startProcess, untilPrinted } from './harness.js'

const QUIET = { HOST: '127.0.0.1', PORT: '0', WORKERS: '1' }

test('start runs a broker that health finds, and stops gracefully at Ctrl-C', async () => {
  const running = startProcess(['start'], QUIET)
  await untilPrinted(running, '"msg":"listening"')
  const [, port] = /"port":(\d+)/.exec(running.stdout) ?? []
  expect((await runHere(['health', '--url', `127.0.0.1:${port}`])).code).toBe(0)
  running.interrupt()
  const { code, stdout, stderr } = await running.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('"msg":"stopped"')
})

test('start names every mistake in the configuration and ends with 78', async () => {
  const { code, stderr } = await runProcess(['start'], { ...QUIET, WORKERS: '0' })
  expect(code).toBe(78)
  expect(stderr).toMatch(/WORKERS="0": must be .*\nringcast: the broker was not started\n$/)
})

test('pub and sub meet in a pipeline of the shell; head ends it', async () => {
  const { wsUrl } = await startBroker()
  const line =
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's.
    'seq 20000 | ringcast pub n --json && ringcast sub n --last 5000 --raw | head -1; echo "${PIPESTATUS[@]}"'
  const { stdout, stderr } = await runShell(line, { RINGCAST_URL: wsUrl })
  const [published = '', ...rest] = stdout.trim().split('\n')
  expect(jsonLines(published)).toMatchObject([{ published: 20_000, last_seq: 20_000 }])
  expect({ rest, stderr }).toEqual({ rest: ['15001', '0 0'], stderr: '' })
})

test('pub as a process that is interrupted while stdin stays open ends with 130', async () => {
  const broker = await startBroker()
  const running = startProcess(['pub', 'a'], { RINGCAST_URL: broker.wsUrl })
  running.child.stdin?.write('1\n2\n')
  await waitUntil(() => broker.broker.gateway.sessions.size === 1)
  await waitUntil(() => broker.broker.gateway.counters.get('framesReceived') > 0)
  running.interrupt()
  const { code, stdout, stderr } = await running.ended
  expect({ code, stderr }).toEqual({
    code: 130,
    stderr: 'ringcast: interrupted after 2 messages\n',
  })
  expect(stdout).toContain('published 2 messages to a: seq 1–2')
})

test('bench as a process measures, tells no promise broken, and takes its topics away', async () => {
  const broker = await startBroker()
  const env = { RINGCAST_URL: broker.wsUrl }
  const args = ['bench', '--duration', '500ms', '--topics', '2', '--publishers', '2']
  const { code, stdout } = await runProcess([...args, '--subscribers', '2', '--json'], env)
  expect(code).toBe(0)
  expect(jsonLines(stdout)).toMatchObject([{ lost: 0, repeated: 0, out_of_order: 0 }])
  expect(jsonLines(stdout)[0]?.['received']).toBeGreaterThan(100)
  const text = await runProcess(['bench', '--duration', '300ms', '--rate', '500'], env)
  expect(text.stdout).toMatch(/^delivered +\d+ messages\/s\nlatency +p50 [\d.]+ ms, /)
  expect((await broker.http('GET', '/topics')).body).toEqual({ topics: [] })
})

test('bench as a process ends with 130 at Ctrl-C and leaves no process behind', async () => {
  const broker = await startBroker()
  const running = startProcess(['bench', '--duration', '60s'], { RINGCAST_URL: broker.wsUrl })
  await waitUntil(() => broker.broker.gateway.sessions.size === 2)
  running.interrupt()
  expect(await running.ended).toMatchObject({ code: 130, stdout: '' })
  await waitUntil(() => broker.broker.gateway.sessions.size === 0)
})

test('bench ends with 69 when there is no broker', async () => {
  expect(await runHere(['bench', '--url', 'ws://127.0.0.1:9'])).toMatchObject({
    code: 69,
    stdout: '',
  })
})

test('sub as a process goes on where it was when its broker comes back', async () => {
  // Not port 0: what uSockets binds to that it does not make reusable, and TIME_WAIT would hold it.
  const port = String(await freePort())
  const first = startProcess(['start'], { ...QUIET, PORT: port })
  await untilPrinted(first, '"msg":"listening"')
  const url = `ws://127.0.0.1:${port}/ws`
  const sub = startProcess(['sub', 'a', '--last', '1', '--raw', '--url', url])
  await runHere(['pub', 'a', 'before', '--url', url])
  await untilPrinted(sub, 'before')
  first.child.kill('SIGKILL')
  await untilPrinted(sub, 'trying again')
  const second = startProcess(['start'], { ...QUIET, PORT: port })
  await untilPrinted(second, '"msg":"listening"')
  await untilPrinted(sub, 'a: the log began anew')
  await runHere(['pub', 'a', 'after', '--url', url])
  await untilPrinted(sub, 'after')
  sub.interrupt()
  expect(await sub.ended).toMatchObject({ code: 0, stdout: 'before\nafter\n' })
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
