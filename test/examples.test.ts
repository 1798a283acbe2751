/** Every example as a reader would run it, against a real broker: it prints what its comment promises. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { startBroker } from './broker/harness.js'

const folder = fileURLToPath(new URL('../examples/', import.meta.url))
const runFile = promisify(execFile)

/** Lines in the order they must come; others may stand between them. */
const PROMISED: Readonly<Record<string, readonly string[]>> = {
  'audit-log.mjs': [
    'log 1: ada opened account 17',
    'log 1: bob paid in 100 EUR',
    'the log is away',
    'log 2: ada paid out 30 EUR',
    'log 2: ada closed account 17',
    '4 entries, 4 different',
  ],
  'back-pressure.mjs': [
    'sent 20000 messages; publishNow() said «not now»: true',
    'published 500 messages to a slow subscriber',
    'handled 500, lost 0; held back in the broker: true',
  ],
  'basic.mjs': [
    'connected: open',
    'published milk',
    'received tea from examples.basic',
    'received coffee from examples.basic',
    'received milk from examples.basic',
    'goodbye',
  ],
  'cache-invalidation.mjs': [
    'A reads tea: 4.5 (miss)',
    'B reads tea: 4.5 (miss)',
    'A reads tea: 4.5 (hit)',
    'B reads tea: 4.5 (hit)',
    'B forgets tea',
    'B reads tea: 4.9 (miss)',
    'A reads tea: 4.9 (hit)',
  ],
  'dead-letters.mjs': [
    'paid: 1, 4',
    'invoice 2: term after 1 attempt(s), an invoice of nothing',
    'invoice 3: max_deliver after 3 attempt(s), the bank is closed',
    'replayed: 2',
    'paid: 1, 2, 3, 4',
  ],
  'email-notifications.mjs': [
    'to ada@example.com: Welcome, Ada!',
    'to bob@example.com: Welcome, Bob! (try 2)',
    '4 events handled',
  ],
  'error-handling.mjs': [
    'payment 1, try 1: service down',
    'payment 1, try 3: service down',
    'breaker open',
    'breaker half-open',
    'payment 1 done',
    'breaker closed',
    'payments done in order: 1 2 3 4 5',
    'PublishError BAD_REQUEST, retryable: false',
  ],
  'order-processing.mjs': [
    'order 1: tea reserved',
    'order 1: paid 4.50 EUR',
    'order 1: shipped',
    'order 3: shipped',
    'finished: 1 2 3; tea left: 3',
  ],
  'request-reply.mjs': [
    'NoRespondersError, retryable: true',
    'tea costs 4.5',
    'RequestFailedError: no such product: gold',
    'in stock: 7',
    'TimeoutError, retryable: true',
    'late replies: 1, pending: 0',
  ],
  'wildcard-routing.mjs': [
    'orders.created     → #.created  orders.#  orders.*',
    'orders.eu.created  → #.created  orders.#',
    'orders.eu          → orders.#  orders.*',
    'users.created      → #.created',
    'users.gone         → nobody',
  ],
  'worker-queue.mjs': ['worker 3 went away', '30 of 30 jobs done', 'in order per customer: true'],
}

/** Lines that must be there, wherever. */
const PROMISED_ANYWHERE: Readonly<Record<string, readonly string[]>> = {
  'email-notifications.mjs': [
    'dead letter for cleo@nowhere.example: no such mailbox',
    'to dan@example.com: Dan, here is your link.',
  ],
  'error-handling.mjs': ['statistics counted 5'],
  'order-processing.mjs': ['order 1: came twice, ignored', 'order 2: coffee not in stock'],
}

const files = readdirSync(folder).filter((name) => name.endsWith('.mjs'))

test.each(files)('examples/%s prints what it promises, twice in a row, and ends', async (name) => {
  const { wsUrl, broker } = await startBroker()
  const run = () =>
    runFile(process.execPath, [folder + name], {
      env: { PATH: process.env['PATH'], RINGCAST_URL: wsUrl },
      timeout: 20_000,
    })
  for (const { stdout, stderr } of [await run(), await run()]) {
    const lines = stdout.trimEnd().split('\n')
    const promised = PROMISED[name] ?? ['a row in PROMISED']
    let at = -1
    for (const line of promised) {
      at = lines.indexOf(line, at + 1)
      expect(at === -1 ? lines : line).toEqual(line)
    }
    expect(lines).toEqual(expect.arrayContaining([...(PROMISED_ANYWHERE[name] ?? [])]))
    expect(stderr).toBe('')
  }
  expect(broker.gateway.counters.get('heartbeatsMissed')).toBe(0)
})

test('examples/browser/server.mjs serves the page, and ends at Ctrl-C', async () => {
  const child = spawn(process.execPath, [`${folder}browser/server.mjs`], {
    env: { PATH: process.env['PATH'], PORT: '0' },
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const line = await firstLine(child)
  const [, url = ''] = /^open (http:\S+)$/.exec(line) ?? []
  const page = await fetch(url)
  expect(page.headers.get('content-type')).toContain('text/html')
  expect(await page.text()).toBe(readFileSync(`${folder}browser/index.html`, 'utf8'))
  const bundle = await fetch(new URL('/ringcast.js', url))
  if (bundle.status === 200) expect(await bundle.text()).toContain('WebSocket')
  expect((await fetch(new URL('/../package.json', url))).status).toBe(404)
  const ended = new Promise((resolve) => child.on('close', resolve))
  child.kill('SIGINT')
  expect(await ended).toBe(0)
})

test('no example is longer than 80 lines, and each says what to see', () => {
  for (const name of [...files, 'browser/server.mjs']) {
    const text = readFileSync(folder + name, 'utf8')
    expect(text.split('\n').length, name).toBeLessThanOrEqual(81)
    expect(text, name).toContain('You should see:')
  }
  const readme = readFileSync(`${folder}README.md`, 'utf8')
  for (const name of files) expect(readme).toContain(`(${name})`)
})

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    child.stdout?.on('data', (data) => {
      text += data
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')))
    })
  })
}
