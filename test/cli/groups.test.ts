/** `ringcast groups`, `consume` and `dlq` against a real broker. */
import { expect, test } from 'vitest'
import { sleep, startBroker, type TestBroker, waitUntil } from '../broker/harness.js'
import { open } from '../client/harness.js'
import { jsonLines, runHere, startHere } from './harness.js'

async function brokerWith(count: number): Promise<TestBroker> {
  const broker = await startBroker({ WORKERS: '1' })
  const messages = Array.from({ length: count }, (_, index) => ({ payload: index + 1 }))
  await broker.http('POST', '/topics/orders/messages', { messages })
  return broker
}

test('groups create, ls, info, pause, resume, reset and rm do what they say', async () => {
  const { httpUrl } = await brokerWith(5)
  const groups = (...args: string[]) => runHere(['groups', ...args, '--url', httpUrl])
  expect(await groups('ls', 'orders')).toEqual({
    code: 0,
    stdout: '',
    stderr: 'orders has no groups\n',
  })
  const created = await groups('create', 'orders', 'billing', '--earliest', '--ack-wait', '10s')
  expect(created).toEqual({ code: 0, stdout: 'orders billing next seq 1\n', stderr: '' })
  expect((await groups('ls', 'orders')).stdout).toBe(
    'GROUP    MEMBERS  LAG  OUTSTANDING  ACK FLOOR\nbilling        0    5            0          0\n',
  )
  const info = await groups('info', 'orders', 'billing')
  expect(info.stdout).toMatch(/^ack_wait_ms {2,}10,000$/m)
  expect((await groups('pause', 'orders', 'billing')).stdout).toBe('orders billing paused\n')
  expect((await groups('ls', 'orders')).stdout).toContain('billing (paused)')
  expect((await groups('resume', 'orders', 'billing')).stdout).toBe('orders billing next seq 1\n')
  const reset = await groups('reset', 'orders', 'billing', '--from-seq', '4', '--json')
  expect(jsonLines(reset.stdout)).toMatchObject([{ next_seq: 4, lag: 2 }])
  expect((await groups('reset', 'orders', 'billing')).code).toBe(2)
  expect((await groups('rm', 'orders', 'billing')).stdout).toBe('orders billing deleted\n')
  expect(await groups('rm', 'orders', 'billing')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('GROUP_NOT_FOUND'),
  })
})

test('consume prints what it is given and acks it; --ack none leaves it to others', async () => {
  const { httpUrl, wsUrl, http } = await brokerWith(5)
  const consume = (...args: string[]) =>
    runHere(['consume', 'orders', 'billing', '--url', wsUrl, ...args])
  const peeked = await consume('--earliest', '--ack', 'none', '-n', '2', '--raw')
  expect(peeked).toEqual({ code: 0, stdout: '1\n2\n', stderr: '' })
  const taken = await consume('-n', '3', '--json')
  expect(jsonLines(taken.stdout)).toMatchObject([
    { seq: 1, payload: 1, group: 'billing', attempt: 2 },
    { seq: 2, payload: 2 },
    { seq: 3, payload: 3 },
  ])
  const { body } = await http('GET', '/topics/orders/groups/billing')
  expect(body).toMatchObject({ acked: 3, lag: 2, members: 0 })
  const rest = startHere(['consume', 'orders', 'billing', '--url', wsUrl])
  await waitUntil(() => rest.stdout.split('\n').length === 3)
  rest.interrupt()
  expect((await rest.ended).code).toBe(0)
  expect((await http('GET', '/topics/orders/groups/billing')).body).toMatchObject({ lag: 0 })
  const waiting = startHere(['consume', 'orders', 'billing', '-n', '1', '--url', wsUrl])
  await sleep(50)
  waiting.interrupt()
  expect((await waiting.ended).code).toBe(130)
  const deleted = startHere(['consume', 'orders', 'other', '--url', wsUrl])
  for (let tries = 0; tries < 200; tries++) {
    const answer = await http('DELETE', '/topics/orders/groups/other')
    if (answer.status === 200) break
    await sleep(5)
  }
  expect(await deleted.ended).toMatchObject({ code: 1 })
  expect((await runHere(['consume', 'orders', 'no name', '--url', httpUrl])).code).toBe(1)
})

test('consume --count uses up no attempts of what came beyond', async () => {
  const { wsUrl } = await brokerWith(4)
  const consume = (...args: string[]) =>
    runHere(['consume', 'orders', 'billing', '--url', wsUrl, '--json', ...args])
  expect(jsonLines((await consume('--earliest', '-n', '1')).stdout)).toMatchObject([{ seq: 1 }])
  expect(jsonLines((await consume('-n', '3')).stdout)).toMatchObject([
    { seq: 2, attempt: 1 },
    { seq: 3, attempt: 1 },
    { seq: 4, attempt: 1 },
  ])
})

test('dlq ls, peek, replay and purge show dead letters, and give them back', async () => {
  const { httpUrl, wsUrl, http } = await brokerWith(3)
  const dlq = (...args: string[]) => runHere(['dlq', ...args, '--url', httpUrl])
  expect((await dlq('ls', 'orders')).stderr).toBe('orders has no such dead letters\n')
  const client = await open(wsUrl)
  const consumer = client.consume('orders', 'billing', (message) => message.term('no\tgood'), {
    start: 'earliest',
  })
  await consumer.ready
  const letters = async () => (await http('GET', '/topics/orders/dead-letters')).body
  const isThere = async (count: number) =>
    ((await letters())['dead_letters'] as unknown[]).length === count
  for (let tries = 0; tries < 200 && !(await isThere(3)); tries++) await sleep(5)
  await consumer.stop()
  const list = await dlq('ls', 'orders', '--limit', '2', '--group', 'billing', '--reason', 'term')
  const lines = list.stdout.trimEnd().split('\n')
  expect(lines.length).toBe(3)
  expect(lines[0]).toMatch(/^SEQ {2}SINCE {2,}GROUP {4}REASON {2}ATTEMPTS {2}ERROR$/)
  expect(lines[1]).toMatch(/^ #1 {2}\S+ {2}billing {2}term +1 {2}no good$/)
  const peek = await dlq('peek', 'orders', '2')
  expect(peek.stdout).toMatch(/^dlq-seq {2,}2$/m)
  expect(peek.stdout).toMatch(/\n\n2\n$/)
  expect((await dlq('peek', 'orders', '9')).code).toBe(1)
  expect((await dlq('replay', 'orders')).code).toBe(2)
  expect((await dlq('replay', 'orders', '2')).stdout).toBe('orders: 1 replayed, 0 skipped\n')
  const all = await dlq('replay', 'orders', '--all', '--json')
  expect(jsonLines(all.stdout)).toEqual([{ topic: 'orders', replayed: 2, skipped: 1 }])
  expect((await dlq('purge', 'orders')).stdout).toMatch(/^orders: \d dead letters dropped\n$/)
})
