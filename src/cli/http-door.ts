/**
 * The broker's HTTP door, as commands use it.
 * Runs on: the command's process.
 */
import { Exit } from './exit-codes.js'
import { Failure, unreachable } from './failure.js'
import type { GlobalOptions } from './options.js'

export interface Answer<Body> {
  readonly status: number
  readonly body: Body
}

/** Any status is an answer. Fails when there is none, or when it is no broker's. */
export async function ask<Body>(
  { url, timeout }: GlobalOptions,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer<Body>> {
  let status: number
  let text: string
  try {
    const response = await fetch(url.httpUrl + path, {
      method,
      signal: AbortSignal.timeout(timeout),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    status = response.status
    text = await response.text()
  } catch (error) {
    throw unreachable(url.httpUrl, error)
  }
  try {
    return { status, body: JSON.parse(text) as Body }
  } catch {
    const seen = `HTTP ${status}, and no JSON`
    throw new Failure(Exit.unreachable, `${url.httpUrl}${path} is no broker's answer: ${seen}`)
  }
}

/** The body of a 2xx answer; fails with the broker's own words for any other. */
export async function request<Body>(
  options: GlobalOptions,
  method: string,
  path: string,
  body?: unknown,
): Promise<Body> {
  const answer = await ask<Body>(options, method, path, body)
  if (answer.status < 300) return answer.body
  const { error } = answer.body as { error?: { code?: string; message?: string } }
  const text = error?.message ?? `HTTP ${answer.status}`
  throw new Failure(Exit.failed, error?.code === undefined ? text : `${text} (${error.code})`)
}

export function topicPath(topic: string): string {
  return `/topics/${encodeURIComponent(topic)}`
}
