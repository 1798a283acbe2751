/**
 * Filters and routing rules in a real broker: sockets, worker threads, the HTTP door, a file.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { JsonClient, startBroker, topicOn, waitUntil } from './harness.js'

function routesFile(content: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-routes-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'routes.json')
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  return file
}

test('a filter holds through the deaths of all worker threads', async () => {
  const broker = await startBroker()
  const reader = await JsonClient.connect(broker.wsUrl)
  const writer = await JsonClient.connect(broker.wsUrl)
  const filter = 'payload.n % 3 == 0 && headers.kind == "a"'
  await reader.ask({ type: 'subscribe', topic: 't.*', filter })
  const topics = [topicOn(broker, 0, 't'), topicOn(broker, 1, 't')]
  const wanted: string[] = []
  for (let n = 0; n < 60; n++) {
    if (n % 20 === 10) {
      const threads = [...broker.broker.supervisor.threads]
      await Promise.all(threads.map((thread) => thread.terminate()))
    }
    const topic = topics[n % 2] as string
    const kind = n % 4 < 2 ? 'a' : 'b'
    const message = { payload: { n }, headers: { kind } }
    const answer = await writer.ask({ type: 'publish', topic, message })
    expect(answer['type']).toBe('ack')
    if (n % 3 === 0 && kind === 'a') wanted.push(`${topic} ${n}`)
  }
  await waitUntil(() => reader.events.length >= wanted.length)
  const heard = reader.events.map(({ topic, message }) => {
    const { payload } = message as { payload: { n: number } }
    return `${topic} ${payload.n}`
  })
  expect(heard.sort()).toEqual(wanted.sort())
})

test('a hostile filter on large messages does not hold up the others', async () => {
  const broker = await startBroker({ WORKERS: '1' })
  const hostile = await JsonClient.connect(broker.wsUrl)
  const reader = await JsonClient.connect(broker.wsUrl)
  const writer = await JsonClient.connect(broker.wsUrl)
  for (let number = 0; number < 100; number++) {
    const filter = `payload.l.all(x, x in payload.l && payload.s.contains(payload.s) && x < ${number})`
    const answer = await hostile.ask({
      type: 'subscribe',
      topic: `t.${'#.'.repeat(number % 10)}*`,
      filter,
    })
    expect(['ack', 'error']).toContain(answer['type'])
  }
  await reader.ask({ type: 'subscribe', topic: 't.x' })
  const payload = { l: Array.from({ length: 9000 }, (_, n) => n), s: 'ab'.repeat(8000) }
  for (let n = 0; n < 20; n++) {
    const answer = await writer.ask({ type: 'publish', topic: 't.x', message: { payload } })
    expect(answer['type']).toBe('ack')
  }
  await waitUntil(() => reader.events.length === 20)
  expect(broker.broker.gateway.counters.get('shardRestarts')).toBe(0)
})

test('GET, PUT and DELETE of /routes', async () => {
  const broker = await startBroker()
  const { http } = broker
  const rule = { source: 'orders', filter: 'payload.amount > 100', targets: ['big'] }
  expect(await http('GET', '/routes')).toEqual({ status: 200, body: { routes: [] } })
  expect(await http('PUT', '/routes/r1', rule)).toEqual({
    status: 201,
    body: { status: 'created', route: 'r1' },
  })
  expect(await http('PUT', '/routes/r1', rule)).toMatchObject({
    status: 200,
    body: { status: 'replaced' },
  })
  expect(await http('GET', '/routes/r1')).toEqual({ status: 200, body: { name: 'r1', ...rule } })
  expect(await http('GET', '/routes')).toEqual({
    status: 200,
    body: { routes: [{ name: 'r1', ...rule }] },
  })
  const circle = await http('PUT', '/routes/r2', { source: 'big', targets: ['orders'] })
  expect(circle).toMatchObject({ status: 400, body: { error: { code: 'BAD_REQUEST' } } })
  expect(await http('PUT', '/routes/a%20b', rule)).toMatchObject({ status: 400 })
  expect(await http('POST', '/routes/r1', rule)).toMatchObject({ status: 405 })
  expect(await http('DELETE', '/routes')).toMatchObject({ status: 405 })

  const reader = await JsonClient.connect(broker.wsUrl)
  await reader.ask({ type: 'subscribe', topic: 'big' })
  const publish = (amount: number) =>
    http('POST', '/topics/orders/messages', { message: { payload: { amount } } })
  await publish(50)
  await publish(150)
  const event = await reader.next(({ type }) => type === 'event')
  expect(event).toMatchObject({
    topic: 'big',
    message: { payload: { amount: 150 }, headers: { 'x-ringcast-route': 'orders > big' } },
  })
  expect(await http('DELETE', '/routes/r1')).toEqual({
    status: 200,
    body: { status: 'deleted', route: 'r1' },
  })
  expect(await http('DELETE', '/routes/r1')).toMatchObject({ status: 404 })
  expect(await http('GET', '/routes/r1')).toMatchObject({ status: 404 })
})

test('rules of ROUTES_FILE stand from the start, and through the deaths of worker threads', async () => {
  const targets = ['copy.1', 'copy.2']
  const ROUTES_FILE = routesFile([
    { name: 'all', source: 'in.#', targets },
    { name: 'more', source: 'copy.2', filter: 'payload > 5', targets: ['large'] },
  ])
  const broker = await startBroker({ ROUTES_FILE })
  const reader = await JsonClient.connect(broker.wsUrl)
  const writer = await JsonClient.connect(broker.wsUrl)
  for (const topic of [...targets, 'large']) await reader.ask({ type: 'subscribe', topic })
  for (let n = 1; n <= 10; n++) {
    if (n % 4 === 0) {
      const threads = [...broker.broker.supervisor.threads]
      await Promise.all(threads.map((thread) => thread.terminate()))
    }
    await writer.ask({ type: 'publish', topic: `in.${n % 3}`, message: { payload: n } })
  }
  // At least once: a death may have sent some again.
  const seen = (topic: string) =>
    new Set(
      reader.events
        .filter((event) => event['topic'] === topic)
        .map(({ message }) => (message as { payload: number }).payload),
    )
  await waitUntil(
    () => targets.every((topic) => seen(topic).size === 10) && seen('large').size === 5,
  )
})

test.each([
  ['not JSON', '{', 'ROUTES_FILE='],
  ['a rule without targets', [{ name: 'a', source: 'b' }], 'route 0.targets: '],
  ['a circle', [{ name: 'a', source: 'b', targets: ['b'] }], 'in a circle'],
])('ROUTES_FILE with %s keeps the broker from starting', async (_, content, problem) => {
  await expect(startBroker({ ROUTES_FILE: routesFile(content) })).rejects.toThrow(problem)
})
