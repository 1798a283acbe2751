/** The snippets of docs/client.md run as they stand there, against a broker. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as sdk from '../../src/client/ringcast.js'
import { startBroker } from '../broker/harness.js'

const guide = readFileSync(new URL('../../docs/client.md', import.meta.url), 'utf8')
const snippets = [...guide.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code as string)
const URL_IN_GUIDE = 'ws://localhost:8080/ws'

type Run = (names: Record<string, unknown>, log: (...values: unknown[]) => void) => Promise<void>

/** The snippet as a function; imports become names that are there already. */
function compiled(code: string, wsUrl: string): Run {
  const body = code.replace(/^import .*$/gm, '').replaceAll(URL_IN_GUIDE, wsUrl)
  const text = `const { ...names_ } = names; const console = { log };
    return (async ({ connect, connectPool, RequestFailedError, client, orders, tick }) => {{${body}}})(names_)`
  return new Function('names', 'log', text) as Run
}

test('the first snippet of docs/client.md does what it says', async () => {
  const { wsUrl } = await startBroker()
  const lines: unknown[][] = []
  await compiled(snippets[0] as string, wsUrl)({ ...sdk }, (...values) => lines.push(values))
  expect(lines).toContainEqual(['orders.new', 1, { id: 1 }])
  expect(lines).toContainEqual([expect.stringMatching(/^stored as 1 in /)])
})

test('the other snippets of docs/client.md run', async () => {
  const { wsUrl } = await startBroker()
  expect(snippets.length).toBe(9)
  for (const snippet of snippets.slice(1)) {
    const client = await sdk.connect(wsUrl)
    const orders = client.subscribe('other')
    // For the snippet that iterates until a message says that it is done.
    await client.publish('orders.x', { done: true })
    await compiled(snippet, wsUrl)({ ...sdk, client, orders, tick: 1 }, () => {})
    client.close()
  }
})
