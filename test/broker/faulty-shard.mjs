/**
 * Entry point of a worker thread for tests: workers/shard.ts, with faults on command.
 * Runs on: the worker thread. Owns: the thread, and what it patches in the modules it runs.
 *
 * Commands come over a BroadcastChannel (see faults.ts) and are for one shard:
 *
 *   throw     at the n-th call of a method from now on, before or after it ran
 *   disarm    takes that back
 *   block     sleeps at the start of a batch; with isAfterFull of one that follows a full ring
 *   spin      never returns from a batch
 *   exhaust   allocates until the heap limit ends the thread
 *   doom      throws in the next `deaths` batches, whoever runs them; after that it hangs at start
 *
 * What holds for a thread from its start comes in environment variables, of which each thread has
 * a copy: FAULTY_START=throw ends it at once, FAULTY_RESTART=hang keeps a successor from ever coming
 * up. A payload that contains POISON kills the shard whenever it is to be stored.
 */
import { randomBytes } from 'node:crypto'
import { BroadcastChannel, threadId } from 'node:worker_threads'
import { Group } from '../../dist/src/groups/group.js'
import { GroupTable } from '../../dist/src/groups/group-table.js'
import { Outstanding } from '../../dist/src/groups/outstanding.js'
import { TopicDirectory } from '../../dist/src/log/directory.js'
import { TopicLog } from '../../dist/src/log/topic-log.js'
import { RingConsumer, RingProducer } from '../../dist/src/ring/spsc-ring.js'
import { Doorbell } from '../../dist/src/ring/wakeup.js'
import { AckWriter } from '../../dist/src/shard/acks.js'
import { Appender } from '../../dist/src/shard/appender.js'
import { DeadLetters } from '../../dist/src/shard/dead-letters.js'
import { DeliveryWriter } from '../../dist/src/shard/deliveries.js'
import { runDutyCycle } from '../../dist/src/shard/duty-cycle.js'
import { EventWriter } from '../../dist/src/shard/events.js'
import { Flushing } from '../../dist/src/shard/flushing.js'
import { Grouping } from '../../dist/src/shard/grouping.js'
import { Journal } from '../../dist/src/shard/journal.js'
import { Moves } from '../../dist/src/shard/moves.js'
import { Notices } from '../../dist/src/shard/notices.js'
import { PatternTable } from '../../dist/src/shard/patterns.js'
import { Shard } from '../../dist/src/shard/shard.js'
import {
  GATEWAY_BELL,
  HEARTBEAT,
  SHARD_BELL,
  STOP_FLAG,
  THREAD_ID,
} from '../../dist/src/shared-memory.js'
import { createLogger } from '../../dist/src/telemetry/logging.js'

const POISON = Buffer.from('POISON')
const classes = {
  AckWriter,
  Appender,
  DeadLetters,
  DeliveryWriter,
  EventWriter,
  Flushing,
  Group,
  GroupTable,
  Grouping,
  Journal,
  Moves,
  Notices,
  Outstanding,
  PatternTable,
  RingConsumer,
  RingProducer,
  Shard,
  TopicDirectory,
  TopicLog,
}

let shardNumber = -1
let armed
/** Commands that wait for the start of a batch. */
const atBatch = []
/** Deaths that are still to come; 0: the next start hangs. */
let doom

const channel = new BroadcastChannel('ringcast faults')
channel.onmessage = ({ data }) => {
  if (data.shard !== shardNumber) return
  const wasArmed = armed !== undefined
  if (data.kind === 'throw') arm(data)
  else if (data.kind === 'disarm') disarm()
  else if (data.kind === 'doom') doom = data.deaths
  else atBatch.push(data)
  channel.postMessage({ heard: data.id, hasThrown: !wasArmed })
}
channel.unref()

export default async function runShard({ memory, options, logLevel }) {
  const common = new Int32Array(memory.common)
  const own = new Int32Array(memory.memory)
  if (process.env['FAULTY_START'] === 'throw') throw new Error('injected at start')
  const isSuccessor = Atomics.load(own, HEARTBEAT >> 2) > 0
  if (doom === 0 || (isSuccessor && process.env['FAULTY_RESTART'] === 'hang')) {
    await new Promise(() => setInterval(() => {}, 1000))
  }
  shardNumber = memory.shard
  disarm()
  poisonCheckOf(memory)
  const logger = createLogger(logLevel, `faulty-shard-${memory.shard}`)
  Atomics.store(own, THREAD_ID >> 2, threadId)
  /** Undefined while the shard is made, which asks for the time, too. */
  let shard
  shard = new Shard(memory, options, {
    now: () => {
      if (shard === undefined) return Date.now()
      if (doom > 0) throw new Error(`injected, ${doom--} to go`)
      if (shard !== undefined) runCommand(shard)
      return Date.now()
    },
    newEpoch: () => randomBytes(8).toString('hex'),
    logger,
  })
  await runDutyCycle({
    shard,
    bell: new Doorbell(own, SHARD_BELL),
    gatewayBell: new Doorbell(common, GATEWAY_BELL),
    mustStop: () => Atomics.load(common, STOP_FLAG >> 2) === 1,
    beat: () => void Atomics.add(own, HEARTBEAT >> 2, 1),
  })
}

/** Throws at a call of `type.method` once `calls` others of it have passed. */
function arm({ type, method, isAfter, calls }) {
  disarm()
  const { prototype } = classes[type]
  const original = prototype[method]
  let left = calls
  armed = { prototype, method, original }
  prototype[method] = function (...args) {
    const isNow = left-- === 0
    if (isNow) disarm()
    if (isNow && !isAfter) throw new Error(`injected before ${type}.${method}`)
    const result = original.apply(this, args)
    if (isNow) throw new Error(`injected after ${type}.${method}`)
    return result
  }
}

function disarm() {
  atBatch.length = 0
  if (armed !== undefined) armed.prototype[armed.method] = armed.original
  armed = undefined
}

function runCommand(shard) {
  const [command] = atBatch
  if (command === undefined || (command.isAfterFull && !shard.isBlocked)) return
  atBatch.shift()
  if (command.kind === 'block') {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, command.ms)
  } else if (command.kind === 'spin') {
    for (;;);
  } else if (command.kind === 'exhaust') {
    const hoard = []
    for (;;) hoard.push(new Array(10_000).fill(hoard.length))
  }
}

const append = Appender.prototype.append
/** Makes storing a poisonous payload fatal; the patch is anew for each memory. */
function poisonCheckOf(memory) {
  const bytes = Buffer.from(memory.memory)
  Appender.prototype.append = function (topic, ordinal, start, end, ...rest) {
    if (bytes.subarray(start, end).includes(POISON)) throw new Error('injected poison')
    return append.call(this, topic, ordinal, start, end, ...rest)
  }
}
