/**
 * When a shard works and when it sleeps. The duty cycle and both bells are real; the thread is the
 * test's own, so that what is rung and what is waited for can be seen.
 */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Doorbell } from '../../src/ring/wakeup.js'
import { runDutyCycle } from '../../src/shard/duty-cycle.js'
import { GATEWAY_BELL, SHARD_BELL } from '../../src/shared-memory.js'
import { range } from '../gateway/rig.js'
import { acksOf, ShardRig, seqsOf } from './shard-rig.js'

const KiB = 1024

class Cycle {
  readonly rig: ShardRig
  readonly bell: Doorbell
  beats = 0
  rings = 0
  mustStop = false
  readonly ended: Promise<unknown>

  constructor(rig: ShardRig) {
    this.rig = rig
    this.bell = new Doorbell(rig.link.views.ints, SHARD_BELL)
    const gatewayBell = new Doorbell(new Int32Array(rig.memory.common), GATEWAY_BELL)
    vi.spyOn(gatewayBell, 'ring').mockImplementation(() => void this.rings++)
    this.ended = runDutyCycle({
      shard: rig.shard,
      bell: this.bell,
      gatewayBell,
      mustStop: () => this.mustStop,
      beat: () => void this.beats++,
    }).catch((error: unknown) => error)
  }

  stop(): Promise<unknown> {
    this.mustStop = true
    this.bell.ring()
    return this.ended
  }
}

/** Long enough for everything that is not asleep to move. */
async function aWhile(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20))
}

afterEach(() => vi.useRealTimers())

describe('runDutyCycle()', () => {
  test('does what is there, and rings for it', async () => {
    const rig = new ShardRig()
    rig.publishNumbers('a', [1], { requestId: 'r' })
    const cycle = new Cycle(rig)
    expect(acksOf(rig.take())).toHaveLength(1) // At once: what is there is not waited for.
    expect(cycle.rings).toBe(1)
    await cycle.stop()
  })

  test('sleeps when there is nothing, and turns no more until it is rung', async () => {
    const rig = new ShardRig()
    const cycle = new Cycle(rig)
    await aWhile()
    const { beats } = cycle
    await aWhile()
    expect(cycle.beats).toBe(beats)
    rig.publishNumbers('a', [1], { requestId: 'r' }) // Rings the shard's bell.
    await aWhile()
    expect(acksOf(rig.take())).toHaveLength(1)
    expect(cycle.beats).toBe(beats + 1)
    await cycle.stop()
  })

  test('lets the event loop have its turn while there is much to do', async () => {
    const rig = new ShardRig({ plan: { ringBytes: 4096 * KiB, logMemoryBytes: 16_384 * KiB } })
    const published = 64 * 256 + 1 // One more than 64 batches take.
    for (const n of range(1, published)) rig.publishNumbers('a', [n])
    const cycle = new Cycle(rig)
    expect(rig.counters.get('recordsProcessed')).toBe(published - 1)
    await aWhile()
    expect(rig.counters.get('recordsProcessed')).toBe(published)
    await cycle.stop()
  })

  test('has one turn under way, however often the second passes while there is much to do', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const rig = new ShardRig({ plan: { ringBytes: 4096 * KiB, logMemoryBytes: 16_384 * KiB } })
    const published = 64 * 256 + 1 // One more than 64 batches take.
    for (const n of range(1, published)) rig.publishNumbers('a', [n])
    const cycle = new Cycle(rig)
    vi.advanceTimersByTime(3000)
    expect(rig.counters.get('recordsProcessed')).toBe(published - 1)
    await aWhile()
    expect(rig.counters.get('recordsProcessed')).toBe(published)
    await cycle.stop()
  })

  test('leaves nobody waiting for the bell when it goes on by itself', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const rig = new ShardRig()
    const parked: Promise<unknown>[] = []
    const park = Doorbell.prototype.park
    const spy = vi.spyOn(Doorbell.prototype, 'park').mockImplementation(function (
      this: Doorbell,
      ...given
    ) {
      const sleep = park.apply(this, given)
      if (sleep !== undefined) parked.push(sleep)
      return sleep
    })
    const cycle = new Cycle(rig)
    const ring = vi.spyOn(Doorbell.prototype, 'ring').mockImplementation(() => {})
    rig.publishNumbers('a', [1])
    vi.advanceTimersByTime(1000)
    ring.mockRestore()
    spy.mockRestore()
    expect(parked).toHaveLength(2)
    const isLetGo = (parked[0] as Promise<unknown>).then(() => true)
    expect(await Promise.race([isLetGo, aWhile().then(() => false)])).toBe(true)
    await cycle.stop()
  })

  test('sleeps when the outbound ring is full, and goes on when room is made', async () => {
    const rig = new ShardRig({ plan: { ringBytes: 128 * KiB } })
    rig.subscribe('a')
    let published = 0
    while (rig.tryPublish('a', [[2, Buffer.alloc(1000)]])) published++
    const cycle = new Cycle(rig)
    await aWhile()
    const { beats } = cycle
    await aWhile()
    expect(cycle.beats).toBe(beats)
    rig.taken.length = 0
    for (let turn = 0; turn < 50 && seqsOf(rig.taken).length < published; turn++) {
      rig.take(1) // release() rings a shard that waits for room.
      await aWhile()
    }
    expect(seqsOf(rig.taken)).toEqual(range(1, published))
    await cycle.stop()
  })

  test('finishes what is in the inbound ring before it ends', async () => {
    const rig = new ShardRig()
    const cycle = new Cycle(rig)
    await aWhile()
    for (const n of range(1, 1000)) rig.publishNumbers('a', [n])
    await cycle.stop()
    expect(rig.counters.get('messagesStored')).toBe(1000)
  })

  test('ends a shard whose answers nobody takes only when they are taken', async () => {
    const rig = new ShardRig({ plan: { ringBytes: 128 * KiB } })
    rig.subscribe('a')
    let published = 0
    while (rig.tryPublish('a', [[2, Buffer.alloc(1000)]])) published++
    const cycle = new Cycle(rig)
    let isEnded = false
    void cycle.stop().then(() => {
      isEnded = true
    })
    await aWhile()
    expect(isEnded).toBe(false)
    rig.taken.length = 0
    while (!isEnded) {
      rig.take()
      await aWhile()
    }
    rig.take()
    expect(seqsOf(rig.taken)).toEqual(range(1, published))
  })

  test('rejects with what the shard threw', async () => {
    const rig = new ShardRig()
    rig.onNow = () => {
      throw new Error('no time')
    }
    const cycle = new Cycle(rig)
    expect(await cycle.ended).toEqual(new Error('no time'))
  })

  test('looks at ages, and for work whose wake-up was lost, every second', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const retention = { count: 100, bytes: 64 * KiB, ageMs: 1000 }
    const rig = new ShardRig({ shard: { retention } })
    rig.publishNumbers('a', [1])
    const cycle = new Cycle(rig)
    const [topic] = [...rig.shard.topics.values()]
    expect(topic?.log.count).toBe(1)
    rig.nowMs += 5000
    vi.advanceTimersByTime(1000)
    expect(topic?.log.count).toBe(0)
    const ring = vi.spyOn(Doorbell.prototype, 'ring').mockImplementation(() => {})
    rig.publishNumbers('a', [2])
    vi.advanceTimersByTime(1000)
    expect(topic?.log.count).toBe(1)
    ring.mockRestore()
    rig.onNow = () => {
      throw new Error('no time')
    }
    vi.advanceTimersByTime(1000)
    expect(await cycle.ended).toEqual(new Error('no time'))
  })
})
