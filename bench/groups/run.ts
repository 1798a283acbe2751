/**
 *                      ┌─→ member 1 ─ack─┐
 *   publisher ─→ broker ─→ …             ├─→ broker        128 B, every message acked by one of 8 members
 *                      └─→ member 8 ─ack─┘
 *
 * Question: how many messages a second does a consumer group take and ack through the SDK, beside
 * JetStream (memory storage, explicit acks, one pull consumer) with its own Node client? Interleaved
 * runs, medians, ratio.
 * Runs on: the benchmark's main process. Owns: servers, publisher and the processes of the members.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { startBroker } from '../broker-process.js'
import { median } from '../statistics.js'
import type { QueueName } from './link.js'
import { startNats } from './nats.js'

const PAYLOAD_BYTES = 128
const MEMBER_PROCESSES = 2
const MEMBERS_EACH = 4
const WARM_UP_MS = 1000
const START_MS_MAX = 20_000
/** The log is the queue, and must hold more than is ever in flight. */
const BROKER_ENV = {
  TOPIC_HISTORY_SIZE: '262144',
  TOPIC_BYTES_MAX: '64MiB',
  SUBSCRIBER_QUEUE_SIZE: '262144',
  LOG_LEVEL: 'info',
}
const QUEUES: readonly (readonly [name: QueueName, title: string])[] = [
  ['ringcast', 'ringcast consume()'],
  ['jetstream', 'JetStream, memory, pull'],
]

/** Prints the table; returns the exit code. */
export async function measureGroups(runs: number, seconds: number): Promise<number> {
  const rates = new Map<QueueName, number[]>(QUEUES.map(([name]) => [name, []]))
  for (let run = 1; run <= runs; run++) {
    for (const [name, title] of QUEUES) {
      const rate = await measure(name, seconds)
      if (rate === undefined) continue
      rates.get(name)?.push(rate)
      console.error(`${title} ${run}/${runs}: ${Math.round(rate).toLocaleString('en')} acked/s`)
    }
  }
  console.log(`\n${'1 → 8 members, 128 B'.padEnd(32)}median acked/s   all runs`)
  const medians = new Map<QueueName, number>()
  for (const [name, title] of QUEUES) {
    const values = rates.get(name) ?? []
    const middle = values.length === 0 ? 0 : median(values)
    medians.set(name, middle)
    const all = values.map((value) => Math.round(value / 1000)).join(', ')
    const rate = Math.round(middle).toLocaleString('en')
    console.log(`${title.padEnd(32)}${rate.padStart(14)}   ${all} (thousands)`)
  }
  const [ours, theirs] = [medians.get('ringcast') ?? 0, medians.get('jetstream') ?? 0]
  if (ours && theirs) console.log(`ringcast / JetStream: ×${(ours / theirs).toFixed(2)}`)
  return 0
}

/** Acks a second as the members count them, or undefined when the peer is not installed. */
async function measure(name: QueueName, seconds: number): Promise<number | undefined> {
  const server =
    name === 'ringcast' ? await startBroker(BROKER_ENV) : await startNats({ isJetStream: true })
  if (server === undefined) return undefined
  const ends: ChildProcess[] = []
  const start = async (role: string): Promise<ChildProcess> => {
    const module = fileURLToPath(new URL('./peer.js', import.meta.url))
    const args = [role, name, server.port, PAYLOAD_BYTES, MEMBERS_EACH].map(String)
    const child = fork(module, args)
    ends.push(child)
    await ready(child)
    return child
  }
  try {
    ;(await start('prepare')).kill('SIGKILL')
    const members = await Promise.all(
      Array.from({ length: MEMBER_PROCESSES }, () => start('consume')),
    )
    const publisher = await start('publish')
    const counts = members.map(() => 0)
    const acked = () => counts.reduce((sum, count) => sum + count, 0)
    for (const [index, member] of members.entries()) {
      member.on('message', ({ count }: { count: number }) => {
        counts[index] = count
        if (publisher.connected) publisher.send({ acked: acked() })
      })
    }
    await sleep(WARM_UP_MS)
    const [countBefore, before] = [acked(), performance.now()]
    await sleep(seconds * 1000)
    return ((acked() - countBefore) * 1000) / (performance.now() - before)
  } finally {
    for (const child of ends) child.kill('SIGKILL')
    await server.stop()
  }
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('an end did not start')), START_MS_MAX)
    child.once('exit', () => reject(new Error('an end died before it was ready')))
    child.once('message', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
