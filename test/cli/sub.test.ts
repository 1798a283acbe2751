import { expect, test } from 'vitest'
import { JsonClient, MsgpackClient, startBroker, waitUntil } from '../broker/harness.js'
import { jsonLines, runHere, runProcess, startHere, startProcess, untilPrinted } from './harness.js'

async function brokerWith(topic: string, payloads: readonly unknown[]) {
  const broker = await startBroker()
  const messages = payloads.map((payload) => ({ payload }))
  await broker.http('POST', `/topics/${topic}/messages`, { messages })
  return broker
}

test('sub prints a line per message: time, topic, seq, payload', async () => {
  const { wsUrl } = await brokerWith('orders', [{ id: 1 }, 'hello', 'two\nlines'])
  const ended = await runHere(['sub', 'orders', '--last', '3', '-n', '3', '--url', wsUrl])
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  const time = String.raw`\d\d:\d\d:\d\d\.\d{3}`
  const lines = ['#1 {"id":1}', '#2 hello', String.raw`#3 "two\\nlines"`]
  const expected = lines.map((line) => `${time} orders ${line}\n`).join('')
  expect(ended.stdout).toMatch(new RegExp(`^${expected}$`))
})

test('sub --json prints an object per message, --raw the payload alone', async () => {
  const { wsUrl } = await brokerWith('orders', [{ id: 1 }, 'hello'])
  const args = ['sub', 'orders', '--from-seq', '1', '-n', '2', '--url', wsUrl]
  const json = await runHere([...args, '--json'])
  expect(jsonLines(json.stdout)).toEqual([
    expect.objectContaining({ type: 'message', topic: 'orders', seq: 1, payload: { id: 1 } }),
    expect.objectContaining({ type: 'message', topic: 'orders', seq: 2, payload: 'hello' }),
  ])
  const raw = await runHere([...args, '--raw'])
  expect(raw.stdout).toBe('{"id":1}\nhello\n')
})

test('sub of a pattern names it, prints headers, and bytes as base64', async () => {
  const { wsUrl, http } = await startBroker()
  const running = startHere(['sub', 'orders.*', '-n', '2', '--json', '--url', wsUrl])
  await subscribed(http, 1)
  const client = await JsonClient.connect(wsUrl)
  const message = { payload: 1, headers: { from: 'shop' } }
  await client.ask({ type: 'publish', topic: 'orders.eu', message })
  const binary = await MsgpackClient.connect(wsUrl)
  await binary.ask(1, 'orders.us', [[2, Buffer.from('abc')]])
  expect(jsonLines((await running.ended).stdout)).toEqual([
    expect.objectContaining({
      topic: 'orders.eu',
      subscription: 'orders.*',
      headers: { from: 'shop' },
    }),
    expect.objectContaining({ topic: 'orders.us', payload: 'YWJj', encoding: 'base64' }),
  ])
})

test('sub --since begins with what is that old', async () => {
  const { wsUrl } = await brokerWith('orders', [1, 2])
  const ended = await runHere([
    'sub',
    'orders',
    '--since',
    '1m',
    '-n',
    '2',
    '--raw',
    '--url',
    wsUrl,
  ])
  expect(ended.stdout).toBe('1\n2\n')
})

test('sub as a process ends with 0 at Ctrl-C, and has printed everything', async () => {
  const broker = await brokerWith('orders', [1, 2, 3])
  const running = startProcess(['sub', 'orders', '--last', '3', '--raw'], {
    RINGCAST_URL: broker.wsUrl,
  })
  await untilPrinted(running, '3\n')
  running.interrupt()
  expect(await running.ended).toEqual({ code: 0, stdout: '1\n2\n3\n', stderr: '' })
  await waitUntil(() => broker.broker.gateway.sessions.size === 0)
})

test('sub as a process that was to print 5 messages and is interrupted ends with 130', async () => {
  const { wsUrl } = await brokerWith('orders', [1])
  const running = startProcess(['sub', 'orders', '--last', '1', '-n', '5', '--url', wsUrl])
  await untilPrinted(running, '#1')
  running.interrupt()
  const { code, stderr } = await running.ended
  expect({ code, stderr }).toEqual({
    code: 130,
    stderr: 'ringcast: interrupted after 1 of 5 messages\n',
  })
})

test('sub --filter prints what matches, and says what is wrong with a filter', async () => {
  const { wsUrl } = await brokerWith('orders', [1, 20, 3, 40])
  const sub = (filter: string) =>
    runHere([
      'sub',
      'orders',
      '--last',
      '4',
      '-n',
      '2',
      '--raw',
      '--filter',
      filter,
      '--url',
      wsUrl,
    ])
  expect(await sub('payload > 10')).toMatchObject({ code: 0, stdout: '20\n40\n' })
  const bad = await sub('payload.matches("a")')
  expect(bad).toMatchObject({ code: 1, stdout: '' })
  expect(bad.stderr).toContain('filter must not call matches()')
})

test('sub takes what is refused as a failure: bad pattern 1, bad combinations 2', async () => {
  const { wsUrl } = await startBroker()
  const to = ['--url', wsUrl]
  const bad = await runHere(['sub', 'a*', ...to])
  expect(bad).toMatchObject({ code: 1, stdout: '' })
  expect(bad.stderr).toMatch(/^ringcast: .*\(BAD_REQUEST\)\n$/)
  const combinations = [
    ['a.*', '--from-seq', '1'],
    ['a', '--epoch', 'x'],
    ['a', '--last', '1', '--since', '1m'],
    ['a', '--raw', '--json'],
    ['a', '--last', '0'],
  ]
  for (const args of combinations) {
    const ended = await runHere(['sub', ...args, ...to])
    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toMatch(/^ringcast: .*\n$/)
  }
})

test('sub ends with 1 when its topic is deleted', async () => {
  const { wsUrl, http } = await brokerWith('orders', [1])
  const running = startHere(['sub', 'orders', '--last', '1', '--url', wsUrl])
  await untilPrinted(running, '#1')
  await http('DELETE', '/topics/orders')
  expect(await running.ended).toMatchObject({
    code: 1,
    stderr: 'orders was deleted\nringcast: orders was deleted\n',
  })
})

test('sub as a process that was frozen tells what it lost, with --json on stdout', async () => {
  const env = {
    TOPIC_HISTORY_SIZE: '10',
    SUBSCRIBER_QUEUE_SIZE: '10',
    HIGH_WATER_MARK_BYTES: '16KiB',
  }
  const { wsUrl, http } = await startBroker({ ...env, MAX_BATCH_MESSAGES: '10' })
  const running = startProcess(['sub', 'a', '--json', '--url', wsUrl])
  await subscribed(http, 1)
  running.child.kill('SIGSTOP')
  const client = await JsonClient.connect(wsUrl)
  const payload = 'x'.repeat(60_000)
  for (let i = 0; i < 300; i++) {
    await client.ask({ type: 'publish', topic: 'a', message: { payload } })
  }
  running.child.kill('SIGCONT')
  await untilPrinted(running, '"seq":300,')
  running.interrupt()
  const { code, stdout } = await running.ended
  expect(code).toBe(0)
  const lines = jsonLines(stdout)
  const gaps = lines.filter(({ type }) => type === 'gap')
  expect(gaps[0]).toMatchObject({ topic: 'a', dropped: expect.any(Number) })
  const lost = gaps.reduce((sum, gap) => sum + (gap['dropped'] as number), 0)
  expect(lines.length - gaps.length + lost).toBe(300)
})

test('sub as a process ends quietly when its reader has gone away', async () => {
  const payloads = Array.from({ length: 5000 }, (_, i) => ({ i, filler: 'x'.repeat(100) }))
  const broker = await startBroker()
  for (let i = 0; i < payloads.length; i += 1000) {
    const messages = payloads.slice(i, i + 1000).map((payload) => ({ payload }))
    await broker.http('POST', '/topics/orders/messages', { messages })
  }
  const running = startProcess(['sub', 'orders', '--from-seq', '1'], { RINGCAST_URL: broker.wsUrl })
  running.child.stdout?.once('data', () => running.child.stdout?.destroy())
  expect(await running.ended).toMatchObject({ code: 0, stderr: '' })
})

test('a command as a process ends with 69 and one line when nobody listens at the URL', async () => {
  const url = 'ws://127.0.0.1:9/ws'
  const pub = await runProcess(['pub', 'a', 'b', '--url', url])
  expect(pub).toEqual({
    code: 69,
    stdout: '',
    stderr: `ringcast: no broker at ${url}: connection refused; start one with \`ringcast start\`, or name another with --url or RINGCAST_URL\n`,
  })
})

async function subscribed(
  http: (method: string, path: string) => Promise<{ body: Record<string, unknown> }>,
  count: number,
): Promise<void> {
  let seen = 0
  while (seen < count) {
    seen = (await http('GET', '/health')).body['subscribers'] as number
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
