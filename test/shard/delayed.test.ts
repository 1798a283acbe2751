/** Delayed messages: kept, moved once, cancelled; and a shard that dies between any two statements. */
import { expect, test } from 'vitest'
import type { ControlRequest } from '../../src/ring/record.js'
import { acksOf, eventsOf, type Message, only, replies, ShardRig } from './shard-rig.js'
import { loadStepped, type Stepper, settleThroughDeath } from './stepped.js'

type Body = Record<string, unknown>

function id(number: number): Buffer {
  return Buffer.alloc(16, number)
}

function message(number: number, properties: object | null): Message {
  return [1, Buffer.from(String(number)), id(number), null, properties]
}

function publish(rig: ShardRig, messages: readonly Message[], requestId = 'r'): unknown {
  rig.publish('a', messages, { requestId })
  const [[, , third, result]] = only(acksOf(rig.settle())).values as [
    [number, string, string, Body],
  ]
  if (typeof result !== 'object') return third
  const { epoch: _, ...rest } = result
  return rest
}

function ask(rig: ShardRig, request: object): Body {
  return only(replies(rig.ask(request as Omit<ControlRequest, 'token'>))).body
}

function stored(rig: ShardRig): number[] {
  const body = ask(rig, { op: 'history', topic: 'a', lastN: 1000, fromSeq: null, limit: 1000 })
  return (body['messages'] as { payload: number }[]).map(({ payload }) => payload)
}

function waiting(rig: ShardRig): number {
  return ask(rig, { op: 'delayed', topic: 'a', limit: 10 })['count'] as number
}

test('a delayed message is acked as scheduled, and stored and delivered when it is due', () => {
  const rig = new ShardRig()
  rig.subscribe('a')
  const at = rig.nowMs
  expect(publish(rig, [message(1, { delay_ms: 100 })])).toEqual({
    scheduled: true,
    deliver_at: at + 100,
  })
  expect(publish(rig, [message(2, { deliver_at: at + 50, key: 'k' })])).toEqual({
    scheduled: true,
    deliver_at: at + 50,
  })
  publish(rig, [message(3, null)])
  expect(stored(rig)).toEqual([3])
  rig.nowMs = at + 99
  rig.settle()
  expect(stored(rig)).toEqual([3, 2])
  rig.nowMs = at + 130
  const [event] = eventsOf(rig.settle())
  expect(event?.entries[0]?.[6]).toEqual({ delay_ms: 100 })
  expect(event?.entries[0]?.[1]).toBe(rig.nowMs)
  expect(stored(rig)).toEqual([3, 2, 1])
  expect(waiting(rig)).toBe(0)
})

test('a batch is scheduled whole, and messages of one moment keep their order', () => {
  const rig = new ShardRig()
  const batch = [1, 2, 3, 4].map((number) => message(number, { delay_ms: number < 4 ? 80 : 40 }))
  const deliverAt = rig.nowMs + 40
  expect(publish(rig, batch)).toEqual({ scheduled: true, deliver_at: deliverAt, count: 4 })
  rig.nowMs += 1000
  rig.settle()
  expect(stored(rig)).toEqual([4, 1, 2, 3])
})

test('what has no room is refused whole, and leaves nothing behind', () => {
  const rig = new ShardRig({ plan: { maxDelayedMessages: 3 } })
  const delayed = (number: number) => message(number, { delay_ms: 1000 })
  publish(rig, [delayed(1), delayed(2)])
  expect(publish(rig, [delayed(3), delayed(4)])).toBe('LIMIT_EXCEEDED')
  publish(rig, [delayed(5)])
  expect(waiting(rig)).toBe(3)
  rig.nowMs += 2000
  rig.settle()
  expect(stored(rig)).toEqual([1, 2, 5])
  expect(publish(rig, [delayed(6), delayed(7), delayed(8)])).toMatchObject({ count: 3 })
})

test('a message is cancelled by its id; the list says what waits', () => {
  const rig = new ShardRig()
  publish(rig, [message(1, { delay_ms: 500 }), message(2, { delay_ms: 100 })])
  expect(ask(rig, { op: 'delayed', topic: 'a', limit: 1 })).toEqual({
    topic: 'a',
    count: 2,
    delayed: [
      {
        id: '02020202-0202-0202-0202-020202020202',
        deliver_at: new Date(rig.nowMs + 100).toISOString(),
      },
    ],
  })
  const cancel = { op: 'cancel', topic: 'a', id: id(2) }
  expect(ask(rig, cancel)).toEqual({ status: 'cancelled', topic: 'a', count: 1 })
  expect(ask(rig, cancel)).toMatchObject({ count: 0 })
  rig.nowMs += 1000
  rig.settle()
  expect(stored(rig)).toEqual([1])
})

test('a deduplication window sees messages that wait, and those that came from waiting', () => {
  const rig = new ShardRig()
  ask(rig, { op: 'create', topic: 'a', options: { dedup_window_ms: 10_000 } })
  const deliverAt = rig.nowMs + 100
  const later = message(1, { delay_ms: 100 })
  publish(rig, [later])
  expect(publish(rig, [later])).toEqual({ scheduled: true, deliver_at: deliverAt, duplicate: true })
  rig.nowMs += 200
  rig.settle()
  expect(publish(rig, [later])).toEqual({ seq: 1, duplicate: true })
  expect(publish(rig, [message(1, null)])).toEqual({ seq: 1, duplicate: true })
  expect([stored(rig), waiting(rig)]).toEqual([[1], 0])
})

test('what waits goes with its topic, and its memory comes back', () => {
  const rig = new ShardRig()
  publish(rig, [message(1, { delay_ms: 100 }), message(2, { delay_ms: 100 })])
  ask(rig, { op: 'delete', topic: 'a' })
  rig.restart()
  rig.nowMs += 1000
  publish(rig, [message(3, null)])
  expect(stored(rig)).toEqual([3])
})

test('a successor has what waited, and moves it when it is due', () => {
  const rig = new ShardRig()
  publish(rig, [message(1, { delay_ms: 100 }), message(2, { delay_ms: 900 })])
  rig.restart()
  expect(waiting(rig)).toBe(2)
  rig.nowMs += 200
  rig.restart()
  rig.nowMs += 16 // Its first tick.
  rig.settle()
  expect(stored(rig)).toEqual([1])
  rig.nowMs += 1000
  rig.settle()
  expect(stored(rig)).toEqual([1, 2])
})

/** Schedules, cancels, moves and expires; the shard dies after so many statements. */
function play(stepper: Stepper, crashAt: number): boolean {
  stepper.crashAfter(Number.POSITIVE_INFINITY)
  const rig = new ShardRig({ shardClass: stepper.Shard, plan: { maxDelayedMessages: 16 } })
  rig.subscribe('a')
  rig.subscribe('$events.a')
  let hasDied = false
  const settle = () => {
    if (settleThroughDeath(stepper, rig)) hasDied = true
  }
  stepper.crashAfter(crashAt)
  rig.publish('a', [message(1, { delay_ms: 50 }), message(2, { delay_ms: 50 })], {
    requestId: 'r0',
  })
  rig.publish('a', [message(3, { delay_ms: 20, ttl_ms: 30 })], { requestId: 'r1' })
  rig.publish('a', [message(4, null)], { requestId: 'r2' })
  rig.publish('a', [message(5, { delay_ms: 60 })], { requestId: 'r3' })
  settle()
  rig.send({ op: 'cancel', token: 77, topic: 'a', id: id(5) })
  settle()
  for (let step = 0; step < 6; step++) {
    rig.nowMs += 30
    settle()
  }
  stepper.crashAfter(Number.POSITIVE_INFINITY)
  const acks = acksOf(rig.taken).flatMap(({ values }) => values as [number, string, string, Body][])
  expect(acks.map(([, requestId]) => requestId).sort()).toEqual(['r0', 'r1', 'r2', 'r3'])
  const result = (requestId: string) => acks.find(([, request]) => request === requestId)?.[3]
  expect(result('r0')).toMatchObject({ scheduled: true, count: 2 })
  expect(result('r1')).toMatchObject({ scheduled: true })
  expect(result('r2')).toMatchObject({ seq: 1 })
  const cancelled = replies(rig.taken).filter(({ token }) => token === 77)
  expect(only(cancelled).body).toMatchObject({ status: 'cancelled', count: 1 })
  const { log } = rig.shard.topics.named('a') as NonNullable<
    ReturnType<typeof rig.shard.topics.named>
  >
  expect(log.lastSeq).toBe(4)
  expect(stored(rig)).toEqual([4, 1, 2])
  expect(rig.shard.topics.named('$events.a')?.log.lastSeq).toBe(1)
  expect(waiting(rig)).toBe(0)
  return hasDied
}

test('whenever the shard dies, each message moves once, is cancelled once, expires once', async () => {
  const stepper = await loadStepped()
  const every = Number(process.env['RECOVERY_EVERY'] ?? 11)
  let deaths = 0
  for (let crashAt = 0; play(stepper, crashAt); crashAt += every) deaths++
  expect(deaths).toBeGreaterThan(50)
}, 120_000)

test('whenever the shard dies, what comes under the id of a cancelled message is not cancelled', async () => {
  const stepper = await loadStepped()
  const every = Number(process.env['RECOVERY_EVERY'] ?? 7)
  let deaths = 0
  for (let crashAt = 0; ; crashAt += every) {
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    const rig = new ShardRig({ shardClass: stepper.Shard })
    publish(rig, [message(5, { delay_ms: 60 })])
    rig.send({ op: 'cancel', token: 77, topic: 'a', id: id(5) })
    rig.publish('a', [message(5, { delay_ms: 60 })], { requestId: 'r1' })
    stepper.crashAfter(crashAt)
    const hasDied = settleThroughDeath(stepper, rig)
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    const cancelled = replies(rig.taken).filter(({ token }) => token === 77)
    expect(only(cancelled).body).toMatchObject({ count: 1 })
    expect(waiting(rig), `after a death at ${crashAt}`).toBe(1)
    rig.nowMs += 100
    rig.settle()
    expect(stored(rig)).toEqual([5])
    if (!hasDied) break
    deaths++
  }
  expect(deaths).toBeGreaterThan(20)
}, 120_000)
