/**
 * Consumer groups against a plain model, command by command, with a virtual clock and shards that die
 * at any statement. Runs on: the test thread.
 *
 *   1. nothing that is settled (acked, dead, expired, skipped by the filter) is delivered again;
 *   2. a delivery's attempt is the number of deliveries before it that were not released, plus one, and
 *      never over max_deliver;
 *   3. a message is with one member at a time, and comes again only after it was nacked or released, its
 *      deadline passed or its member left, and not before its delay is over;
 *   4. a member has at most max_in_flight messages, and nothing comes to one that is paused or gone;
 *   5. with `ordered: "key"` nothing of a key comes while an earlier message of it is not settled;
 *   6. high goes before normal before low, but after 8 of a higher priority one of a lower goes;
 *   7. in the end every message is acked, dead, expired, or told in a GAP; dead is what was termed, used
 *      up its attempts or (if the group asked for that) expired, once each; reset begins all this anew.
 *
 * GROUPS_RUNS says how often; TEST_SEED repeats a run that failed (GROUPS_PATH: that one alone).
 */
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { loadStepped, type Stepper } from '../shard/stepped.js'
import { commands, finish } from './group-commands.js'
import { World, type WorldOptions } from './group-world.js'

const RUNS = Number(process.env['GROUPS_RUNS'] ?? 150)
const { TEST_SEED, GROUPS_PATH } = process.env
const SEED = Number(TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
const WINDOW = 16
/** All that is published in a run fits. */
const WINDOW_FOR_ALL = 512
const HISTORY_SIZE = 12

let stepper: Stepper

beforeAll(async () => {
  stepper = await loadStepped()
})

function checkEnd(world: World): void {
  const { entries, gaps, options } = world
  const isTold = (seq: number) => gaps.some(({ fromSeq, toSeq }) => fromSeq <= seq && seq <= toSeq)
  for (const entry of entries) {
    const { seq, state } = entry
    if (['acked', 'dead', 'skipped', 'over'].includes(state) || isTold(seq)) continue
    // What is left is done because it has expired, and is with the dead letters if that was wanted.
    const isRight = world.isExpired(entry) && !options.buriesExpired && state !== 'doomed'
    const isMissed = state === 'doomed' && world.isExpired(entry) && seq < world.firstSeq
    const what = `seq ${seq} is ${state}, expires ${entry.expiresMs - world.nowMs} ms from now`
    expect(isRight || (isMissed && !options.buriesExpired), what).toBe(true)
  }
  expect(world.info()).toMatchObject({ outstanding: 0, ack_floor: entries.length, lag: 0 })
}

const options: fc.Arbitrary<WorldOptions> = fc.record({
  isOrdered: fc.boolean(),
  buriesExpired: fc.boolean(),
  isFiltered: fc.boolean(),
  historySize: fc.constantFrom(undefined, HISTORY_SIZE),
  window: fc.constant(WINDOW),
  watchesPriority: fc.constant(false),
})

const byPriority: fc.Arbitrary<WorldOptions> = fc.constant({
  isOrdered: false,
  buriesExpired: false,
  isFiltered: false,
  historySize: undefined,
  window: WINDOW_FOR_ALL,
  watchesPriority: true,
})

test.each([
  ['plain', options, false, false],
  ['with messages that expire', options, true, false],
  ['with priorities', byPriority, false, true],
] as const)(
  'whatever happens, a group keeps its promises: %s',
  (_, kinds, hasTtl, hasPriority) => {
    let crashes = 0
    const property = fc.property(kinds, commands(hasTtl, hasPriority), (kind, list) => {
      const world = new World(stepper, kind)
      for (const one of list) one.run(world)
      finish(world)
      checkEnd(world)
      crashes += world.crashes
    })
    fc.assert(property, {
      numRuns: RUNS,
      seed: SEED,
      ...(GROUPS_PATH === undefined ? {} : { path: GROUPS_PATH }),
    })
    if (GROUPS_PATH === undefined) expect(crashes).toBeGreaterThan(RUNS)
  },
  600_000,
)
