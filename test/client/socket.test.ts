import { afterEach, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { findWebSocket } from '../../src/client/socket.js'

class Native {}

afterEach(() => vi.unstubAllGlobals())

/** What is found where `process.versions` says this. */
function foundWhere(
  versions: Record<string, string> | undefined,
): ReturnType<typeof findWebSocket> {
  vi.stubGlobal('WebSocket', Native)
  vi.stubGlobal('process', versions === undefined ? undefined : { versions })
  const found = findWebSocket() // Looks before it waits for anything.
  vi.unstubAllGlobals()
  return found
}

test('on Node it is ws, also where Node has a WebSocket of its own', async () => {
  const found = await foundWhere({ node: '24.0.0' })
  expect(found.prototype).toBeInstanceOf(WebSocket)
})

test.each([
  ['a browser', undefined],
  ['Bun', { node: '24.0.0', bun: '1.3.0' }],
  ['Deno', { node: '24.0.0', deno: '2.5.0' }],
])('in %s it is what the platform has', async (_, versions) => {
  expect(await foundWhere(versions)).toBe(Native)
})
