import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { JsonClient, startBroker } from '../broker/harness.js'
import { jsonLines, runHere, runProcess, startHere, untilPrinted } from './harness.js'

// biome-ignore lint/suspicious/noControlCharactersInRegex: escapes are what it finds.
const ESCAPE = /\x1b\[[\d;?]*[A-Za-z]/g

test('topics create, ls, info and rm do what they say, and say what they did', async () => {
  const { httpUrl, wsUrl } = await startBroker()
  const topics = (...args: string[]) => runHere(['topics', ...args, '--url', httpUrl])
  expect(await topics('ls')).toEqual({ code: 0, stdout: '', stderr: 'no topics yet\n' })
  expect((await topics('create', 'b', 'a')).stdout).toBe('b created\na created\n')
  expect((await topics('create', 'a')).stdout).toBe('a exists already\n')
  await runHere(['pub', 'a', 'x', '-n', '1200', '--url', wsUrl])
  const client = await JsonClient.connect(wsUrl)
  await client.ask({ type: 'subscribe', topic: 'a', client_id: 'shop' })
  expect((await topics('ls')).stdout).toBe(
    'TOPIC  MESSAGES   HELD  SUBSCRIBERS\na         1,200  1,200            1\nb             0      0            0\n',
  )
  const info = await topics('info', 'a')
  expect(info.stdout).toMatch(/^name {2,}a$/m)
  expect(info.stdout).toMatch(
    /^CLIENT {2}SUBSCRIPTION {2}POLICY {7}LAG\nshop {4}a {13}drop_oldest {4}0$/m,
  )
  expect(jsonLines((await topics('info', 'a', '--json')).stdout)).toMatchObject([
    { name: 'a', last_seq: 1200, subscriptions: [{ client_id: 'shop', lag: 0 }] },
  ])
  expect((await topics('rm', 'a', '--json')).stdout).toBe('{"status":"deleted","topic":"a"}\n')
  expect(jsonLines((await topics('ls', '--json')).stdout)).toMatchObject([
    { name: 'b', messages: 0 },
  ])
})

test('topics rm of an unknown topic and create of a bad name end with 1 and the reason', async () => {
  const { httpUrl } = await startBroker()
  expect(await runHere(['topics', 'rm', 'nothing', '--url', httpUrl])).toEqual({
    code: 1,
    stdout: '',
    stderr: 'ringcast: topic "nothing" does not exist (TOPIC_NOT_FOUND)\n',
  })
  const bad = await runHere(['topics', 'create', 'a b', '--url', httpUrl])
  expect(bad).toMatchObject({ code: 1, stdout: '' })
  expect(bad.stderr).toMatch(/^ringcast: .*\(BAD_REQUEST\)\n$/)
})

test('history prints the newest, or pages from a seq to the end', async () => {
  const { wsUrl } = await startBroker()
  const to = ['--url', wsUrl]
  const stdin = Array.from({ length: 2500 }, (_, i) => `${i + 1}`).join('\n')
  await runHere(['pub', 'numbers', ...to], { stdin })
  const raw = async (...args: string[]) =>
    (await runHere(['history', 'numbers', '--raw', ...args, ...to])).stdout.trim().split('\n')
  expect(await raw()).toEqual([
    '2491',
    '2492',
    '2493',
    '2494',
    '2495',
    '2496',
    '2497',
    '2498',
    '2499',
    '2500',
  ])
  expect(await raw('--last', '2')).toEqual(['2499', '2500'])
  expect(await raw('--from-seq', '7', '--limit', '2')).toEqual(['7', '8'])
  expect(await raw('--from-seq', '1')).toEqual(stdin.split('\n'))
  const json = await runHere(['history', 'numbers', '--last', '1', '--json', ...to])
  expect(jsonLines(json.stdout)).toMatchObject([{ type: 'message', topic: 'numbers', seq: 2500 }])
  const line = await runHere(['history', 'numbers', '--last', '1', ...to])
  expect(line.stdout).toMatch(/^[\d:.]+ numbers #2500 2500\n$/)
  expect((await runHere(['history', 'none', ...to])).code).toBe(1)
})

test('health as a process ends with 0 for a healthy broker', async () => {
  const { httpUrl } = await startBroker()
  const ended = await runProcess(['health'], { RINGCAST_URL: httpUrl })
  expect(ended.code).toBe(0)
  expect(ended.stdout).toMatch(
    /^ok · up \d+ s · 0 topics · 0 subscribers · 0 connections · 2 of 2 workers\n$/,
  )
})

test('health ends with 1 for a broker that answers 503, and with 69 for what is no broker', async () => {
  const answers = [
    { status: 503, body: '{"status":"draining","uptime_sec":90061,"topics":1,"subscribers":2}' },
    { status: 200, body: '<html>' },
  ]
  const server = createServer((_, response) => {
    const { status = 500, body = '' } = answers.shift() ?? {}
    response.writeHead(status).end(body)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => void server.close())
  const url = `127.0.0.1:${(server.address() as AddressInfo).port}`
  expect(await runHere(['health', '--url', url])).toEqual({
    code: 1,
    stdout: 'draining · up 1 d 1 h · 1 topics · 2 subscribers\n',
    stderr: 'ringcast: not healthy: draining\n',
  })
  const html = await runHere(['health', '--url', url])
  expect(html.code).toBe(69)
  expect(html.stderr).toContain("is no broker's answer: HTTP 200, and no JSON")
})

test('health ends with 69 when there is no answer in time', async () => {
  const server = createServer(() => {}).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const ended = await runHere(['health', '--url', url, '--timeout', '100ms'])
  expect(ended.code).toBe(69)
  expect(ended.stderr).toMatch(/no answer in time; .*--timeout\n$/)
})

test('stats prints counters, with --json the answer as it is', async () => {
  const { httpUrl, wsUrl } = await startBroker()
  await runHere(['pub', 'a', 'x', '-n', '1500', '--url', wsUrl])
  const { stdout } = await runHere(['stats', '--url', httpUrl])
  expect(stdout).toMatch(/^now\n {2}topics +1$/m)
  expect(stdout).toMatch(/^gateway\n {2}connectionsOpened +1$/m)
  expect(stdout).toMatch(/^worker [01]\n {2}messagesStored +1,500$/m)
  const [json] = jsonLines((await runHere(['stats', '--url', httpUrl, '--json'])).stdout)
  expect(json).toMatchObject({ topics: { a: { messages: 1500 } }, gateway: {}, workers: [{}, {}] })
})

test('top --once prints topics by rate, subscribers by lag, workers by load', async () => {
  const { wsUrl } = await startBroker()
  const client = await JsonClient.connect(wsUrl)
  await client.ask({ type: 'subscribe', topic: 'busy', client_id: 'shop' })
  await client.ask({ type: 'publish', topic: 'quiet', message: { payload: 1 } })
  const pub = startHere(['pub', 'busy', 'x', '-n', '200', '--rate', '400', '--url', wsUrl])
  const args = ['top', '--once', '--interval', '300ms', '--url', wsUrl]
  const { code, stdout } = await runHere(args)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^\d+ published\/s · \d+ delivered\/s · /)
  expect(stdout).toMatch(/^TOPIC +MSG\/S +MESSAGES +HELD +SUBS\nbusy +[1-9]\d* .*\nquiet +0 /m)
  expect(stdout).toMatch(/^SUBSCRIBER +TOPIC .*\nshop +busy +busy +drop_oldest +\d+$/m)
  expect(stdout).toMatch(/^WORKER +STORED\/S .*\n[01] +[1-9].*█{20} 100 %\n[01] +0 /m)
  const [json] = jsonLines((await runHere([...args, '--json', '--rows', '1'])).stdout)
  expect(json).toMatchObject({
    topics: [{ name: 'busy' }],
    slowest: [{ client_id: 'shop', topic: 'busy' }],
    workers: [{}, {}],
  })
  await pub.ended
})

test('top on a terminal draws over itself, fits the screen, and leaves it as it was', async () => {
  const { wsUrl } = await startBroker()
  await runHere(['topics', 'create', 'x'.repeat(200), 'b', 'c', '--url', wsUrl])
  const args = ['top', '--interval', '50ms', '--rows', '2', '--url', wsUrl]
  const running = startHere(args, { terminal: { columns: 40, rows: 10 } })
  await untilPrinted(running, '… 1 more')
  running.interrupt()
  const { code, stdout } = await running.ended
  expect(code).toBe(0)
  expect(stdout.startsWith('\x1b[?1049h')).toBe(true)
  expect(stdout.endsWith('\x1b[?1049l')).toBe(true)
  const [, frame = ''] = stdout.split('\x1b[H')
  const lines = frame.replaceAll(ESCAPE, '').trimEnd().split('\n')
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(40)
  expect(lines.length).toBeLessThan(10)
})
