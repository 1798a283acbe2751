/**
 * The connection is cut at every byte of a round of publish and deliver, both ways. Allowed outcomes,
 * each time: every confirmed publish is delivered; nothing is handed out twice; no gap and no new
 * epoch is told, since the broker lost nothing.
 */
import { expect, test } from 'vitest'
import { startBroker } from '../broker/harness.js'
import { CuttingProxy, type Direction, event, Log, open, waitUntil } from './harness.js'

const DIRECTIONS: readonly Direction[] = ['toBroker', 'toClient']

const cases = (['msgpack', 'json'] as const).flatMap((encoding) =>
  DIRECTIONS.map((direction) => ({ encoding, direction })),
)

test.each(cases)(
  '$encoding, $direction: a cut at any byte loses, repeats and invents nothing',
  async ({ encoding, direction }) => {
    const { broker } = await startBroker({ WORKERS: '1' })
    const proxy = await CuttingProxy.start(broker.port)
    const client = await open(proxy.url, { encoding, reconnectBaseMs: 1, reconnectMaxMs: 2 })
    const plain = new Log()
    const wild = new Log()
    const problems: unknown[] = []
    const subscriptions = [client.subscribe('t.a', plain.add), client.subscribe('*.a', wild.add)]
    for (const subscription of subscriptions) {
      subscription.on('gap', (gap) => problems.push(gap))
      subscription.on('epoch', (change) => problems.push(change))
      subscription.on('resumed', (recovered) => recovered || problems.push('not recovered'))
    }
    client.on('error', (error) => problems.push(error))
    await Promise.all(subscriptions.map(({ ready }) => ready))

    const confirmed: number[] = []
    const round = async () => {
      const { seq } = await client.publish('t.a', 'x', { headers: { h: 'v' } })
      confirmed.push(seq)
      await waitUntil(() => [plain, wild].every((log) => (log.messages.at(-1)?.seq ?? 0) >= seq))
    }
    await round()
    // As many bytes as a round takes now; then what is left of a reconnect, subscribes included.
    const before = proxy.passed[direction]
    await round()
    const bytes = proxy.passed[direction] - before
    let cuts = 0
    for (let at = 0; at < bytes; at++) {
      proxy.cutAfter(direction, at)
      await round()
      if (!proxy.isArmed) cuts++
      proxy.disarm()
      await waitUntil(() => client.state === 'open')
    }
    expect(cuts).toBeGreaterThan(bytes * 0.9)
    for (const log of [plain, wild]) {
      expect(log.repeats).toEqual([])
      const seqs = new Set(log.messages.map(({ seq }) => seq))
      expect(confirmed.filter((seq) => !seqs.has(seq))).toEqual([])
    }
    expect(problems).toEqual([])
  },
)

test.each(DIRECTIONS)(
  '%s: a cut at any byte of coming back is only another cut',
  async (direction) => {
    const { broker, wsUrl } = await startBroker({ WORKERS: '1' })
    const proxy = await CuttingProxy.start(broker.port)
    const client = await open(proxy.url, { reconnectBaseMs: 1, reconnectMaxMs: 2 })
    const publisher = await open(wsUrl)
    const log = new Log()
    const wild = new Log()
    const problems: unknown[] = []
    for (const subscription of [client.subscribe('t', log.add), client.subscribe('#', wild.add)]) {
      subscription.on('gap', (gap) => problems.push(gap))
      subscription.on('resumed', (recovered) => recovered || problems.push('not recovered'))
      await subscription.ready
    }
    let published = 0
    const back = async () => {
      const lost = event(client, 'state')
      proxy.cut()
      await lost
      await publisher.publish('t', published++)
      await waitUntil(() => log.messages.length >= published && wild.messages.length >= published)
      await waitUntil(() => client.state === 'open')
    }
    await back()
    const bytes = proxy.passed[direction] // The handshake, and the subscribes or their acks.
    for (let at = 1; at < bytes; at += 3) {
      proxy.cutFromStart(direction, at)
      await back()
    }
    proxy.disarm()
    expect([log.repeats, wild.repeats, problems]).toEqual([[], [], []])
    expect(log.payloads).toEqual(Array.from({ length: published }, (_, n) => n))
  },
  15_000,
)
