/**
 * Comes and goes: connections, subscriptions to topics and patterns, topics.
 * Runs on: a process of its own, started by run.ts. Owns: its connections and the topics
 * `churn.*`, each with a name that was never used before.
 */
import { ask, topicPath } from '../http-door.js'
import { listen, tell } from '../load/child.js'
import { Random } from '../random.js'
import type { ChurnCounts, ChurnPlan, FromChurn, ToChurn } from './churn-plan.js'
import { live } from './life.js'

/** Connections at once: a broker that stalls must not make us open ever more. */
const LIVES_MAX = 100
/** Topics of ours that are there at once; the oldest goes when a new one comes. */
const TOPICS_KEPT = 20
const REASONS_MAX = 5
const LINGER_MS_MAX = 400
const STOP_MS_MAX = 20_000
const PREFIX = 'churn'

const counts: ChurnCounts = {
  connections: 0,
  destroyed: 0,
  subscribes: 0,
  unsubscribes: 0,
  publishes: 0,
  events: 0,
  topicsCreated: 0,
  topicsDeleted: 0,
  failures: 0,
  reasons: [],
}
const topics: string[] = []
const timers: NodeJS.Timeout[] = []
let lives = 0
let topicsMade = 0

listen<ToChurn>(async (message) => {
  if (message.type === 'stop') return stop()
  const { plan } = message
  const random = new Random(plan.seed)
  await renewTopic(plan)
  timers.push(
    setInterval(() => begin(plan, random), 1000 / plan.livesPerSecond),
    setInterval(() => {
      renewTopic(plan).catch((error: Error) => note(error.message))
    }, 1000 / plan.topicsPerSecond),
  )
  tell({ type: 'ready' } satisfies FromChurn)
})

function begin(plan: ChurnPlan, random: Random): void {
  if (lives >= LIVES_MAX) return
  lives++
  counts.connections++
  const isPolite = random.next() < 0.5
  if (!isPolite) counts.destroyed++
  const stable = random.below(plan.stableTopics)
  const own = random.pick(topics) ?? `${PREFIX}.0`
  const life = live(
    {
      target: plan.target,
      encoding: random.next() < 0.5 ? 'json' : 'msgpack',
      // A topic that never rests, one that comes and goes, a pattern for each of the two.
      subscriptions: [
        `${plan.stablePrefix}.${stable}`,
        own,
        random.next() < 0.5 ? `*.${stable}` : `${plan.stablePrefix}.${stable}.#`,
        `${PREFIX}.*`,
      ],
      publishTo: own,
      publishes: random.below(5),
      lingerMs: random.below(LINGER_MS_MAX),
      isPolite,
    },
    counts,
  )
  void life
    .catch((error: Error) => note(error.message))
    .finally(() => {
      lives--
    })
}

async function renewTopic({ target }: ChurnPlan): Promise<void> {
  const name = `${PREFIX}.${topicsMade++}`
  const made = await ask(target, 'POST', '/topics', { name })
  if (made.status !== 201) note(`POST /topics: ${made.status}`)
  counts.topicsCreated++
  topics.push(name)
  if (topics.length <= TOPICS_KEPT) return
  const oldest = topics.shift() as string
  await remove(target, oldest)
  // A subscriber that had chosen it a moment ago made it anew: look again, long after that.
  setTimeout(() => void remove(target, oldest).catch(() => {}), 4 * LINGER_MS_MAX)
}

async function remove(target: ChurnPlan['target'], name: string): Promise<void> {
  const { status } = await ask(target, 'DELETE', topicPath(name))
  if (status === 200) counts.topicsDeleted++
  else if (status !== 404) note(`DELETE ${name}: ${status}`)
}

async function stop(): Promise<void> {
  for (const timer of timers) clearInterval(timer)
  const untilMs = performance.now() + STOP_MS_MAX
  while (lives > 0 && performance.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  if (lives > 0) note(`${lives} connections did not end`)
  tell({ type: 'done', counts } satisfies FromChurn)
}

function note(reason: string): void {
  counts.failures++
  if (counts.reasons.length < REASONS_MAX) counts.reasons.push(reason)
}
