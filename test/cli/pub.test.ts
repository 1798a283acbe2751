import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { startBroker, waitUntil } from '../broker/harness.js'
import { jsonLines, runHere, runProcess, startHere } from './harness.js'

type History = { messages: { payload: unknown; headers?: unknown }[] }

async function payloads(broker: Awaited<ReturnType<typeof startBroker>>, topic: string) {
  const { body } = await broker.http('GET', `/topics/${topic}/messages?last_n=1000`)
  return (body as unknown as History).messages.map(({ payload }) => payload)
}

test('pub publishes its argument, as JSON if it is JSON and as a string if not', async () => {
  const broker = await startBroker()
  const to = ['--url', broker.wsUrl]
  expect(await runHere([...to, 'pub', 'orders', '{"id":1}'])).toEqual({
    code: 0,
    stdout: 'published to orders: seq 1\n',
    stderr: '',
  })
  await runHere(['pub', 'orders', 'hello', ...to])
  await runHere(['pub', 'orders', '5', '--format', 'text', ...to])
  await runHere(['pub', 'orders', ...to, '--', '-5'])
  expect(await payloads(broker, 'orders')).toEqual([{ id: 1 }, 'hello', '5', -5])
})

test('pub as a process publishes the lines of stdin in order, and skips empty ones', async () => {
  const broker = await startBroker()
  const lines = Array.from({ length: 3000 }, (_, i) => `{"n":${i}}`).join('\n')
  const env = { RINGCAST_URL: broker.httpUrl }
  const ended = await runProcess(['pub', 'orders', '--json'], env, `${lines}\n\n`)
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  expect(jsonLines(ended.stdout)).toMatchObject([
    { topic: 'orders', published: 3000, first_seq: 1, last_seq: 3000 },
  ])
  const newest = await payloads(broker, 'orders')
  expect(newest).toEqual(Array.from({ length: 1000 }, (_, i) => ({ n: 2000 + i })))
})

test('pub --count repeats an argument and bounds the lines of stdin', async () => {
  const broker = await startBroker()
  const to = ['--url', broker.wsUrl]
  const repeated = await runHere(['pub', 'a', 'x', '--count', '3', ...to])
  expect(repeated.stdout).toMatch(/^published 3 messages to a: seq 1–3, /)
  const stdin = new PassThrough() // Never ends.
  stdin.write('1\n2\n3\n')
  const bounded = await runHere(['pub', 'b', '-n', '2', ...to], { stdin })
  expect(bounded).toMatchObject({ code: 0, stderr: '' })
  expect(await payloads(broker, 'b')).toEqual([1, 2])
})

test('pub --file publishes the whole file as one message, with headers', async () => {
  const broker = await startBroker()
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'invoice.json')
  writeFileSync(file, '{\n  "sum": 9.5\n}\n')
  const args = ['pub', 'invoices', '--file', file, '-H', 'from=shop', '-H', 'a=b=c']
  expect((await runHere([...args, '--url', broker.wsUrl])).code).toBe(0)
  const { body } = await broker.http('GET', '/topics/invoices/messages?last_n=1')
  expect((body as unknown as History).messages).toMatchObject([
    { payload: { sum: 9.5 }, headers: { from: 'shop', a: 'b=c' } },
  ])
})

test('pub --rate spreads the messages over time', async () => {
  const { wsUrl } = await startBroker()
  const startedMs = performance.now()
  const ended = await runHere(['pub', 'a', 'x', '-n', '6', '--rate', '20', '--url', wsUrl])
  expect(ended.code).toBe(0)
  expect(performance.now() - startedMs).toBeGreaterThan(245)
})

test('pub shows its progress on a terminal, and takes it away', async () => {
  const { wsUrl } = await startBroker()
  const args = ['pub', 'a', 'x', '-n', '6', '--rate', '20', '--url', wsUrl]
  const { stdout, stderr } = await runHere(args, { terminal: { columns: 80, rows: 24 } })
  expect(stderr).toMatch(/█+░+ \d+ % {2}\d\/6/)
  expect(stderr.endsWith('\r\x1b[K')).toBe(true)
  expect(stdout).toContain('published 6 messages')
})

test('pub says what the broker refused, how many came before, and ends with 1', async () => {
  const { wsUrl } = await startBroker({ MAX_PAYLOAD_BYTES: '100' })
  const stdin = new PassThrough() // Idle after the refusal: pub must not wait for more.
  const running = startHere(['pub', 'a', '--rate', '50', '--url', wsUrl], { stdin })
  stdin.write(`1\n2\n${'x'.repeat(200)}\n`)
  const ended = await running.ended
  expect(ended.code).toBe(1)
  expect(ended.stdout).toContain('published 2 messages to a')
  expect(ended.stderr).toMatch(/PAYLOAD_TOO_LARGE\); 2 messages before it were stored\n$/)
})

test('pub --format json names the line that is no JSON, and ends with 2', async () => {
  const broker = await startBroker()
  const args = ['pub', 'a', '--format', 'json', '--url', broker.wsUrl]
  const ended = await runHere(args, { stdin: '1\n{"a":\n3\n' })
  expect(ended.code).toBe(2)
  expect(ended.stderr).toMatch(
    /^ringcast: line 2 is no JSON: .*; 1 messages before it were stored\n$/,
  )
  expect(await payloads(broker, 'a')).toEqual([1])
})

test('pub ends with 2 for a payload given twice and for a file that is not there', async () => {
  const twice = await runHere(['pub', 'a', 'x', '--file', 'y'])
  expect(twice).toMatchObject({
    code: 2,
    stderr: 'ringcast: a payload and --file exclude each other\n',
  })
  const missing = await runHere(['pub', 'a', '--file', '/nowhere/x'])
  expect(missing.code).toBe(2)
  expect(missing.stderr).toMatch(/^ringcast: cannot read the file: ENOENT/)
})

test('pub that is interrupted waits for what is under way, says how much, and ends with 130', async () => {
  const broker = await startBroker()
  const args = ['pub', 'a', 'x', '-n', '1000', '--rate', '50', '--url', broker.wsUrl]
  const running = startHere(args)
  await waitUntil(() => broker.broker.gateway.sessions.size === 1)
  await new Promise((resolve) => setTimeout(resolve, 200))
  running.interrupt()
  const { code, stdout, stderr } = await running.ended
  expect(code).toBe(130)
  const [, count] = /interrupted after (\d+) messages/.exec(stderr) ?? []
  expect(stdout).toContain(`published ${count} messages`)
  expect((await payloads(broker, 'a')).length).toBe(Number(count))
})

test('pub gives properties, and says when what is delayed will come', async () => {
  const broker = await startBroker()
  const to = ['--url', broker.wsUrl]
  const properties = ['--key', 'k', '--priority', 'high', '--ttl', '1h']
  await runHere(['pub', 'orders', '1', ...properties, ...to])
  const { body } = await broker.http('GET', '/topics/orders/messages')
  const [message] = (body as unknown as History).messages
  expect(message).toMatchObject({ payload: 1, key: 'k', priority: 'high', ttl_ms: 3_600_000 })
  const { stdout } = await runHere(['pub', 'orders', '2', '--delay', '1h', ...to])
  expect(stdout).toMatch(/^scheduled a message for orders: \d{4}-\d\d-\d\dT/)
  const json = await runHere(['pub', 'orders', '3', '--delay', '1h', '--json', ...to])
  expect(jsonLines(json.stdout)).toMatchObject([
    { published: 1, first_seq: null, last_seq: null, deliver_at: expect.stringMatching(/Z$/) },
  ])
  const refused = await runHere(['pub', 'orders', '2', '--priority', 'urgent', ...to])
  expect(refused.code).toBe(2)
})
