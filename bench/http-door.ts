/**
 * The broker's HTTP door, asked over a connection of its own each time: a connection kept alive would
 * be counted among the broker's open files.
 * Runs on: processes of the benchmark. Owns: nothing.
 */
import { request } from 'node:http'
import type { Target } from './load/plan.js'

const ANSWER_MS_MAX = 10_000

export interface Answer {
  readonly status: number
  readonly body: unknown
}

export interface TopicStats {
  readonly messages: number
  readonly held: number
  readonly subscribers: number
}

/** What GET /stats answers, as far as benchmarks read it. */
export interface Stats {
  readonly topics: Readonly<Record<string, TopicStats>>
  readonly connections: number
  readonly subscribers: number
  readonly lagging: number
  readonly rings: readonly { readonly inbound_bytes: number; readonly outbound_bytes: number }[]
  readonly gateway: Readonly<Record<string, number>>
  readonly workers: readonly Readonly<Record<string, number>>[]
}

export function ask(
  { host, port }: Target,
  method: string,
  path: string,
  body?: object,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host, port, method, path, agent: false }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        text += part
      })
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, body: JSON.parse(text) }))
      answer.once('error', reject)
    })
    asked.setTimeout(ANSWER_MS_MAX, () => asked.destroy(new Error(`${method} ${path}: no answer`)))
    asked.once('error', reject)
    asked.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

export async function askStats(target: Target): Promise<Stats> {
  const { status, body } = await ask(target, 'GET', '/stats')
  if (status !== 200) throw new Error(`GET /stats: ${status}`)
  return body as Stats
}

export function topicPath(topic: string): string {
  return `/topics/${encodeURIComponent(topic)}`
}

/** Deletes every topic whose name begins so; returns how many there were. */
export async function deleteTopics(target: Target, prefix: string): Promise<number> {
  const { body } = await ask(target, 'GET', '/topics')
  const { topics } = body as { topics: readonly { name: string }[] }
  const names = topics.map(({ name }) => name).filter((name) => name.startsWith(prefix))
  for (const name of names) await ask(target, 'DELETE', topicPath(name))
  return names.length
}
