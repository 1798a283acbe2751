/** The bundle for browsers, as a file: how large it is, what it needs, and that it works. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import type * as Sdk from '../../src/client/ringcast.js'
import { startBroker } from '../broker/harness.js'

const bundle = fileURLToPath(new URL('../../dist/browser/ringcast.js', import.meta.url))
const GZIPPED_BYTES_MAX = 40_000

test('the browser bundle is small, and imports nothing', () => {
  const code = readFileSync(bundle)
  expect(gzipSync(code).length).toBeLessThan(GZIPPED_BYTES_MAX)
  const text = code.toString()
  expect(text).not.toMatch(/\bnode:/)
  expect(text).not.toMatch(/\bimport\s*[("'{*]/)
  expect(text).not.toMatch(/\bfrom\s*["']/)
  expect(text).not.toMatch(/\brequire\(["']/)
})

test('the browser bundle exports what the package does', async () => {
  const browser = (await import(bundle)) as object
  const node = (await import('../../src/client/ringcast.js')) as object
  expect(Object.keys(browser).sort()).toEqual(Object.keys(node).sort())
})

test('the browser bundle talks to a broker, and its errors have names though it is minified', async () => {
  const { wsUrl } = await startBroker()
  const sdk = (await import(bundle)) as typeof Sdk
  const client = await sdk.connect(wsUrl, { WebSocket: WebSocket as never })
  onTestFinished(() => client.close())
  const subscription = client.subscribe<{ n: number }>('t.*')
  await subscription.ready
  await Promise.all([1, 2, 3].map((n) => client.publish('t.a', { n })))
  const seen: number[] = []
  for await (const { payload } of subscription) {
    seen.push(payload.n)
    if (payload.n === 3) break
  }
  expect(seen).toEqual([1, 2, 3])
  await expect(client.publish('t t', 1)).rejects.toMatchObject({ name: 'PublishError' })
})
