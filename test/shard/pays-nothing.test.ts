/**
 * «A topic that uses none of it pays nothing»: statements of the shard, counted, for one more message.
 *
 * The stepper counts every statement of src/shard, src/groups, src/log and src/ring. What one more
 * message of a batch costs is the slope; a walk over entries shows in it, wherever it stands.
 */
import { beforeAll, expect, test } from 'vitest'
import { MSGPACK } from '../../src/ring/record.js'
import { jsonMessage, type Message, ShardRig } from './shard-rig.js'
import { loadStepped, type Stepper } from './stepped.js'

const KiB = 1024
/** One record of EVENTS takes all of a batch, and the log need not grow while it is measured. */
const PLAN = { ringBytes: 8192 * KiB, logMemoryBytes: 65_536 * KiB }
const RETENTION = { count: 65_536, bytes: 8192 * KiB, ageMs: 0 }
const WARM_UP = 10_000
const FEW = 1000
const MANY = 2000
const NEVER = Number.POSITIVE_INFINITY

let stepper: Stepper

beforeAll(async () => {
  stepper = await loadStepped()
})

/** Statements that one more message takes when the topic `t` of this shard is published to. */
function slope(prepare: (rig: ShardRig) => void, message: Message = jsonMessage(1)): number {
  const rig = new ShardRig({
    plan: PLAN,
    shard: { retention: RETENTION },
    shardClass: stepper.Shard,
  })
  const publish = (count: number): number => {
    stepper.crashAfter(NEVER)
    rig.publish(
      't',
      Array.from({ length: count }, () => message),
    )
    rig.settle()
    return stepper.steps
  }
  publish(WARM_UP)
  prepare(rig)
  publish(FEW)
  const few = publish(FEW)
  // A batch more or less has a few statements of its own; one per message more would be 1.
  return Math.round((10 * (publish(MANY) - few)) / (MANY - FEW)) / 10
}

const subscribe = (rig: ShardRig) => void rig.subscribe('t', MSGPACK)

/** Everything that a message of another topic may cost. */
function useEverythingElsewhere(rig: ShardRig): void {
  rig.ask({
    op: 'create',
    topic: 'other',
    options: { ttl_ms: 1000, dedup_window_ms: 1000 },
  } as never)
  rig.join(1, 'g', { options: { ordered: 'key', filter: 'key == "a"' } }, 'other')
  rig.publish('other', [
    [...jsonMessage(1), null, null, { key: 'a', ttl_ms: 500, priority: 'high' }],
    jsonMessage(2),
  ])
  rig.publish('later', [[...jsonMessage(1), null, null, { delay_ms: 3_600_000 }]])
  rig.settle()
}

test('a subscriber adds no statement per message to what appending it takes', () => {
  const unread = slope(() => {})
  expect(unread).toBeGreaterThan(5)
  expect(slope(subscribe)).toBe(unread)
})

test('groups, filters, expiry, deduplication and delays of other topics add none', () => {
  const plain = slope(subscribe)
  const beside = slope((rig) => {
    subscribe(rig)
    useEverythingElsewhere(rig)
  })
  expect(beside).toBe(plain)
})

test('a group whose members are busy adds none, nor do groups of which nobody is a member', () => {
  const plain = slope(subscribe)
  const grouped = slope((rig) => {
    subscribe(rig)
    rig.join(1, 'busy', { maxInFlight: 1 })
    rig.publish('t', [jsonMessage(1)])
    for (let group = 2; group < 10; group++) {
      rig.join(group, `group-${group}`)
      rig.send({ op: 'leave', member: group })
    }
    rig.settle()
  })
  expect(grouped).toBe(plain)
})

test('what uses a feature pays for it: the count would show a walk', () => {
  const plain = slope(subscribe)
  const withTtl = [...jsonMessage(1), null, null, { ttl_ms: 3_600_000 }]
  expect(slope(subscribe, withTtl)).toBeGreaterThan(plain + 5)
  const joined = slope((rig) => void rig.join(1, 'g', { maxInFlight: 60_000 }))
  expect(joined).toBeGreaterThan(plain + 5)
})
