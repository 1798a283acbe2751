/**
 * When a shard works and when it sleeps.
 * Runs on: the worker thread. Owns: nothing but the timer.
 *
 * Batches run one after the other while there is work; every few the event loop gets a turn, so that
 * messages to the thread are heard. A shard that runs dry parks on its bell and costs nothing.
 * Batching needs no timer and no knob: what arrives while a batch runs is the next batch.
 */
import { BLOCKED, type Doorbell, IDLE } from '../ring/wakeup.js'
import type { Shard } from './shard.js'

/** Batches between two turns of the event loop. */
const BATCHES_PER_TURN = 64
/** How often age is looked at, and how late a lost wake-up would be noticed at worst. */
const TICK_MS = 1000

export interface DutyCycleOptions {
  readonly shard: Shard
  /** Rung by the gateway when there is work, or room that was waited for. */
  readonly bell: Doorbell
  /** Rung by us when there is something for the gateway. */
  readonly gatewayBell: Doorbell
  /** True once the broker wants the thread to end. */
  readonly mustStop: () => boolean
  /** Tells the supervisor that the thread moves. */
  readonly beat: () => void
}

/** Runs the shard until mustStop(); rejects with whatever the shard threw. */
export function runDutyCycle(options: DutyCycleOptions): Promise<void> {
  const { shard, bell, gatewayBell, mustStop, beat } = options
  const mayWork = () => mustStop() || (shard.isBlocked ? shard.hasMoreRoom : shard.hasWork)

  return new Promise((resolve, reject) => {
    // Keeps the event loop alive too, which a pending waitAsync does not.
    const tick = setInterval(() => guarded(onTick), TICK_MS)
    const end = (settle: () => void) => {
      clearInterval(tick)
      clearTimeout(alarm)
      settle()
    }
    const guarded = (step: () => void) => {
      try {
        step()
      } catch (error) {
        end(() => reject(error))
      }
    }
    const onTick = () => {
      beat()
      shard.evictExpired()
      wake()
    }
    /** True while only the bell makes it go on; otherwise a turn is on its way. */
    let isParked = false
    /** Goes on without the bell. Not when a turn is on its way: there would be one more from then on. */
    const wake = () => {
      if (!isParked || !mayWork()) return
      bell.unpark()
      run()
    }
    /** Wakes us for the next timer of the shard, if that is before the tick. */
    let alarm: NodeJS.Timeout | undefined
    const setAlarm = () => {
      clearTimeout(alarm)
      const inMs = shard.nextDueMs === Number.POSITIVE_INFINITY ? TICK_MS : shard.dueInMs
      alarm = inMs < TICK_MS ? setTimeout(() => guarded(onAlarm), inMs) : undefined
    }
    const onAlarm = () => {
      beat()
      if (!isParked) return // It is set again before the thread sleeps.
      wake()
      if (isParked && !shard.isBlocked) setAlarm()
    }
    let turn = 0
    const run = () => {
      turn++
      isParked = false
      for (let batch = 0; batch < BATCHES_PER_TURN; batch++) {
        beat()
        if (shard.runBatch()) gatewayBell.ring()
        if (mustStop() && !shard.hasWork) return end(resolve)
        if (shard.isBlocked || !shard.hasWork) return park()
      }
      setImmediate(() => guarded(run))
    }
    const park = () => {
      setAlarm()
      const rung = bell.park(shard.isBlocked ? BLOCKED : IDLE, mayWork)
      const parkedAt = turn
      isParked = rung !== undefined
      if (rung === undefined) setImmediate(() => guarded(run))
      // A tick may have found the work first; then this wake-up is not ours any more.
      else rung.then(() => parkedAt === turn && guarded(run), reject)
    }
    guarded(run)
  })
}
