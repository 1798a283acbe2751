/**
 *   p1  ─→ topic 1  ─→ s1
 *   …       broker      …        16 topics over 1, 2, 4 and 8 shards, MessagePack, 128 B, one a frame
 *   p16 ─→ topic 16 ─→ s16
 *
 * Question: what do more shards cost? On a machine with fewer cores than threads they cannot make it
 * faster; this says what they take: the rate, and the CPU time of a message in each kind of thread.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import { measureCost, type RunCost } from '../profile/thread-costs.js'
import { circumstances, circumstancesLine } from '../report/circumstances.js'
import { ONE_TO_ONE, ROOM_FOR_THE_WINDOW, type Scenario } from '../scenarios/scenario.js'
import { median } from '../statistics.js'

const WORKERS = [1, 2, 4, 8] as const
const CLIENTS = 16

/** Prints markdown; returns the exit code. */
export async function measureScaling(runs: number, seconds: number): Promise<number> {
  console.log(`${circumstancesLine(circumstances())}\n`)
  const costs = new Map<number, RunCost[]>(WORKERS.map((workers) => [workers, []]))
  for (let run = 1; run <= runs; run++) {
    for (const [workers, taken] of costs) {
      const cost = await measureCost(scenario(workers), seconds)
      taken.push(cost)
      const rate = Math.round(cost.messagesPerSecond).toLocaleString('en')
      console.error(`WORKERS=${workers} ${run}/${runs}: ${rate}/s`)
    }
  }
  console.log(table(costs))
  console.log(`\nMedians of ${runs} runs of ${seconds} s, taking turns. ${CLIENTS} topics.`)
  return 0
}

function scenario(workers: number): Scenario {
  return {
    name: `scaling-${workers}`,
    question: `messages/s with ${workers} shards`,
    plan: {
      ...ONE_TO_ONE,
      publishers: CLIENTS,
      subscribers: CLIENTS,
      topics: CLIENTS,
      load: { kind: 'closed', window: 1024 },
    },
    brokerEnv: { ...ROOM_FOR_THE_WINDOW, WORKERS: String(workers) },
  }
}

function table(costs: ReadonlyMap<number, readonly RunCost[]>): string {
  const titles = [
    'WORKERS',
    'messages/s',
    'by 1 worker',
    'messages a frame sent',
    'front, ns a message',
    'shards together, ns a message',
    'other threads, ns',
    'broker in all, ns a message',
  ]
  const alone = rateOf(costs.get(1) ?? [])
  const rows = [...costs].map(([workers, runs]) => {
    const of = (read: (run: RunCost) => number) => median(runs.map(read))
    const front = of(({ threads }) => threads[0]?.nsPerMessage ?? Number.NaN)
    const shards = of(({ threads }) =>
      threads.slice(1).reduce((sum, { nsPerMessage }) => sum + nsPerMessage, 0),
    )
    const others = of(({ othersNsPerMessage }) => othersNsPerMessage)
    return [
      String(workers),
      whole(rateOf(runs)),
      `×${(rateOf(runs) / alone).toFixed(2)}`,
      of(({ messagesPerFrameSent }) => messagesPerFrameSent).toFixed(1),
      whole(front),
      whole(shards),
      whole(others),
      whole(front + shards + others),
    ]
  })
  return [titles, titles.map(() => '---'), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n')
}

function rateOf(runs: readonly RunCost[]): number {
  return median(runs.map(({ messagesPerSecond }) => messagesPerSecond))
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}
