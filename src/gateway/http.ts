/**
 * The HTTP door: topics, history, publish, health, stats. Knows nothing of sockets: a request comes
 * in as method, path and body, and goes out through respond().
 * Runs on: the front thread. Owns: nothing.
 */
import { isUtf8 } from 'node:buffer'
import { Refusal, Reply, replyById } from '../errors.js'
import { jsonMessages, parseJsonFrame, requestsIn } from '../protocol/json-frames.js'
import { isUuid, uuidBytes } from '../protocol/uuid.js'
import { type ControlRequest, PUBLISH_HTTP, type TopicSummary } from '../ring/record.js'
import { parseTopicOptions } from '../topic-rules.js'
import type { Gateway } from './gateway.js'
import { checkTopicOfGroup } from './group-options.js'
import { deadLetterAction } from './http-dead-letters.js'
import { groupAction } from './http-groups.js'
import { wholeNumber } from './query.js'
import type { ShardLink } from './shard-link.js'
import type { TopicRef } from './topic-names.js'

/** Messages of one history answer. */
const HISTORY_LIMIT_MAX = 1000
const HISTORY_LIMIT_DEFAULT = 100
/** Subscriptions shown in a topic's details. */
const SUBSCRIPTIONS_SHOWN_MAX = 100

export interface HttpRequestData {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly body: Buffer
}

export interface HttpAnswer {
  readonly status: number
  readonly body: string | Buffer
  /** Methods that the path takes, for 405. */
  readonly allow?: string
}

export type Respond = (answer: HttpAnswer) => void

/** What health() says of the broker beyond what the gateway knows. */
export interface BrokerState {
  readonly startedAtMs: number
  readonly topicCount: () => number
  readonly shardCounters: () => readonly Readonly<Record<string, number>>[]
  /** What else /stats says of the process: its use of the machine, its configuration. */
  readonly about: () => Readonly<Record<string, unknown>>
}

type TokenlessRequest = ControlRequest extends infer Request
  ? Request extends { token: number }
    ? Omit<Request, 'token'>
    : never
  : never

/** What a shard says of a topic; topic_id is for us alone. */
interface TopicInfo {
  readonly topic_id: number
  readonly [field: string]: unknown
}

interface Target {
  readonly topic: string
  /** What of the topic: `messages`, or `groups` and what follows; empty for the topic itself. */
  readonly rest: readonly string[]
}

export class HttpDoor {
  readonly #gateway: Gateway
  readonly #state: BrokerState

  constructor(gateway: Gateway, state: BrokerState) {
    this.#gateway = gateway
    this.#state = state
  }

  /** Answers by `respond`, now or when a shard has answered; exactly once. */
  handle(request: HttpRequestData, respond: Respond): void {
    try {
      this.#route(request, respond)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      respond(refusal(error))
    }
    this.#gateway.flush()
  }

  #route(request: HttpRequestData, respond: Respond): void {
    const { method, path } = request
    if (path === '/health') {
      if (method !== 'GET') return respond(notAllowed('GET'))
      return respond(this.#health())
    }
    if (path === '/stats') {
      if (method !== 'GET') return respond(notAllowed('GET'))
      return this.#stats(request.query, respond)
    }
    if (path === '/topics') {
      if (method === 'GET') return this.#list(respond)
      if (method === 'POST') return this.#create(request, respond)
      return respond(notAllowed('GET, POST'))
    }
    if (path === '/routes' || path.startsWith('/routes/')) return this.#routes(request, respond)
    const waiting = delayedTargetOf(path)
    if (waiting !== undefined) return this.#delayed(method, waiting, request.query, respond)
    const target = targetOf(path)
    if (target === undefined) return respond(unknownPath(path))
    const topic = this.#gateway.names.byName(target.topic)
    if (target.rest[0] === 'groups') {
      return this.#groups(topic, target.rest.slice(1), request, respond)
    }
    if (target.rest[0] === 'dead-letters') {
      return this.#deadLetters(topic, target.rest.slice(1), request, respond)
    }
    if (target.rest[0] === 'messages') {
      if (method === 'GET') return this.#history(topic.name, request.query, respond)
      if (method === 'POST') return this.#publish(topic.name, request.body, respond)
      return respond(notAllowed('GET, POST'))
    }
    if (method === 'GET') return this.#info(topic.name, respond)
    if (method === 'DELETE') {
      this.#refuseWhileDraining()
      if (topic.publishProblem !== undefined) {
        throw new Refusal(Reply.badRequest, topic.publishProblem)
      }
      return this.#ask(topic.shard, { op: 'delete', topic: topic.name }, respond)
    }
    return respond(notAllowed('GET, DELETE'))
  }

  #routes({ method, path, body }: HttpRequestData, respond: Respond): void {
    const { routes } = this.#gateway
    if (path === '/routes') {
      if (method !== 'GET') return respond(notAllowed('GET'))
      return respond({ status: 200, body: JSON.stringify({ routes: routes.list() }) })
    }
    const name = path.slice('/routes/'.length)
    if (method === 'PUT') {
      this.#refuseWhileDraining()
      const isNew = routes.put(name, parseBody(body))
      const status = isNew ? 'created' : 'replaced'
      return respond({ status: isNew ? 201 : 200, body: JSON.stringify({ status, route: name }) })
    }
    if (method !== 'GET' && method !== 'DELETE') return respond(notAllowed('GET, PUT, DELETE'))
    const route = routes.get(name)
    if (route === undefined) {
      const message = `route ${JSON.stringify(name.slice(0, 100))} does not exist`
      const error = { code: 'BAD_REQUEST', message }
      return respond({ status: 404, body: JSON.stringify({ error }) })
    }
    if (method === 'GET') return respond({ status: 200, body: JSON.stringify(route) })
    this.#refuseWhileDraining()
    routes.delete(name)
    respond({ status: 200, body: JSON.stringify({ status: 'deleted', route: name }) })
  }

  /** What waits for a topic: listed, or cancelled by id. */
  #delayed(method: string, target: DelayedTarget, query: URLSearchParams, respond: Respond): void {
    const { name, shard } = this.#gateway.names.byName(target.topic)
    if (target.id === undefined) {
      if (method !== 'GET') return respond(notAllowed('GET'))
      const wanted = wholeNumber(query, 'limit', 1) ?? HISTORY_LIMIT_DEFAULT
      const limit = Math.min(wanted, HISTORY_LIMIT_MAX)
      return this.#ask(shard, { op: 'delayed', topic: name, limit }, respond)
    }
    if (method !== 'DELETE') return respond(notAllowed('DELETE'))
    this.#refuseWhileDraining()
    if (!isUuid(target.id)) throw new Refusal(Reply.badRequest, 'the id must be a valid UUID')
    this.#ask(shard, { op: 'cancel', topic: name, id: uuidBytes(target.id) }, respond)
  }

  #health(): HttpAnswer {
    const { isDraining, links, subscribing } = this.#gateway
    const down = links.filter((link) => link.isDown).map((link) => link.number)
    const status = isDraining ? 'draining' : down.length > 0 ? 'degraded' : 'ok'
    return {
      status: status === 'ok' ? 200 : 503,
      body: JSON.stringify({
        status,
        uptime_sec: Math.floor((Date.now() - this.#state.startedAtMs) / 1000),
        topics: this.#state.topicCount(),
        subscribers: subscribing.total,
        connections: this.#gateway.sessions.size,
        workers: links.length,
        workers_down: down,
      }),
    }
  }

  #list(respond: Respond): void {
    this.#allTopics((topics) => {
      const listed = topics.map(({ name, subscribers }) => ({ name, subscribers }))
      respond({ status: 200, body: JSON.stringify({ topics: listed }) })
    })
  }

  /** `?topics=none` leaves out the topics, and with them the round trip to every shard. */
  #stats(query: URLSearchParams, respond: Respond): void {
    const wanted = query.get('topics')
    if (wanted === 'none') return respond({ status: 200, body: JSON.stringify(this.#counters()) })
    if (wanted !== null) throw new Refusal(Reply.badRequest, 'topics must be none, or left out')
    const counters = this.#counters() // Before we fill the rings ourselves.
    this.#allTopics((topics) => {
      const byName = topics.map(({ name, messages, held, subscribers }) => [
        name,
        { messages, held, subscribers },
      ])
      const body = { topics: Object.fromEntries(byName), ...counters }
      respond({ status: 200, body: JSON.stringify(body) })
    })
  }

  #counters(): object {
    const { counters, sessions, subscribing, fanOut, links } = this.#gateway
    return {
      connections: sessions.size,
      subscribers: subscribing.total,
      lagging: fanOut.lagCount,
      rings: links.map(({ depth }) => depth),
      gateway: counters.snapshot(),
      workers: this.#state.shardCounters(),
      ...this.#state.about(),
    }
  }

  #create(request: HttpRequestData, respond: Respond): void {
    this.#refuseWhileDraining()
    const { name, options: given } = parseBody(request.body)
    if (typeof name !== 'string') throw new Refusal(Reply.badRequest, 'name must be a string')
    const topic = this.#gateway.names.byName(name)
    if (topic.publishProblem !== undefined) {
      throw new Refusal(Reply.badRequest, topic.publishProblem)
    }
    const options = given === undefined || given === null ? {} : parseTopicOptions(given)
    if (typeof options === 'string') throw new Refusal(Reply.badRequest, options)
    this.#ask(topic.shard, { op: 'create', topic: topic.name, options }, respond)
  }

  #publish(name: string, body: Buffer, respond: Respond): void {
    const { names, requests, publishing, options } = this.#gateway
    this.#refuseWhileDraining()
    const topic = names.byName(name)
    if (topic.publishProblem !== undefined) {
      throw new Refusal(Reply.badRequest, topic.publishProblem)
    }
    const frame = parseBody(body)
    const type = Object.hasOwn(frame, 'messages') ? 'publish_batch' : 'publish'
    const messages = jsonMessages(frame, body, type, options)
    const asked = requestsIn(messages)
    this.#gateway.admitRequests(topic.name, asked)
    const token = requests.add(this.#requester(() => token, respond))
    try {
      publishing.json(token, topic, messages, undefined, PUBLISH_HTTP)
      this.#gateway.counters.add('requests', asked)
    } catch (error) {
      requests.delete(token)
      this.#gateway.counters.add('publishesRefused')
      throw error
    }
  }

  #history(topic: string, query: URLSearchParams, respond: Respond): void {
    const lastN = wholeNumber(query, 'last_n', 1)
    const fromSeq = wholeNumber(query, 'from_seq', 1)
    const wanted = wholeNumber(query, 'limit', 1) ?? lastN ?? HISTORY_LIMIT_DEFAULT
    if (lastN !== null && fromSeq !== null) {
      throw new Refusal(Reply.badRequest, 'last_n and from_seq exclude each other')
    }
    const limit = Math.min(wanted, HISTORY_LIMIT_MAX)
    const { shard } = this.#gateway.names.byName(topic)
    const count = lastN === null ? null : Math.min(lastN, limit)
    this.#ask(shard, { op: 'history', topic, lastN: count, fromSeq, limit }, respond)
  }

  #info(name: string, respond: Respond): void {
    const { fanOut, names } = this.#gateway
    const { shard } = names.byName(name)
    this.#ask(shard, { op: 'info', topic: name }, (answer) => {
      if (answer.status !== 200) return respond(answer)
      const { topic_id: topicId, ...info } = JSON.parse(answer.body.toString()) as TopicInfo
      const feeds = fanOut.feedsOfTopic(shard, topicId)
      const subscriptions = feeds.flatMap((feed) =>
        [...feed.plain, ...[...feed.groups].flatMap(({ members }) => [...members])].map(
          (subscription) => ({
            client_id: subscription.clientId ?? null,
            subscription: subscription.text,
            policy: subscription.policy,
            lag: feed.nextSeq - (subscription.lags?.get(feed)?.nextSeq ?? feed.nextSeq),
          }),
        ),
      )
      const body = {
        ...info,
        subscribers: subscriptions.length,
        subscriptions: subscriptions.slice(0, SUBSCRIPTIONS_SHOWN_MAX),
      }
      respond({ status: 200, body: JSON.stringify(body) })
    })
  }

  #groups(topic: TopicRef, rest: readonly string[], request: HttpRequestData, respond: Respond) {
    const { method, body } = request
    const wanted = groupAction(method, rest, () => parseBody(body), Date.now())
    if (wanted === undefined) return respond(unknownPath(request.path))
    if ('allow' in wanted) return respond(notAllowed(wanted.allow))
    if (method !== 'GET') this.#refuseWhileDraining()
    if (wanted.do === 'create') checkTopicOfGroup(topic.name)
    this.#ask(topic.shard, { op: 'group', topic: topic.name, action: wanted }, respond)
  }

  #deadLetters(
    topic: TopicRef,
    rest: readonly string[],
    request: HttpRequestData,
    respond: Respond,
  ): void {
    const { method, query, body } = request
    const wanted = deadLetterAction(method, rest, query, () => parseBody(body))
    if (wanted === undefined) return respond(unknownPath(request.path))
    if ('allow' in wanted) return respond(notAllowed(wanted.allow))
    if (method !== 'GET') this.#refuseWhileDraining()
    this.#ask(topic.shard, { op: 'deadLetters', topic: topic.name, action: wanted }, respond)
  }

  /** Asks every shard for all its topics, page by page. */
  #allTopics(done: (topics: readonly (TopicSummary & { subscribers: number })[]) => void): void {
    const { links, fanOut } = this.#gateway
    const found: (TopicSummary & { subscribers: number })[] = []
    let waiting = links.length
    const askAll = (link: ShardLink) => {
      const { requests } = this.#gateway
      const token = requests.add({
        notice: (notice) => {
          if (notice.op === 'page') {
            for (const topic of notice.topics) {
              const feeds = fanOut.feedsOfTopic(link.number, topic.topicId)
              const subscribers = feeds.reduce((count, feed) => count + feed.subscribers, 0)
              found.push({ ...topic, subscribers })
            }
            if (notice.next !== null) {
              link.send({ op: 'list', token, after: notice.next })
              return
            }
          }
          requests.delete(token)
          if (--waiting === 0) done(found)
        },
      })
      link.send({ op: 'list', token, after: 0 })
    }
    for (const link of links) askAll(link)
  }

  #ask(shard: number, request: TokenlessRequest, respond: Respond): void {
    const { links, requests } = this.#gateway
    const token = requests.add(this.#requester(() => token, respond))
    if (!(links[shard] as ShardLink).trySend({ ...request, token } as ControlRequest)) {
      requests.delete(token)
      throw new Refusal(Reply.overloaded, 'the broker is saturated')
    }
  }

  #requester(token: () => number, respond: Respond) {
    const { requests } = this.#gateway
    return {
      notice: (notice: { op: string; replyId?: number; message?: string }) => {
        requests.delete(token())
        const reply = replyById(notice.replyId ?? Reply.internal.id)
        respond(refusal(new Refusal(reply, notice.message ?? 'unexpected answer')))
      },
      reply: (status: number, body: Buffer) => respond({ status, body }),
    }
  }

  #refuseWhileDraining(): void {
    if (this.#gateway.isDraining) {
      throw new Refusal(Reply.shuttingDown, 'the broker is shutting down')
    }
  }
}

interface DelayedTarget {
  readonly topic: string
  readonly id: string | undefined
}

/** From /topics/{name}/delayed or /topics/{name}/delayed/{id}. */
function delayedTargetOf(path: string): DelayedTarget | undefined {
  const match = /^\/topics\/([^/]+)\/delayed(?:\/([^/]+))?$/.exec(path)
  if (match === null) return undefined
  try {
    return { topic: decodeURIComponent(match[1] as string), id: match[2] }
  } catch {
    throw new Refusal(Reply.badRequest, 'the path must be UTF-8, percent-encoded')
  }
}

/** Topic and what of it, from /topics/{name}, /topics/{name}/messages or /topics/{name}/groups/… */
function targetOf(path: string): Target | undefined {
  const [, root, name, ...rest] = path.split('/')
  if (root !== 'topics' || name === undefined || name === '') return undefined
  const isMessages = rest[0] === 'messages' && rest.length === 1
  const isNested = rest[0] === 'groups' || rest[0] === 'dead-letters'
  if (rest.length > 0 && !isMessages && !isNested) return undefined
  try {
    return { topic: decodeURIComponent(name), rest: rest.map(decodeURIComponent) }
  } catch {
    throw new Refusal(Reply.badRequest, 'the path must be UTF-8, percent-encoded')
  }
}

/** As parseJsonFrame(). Nobody else looks at the bytes of a body: on the socket uWebSockets.js does. */
function parseBody(body: Buffer): Readonly<Record<string, unknown>> {
  if (!isUtf8(body)) throw new Refusal(Reply.badRequest, 'the body must be UTF-8')
  return parseJsonFrame(body)
}

export function refusal(error: Refusal): HttpAnswer {
  const { code, status } = error.reply
  return { status, body: JSON.stringify({ error: { code, message: error.message } }) }
}

function notAllowed(allow: string): HttpAnswer {
  const error = { code: 'BAD_REQUEST', message: `method not allowed, use ${allow}` }
  return { status: 405, body: JSON.stringify({ error }), allow }
}

function unknownPath(path: string): HttpAnswer {
  const message = `there is nothing at ${JSON.stringify(path.slice(0, 100))}`
  return { status: 404, body: JSON.stringify({ error: { code: 'BAD_REQUEST', message } }) }
}
