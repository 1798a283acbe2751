/**
 * A handler whose dependency fails: from never to always, and back. Its breaker opens and closes
 * again, no message is lost, and a second handler on the same client never notices.
 */
import { expect, test } from 'vitest'
import type { BreakerState } from '../../src/client/ringcast.js'
import { startBroker } from '../broker/harness.js'
import { Log, open, sleep, waitUntil } from './harness.js'

const RATES = [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0]
const PER_RATE = 40

test('failures from 0 to 100 % and back: the breaker opens and recovers, no message is lost', async () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
  const random = generator(seed)
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const handled = new Log()
  const healthy = new Log()
  const waits: number[] = []
  const states: BreakerState[] = []
  const failures: unknown[] = []
  let rate = 0
  let mostAttempts = 0
  const fragile = client.subscribe<number>(
    'work',
    async (message, { attempt }) => {
      mostAttempts = Math.max(mostAttempts, attempt)
      await sleep(0)
      if (random() < rate) throw new Error('dependency is down')
      handled.add(message)
    },
    {
      concurrency: 4,
      maxInFlight: 20,
      retry: { maxAttempts: Number.POSITIVE_INFINITY, baseMs: 1, maxMs: 5 },
      breaker: { threshold: 5, halfOpenAfterMs: 20 },
    },
  )
  fragile.on('breaker', (state) => states.push(state))
  fragile.on('failure', (error) => failures.push(error))
  const sturdy = client.subscribe<number>('tick', (message) => {
    healthy.add(message)
    waits.push(performance.now() - message.payload)
  })
  await Promise.all([fragile.ready, sturdy.ready])
  let sent = 0
  for (rate of RATES) {
    for (let n = 0; n < PER_RATE; n++) {
      client.publishNow('work', sent++)
      client.publishNow('tick', performance.now())
      await sleep(2)
    }
    if (rate === 1) {
      // For a while nothing works at all: the breaker is open, and tries now and then in vain.
      await waitUntil(() => states.at(-1) === 'open')
      const before = handled.messages.length
      await sleep(100)
      expect(handled.messages.length).toBe(before)
      expect(states.filter((state) => state === 'half-open').length).toBeGreaterThan(1)
    }
  }
  await handled.whenLength(sent)
  await healthy.whenLength(sent)
  expect(handled.repeats, `SEED=${seed}`).toEqual([])
  expect(handled.payloads.sort((one, other) => Number(one) - Number(other))).toEqual(
    Array.from({ length: sent }, (_, n) => n),
  )
  expect(failures, `SEED=${seed}`).toEqual([])
  expect(states, `SEED=${seed}`).toContain('closed')
  expect(mostAttempts).toBeGreaterThan(1)
  // The other one: everything, in order, and without waiting for its neighbour.
  expect(healthy.messages.map(({ seq }) => seq)).toEqual(
    Array.from({ length: sent }, (_, n) => n + 1),
  )
  waits.sort((one, other) => one - other)
  const p99 = waits[Math.floor(waits.length * 0.99)] as number
  expect(p99).toBeLessThan(500)
})

test('with bounded tries every message is handled or told as failed, and a hang costs only itself', async () => {
  const { wsUrl } = await startBroker()
  const client = await open(wsUrl)
  const handled: number[] = []
  const failed: number[] = []
  const errors: string[] = []
  client.on('error', ({ name }) => errors.push(name))
  const hanging = client.subscribe('hang', () => new Promise(() => {}))
  const subscription = client.subscribe<number>(
    't',
    ({ payload }) => {
      if (payload % 3 === 1) throw new Error('always fails')
      if (payload % 3 === 2) return new Promise(() => {})
      handled.push(payload)
      return undefined
    },
    { timeoutMs: 10, retry: { maxAttempts: 2, baseMs: 1 }, concurrency: 3 },
  )
  subscription.on('failure', (_error, { payload }) => failed.push(payload as number))
  await Promise.all([hanging.ready, subscription.ready])
  await client.publish('hang', 0)
  await client.publishBatch(
    't',
    Array.from({ length: 30 }, (_, n) => n),
  )
  await waitUntil(() => handled.length + failed.length === 30)
  expect(handled.length).toBe(10)
  expect(errors).toEqual(Array(20).fill('HandlerError'))
})

/** Mulberry32: the same sequence for the same seed. */
function generator(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
