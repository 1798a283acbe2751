import { expect, onTestFinished, test } from 'vitest'
import {
  type BreakerState,
  type HandlerOptions,
  type MessageHandler,
  makeHandler,
} from '../../src/client/handler.js'
import { HandlerError, Message, TimeoutError } from '../../src/client/ringcast.js'
import { sleep, waitUntil } from './harness.js'

function start(handler: MessageHandler<unknown>, options: HandlerOptions = {}) {
  const failures: [number, HandlerError][] = []
  const states: BreakerState[] = []
  const running = makeHandler(handler, options, {
    onFailure: ({ seq }, error) => void failures.push([seq, error]),
    onBreaker: (state) => void states.push(state),
  })
  onTestFinished(() => running.stop())
  return { running, failures, states }
}

function message(seq: number): Message {
  const source = {
    topic: 't',
    pattern: undefined,
    timeMsAt: () => 0,
    encodingAt: () => 1,
    payloadAt: () => ({ value: seq }),
    idAt: () => '',
    headersAt: () => undefined,
    propertiesAt: () => undefined,
  }
  return new Message(source, 0, seq, 'e', undefined)
}

test('makeHandler() without a policy costs no promise unless the handler returns one', async () => {
  const { running, failures } = start(({ seq }) => {
    if (seq === 1) return undefined
    if (seq === 2) throw new Error('sync')
    return seq === 3 ? Promise.resolve() : Promise.reject(new Error('async'))
  })
  expect(running.run(message(1))).toBeUndefined()
  expect(running.run(message(2))).toBeUndefined()
  await running.run(message(3))
  await running.run(message(4))
  expect(failures.map(([seq, { message: text }]) => [seq, text])).toEqual([
    [2, 'handler failed on t seq 2: sync'],
    [4, 'handler failed on t seq 4: async'],
  ])
  expect(failures[0]?.[1].cause).toEqual(new Error('sync'))
})

test('makeHandler() fails a handler that takes too long, and aborts its signal', async () => {
  let isAborted = false
  const { running, failures } = start(
    (_message, { signal }) => {
      signal.addEventListener('abort', () => {
        isAborted = true
      })
      return sleep(60).then(() => Promise.reject(new Error('too late to matter')))
    },
    { timeoutMs: 20 },
  )
  await running.run(message(1))
  expect(isAborted).toBe(true)
  expect(failures[0]?.[1]).toBeInstanceOf(HandlerError)
  expect(failures[0]?.[1].cause).toBeInstanceOf(TimeoutError)
  await sleep(60) // The late rejection must be nobody's.
})

test('makeHandler() tries again with a counter that the handler sees, and then gives up', async () => {
  const attempts: number[] = []
  const { running, failures } = start(
    ({ seq }, { attempt }) => {
      attempts.push(attempt)
      if (seq === 2 || attempt < 3) throw new Error(`try ${attempt}`)
    },
    { retry: { maxAttempts: 4, baseMs: 1, maxMs: 2 } },
  )
  await running.run(message(1))
  expect([attempts.splice(0), failures.length]).toEqual([[1, 2, 3], 0])
  await running.run(message(2))
  expect(attempts).toEqual([1, 2, 3, 4])
  expect(failures[0]?.[1].message).toContain('try 4')
})

test('makeHandler() waits between tries: exponentially, with jitter', async () => {
  const times: number[] = []
  const { running } = start(
    () => {
      times.push(performance.now())
      throw new Error('again')
    },
    { retry: { maxAttempts: 3, baseMs: 40, maxMs: 1000 } },
  )
  await running.run(message(1))
  expect((times[2] as number) - (times[0] as number)).toBeGreaterThan(5)
})

test('makeHandler() with an open breaker keeps the message until it may be tried', async () => {
  let isBroken = true
  const handled: number[] = []
  const calls: number[] = []
  const { running, failures, states } = start(
    ({ seq }) => {
      calls.push(seq)
      if (isBroken) throw new Error('down')
      handled.push(seq)
    },
    { breaker: { threshold: 2, halfOpenAfterMs: 30 }, retry: { maxAttempts: 100, baseMs: 1 } },
  )
  const first = running.run(message(1))
  await waitUntil(() => states.includes('open'))
  const second = running.run(message(2))
  const callsWhenOpen = calls.length
  await sleep(15)
  expect(calls.length).toBe(callsWhenOpen)
  await waitUntil(() => states.filter((state) => state === 'open').length >= 2)
  isBroken = false
  await Promise.all([first, second])
  expect(handled.sort()).toEqual([1, 2])
  expect(failures).toEqual([])
  expect(states.slice(0, 3)).toEqual(['open', 'half-open', 'open'])
  expect(states.at(-1)).toBe('closed')
})

test('makeHandler() counts calls of the handler, not waits: a message that never succeeds ends', async () => {
  const attempts: number[] = []
  const { running, failures } = start(
    (_message, { attempt }) => {
      attempts.push(attempt)
      throw new Error('poison')
    },
    { breaker: { threshold: 1, halfOpenAfterMs: 10 }, retry: { maxAttempts: 3, baseMs: 1 } },
  )
  await running.run(message(1))
  expect(attempts).toEqual([1, 2, 3])
  expect(failures.length).toBe(1)
})

test('makeHandler() stop() ends every wait and leaves no timer', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  const { running, failures } = start(
    () => {
      throw new Error('down')
    },
    {
      retry: { maxAttempts: 5, baseMs: 60_000 },
      breaker: { threshold: 1, halfOpenAfterMs: 60_000 },
      timeoutMs: 60_000,
    },
  )
  const waits = [running.run(message(1)), running.run(message(2))]
  await sleep(5)
  running.stop()
  await Promise.all(waits)
  await running.run(message(3))
  expect(failures).toEqual([])
  expect(timers()).toBeLessThanOrEqual(before)
})
