/**
 * Keeps one thread behind every shard: starts them, replaces the dead, ends the stuck.
 * Runs on: the main thread. Owns: the piscina pool.
 *
 * Each shard is a piscina task that never ends. When its thread dies the task fails and is run again
 * with the same memory, on whatever thread piscina provides. A shard that cannot be brought back
 * within a bound is fatal: half a broker would lie to half its clients.
 */
import { fileURLToPath } from 'node:url'
import type { Logger } from 'pino'
import { Piscina } from 'piscina'
import { viewsOf } from './ring/layout.js'
import { RingProducer } from './ring/spsc-ring.js'
import { Doorbell } from './ring/wakeup.js'
import {
  countersOffset,
  HEARTBEAT,
  SHARD_BELL,
  type ShardMemory,
  STOP_FLAG,
  THREAD_ID,
} from './shared-memory.js'
import { Counters, SHARD_COUNTERS, type ShardCounter } from './telemetry/counters.js'

/** Bound on the start of all threads: a machine that is busy starts them slowly. */
const START_TIMEOUT_MS = 30_000
/** How often a replacement is looked for, and how often a stuck shard while none is awaited. */
const WATCH_MS = 20
const QUIET_WATCH_MS = 1000
/** How often a thread is asked for in place of one that died before it was up. */
const CALL_THREAD_MS = 200
/** Deaths in a row between which a shard did no work at all. */
const DEATHS_WITHOUT_WORK_MAX = 10

export interface SupervisorOptions {
  /** What a shard's thread is told beside its memory. */
  readonly task: object
  readonly workerFile: URL
  readonly shardHeapMb: number
  readonly shardRestartTimeoutMs: number
  readonly shardStallMs: number
  readonly logger: Logger
  readonly onDown: (shard: number) => void
  readonly onUp: (shard: number) => void
  /** The broker cannot go on. */
  readonly onFatal: (error: Error) => void
}

interface Charge {
  readonly memory: ShardMemory
  readonly ints: Int32Array
  readonly inbound: RingProducer
  readonly counters: Counters<ShardCounter>
  ended: Promise<void>
  /** The beat at which the thread was lost, and since when; undefined while it is there. */
  downAt: { readonly beat: number; readonly sinceMs: number } | undefined
  deathsWithoutWork: number
  batchesAtDeath: number
  /** What the watch saw last, and since when nothing of it has changed. */
  lastBeat: number
  lastMoveMs: number
}

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #pool: Piscina
  readonly #charges: readonly Charge[]
  readonly #common: Int32Array
  #watch: NodeJS.Timeout | undefined
  #isStopping = false
  #fatal: Error | undefined
  #calledAtMs = 0

  constructor(memories: readonly ShardMemory[], options: SupervisorOptions) {
    this.#options = options
    this.#common = new Int32Array((memories[0] as ShardMemory).common)
    this.#pool = new Piscina({
      filename: fileURLToPath(options.workerFile),
      minThreads: memories.length,
      maxThreads: memories.length,
      resourceLimits: { maxOldGenerationSizeMb: options.shardHeapMb },
      // With atomics a thread whose task has failed would block and hear nothing more.
      atomics: 'disabled',
    })
    this.#pool.on('error', (error) => options.logger.error({ err: error }, 'worker pool'))
    this.#charges = memories.map((memory) => {
      const views = viewsOf(memory.memory)
      const { layout, common, shard } = memory
      return {
        memory,
        ints: views.ints,
        inbound: new RingProducer(views, layout.inbound, layout.ringCapacity),
        counters: new Counters(common, countersOffset(shard + 1), SHARD_COUNTERS),
        ended: Promise.resolve(),
        downAt: undefined,
        deathsWithoutWork: 0,
        batchesAtDeath: -1,
        lastBeat: 0,
        lastMoveMs: Date.now(),
      }
    })
  }

  /** Resolves when every shard runs. */
  async start(): Promise<void> {
    for (const charge of this.#charges) this.#run(charge)
    this.#lookSoon()
    const deadline = Date.now() + START_TIMEOUT_MS
    while (this.#charges.some((charge) => beatOf(charge) === 0)) {
      if (this.#fatal !== undefined) throw this.#fatal
      if (Date.now() > deadline) throw new Error('the workers did not start')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  /** Lets every shard finish what is in its ring, and ends the threads; after `timeoutMs` by force. */
  async stop(timeoutMs: number): Promise<void> {
    this.#isStopping = true
    clearTimeout(this.#watch)
    Atomics.store(this.#common, STOP_FLAG >> 2, 1)
    for (const { ints } of this.#charges) new Doorbell(ints, SHARD_BELL).ring()
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise((resolve) => {
      timer = setTimeout(resolve, timeoutMs)
    })
    // close() with several running tasks ends them after the first, so the tasks end first.
    await Promise.race([Promise.allSettled(this.#charges.map(({ ended }) => ended)), timeout])
    clearTimeout(timer)
    await this.#pool.destroy()
  }

  /** Threads of the pool; a test ends them. */
  get threads(): Piscina['threads'] {
    return this.#pool.threads
  }

  #run(charge: Charge): void {
    const task = { ...this.#options.task, memory: charge.memory }
    charge.ended = this.#pool.run(task).then(
      () => undefined,
      (error: unknown) => this.#onDeath(charge, error),
    )
  }

  #onDeath(charge: Charge, error: unknown): void {
    if (this.#isStopping) return
    const { shard } = charge.memory
    const { logger, onDown } = this.#options
    logger.error({ err: error, shard }, 'shard died, replacing it')
    const batches = charge.counters.get('batches')
    charge.deathsWithoutWork = batches === charge.batchesAtDeath ? charge.deathsWithoutWork + 1 : 1
    charge.batchesAtDeath = batches
    const isFirstDown = this.#charges.every(({ downAt }) => downAt === undefined)
    // It may have come back and died again unseen: only a beat from here on is another return.
    charge.downAt = { beat: beatOf(charge), sinceMs: charge.downAt?.sinceMs ?? Date.now() }
    onDown(shard)
    if (charge.deathsWithoutWork >= DEATHS_WITHOUT_WORK_MAX) {
      const deaths = `${charge.deathsWithoutWork} times without doing any work`
      this.#giveUp(new Error(`shard ${shard} died ${deaths}, giving up`, { cause: error }))
      return
    }
    this.#run(charge)
    if (isFirstDown) this.#lookSoon() // Otherwise the watch is close already.
  }

  #giveUp(error: Error): void {
    if (this.#fatal !== undefined) return
    this.#fatal = error
    clearTimeout(this.#watch)
    this.#options.onFatal(error)
  }

  /** Looks again: at once when a shard is down, seldom when all is well, since looking costs too. */
  #lookSoon(): void {
    clearTimeout(this.#watch)
    const isDown = this.#charges.some(({ downAt }) => downAt !== undefined)
    const delayMs = isDown ? WATCH_MS : Math.min(QUIET_WATCH_MS, this.#options.shardStallMs / 4)
    this.#watch = setTimeout(() => {
      this.#look()
      if (!this.#isStopping && this.#fatal === undefined) this.#lookSoon()
    }, delayMs)
  }

  #look(): void {
    const now = Date.now()
    this.#callMissingThread(now)
    for (const charge of this.#charges) {
      if (charge.downAt === undefined) this.#lookForStall(charge, now)
      else this.#lookForReturn(charge, charge.downAt, now)
    }
  }

  /**
   * piscina makes no thread in place of one that died before it was up, and leaves the task waiting;
   * but it makes one for a task that comes. So one comes, and is taken back.
   */
  #callMissingThread(now: number): void {
    const { queueSize, threads } = this.#pool
    if (queueSize === 0 || threads.length === this.#charges.length) return
    if (now - this.#calledAtMs < CALL_THREAD_MS) return
    this.#calledAtMs = now
    const call = new AbortController()
    this.#pool.run(undefined, { signal: call.signal }).catch(() => {})
    call.abort()
  }

  #lookForReturn(charge: Charge, downAt: NonNullable<Charge['downAt']>, now: number): void {
    const { shard } = charge.memory
    const { logger, onUp, shardRestartTimeoutMs } = this.#options
    const downMs = now - downAt.sinceMs
    if (beatOf(charge) !== downAt.beat) {
      charge.downAt = undefined
      charge.lastMoveMs = now
      logger.info({ shard, downMs }, 'shard replaced')
      onUp(shard)
    } else if (downMs > shardRestartTimeoutMs) {
      this.#giveUp(new Error(`shard ${shard} did not come back within ${shardRestartTimeoutMs} ms`))
    }
  }

  /** A thread that has records to read and does not turn is stuck; its death makes it a replacement. */
  #lookForStall(charge: Charge, now: number): void {
    const beat = beatOf(charge)
    const isAsleep = new Doorbell(charge.ints, SHARD_BELL).isParked // For want of outbound room.
    if (beat !== charge.lastBeat || charge.inbound.isEmpty() || isAsleep) {
      charge.lastBeat = beat
      charge.lastMoveMs = now
      return
    }
    if (now - charge.lastMoveMs < this.#options.shardStallMs) return
    charge.lastMoveMs = now
    const id = charge.ints[THREAD_ID >> 2]
    const thread = this.#pool.threads.find(({ threadId }) => threadId === id)
    this.#options.logger.error({ shard: charge.memory.shard }, 'shard is stuck, ending its thread')
    void thread?.terminate()
  }
}

function beatOf({ ints }: Charge): number {
  return Atomics.load(ints, HEARTBEAT >> 2)
}
