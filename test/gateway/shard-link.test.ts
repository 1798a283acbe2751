/** When a sleeping shard is woken. */
import { setImmediate as turnOver } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Doorbell, IDLE } from '../../src/ring/wakeup.js'
import { SHARD_BELL } from '../../src/shared-memory.js'
import { ShardRig } from '../shard/shard-rig.js'

function sleepingShard() {
  const { link } = new ShardRig()
  const bell = new Doorbell(link.views.ints, SHARD_BELL)
  expect(bell.park(IDLE, () => false)).toBeDefined()
  const send = () => link.trySend({ op: 'interest', topicId: 0, formats: 0 })
  return { link, bell, send }
}

test('it is woken at the end of the turn, for all that the turn brought', async () => {
  const { bell, send } = sleepingShard()
  for (let count = 0; count < 10; count++) expect(send()).toBe(true)
  await Promise.resolve()
  expect(bell.isParked).toBe(true)
  await turnOver()
  expect(bell.isParked).toBe(false)
})

test('it is woken at once when it has enough to begin with', () => {
  const { link, bell, send } = sleepingShard()
  for (let count = 0; count < 1000 && bell.isParked; count++) expect(send()).toBe(true)
  expect(bell.isParked).toBe(false)
  expect(link.depth.inbound_bytes).toBeGreaterThanOrEqual(4096)
  expect(link.depth.inbound_bytes).toBeLessThan(8192)
})

test('it is woken at once by whoever waits for it, and not a second time when the turn ends', async () => {
  const { link, bell, send } = sleepingShard()
  send()
  link.wake()
  expect(bell.isParked).toBe(false)
  expect(
    bell.park(IDLE, () => false),
    'it has read that, and sleeps again',
  ).toBeDefined()
  await turnOver()
  expect(bell.isParked).toBe(true)
})
