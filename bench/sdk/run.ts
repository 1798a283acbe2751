/**
 *   publisher ─→ broker ─→ subscriber        128 B, `publish` called once per message
 *
 * Question: how many messages a second go from an application through our SDK to another, beside the
 * same through nats-server (Debian) and its Node client? Interleaved runs, medians, ratio.
 * Runs on: the benchmark's main process. Owns: servers and the two ends.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { startBroker } from '../broker-process.js'
import type { LinkName } from './link.js'
import { startNats } from './nats.js'

const PAYLOAD_BYTES = 128
const WARM_UP_MS = 1000
const START_MS_MAX = 10_000
/** The log is the queue of a subscriber that is behind, and must hold more than is ever in flight. */
const BROKER_ENV = {
  TOPIC_HISTORY_SIZE: '262144',
  SUBSCRIBER_QUEUE_SIZE: '262144',
  LOG_LEVEL: 'info',
}

type Mode = 'now' | 'confirmed'

interface Case {
  readonly name: string
  readonly library: LinkName
  readonly mode: Mode
}

const CASES: readonly Case[] = [
  { name: 'ringcast SDK, publishNow', library: 'ringcast', mode: 'now' },
  { name: 'nats-server, publish', library: 'nats', mode: 'now' },
  { name: 'ringcast SDK, await publish', library: 'ringcast', mode: 'confirmed' },
]

/** Prints the table; returns the exit code. */
export async function measureSdk(runs: number, seconds: number): Promise<number> {
  const rates = new Map<string, number[]>(CASES.map(({ name }) => [name, []]))
  for (let run = 1; run <= runs; run++) {
    for (const one of CASES) {
      const rate = await measure(one, seconds)
      if (rate === undefined) continue
      rates.get(one.name)?.push(rate)
      console.error(`${one.name} ${run}/${runs}: ${Math.round(rate).toLocaleString('en')} msg/s`)
    }
  }
  const medians = new Map([...rates].map(([name, values]) => [name, median(values)]))
  console.log(`\n${'1 → 1, 128 B, SDK to SDK'.padEnd(32)}median msg/s   all runs`)
  for (const [name, values] of rates) {
    const all = values.map((value) => Math.round(value / 1000)).join(', ')
    const rate = Math.round(medians.get(name) ?? 0).toLocaleString('en')
    console.log(`${name.padEnd(32)}${rate.padStart(12)}   ${all} (thousands)`)
  }
  const [ours, peers] = [CASES[0], CASES[1]].map((one) => medians.get(one?.name ?? '') ?? 0)
  if (ours && peers) console.log(`ringcast / nats, fire and forget: ×${(ours / peers).toFixed(2)}`)
  return 0
}

/** Messages a second that the subscriber counted, or undefined when the peer is not installed. */
async function measure(one: Case, seconds: number): Promise<number | undefined> {
  const server = one.library === 'ringcast' ? await startBroker(BROKER_ENV) : await startNats()
  if (server === undefined) return undefined
  const ends: ChildProcess[] = []
  try {
    const start = (role: string) => {
      const module = fileURLToPath(new URL('./peer.js', import.meta.url))
      const args = [role, one.library, String(server.port), one.mode, String(PAYLOAD_BYTES)]
      const child = fork(module, args)
      ends.push(child)
      return child
    }
    let count = 0
    let lost = 0
    const subscriber = start('subscribe')
    await ready(subscriber)
    const publisher = start('publish')
    subscriber.on('message', (message: { count?: number; lost?: number }) => {
      count = message.count ?? count
      lost = message.lost ?? lost
      if (publisher.connected) publisher.send({ delivered: count })
    })
    await sleep(WARM_UP_MS)
    const [countBefore, before] = [count, performance.now()]
    await sleep(seconds * 1000)
    const rate = ((count - countBefore) * 1000) / (performance.now() - before)
    if (lost > 0) throw new Error(`${one.name}: ${lost} messages lost`)
    return rate
  } finally {
    for (const child of ends) child.kill('SIGKILL')
    await server.stop()
  }
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('an end did not start')), START_MS_MAX)
    child.once('message', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
