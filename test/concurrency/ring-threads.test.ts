/**
 * One ring between two real threads (ring-thread.mjs), a million records, over both int32 wraps.
 *
 *   Allowed    every record exactly once, in order, each of its words its own number
 *              any pace: the threads poll, or park and wake each other
 *   Forbidden  a gap, a repeat, a torn payload, another length
 *              no end: a thread that sleeps for ever shows as a run over TIME_MS_MAX
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { ringBytes, viewsOf } from '../../src/ring/layout.js'
import { setHead, setTail } from '../../src/ring/spsc-ring.js'

const BASE = 64
const RECORDS = 1_000_000
const TIME_MS_MAX = 20_000

interface Report {
  readonly parked?: number
  readonly error?: string
}

interface Options {
  readonly records: number
  readonly capacity: number
  readonly position: number
  readonly parks: boolean
}

async function exchange(options: Options): Promise<{ producer: Report; consumer: Report }> {
  const { capacity, position } = options
  const consumerBell = BASE + ringBytes(capacity)
  const producerBell = consumerBell + 64
  const memory = new SharedArrayBuffer(producerBell + 64)
  const views = viewsOf(memory)
  setTail(views, BASE, position)
  setHead(views, BASE, position)
  const seed = Date.now() & 0x7fff_ffff
  const start = (role: 'producer' | 'consumer') =>
    new Worker(new URL('./ring-thread.mjs', import.meta.url), {
      workerData: { ...options, memory, base: BASE, consumerBell, producerBell, role, seed },
    })
  const workers = [start('consumer'), start('producer')] as const
  const signal = AbortSignal.timeout(TIME_MS_MAX)
  try {
    const [consumer, producer] = await Promise.all(
      workers.map(async (worker) => {
        const [report] = (await once(worker, 'message', { signal })) as [Report]
        // The other side may wait for ever now: fail at once.
        if (report.error !== undefined) throw new Error(report.error)
        return report
      }),
    )
    return { producer: producer as Report, consumer: consumer as Report }
  } catch (error) {
    throw new Error(`seed=${seed}: ${error}`, { cause: error })
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
}

test('a million records cross from thread to thread in order, polling, over the wrap at 2^31', async () => {
  const capacity = 64 * 1024
  const position = 2 ** 31 - 8 * capacity
  const reports = await exchange({ records: RECORDS, capacity, position, parks: false })
  expect(reports).toEqual({ producer: { parked: 0 }, consumer: { parked: 0 } })
})

test('a million records cross from thread to thread in order, parking, over the wrap at 2^32', async () => {
  const capacity = 64 * 1024
  const position = -8 * capacity
  const { producer, consumer } = await exchange({
    records: RECORDS,
    capacity,
    position,
    parks: true,
  })
  // Otherwise it was not the doorbells that were tested.
  expect(consumer.parked).toBeGreaterThan(0)
  expect(producer.parked).toBeGreaterThan(0)
})

test.each([
  ['polling', false],
  ['parking', true],
])('a ring of 256 bytes carries 20 000 records in order, %s', async (_, parks) => {
  await exchange({ records: 20_000, capacity: 256, position: -8192, parks })
})
