/**
 * What may happen to a consumer group, as commands of a model-based test.
 * Runs on: the test thread. Owns: nothing.
 */
import fc from 'fast-check'
import {
  ACK_WAIT_MS,
  type Draft,
  type Entry,
  MAX_IN_FLIGHT,
  MEMBERS,
  PRIORITIES,
  type World,
} from './group-world.js'

const Kind = { ack: 1, nack: 2, term: 3, working: 4, release: 7 } as const
/** Looks of everybody at what is left, 100 ms apart: longer than any deadline and any ttl_ms. */
const ROUNDS_MAX = 200

export interface Command {
  readonly text: string
  run(world: World): void
}

const member = fc.integer({ min: 1, max: MEMBERS })
const which = fc.nat({ max: 5 })
const held = fc.tuple(member, which)

function draft(hasTtl: boolean, hasPriority: boolean): fc.Arbitrary<Draft> {
  const ttlMs = fc.oneof(
    { weight: 2, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 1500 }) },
  )
  return fc.record({
    key: fc.nat({ max: 3 }),
    ttlMs: hasTtl ? ttlMs : fc.constant(0),
    priority: hasPriority ? fc.constantFrom(...PRIORITIES) : fc.constant('normal' as const),
  })
}

/** A failure prints their texts. */
export function commands(hasTtl: boolean, hasPriority: boolean): fc.Arbitrary<Command[]> {
  const drafts = fc.array(draft(hasTtl, hasPriority), { minLength: 1, maxLength: 5 })
  const command = fc.oneof(
    { weight: 6, arbitrary: drafts.map(publish) },
    { weight: 3, arbitrary: member.map(join) },
    { weight: 2, arbitrary: member.map(leave) },
    { weight: 6, arbitrary: held.map(([id, index]) => ack(id, index)) },
    { weight: 1, arbitrary: member.map(ackAll) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(held, fc.nat({ max: 500 }))
        .map(([[id, index], ms]) => nack(id, index, ms)),
    },
    { weight: 1, arbitrary: held.map(([id, index]) => term(id, index)) },
    { weight: 1, arbitrary: held.map(([id, index]) => working(id, index)) },
    { weight: 2, arbitrary: held.map(([id, index]) => release(id, index)) },
    { weight: 3, arbitrary: fc.integer({ min: 1, max: 700 }).map(wait) },
    { weight: 1, arbitrary: fc.tuple(member, fc.boolean()).map(([id, on]) => pause(id, on)) },
    { weight: 1, arbitrary: fc.boolean().map(pauseGroup) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }).map(resetToSeq) },
    { weight: 1, arbitrary: fc.integer({ min: -100, max: 1500 }).map(resetToTime) },
    { weight: 3, arbitrary: fc.nat({ max: 300 }).map(crash) },
    { weight: 3, arbitrary: fc.nat({ max: 1200 }).map(crash) },
  )
  const shown = command.map((one) => ({ ...one, [fc.toStringMethod]: () => one.text }))
  return fc.array(shown, { maxLength: 60, size: 'max' })
}

function publish(drafts: readonly Draft[]): Command {
  const texts = drafts.map(({ key, ttlMs, priority }) => `${key}/${ttlMs}/${priority}`)
  return { text: `publish ${texts.join(' ')}`, run: (world) => world.publish(drafts) }
}

function join(id: number): Command {
  return {
    text: `join ${id}`,
    run: (world) => {
      if (world.live.has(id)) return
      world.live.add(id)
      world.step(() => world.rig.requestJoin(id, 'g', { format: 0, maxInFlight: MAX_IN_FLIGHT }))
    },
  }
}

function leave(id: number): Command {
  return {
    text: `leave ${id}`,
    run: (world) => {
      if (!world.live.has(id)) return
      for (const entry of world.heldBy(id)) world.failed(entry, world.nowMs)
      world.live.delete(id)
      world.paused.delete(id)
      world.step(() => world.rig.send({ op: 'leave', member: id }))
    },
  }
}

/** Something said of a message that a member has. */
function ofHeld(
  text: string,
  id: number,
  index: number,
  run: (world: World, entry: Entry) => void,
): Command {
  return {
    text: `${text} ${id} #${index}`,
    run: (world) => {
      const entry = world.heldBy(id)[index]
      if (entry !== undefined) run(world, entry)
    },
  }
}

function ack(id: number, index: number): Command {
  return ofHeld('ack', id, index, (world, entry) => {
    world.acked(entry)
    const { seq } = entry
    world.step(() => world.rig.settleSeqs(id, Kind.ack, [seq, seq], { requestId: 'r' }))
  })
}

function ackAll(id: number): Command {
  return {
    text: `ack ${id} up to its last`,
    run: (world) => {
      const held = world.heldBy(id)
      if (held.length === 0) return
      const last = Math.max(...held.map(({ seq }) => seq))
      for (const entry of held) world.acked(entry)
      world.step(() => world.rig.settleSeqs(id, Kind.ack, [1, last], { isUpTo: true }))
    },
  }
}

function nack(id: number, index: number, delayMs: number): Command {
  return ofHeld(`nack for ${delayMs} ms`, id, index, (world, entry) => {
    world.failed(entry, world.nowMs + delayMs)
    const { seq } = entry
    world.step(() => world.rig.settleSeqs(id, Kind.nack, [seq, seq], { delayMs }))
  })
}

function term(id: number, index: number): Command {
  return ofHeld('term', id, index, (world, entry) => {
    entry.state = 'doomed'
    entry.isTermed = true
    const { seq } = entry
    world.step(() => world.rig.settleSeqs(id, Kind.term, [seq, seq], { reason: 'no' }))
  })
}

function working(id: number, index: number): Command {
  return ofHeld('working', id, index, (world, entry) => {
    entry.deadlineMs = world.nowMs + ACK_WAIT_MS
    const { seq } = entry
    world.step(() => world.rig.settleSeqs(id, Kind.working, [seq, seq]))
  })
}

function release(id: number, index: number): Command {
  return ofHeld('release', id, index, (world, entry) => {
    entry.attempts--
    entry.state = entry.attempts === 0 ? 'new' : 'back'
    entry.isReleased = true
    entry.notBeforeMs = world.nowMs
    const { seq } = entry
    world.step(() => world.rig.settleSeqs(id, Kind.release, [seq, seq]))
  })
}

function wait(ms: number): Command {
  return {
    text: `${ms} ms go by`,
    run: (world) => {
      const nowMs = world.nowMs + ms
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
      world.step(() => world.send({ do: isPaused ? 'pause' : 'resume', group: 'g' }))
    },
  }
}

function resetToSeq(seq: number): Command {
  return {
    text: `reset to seq ${seq}`,
    run: (world) => {
      // One that is lost, or was never given, is no place to begin: the oldest held is.
      const isHeld = seq > world.lostTo && seq <= world.entries.length + 1
      const start = { from: 'seq', seq, epoch: null } as const
      world.reset(isHeld ? seq : world.firstSeq, () =>
        world.send({ do: 'reset', group: 'g', start }),
      )
    },
  }
}

function resetToTime(agoMs: number): Command {
  return {
    text: `reset to ${agoMs} ms ago`,
    run: (world) => {
      const timeMs = world.nowMs - agoMs
      const found = world.entries.find((entry) => entry.timeMs >= timeMs)
      const startSeq = Math.max(world.firstSeq, found?.seq ?? world.entries.length + 1)
      const start = { from: 'time', timeMs } as const
      world.reset(startSeq, () => world.send({ do: 'reset', group: 'g', start }))
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
export function finish(world: World): void {
  pauseGroup(false).run(world)
  for (let id = 1; id <= MEMBERS; id++) {
    join(id).run(world)
    pause(id, false).run(world)
  }
  for (let round = 0; round < ROUNDS_MAX; round++) {
    for (let id = 1; id <= MEMBERS; id++) ackAll(id).run(world)
    const isDone = world.entries.every((entry) => world.isDone(entry))
    if (isDone && world.info()['outstanding'] === 0) return
    wait(100).run(world)
  }
  const left = world.entries.filter((entry) => !world.isDone(entry))
  throw new Error(`never settled: ${JSON.stringify(left)}, ${JSON.stringify(world.info())}`)
}
