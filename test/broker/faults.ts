/**
 * Faults for the threads behind a broker that was started with FAULTY_SHARD as its worker file.
 * Commands reach every thread of this process; the one that runs the shard obeys.
 */
import { BroadcastChannel } from 'node:worker_threads'
import { onTestFinished } from 'vitest'

export const FAULTY_SHARD = new URL('./faulty-shard.mjs', import.meta.url)
/** A payload with this in it kills the shard. */
export const POISON = 'POISON'

export type Fault = { readonly shard: number } & (
  | { readonly kind: 'block'; readonly ms: number; readonly isAfterFull?: boolean }
  | { readonly kind: 'spin' | 'exhaust' | 'disarm' }
  /** So many deaths in a row, then a successor that hangs. */
  | { readonly kind: 'doom'; readonly deaths: number }
  /** Throws at a call of `type.method`, before it runs or after it ran, once `calls` have passed. */
  | {
      readonly kind: 'throw'
      readonly type: string
      readonly method: string
      readonly isAfter: boolean
      readonly calls: number
    }
)

/** Every step of a batch whose end means something to a successor. */
export const STEPS: readonly (readonly [type: string, method: string])[] = [
  ['Journal', 'begin'],
  ['Appender', 'append'],
  ['Journal', 'commitAppend'],
  ['Journal', 'applied'],
  ['TopicLog', 'commit'],
  ['Journal', 'appendDone'],
  ['AckWriter', 'ack'],
  ['Journal', 'end'],
  ['AckWriter', 'flush'],
  ['EventWriter', 'write'],
  ['Flushing', 'flush'],
  ['Journal', 'commitBatch'],
  ['RingProducer', 'publish'],
  ['RingConsumer', 'release'],
  ['Journal', 'batchDone'],
  ['Shard', 'runBatch'],
]

/** The same for what a consumer group does between its journal entries. */
export const GROUP_STEPS: readonly (readonly [type: string, method: string])[] = [
  ['Group', 'settle'],
  ['Group', 'dispatch'],
  ['Group', 'tick'],
  ['Group', 'leave'],
  ['Outstanding', 'tryAdd'],
  ['Outstanding', 'deliver'],
  ['Outstanding', 'settle'],
  ['Outstanding', 'wait'],
  ['GroupTable', 'tryAddMember'],
  ['GroupTable', 'removeMember'],
  ['DeliveryWriter', 'write'],
  ['DeadLetters', 'bury'],
  ['Moves', 'append'],
  ['Grouping', 'settle'],
  ['Grouping', 'dispatch'],
]

/**
 * Sends commands to the threads until the test is over. Resolves when the shard has heard; with true
 * when it was told to throw before and has done it.
 */
export function injector(): (fault: Fault) => Promise<boolean> {
  const channel = new BroadcastChannel('ringcast faults')
  const waiting = new Map<number, (hasThrown: boolean) => void>()
  let lastId = 0
  channel.onmessage = (event) => {
    const { heard, hasThrown } = (event as { data: { heard: number; hasThrown: boolean } }).data
    waiting.get(heard)?.(hasThrown)
    waiting.delete(heard)
  }
  onTestFinished(() => channel.close())
  return (fault) => {
    const id = ++lastId
    channel.postMessage({ ...fault, id })
    return new Promise((resolve) => waiting.set(id, resolve))
  }
}

/** Numbers in [0, 1) that follow from a seed (mulberry32); TEST_SEED repeats a run. */
export function seeded(): () => number {
  let state = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  report(`TEST_SEED=${state}`)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A line about the run for whoever reads its output. */
export function report(line: string): void {
  process.stdout.write(`${line}\n`)
}
