import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { BLOCKED, Doorbell, IDLE } from '../../src/ring/wakeup.js'

const AT = 64
const AWAKE = 0

function doorbell() {
  const ints = new Int32Array(new SharedArrayBuffer(192))
  return { ints, bell: new Doorbell(ints, AT), word: () => Atomics.load(ints, AT / 4) }
}

/** Whether the sleeper is woken within a few turns of the event loop. */
async function wakes(sleep: Promise<unknown> | undefined): Promise<boolean> {
  const woken = sleep?.then(() => true) ?? false
  return Promise.race([woken, pause(50).then(() => false)])
}

test.each([IDLE, BLOCKED] as const)(
  'Doorbell.park() settles when the bell is rung (%i)',
  async (state) => {
    const { bell, word } = doorbell()
    const sleep = bell.park(state, () => false)
    expect(sleep).toBeInstanceOf(Promise)
    expect(word()).toBe(state)
    bell.ring()
    expect(word()).toBe(AWAKE)
    await sleep
  },
)

test('Doorbell.park() returns undefined, and is awake, when there is work', () => {
  const { bell, word } = doorbell()
  let stateWhenAsked = -1
  const sleep = bell.park(IDLE, () => {
    stateWhenAsked = word()
    return true
  })
  expect(sleep).toBeUndefined()
  expect(stateWhenAsked).toBe(IDLE) // It looks for work after it has said that it sleeps.
  expect(word()).toBe(AWAKE)
})

test('Doorbell.park() returns undefined when the bell is rung while it looks for work', () => {
  const { bell } = doorbell()
  const sleep = bell.park(IDLE, () => {
    bell.ring()
    return false
  })
  expect(sleep).toBeUndefined()
})

test('Doorbell.park() sleeps on when nobody rings', async () => {
  const { bell, word } = doorbell()
  expect(await wakes(bell.park(IDLE, () => false))).toBe(false)
  expect(word()).toBe(IDLE)
})

test('Doorbell.ring() does nothing to an owner that is awake', () => {
  const { bell, ints } = doorbell()
  bell.ring()
  bell.ringIfBlocked()
  expect(ints.every((word) => word === 0)).toBe(true)
})

test('Doorbell.ringIfBlocked() wakes an owner that waits for room', async () => {
  const { bell, word } = doorbell()
  const sleep = bell.park(BLOCKED, () => false)
  bell.ringIfBlocked()
  expect(word()).toBe(AWAKE)
  expect(await wakes(sleep)).toBe(true)
})

test('Doorbell.ringIfBlocked() lets an owner sleep that waits for work', async () => {
  const { bell, word } = doorbell()
  const sleep = bell.park(IDLE, () => false)
  bell.ringIfBlocked()
  expect(word()).toBe(IDLE)
  expect(await wakes(sleep)).toBe(false)
})

test('Doorbell.ring() wakes once, however often it is rung', async () => {
  const { bell, word } = doorbell()
  const sleep = bell.park(IDLE, () => false)
  bell.ring()
  bell.ring()
  await sleep
  expect(word()).toBe(AWAKE)
  // Those rings are spent: the next sleep is a sleep.
  expect(await wakes(bell.park(IDLE, () => false))).toBe(false)
})

test('Doorbell.park() can be called again while an earlier sleep is pending', async () => {
  const { bell } = doorbell()
  const first = bell.park(IDLE, () => false)
  const second = bell.park(BLOCKED, () => false)
  bell.ringIfBlocked()
  expect(await wakes(second)).toBe(true)
  expect(await wakes(first)).toBe(true)
})

test('Doorbell.isIdle and isParked say whether, and for want of what, the owner sleeps', () => {
  const { bell } = doorbell()
  const seen = () => [bell.isIdle, bell.isParked]
  expect(seen()).toEqual([false, false])
  void bell.park(IDLE, () => false)
  expect(seen()).toEqual([true, true])
  bell.ring()
  expect(seen()).toEqual([false, false])
  void bell.park(BLOCKED, () => false)
  expect(seen()).toEqual([false, true])
  void bell.park(IDLE, () => true)
  expect(seen()).toEqual([false, false])
})

test('Doorbell uses its own word only', async () => {
  const { bell, ints } = doorbell()
  const sleep = bell.park(IDLE, () => false)
  bell.ring()
  await sleep
  await turn()
  expect(ints.findIndex((word) => word !== 0)).toBe(-1)
})

test('Doorbell.unpark() settles what park() gave, and is awake', async () => {
  const { bell, word } = doorbell()
  const sleep = bell.park(BLOCKED, () => false)
  bell.unpark()
  expect(word()).toBe(AWAKE)
  expect(await wakes(sleep)).toBe(true)
})
