import { expect, test } from 'vitest'
import { connectPool } from '../../src/client/ringcast.js'
import { startBroker } from '../broker/harness.js'
import { CuttingProxy, open, sleep, waitUntil } from './harness.js'

function resources(): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of process.getActiveResourcesInfo()) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

function listeners(): number {
  return process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)
}

test('200 lives of a client leave no socket, no timer, no listener, and little memory', async () => {
  const { wsUrl, broker } = await startBroker()
  const life = async (n: number) => {
    const client = await open(wsUrl)
    const handled = new Promise((resolve) => {
      const subscription = client.subscribe(`t.${n % 10}`, resolve, {
        timeoutMs: 60_000,
        retry: { maxAttempts: 3 },
        breaker: { threshold: 5, halfOpenAfterMs: 60_000 },
      })
      client.subscribe(
        't.*',
        () => {
          throw new Error('fails, and waits for its next try')
        },
        { retry: { maxAttempts: 5, baseMs: 60_000 } },
      )
      void subscription.ready.then(() => client.publish(`t.${n % 10}`, n))
    })
    await handled
    if (n % 2 === 0) await client.drain(20)
    else client.close()
  }
  for (let n = 0; n < 20; n++) await life(n)
  await waitUntil(() => broker.gateway.sessions.size === 0)
  const before = { resources: resources(), listeners: listeners() }
  for (let n = 0; n < 200; n++) await life(n)
  await waitUntil(() => broker.gateway.sessions.size === 0)
  await sleep(50)
  const after = { resources: resources(), listeners: listeners() }
  expect(after.listeners).toBe(before.listeners)
  for (const [name, count] of Object.entries(after.resources)) {
    expect(count, name).toBeLessThanOrEqual((before.resources[name] ?? 0) + 2)
  }
})

test('a client that is closed at any moment of connecting leaves nothing', async () => {
  const { broker } = await startBroker()
  const proxy = await CuttingProxy.start(broker.port)
  const clients = []
  for (let n = 0; n < 20; n++) {
    const client = await open(proxy.url, { reconnectBaseMs: 5, reconnectMaxMs: 5 })
    client.subscribe('t')
    client.publish('t', n).catch(() => {})
    clients.push(client)
  }
  const before = resources()
  proxy.cut()
  for (const client of clients) {
    await sleep(1)
    client.close()
  }
  await waitUntil(() => broker.gateway.sessions.size === 0)
  await sleep(50)
  const after = resources()
  expect(after['Timeout'] ?? 0).toBeLessThanOrEqual(before['Timeout'] ?? 0)
  expect(clients.every(({ state }) => state === 'closed')).toBe(true)
  expect(broker.gateway.subscribing.total).toBe(0)
})

test('a pool whose connections cannot all be opened leaves none', async () => {
  const { broker } = await startBroker({ MAX_CONNECTIONS: '2' })
  const url = `ws://127.0.0.1:${broker.port}/ws`
  await expect(connectPool(url, { size: 4, connectTimeoutMs: 300 })).rejects.toThrow(
    'within 300 ms',
  )
  await waitUntil(() => broker.gateway.sessions.size === 0)
})
