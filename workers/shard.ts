/**
 * Entry point of a worker thread: one piscina task that never ends, one shard.
 * Runs on: the worker thread. Owns: the thread.
 */
import { randomBytes } from 'node:crypto'
import { threadId } from 'node:worker_threads'
import { Doorbell } from '../src/ring/wakeup.js'
import { runDutyCycle } from '../src/shard/duty-cycle.js'
import { Shard, type ShardOptions } from '../src/shard/shard.js'
import {
  GATEWAY_BELL,
  HEARTBEAT,
  SHARD_BELL,
  type ShardMemory,
  STOP_FLAG,
  THREAD_ID,
  timingsOffset,
} from '../src/shared-memory.js'
import { createLogger } from '../src/telemetry/logging.js'
import { ThreadTimings, timingsBlock } from '../src/telemetry/thread-timings.js'

export interface ShardTask {
  readonly memory: ShardMemory
  readonly options: ShardOptions
  readonly logLevel: string
  readonly threadTimings: boolean
}

/** Resolves when the broker has asked the thread to stop and the inbound ring is empty. */
export default async function runShard(task: ShardTask): Promise<void> {
  const { memory, options, logLevel, threadTimings } = task
  const logger = createLogger(logLevel, `shard-${memory.shard}`)
  const common = new Int32Array(memory.common)
  const own = new Int32Array(memory.memory)
  Atomics.store(own, THREAD_ID >> 2, threadId)
  const shard = new Shard(memory, options, {
    now: Date.now,
    newEpoch: () => randomBytes(8).toString('hex'),
    logger,
  })
  const timings = threadTimings
    ? new ThreadTimings(timingsBlock(memory.common, timingsOffset(memory.shard + 1)))
    : undefined
  await runDutyCycle({
    shard,
    bell: new Doorbell(own, SHARD_BELL),
    gatewayBell: new Doorbell(common, GATEWAY_BELL),
    mustStop: () => Atomics.load(common, STOP_FLAG >> 2) === 1,
    beat: () => void Atomics.add(own, HEARTBEAT >> 2, 1),
  }).finally(() => timings?.stop())
}
