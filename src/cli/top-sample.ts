/**
 * What `ringcast top` shows: two readings of the counters, and what happened between them.
 * Runs on: the command's process.
 */
import type { Stats, SubscriptionInfo, TopicInfo } from './broker-answers.js'
import { request, topicPath } from './http-door.js'
import type { GlobalOptions } from './options.js'

/** Topics whose subscribers are asked for: each costs the broker a request. */
const TOPICS_ASKED_MAX = 10

export interface TopicRow {
  readonly name: string
  readonly per_second: number
  readonly messages: number
  readonly held: number
  readonly subscribers: number
}

export interface SubscriberRow {
  readonly client_id: string | null
  readonly subscription: string
  readonly topic: string
  readonly policy: string
  readonly lag: number
}

export interface WorkerRow {
  readonly worker: number
  readonly stored_per_second: number
  readonly bytes_per_second: number
  readonly batches_per_second: number
  /** Of all messages stored between the readings; 0 to 1. */
  readonly share: number
}

export interface Sample {
  readonly ts: string
  readonly published_per_second: number
  readonly delivered_per_second: number
  readonly bytes_sent_per_second: number
  readonly dropped_per_second: number
  readonly connections: number
  readonly subscribers: number
  readonly lagging: number
  readonly topics: readonly TopicRow[]
  readonly slowest: readonly SubscriberRow[]
  readonly workers: readonly WorkerRow[]
}

export interface Reading {
  readonly atMs: number
  readonly stats: Stats
}

export async function read(options: GlobalOptions): Promise<Reading> {
  const stats = await request<Stats>(options, 'GET', '/stats')
  return { atMs: performance.now(), stats }
}

/** The subscribers of the busiest topics, the one that lags most first. */
export async function readSubscribers(
  options: GlobalOptions,
  topics: readonly TopicRow[],
): Promise<SubscriberRow[]> {
  const asked = topics.filter(({ subscribers }) => subscribers > 0).slice(0, TOPICS_ASKED_MAX)
  const lists = await Promise.all(
    asked.map(async ({ name }) => {
      // A topic that was deleted meanwhile has no subscribers.
      const info = await request<TopicInfo>(options, 'GET', topicPath(name)).catch(() => undefined)
      const { subscriptions = [] } = info ?? {}
      return subscriptions.map((one: SubscriptionInfo) => ({ ...one, topic: name }))
    }),
  )
  return lists.flat().sort((a, b) => b.lag - a.lag)
}

/** Rates between two readings; topics busiest first. */
export function sampleOf(
  before: Reading,
  after: Reading,
  slowest: readonly SubscriberRow[],
): Sample {
  const seconds = Math.max(0.001, (after.atMs - before.atMs) / 1000)
  const rate = (now = 0, then = 0) => Math.max(0, now - then) / seconds
  const gatewayRate = (name: string) => rate(after.stats.gateway[name], before.stats.gateway[name])
  const workers = workerRows(before, after, rate)
  const { connections, subscribers, lagging } = after.stats
  return {
    ts: new Date().toISOString(),
    published_per_second: workers.reduce((sum, worker) => sum + worker.stored_per_second, 0),
    delivered_per_second: gatewayRate('messagesDelivered'),
    bytes_sent_per_second: gatewayRate('bytesSent'),
    dropped_per_second: gatewayRate('messagesDropped'),
    connections,
    subscribers,
    lagging,
    topics: topicRows(before, after, rate),
    slowest,
    workers,
  }
}

type Rate = (now?: number, then?: number) => number

function topicRows(before: Reading, after: Reading, rate: Rate): TopicRow[] {
  return Object.entries(after.stats.topics)
    .map(([name, { messages, held = Number.NaN, subscribers }]) => ({
      name,
      per_second: rate(messages, before.stats.topics[name]?.messages),
      messages,
      held,
      subscribers,
    }))
    .sort((a, b) => b.per_second - a.per_second || (a.name < b.name ? -1 : 1))
}

function workerRows(before: Reading, after: Reading, rate: Rate): WorkerRow[] {
  const rows = after.stats.workers.map((counters, worker) => {
    const then = before.stats.workers[worker] ?? {}
    return {
      worker,
      stored_per_second: rate(counters['messagesStored'], then['messagesStored']),
      bytes_per_second: rate(counters['bytesStored'], then['bytesStored']),
      batches_per_second: rate(counters['batches'], then['batches']),
    }
  })
  const stored = rows.reduce((sum, row) => sum + row.stored_per_second, 0)
  return rows
    .map((row) => ({ ...row, share: stored === 0 ? 0 : row.stored_per_second / stored }))
    .sort((a, b) => b.stored_per_second - a.stored_per_second || a.worker - b.worker)
}
