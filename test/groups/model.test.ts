/**
 * Consumer groups against a plain model, command by command, with a virtual clock and shards that die
 * at any statement. Runs on: the test thread.
 *
 * The model does not foresee who gets what: it watches deliveries and knows what must not be.
 *   1. nothing that is settled (acked, dead) is delivered again;
 *   2. a delivery's attempt is the number of deliveries before it plus one, never over max_deliver;
 *   3. a message is with one member at a time, and comes again only after it was nacked, its deadline
 *      passed or its member left, and not before its delay is over;
 *   4. a member has at most max_in_flight messages, and nothing comes to one that is paused or gone;
 *   5. with `ordered: "key"` nothing of a key comes while an earlier message of it is not settled;
 *   6. in the end everything is acked or dead, and dead is what was termed or used up its attempts.
 */
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import type { GroupOptions } from '../../src/protocol/group-options.js'
import { DEAD_LETTERS } from '../../src/routing/topic-name.js'
import { deliveries, jsonMessage, ShardRig } from '../shard/shard-rig.js'
import { Crash, loadStepped, type Stepper } from '../shard/stepped.js'

const MEMBERS = 4
const MAX_IN_FLIGHT = 3
const ACK_WAIT_MS = 1000
const MAX_DELIVER = 3
const NEVER = Number.POSITIVE_INFINITY

let stepper: Stepper

beforeAll(async () => {
  stepper = await loadStepped()
})

interface Entry {
  readonly seq: number
  readonly key: string | undefined
  attempts: number
  /** Who has it now. */
  member: number
  deadlineMs: number
  /** It must not come before this. */
  notBeforeMs: number
  state: 'new' | 'held' | 'back' | 'acked' | 'dead'
}

class World {
  readonly rig: ShardRig
  readonly entries: Entry[] = []
  readonly live = new Set<number>()
  readonly paused = new Set<number>()
  isGroupPaused = false
  /** One thread dies after so many statements. */
  crashAfter = NEVER
  crashes = 0
  readonly #isOrdered: boolean
  #watched = 0

  constructor(options: Partial<GroupOptions>) {
    this.#isOrdered = options.ordered === 'key'
    this.rig = new ShardRig({ shardClass: stepper.Shard })
    this.rig.send({ op: 'create', token: this.rig.nextToken(), topic: 't' })
    this.rig.send({
      op: 'group',
      token: this.rig.nextToken(),
      topic: 't',
      action: { do: 'create', group: 'g', options, start: { from: 'live' } },
    })
    this.rig.settle()
  }

  /** Sends something, and runs until there is nothing to do, over the shard's dead body if need be. */
  step(act: () => void = () => {}): void {
    act()
    stepper.crashAfter(this.crashAfter)
    this.crashAfter = NEVER
    for (let tries = 0; tries < 5; tries++) {
      try {
        this.rig.settle()
        this.#watch()
        stepper.crashAfter(NEVER)
        return
      } catch (error) {
        if (!(error instanceof Crash)) throw error
        this.crashes++
        stepper.crashAfter(NEVER)
        this.rig.take()
        this.rig.restart()
      }
    }
    throw new Error('the shard dies again and again')
  }

  /** What came since the last look, also from a thread that is dead now. */
  #watch(): void {
    const records = this.rig.taken.slice(this.#watched)
    this.#watched = this.rig.taken.length
    for (const { member, seqs, attempt, dueMs } of deliveries(records)) {
      expect(this.live.has(member), `member ${member} is gone`).toBe(true)
      expect(this.paused.has(member), `member ${member} is paused`).toBe(false)
      expect(this.isGroupPaused).toBe(false)
      expect(dueMs).toBe(this.rig.nowMs + ACK_WAIT_MS)
      for (const seq of seqs) this.#onDelivered(seq, member, attempt)
      const held = this.entries.filter((entry) => entry.state === 'held' && entry.member === member)
      expect(held.length).toBeLessThanOrEqual(MAX_IN_FLIGHT)
    }
  }

  #onDelivered(seq: number, member: number, attempt: number): void {
    const entry = this.entries[seq - 1] as Entry
    expect(['new', 'back'], `seq ${seq} is ${entry.state}`).toContain(entry.state)
    expect(attempt).toBe(entry.attempts + 1)
    expect(attempt).toBeLessThanOrEqual(MAX_DELIVER)
    expect(this.rig.nowMs).toBeGreaterThanOrEqual(entry.notBeforeMs)
    if (this.#isOrdered && entry.key !== undefined) {
      const earlier = this.entries.find(
        (other) => other.seq < seq && other.key === entry.key && !isSettled(other),
      )
      expect(earlier, `seq ${seq} overtakes one of its key`).toBeUndefined()
    }
    entry.attempts = attempt
    entry.member = member
    entry.deadlineMs = this.rig.nowMs + ACK_WAIT_MS
    entry.state = 'held'
  }

  heldBy(member: number): Entry[] {
    return this.entries.filter((entry) => entry.state === 'held' && entry.member === member)
  }

  /** An attempt came to nothing. */
  failed(entry: Entry, notBeforeMs: number): void {
    if (entry.attempts >= MAX_DELIVER) entry.state = 'dead'
    else {
      entry.state = 'back'
      entry.notBeforeMs = notBeforeMs
    }
  }
}

function isSettled({ state }: Entry): boolean {
  return state === 'acked' || state === 'dead'
}

interface Command {
  readonly text: string
  run(world: World): void
}

const member = fc.integer({ min: 1, max: MEMBERS })
const which = fc.nat({ max: 5 })

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 5 }).map(publish),
  },
  { weight: 3, arbitrary: member.map(join) },
  { weight: 2, arbitrary: member.map(leave) },
  { weight: 6, arbitrary: fc.tuple(member, which).map(([id, index]) => ack(id, index)) },
  { weight: 1, arbitrary: member.map(ackAll) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(member, which, fc.nat({ max: 500 }))
      .map(([id, index, ms]) => nack(id, index, ms)),
  },
  { weight: 1, arbitrary: fc.tuple(member, which).map(([id, index]) => term(id, index)) },
  { weight: 1, arbitrary: fc.tuple(member, which).map(([id, index]) => working(id, index)) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 700 }).map(wait) },
  {
    weight: 1,
    arbitrary: fc.tuple(member, fc.boolean()).map(([id, isPaused]) => pause(id, isPaused)),
  },
  { weight: 1, arbitrary: fc.boolean().map(pauseGroup) },
  { weight: 4, arbitrary: fc.nat({ max: 900 }).map(crash) },
)

/** A failure prints the texts. */
const shown = command.map((one) => ({ ...one, [fc.toStringMethod]: () => one.text }))

/** Key 0 is none. */
function publish(keys: readonly number[]): Command {
  return {
    text: `publish ${keys}`,
    run: (world) => {
      for (const number of keys) {
        const key = number === 0 ? undefined : `key-${number}`
        const seq = world.entries.length + 1
        world.entries.push({
          seq,
          key,
          attempts: 0,
          member: 0,
          deadlineMs: 0,
          notBeforeMs: 0,
          state: 'new',
        })
      }
      const messages = keys.map((number, index) => {
        const plain = jsonMessage(index)
        return number === 0 ? plain : [...plain, null, null, { key: `key-${number}` }]
      })
      world.step(() => world.rig.publish('t', messages))
    },
  }
}

function join(id: number): Command {
  return {
    text: `join ${id}`,
    run: (world) => {
      if (world.live.has(id)) return
      world.live.add(id)
      world.step(() =>
        world.rig.send({
          op: 'join',
          token: world.rig.nextToken(),
          topic: 't',
          group: 'g',
          member: id,
          name: `member-${id}`,
          format: 0,
          maxInFlight: MAX_IN_FLIGHT,
          options: {},
          start: { from: 'live' },
        }),
      )
    },
  }
}

function leave(id: number): Command {
  return {
    text: `leave ${id}`,
    run: (world) => {
      if (!world.live.has(id)) return
      for (const entry of world.heldBy(id)) world.failed(entry, world.rig.nowMs)
      world.live.delete(id)
      world.paused.delete(id)
      world.step(() => world.rig.send({ op: 'leave', member: id }))
    },
  }
}

function ack(id: number, index: number): Command {
  return {
    text: `ack ${id} #${index}`,
    run: (world) => {
      const entry = world.heldBy(id)[index]
      if (entry === undefined) return
      entry.state = 'acked'
      world.step(() => world.rig.settleSeqs(id, 1, [entry.seq, entry.seq], { requestId: 'r' }))
    },
  }
}

function ackAll(id: number): Command {
  return {
    text: `ack ${id} up to its last`,
    run: (world) => {
      const held = world.heldBy(id)
      if (held.length === 0) return
      const last = Math.max(...held.map(({ seq }) => seq))
      for (const entry of world.entries) {
        const isIts = entry.member === id && (entry.state === 'held' || entry.state === 'back')
        if (isIts && entry.seq <= last) entry.state = 'acked'
      }
      world.step(() => world.rig.settleSeqs(id, 1, [1, last], { isUpTo: true }))
    },
  }
}

function nack(id: number, index: number, delayMs: number): Command {
  return {
    text: `nack ${id} #${index} for ${delayMs} ms`,
    run: (world) => {
      const entry = world.heldBy(id)[index]
      if (entry === undefined) return
      world.failed(entry, world.rig.nowMs + delayMs)
      world.step(() => world.rig.settleSeqs(id, 2, [entry.seq, entry.seq], { delayMs }))
    },
  }
}

function term(id: number, index: number): Command {
  return {
    text: `term ${id} #${index}`,
    run: (world) => {
      const entry = world.heldBy(id)[index]
      if (entry === undefined) return
      entry.state = 'dead'
      world.step(() => world.rig.settleSeqs(id, 3, [entry.seq, entry.seq], { reason: 'no' }))
    },
  }
}

function working(id: number, index: number): Command {
  return {
    text: `working ${id} #${index}`,
    run: (world) => {
      const entry = world.heldBy(id)[index]
      if (entry === undefined) return
      entry.deadlineMs = world.rig.nowMs + ACK_WAIT_MS
      world.step(() => world.rig.settleSeqs(id, 4, [entry.seq, entry.seq]))
    },
  }
}

function wait(ms: number): Command {
  return {
    text: `${ms} ms go by`,
    run: (world) => {
      const nowMs = world.rig.nowMs + ms
      for (const entry of world.entries) {
        if (entry.state === 'held' && entry.deadlineMs <= nowMs) world.failed(entry, nowMs)
      }
      world.step(() => world.rig.advance(ms))
    },
  }
}

function pause(id: number, isPaused: boolean): Command {
  return {
    text: `${isPaused ? 'pause' : 'resume'} ${id}`,
    run: (world) => {
      if (!world.live.has(id)) return
      if (isPaused) world.paused.add(id)
      else world.paused.delete(id)
      world.step(() => world.rig.send({ op: 'pauseMember', member: id, isPaused }))
    },
  }
}

function pauseGroup(isPaused: boolean): Command {
  return {
    text: `${isPaused ? 'pause' : 'resume'} the group`,
    run: (world) => {
      world.isGroupPaused = isPaused
      const action = { do: isPaused ? 'pause' : 'resume', group: 'g' } as const
      const token = world.rig.nextToken()
      world.step(() => world.rig.send({ op: 'group', token, topic: 't', action }))
    },
  }
}

function crash(steps: number): Command {
  return {
    text: `the shard dies after ${steps} statements`,
    run: (world) => {
      world.crashAfter = steps
    },
  }
}

/** Everybody comes back and acks what they get, until there is nothing more. */
function finish(world: World): void {
  pauseGroup(false).run(world)
  for (let id = 1; id <= MEMBERS; id++) {
    join(id).run(world)
    pause(id, false).run(world)
  }
  for (let round = 0; round < 500; round++) {
    for (let id = 1; id <= MEMBERS; id++) ackAll(id).run(world)
    if (world.entries.every(isSettled)) return
    wait(100).run(world)
  }
  const left = world.entries.filter((entry) => !isSettled(entry))
  throw new Error(`never settled: ${JSON.stringify(left)}`)
}

for (const ordered of ['none', 'key'] as const) {
  test(`whatever happens, a group with ordered=${ordered} keeps its promises`, () => {
    fc.assert(
      fc.property(fc.array(shown, { maxLength: 60 }), (commands) => {
        const world = new World({
          ack_wait_ms: ACK_WAIT_MS,
          max_deliver: MAX_DELIVER,
          window: 16,
          backoff: [0],
          ordered,
        })
        for (const one of commands) one.run(world)
        finish(world)
        const dead = world.entries.filter(({ state }) => state === 'dead').length
        const letters = world.rig.shard.find(`${DEAD_LETTERS}t`)?.log.lastSeq ?? 0
        expect(letters).toBe(dead)
        const group = world.rig.ask({
          op: 'group',
          topic: 't',
          action: { do: 'info', group: 'g' },
        } as never)
        expect(group.find(({ kind }) => kind === 'reply')).toMatchObject({
          body: { outstanding: 0, ack_floor: world.entries.length, dead_lettered: dead },
        })
      }),
      { numRuns: 150 },
    )
  })
}
