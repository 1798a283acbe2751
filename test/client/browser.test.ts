/**
 * The SDK in a real browser: the page of examples/browser, in Debian's Chromium without a screen.
 * Where there is none the tests are skipped, and say so; CI installs it (.ci/run) and must not skip.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type * as Sdk from '../../src/client/ringcast.js'
import { BrokerProcess, Log, open, waitUntil } from './harness.js'

const EXECUTABLE = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const isThere = existsSync(EXECUTABLE)
const SERVER = fileURLToPath(new URL('../../examples/browser/server.mjs', import.meta.url))
const PAGE_TIMEOUT_MS = 10_000

let browser: Browser

beforeAll(async () => {
  if (!isThere) return
  browser = await chromium.launch({
    executablePath: EXECUTABLE,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
})

afterAll(async () => {
  await browser?.close()
})

test.runIf(process.env['CI'] === 'true')('CI has a browser', () => {
  expect(isThere, `${EXECUTABLE} is missing`).toBe(true)
})

/** Serves the example page; resolves with its address. */
async function serve(brokerUrl: string): Promise<string> {
  const child: ChildProcess = spawn(process.execPath, [SERVER], {
    env: { ...process.env, PORT: '0', RINGCAST_URL: brokerUrl },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let text = ''
  child.stdout?.on('data', (data) => {
    text += data
  })
  await waitUntil(() => text.includes('open http'))
  return /http:\S+/.exec(text)?.[0] as string
}

async function newPage(url: string): Promise<{ page: Page; errors: string[] }> {
  const page = await browser.newPage({ viewport: { width: 900, height: 600 } })
  page.setDefaultTimeout(PAGE_TIMEOUT_MS)
  onTestFinished(() => page.close())
  const errors: string[] = []
  page.on('pageerror', ({ message }) => errors.push(message))
  await page.goto(url)
  return { page, errors }
}

const isOpen = (page: Page) => page.waitForSelector('#state[data-state="open"]')

async function publish(page: Page, text: string): Promise<void> {
  await page.fill('#text', text)
  await page.click('button')
}

test.skipIf(!isThere)(
  'the example page publishes, subscribes, and survives a broker restart',
  async () => {
    const first = await BrokerProcess.start()
    const url = await serve(first.url)
    const { page, errors } = await newPage(url)
    const other = await newPage(url)
    const log = new Log()
    const watcher = await open(first.url)
    await watcher.subscribe('examples.browser', log.add).ready
    await isOpen(page)
    await isOpen(other.page)

    await publish(page, 'from the page')
    await other.page.waitForSelector('li:has-text("from the page")')
    await log.whenLength(1)
    await watcher.publish('examples.browser', 'from Node')
    await page.waitForSelector('li:has-text("from Node")')

    await first.end('SIGKILL')
    await page.waitForSelector('#state[data-state="reconnecting"]')
    await publish(page, 'while it was away')
    await BrokerProcess.start(first.port)
    await page.waitForSelector('li:has-text("while it was away")')
    await isOpen(page)
    await isOpen(other.page)
    await publish(other.page, 'after the restart')
    await page.waitForSelector('li:has-text("after the restart")')
    await log.whenLength(4)

    const lines = await page.locator('li').allInnerTexts()
    expect(lines.map((line) => line.replace(/ #.*/, ''))).toEqual([
      'after the restart',
      'while it was away',
      'from Node',
      'from the page',
    ])
    expect([errors, other.errors, log.repeats]).toEqual([[], [], []])
    const folder = process.env['SCREENSHOTS'] ?? mkdtempSync(join(tmpdir(), 'ringcast-'))
    await page.screenshot({ path: join(folder, 'browser.png') })
  },
)

test.skipIf(!isThere)('in a browser the SDK does what it does in Node', async () => {
  const broker = await BrokerProcess.start()
  const { page, errors } = await newPage(await serve(broker.url))
  await isOpen(page)
  const result = await page.evaluate(async (brokerUrl) => {
    // As text: the test's own loader must leave this import alone.
    const load = new Function('return import("/ringcast.js")') as () => Promise<typeof Sdk>
    const { connect, connectPool } = await load()
    const client = await connect(brokerUrl)
    const subscription = client.subscribe<{ n: number }>('t.*')
    await subscription.ready
    const results = await Promise.all(
      Array.from({ length: 500 }, (_, n) => client.publish('t.a', { n }, { headers: { h: 'v' } })),
    )
    let taken = 0
    while (taken < 5000) {
      if (client.publishNow('t.b', { n: taken })) taken++
      else await new Promise<void>((resolve) => void client.once('drain', resolve))
    }
    const seen = { a: 0, b: 0, inOrder: true, header: '' }
    for await (const { topic, payload, headers } of subscription) {
      const letter = topic === 't.a' ? 'a' : 'b'
      if (payload.n !== seen[letter]) seen.inOrder = false
      if (letter === 'a') seen.header = headers['h'] ?? ''
      seen[letter]++
      if (seen.a + seen.b === 5500) break
    }
    const refusal = await client.publish('t t', 1).catch((error: Error) => error.name)
    await client.drain()
    const json = await connect(brokerUrl, { encoding: 'json' })
    const bytes = await connectPool(brokerUrl, { size: 2, codec: 'bytes' })
    const binary = json.subscribe<Uint8Array>('bytes')
    await binary.ready
    await bytes.publish('bytes', Uint8Array.of(1, 2, 255))
    let received: number[] = []
    for await (const { payload } of binary) {
      received = [...payload]
      break
    }
    json.close()
    bytes.close()
    return { lastSeq: results.at(-1)?.seq, seen, refusal, state: client.state, received }
  }, broker.url)
  expect(result).toEqual({
    lastSeq: 500,
    seen: { a: 500, b: 5000, inOrder: true, header: 'v' },
    refusal: 'PublishError',
    state: 'closed',
    received: [1, 2, 255],
  })
  expect(errors).toEqual([])
})
