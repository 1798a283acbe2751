/** `ringcast req` and `ringcast reply`, against each other and against clients of other kinds. */
import { expect, test } from 'vitest'
import { JsonClient, startBroker, waitUntil } from '../broker/harness.js'
import { jsonLines, runHere, runProcess, startHere, startProcess } from './harness.js'

/** A broker, and `reply` with these arguments, once it is subscribed. */
async function answering(...args: string[]) {
  const broker = await startBroker()
  const url = ['--url', broker.wsUrl]
  const running = startHere(['reply', ...args, ...url])
  await waitUntil(() => broker.broker.gateway.subscribing.total === 1)
  return { ...broker, url, running, req: (...more: string[]) => runHere(['req', ...more, ...url]) }
}

test('req prints the reply as sub prints messages; --raw the payload, --json an object', async () => {
  const { req, running } = await answering('price', '{"eur": 4.5}')
  const line = await req('price', 'tea')
  expect(line).toMatchObject({ code: 0, stderr: '' })
  expect(line.stdout).toMatch(/^\d\d:\d\d:\d\d\.\d{3} \$inbox\.\S{22} #0 \{"eur":4\.5\}\n$/)
  expect(await req('price', 'tea', '--raw')).toMatchObject({ code: 0, stdout: '{"eur":4.5}\n' })
  const [reply] = jsonLines((await req('price', '--json')).stdout)
  expect(reply).toMatchObject({ type: 'message', seq: 0, payload: { eur: 4.5 } })
  running.interrupt()
  expect(await running.ended).toMatchObject({ code: 0, stdout: 'price replied\n'.repeat(3) })
})

test('reply --echo answers with what it is asked, and ends after --count', async () => {
  const { req, running } = await answering('echo', '--echo', '--count', '2', '--json')
  expect((await req('echo', '[1, "two"]', '--raw')).stdout).toBe('[1,"two"]\n')
  expect((await req('echo', '7', '--format', 'text', '--json')).stdout).toContain('"payload":"7"')
  const ended = await running.ended
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  expect(jsonLines(ended.stdout)).toEqual([
    { type: 'request', topic: 'echo', payload: [1, 'two'], reply: [1, 'two'] },
    { type: 'request', topic: 'echo', payload: '7', reply: '7' },
  ])
})

test('reply --exec answers with what a command of the shell prints, or with why it failed', async () => {
  const { req } = await answering(
    'run.*',
    '--exec',
    'tr a-z A-Z; echo " $RINGCAST_TOPIC"; test $RINGCAST_TOPIC != run.bad',
  )
  expect((await req('run.good', 'tea', '--raw')).stdout).toBe('TEA run.good\n')
  const failed = await req('run.bad', 'tea')
  expect(failed).toMatchObject({ code: 1, stdout: '' })
  expect(failed.stderr).toBe('ringcast: exit code 1 (REQUEST_FAILED)\n')
})

test('reply --exec ends a command that takes too long or prints too much', async () => {
  const slow = await answering('slow', '--exec', 'exec sleep 60', '--timeout', '200ms')
  expect((await slow.req('slow')).stderr).toBe('ringcast: ended by SIGTERM (REQUEST_FAILED)\n')
  const wordy = await answering('wordy', '--exec', 'exec yes')
  expect((await wordy.req('wordy')).stderr).toContain('it printed over 262144 characters')
})

test('req says at once that nobody listens, and waits --timeout for who does', async () => {
  const { wsUrl } = await startBroker()
  const url = ['--url', wsUrl]
  const nobody = await runHere(['req', 'nobody', '--timeout', '1m', ...url])
  expect(nobody).toMatchObject({ code: 1, stdout: '' })
  expect(nobody.stderr).toBe('ringcast: nobody listens to "nobody" now (NO_RESPONDERS)\n')
  const silent = await JsonClient.connect(wsUrl)
  await silent.ask({ type: 'subscribe', topic: 'silence' })
  const timedOut = await runHere(['req', 'silence', '--timeout', '100ms', ...url])
  expect(timedOut.code).toBe(1)
  expect(timedOut.stderr).toMatch(/no reply to silence within 100 ms.*\(TIMEOUT\)\n$/)
  const many = await runHere(['req', 'silence', '--many', '2', '--timeout', '100ms', ...url])
  expect(many).toMatchObject({ code: 1, stderr: 'ringcast: no reply to silence within 100 ms\n' })
})

test('req --many takes the replies of everybody, until there are enough or no other comes', async () => {
  const { wsUrl, broker, req, url } = await answering('who', 'one')
  startHere(['reply', 'who', 'two', ...url])
  startHere(['reply', 'who', '--exec', 'exit 3', ...url])
  await waitUntil(() => broker.gateway.subscribing.total === 3)
  expect(wsUrl).toBe(url[1])
  const enough = await req('who', '--many', '3', '--json', '--timeout', '1m')
  const replies = jsonLines(enough.stdout).map(({ payload, message }) => payload ?? message)
  expect(replies.sort()).toEqual(['exit code 3', 'one', 'two'])
  const stalled = await req('who', '--many', '9', '--max-wait', '500ms', '--raw', '--timeout', '1m')
  expect(stalled.code).toBe(0)
  expect(stalled.stdout.split('\n').sort()).toEqual(['', 'one', 'two'])
  expect(stalled.stderr).toBe('a responder failed: exit code 3\n')
})

test('wrong arguments end with 2, and say what is wrong', async () => {
  const { url } = await answering('a', '--echo')
  for (const args of [
    ['reply', 'a'],
    ['reply', 'a', '1', '--echo'],
    ['reply', 'a', '--echo', '--exec', 'cat'],
    ['req', 'a', '{', '--format', 'json'],
    ['req', 'a', '--max-wait', '1s'],
    ['req', 'a', '--many', '0'],
    ['req', 'a', '--raw', '--json'],
  ]) {
    const ended = await runHere([...args, ...url])
    expect(ended.code, args.join(' ')).toBe(2)
    expect(ended.stderr).not.toBe('')
  }
})

test('Ctrl-C ends req with 130; reply with 0, or 130 before its --count', async () => {
  const { wsUrl, broker } = await startBroker()
  const silent = await JsonClient.connect(wsUrl)
  await silent.ask({ type: 'subscribe', topic: 'silence' })
  const asking = startHere(['req', 'silence', '--timeout', '1m', '--url', wsUrl])
  await waitUntil(() => broker.gateway.counters.get('requests') === 1)
  asking.interrupt()
  expect((await asking.ended).code).toBe(130)
  const counting = startHere(['reply', 'a', '1', '--count', '5', '--url', wsUrl])
  await waitUntil(() => broker.gateway.subscribing.total === 2)
  counting.interrupt()
  expect((await counting.ended).code).toBe(130)
})

test('as processes: a request with headers, and a reply that is deleted under its feet', async () => {
  const { wsUrl, http, broker } = await startBroker()
  const env = { RINGCAST_URL: wsUrl }
  const running = startProcess(['reply', 'proc', '--echo'], env)
  await waitUntil(() => broker.gateway.subscribing.total === 1)
  const asked = await runProcess(['req', 'proc', '{"a":1}', '-H', 'x=y', '--raw'], env)
  expect(asked).toMatchObject({ code: 0, stdout: '{"a":1}\n', stderr: '' })
  await http('DELETE', '/topics/proc')
  const ended = await running.ended
  expect(ended).toMatchObject({ code: 1 })
  expect(ended.stderr).toContain('proc was deleted')
})
