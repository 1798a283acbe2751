import { Packr } from 'msgpackr'
import { expect, onTestFinished, test } from 'vitest'
import { bytesCodec, msgpackCodec } from '../../src/client/codecs.js'
import { msgpackWire } from '../../src/client/msgpack-wire.js'
import { Publisher, type PublisherOptions } from '../../src/client/publisher.js'
import {
  ConnectionClosedError,
  InvalidPayloadError,
  OverloadedError,
  PublishError,
  TimeoutError,
} from '../../src/client/ringcast.js'
import { sleep, waitUntil } from './harness.js'

const DEFAULTS: PublisherOptions = {
  codec: msgpackCodec,
  highWaterMarkBytes: 1_000_000,
  maxInFlight: 1000,
  maxWaiting: 1000,
  maxHeldBytes: 1_000_000,
  maxFrameBytes: 1_000_000,
  publishTimeoutMs: 10_000,
  onLostConnection: 'resend',
}

interface SentFrame {
  readonly requestId: number | null
  readonly topic: string
  readonly payloads: unknown[]
  readonly ids: (string | undefined)[]
}

const packr = new Packr({ useRecords: false })

/** A publisher whose outlet is a list. */
function start(options: Partial<PublisherOptions> = {}) {
  const state = {
    isOpen: true,
    bufferedBytes: 0,
    drains: 0,
    sent: [] as SentFrame[],
    frames: [] as Uint8Array[],
  }
  let lastId = 0
  const line = {
    get isOpen() {
      return state.isOpen
    },
    get bufferedBytes() {
      return state.bufferedBytes
    },
    send: (frame: Uint8Array | string) => {
      state.frames.push(frame as Uint8Array)
      state.sent.push(decoded(frame as Uint8Array))
    },
  }
  const outlet = {
    line,
    nextRequestId: () => ++lastId,
    onDrain: () => void state.drains++,
  }
  const publisher = new Publisher(msgpackWire(), outlet, { ...DEFAULTS, ...options })
  onTestFinished(() => publisher.close(new ConnectionClosedError('test over', false)))
  return { publisher, state }
}

function decoded(frame: Uint8Array): SentFrame {
  const [, requestId, topic, messages] = packr.unpack(frame) as [
    number,
    number,
    string,
    unknown[][],
  ]
  const payloads = messages.map(([encoding, payload]) =>
    encoding === 0 ? packr.unpack(payload as Buffer) : (payload as Buffer).length,
  )
  const ids = messages.map(([, , id]) =>
    id ? Buffer.from(id as Buffer).toString('hex') : undefined,
  )
  return { requestId, topic, payloads, ids }
}

/** What became of a promise, so that a test can look at several. */
function outcome(promise: Promise<unknown>): { of: unknown } {
  const result: { of: unknown } = { of: 'pending' }
  promise.then(
    (value) => {
      result.of = value
    },
    (error) => {
      result.of = error
    },
  )
  return result
}

/** Until what was collected in this turn of the event loop has left. */
async function turn(): Promise<void> {
  for (let turns = 0; turns < 2; turns++) await new Promise((resolve) => setImmediate(resolve))
}

test('Publisher uses the bytes of a frame again when nobody reads them, and not before', async () => {
  const { publisher, state } = start()
  const lastBuffer = () => state.frames.at(-1)?.buffer
  const publishNow = async (value: number) => {
    publisher.publishNow('a', value)
    await turn()
    return lastBuffer()
  }
  const first = await publishNow(1)
  expect(await publishNow(2)).toBe(first)
  state.bufferedBytes = 10 // The socket has not written all of the next one.
  const third = await publishNow(3)
  expect(third).toBe(first)
  expect(await publishNow(4)).not.toBe(third)
  state.bufferedBytes = 0
  const confirmed = outcome(publisher.publish('a', 5))
  await turn()
  const held = lastBuffer()
  expect(await publishNow(6)).not.toBe(held) // It may have to be sent again.
  publisher.onAck(1, { epoch: 'e', seq: 5 })
  await turn()
  expect(confirmed.of).toEqual({ seq: 5, epoch: 'e' })
  expect([await publishNow(7), await publishNow(8)]).toContain(held)
})

test('Publisher looks at the socket again before it refuses', async () => {
  const { publisher, state } = start({ highWaterMarkBytes: 100, codec: bytesCodec })
  state.bufferedBytes = 80
  expect(publisher.publishNow('a', new Uint8Array(25))).toBe(true)
  expect(publisher.publishNow('a', new Uint8Array(25))).toBe(false)
  state.bufferedBytes = 0
  expect(publisher.publishNow('a', new Uint8Array(25))).toBe(true)
  await turn()
  expect(state.sent.map(({ payloads }) => payloads)).toEqual([[25, 25]])
})

test('Publisher puts the publishes of one turn into one frame per topic, in order', async () => {
  const { publisher, state } = start()
  publisher.publishNow('a', 1)
  outcome(publisher.publish('b', 2))
  publisher.publishNow('a', 3)
  expect(state.sent).toEqual([])
  await turn()
  expect(state.sent.map(({ topic, payloads }) => [topic, payloads])).toEqual([
    ['a', [1, 3]],
    ['b', [2]],
  ])
  expect(state.sent.map(({ requestId }) => requestId)).toEqual([null, 1])
  publisher.publishNow('a', 4)
  await turn()
  expect(state.sent.length).toBe(3)
})

test('Publisher sends a frame early when it is large enough', () => {
  const { publisher, state } = start({ codec: bytesCodec })
  for (let n = 0; n < 1024; n++) publisher.publishNow('many', new Uint8Array(1))
  publisher.publishNow('large', new Uint8Array(128 * 1024))
  expect(state.sent.map(({ topic }) => topic)).toEqual(['many', 'large'])
})

test('Publisher.publish() resolves with the place of each message', async () => {
  const { publisher } = start()
  const results = [publisher.publish('a', 1), publisher.publish('a', 2)]
  publisher.publishNow('a', 'between')
  results.push(publisher.publish('a', 3))
  await turn()
  expect(publisher.onAck(1, { epoch: 'e', first_seq: 7, count: 4 })).toBe(true)
  expect(await Promise.all(results)).toEqual([
    { seq: 7, epoch: 'e' },
    { seq: 8, epoch: 'e' },
    { seq: 10, epoch: 'e' },
  ])
  expect(publisher.unconfirmed).toBe(0)
  expect(publisher.onAck(1, {})).toBe(false)
})

test('Publisher takes a refused frame apart, so that one message costs only itself', async () => {
  const { publisher, state } = start()
  const results = ['a', 'bad', 'c'].map((payload) => outcome(publisher.publish('t', payload)))
  await turn()
  const later = outcome(publisher.publish('t', 'later'))
  publisher.onError(1, { code: 'BAD_REQUEST', message: 'one is bad', retryable: false })
  await turn()
  expect(state.sent.slice(1).map(({ requestId, payloads }) => [requestId, payloads])).toEqual([
    [2, ['a']],
    [3, ['bad']],
    [4, ['c']],
    [5, ['later']],
  ])
  expect(state.sent.slice(1, 4).flatMap(({ ids }) => ids)).toEqual(state.sent[0]?.ids)
  publisher.onAck(2, { epoch: 'e', seq: 1 })
  publisher.onError(3, { code: 'BAD_REQUEST', message: 'this is bad', retryable: false })
  publisher.onAck(4, { epoch: 'e', seq: 2 })
  publisher.onAck(5, { epoch: 'e', seq: 3 })
  await turn()
  expect(results[1]?.of).toBeInstanceOf(PublishError)
  expect([results[0]?.of, results[2]?.of, later.of]).toEqual([
    { seq: 1, epoch: 'e' },
    { seq: 2, epoch: 'e' },
    { seq: 3, epoch: 'e' },
  ])
  expect([publisher.unconfirmed, publisher.pendingBytes]).toEqual([0, 0])
})

test('Publisher.publishBatch() is never taken apart', async () => {
  const { publisher, state } = start()
  publisher.publishNow('t', 'before')
  const refused = outcome(publisher.publishBatch('t', [1, 2, 3]))
  const stored = outcome(publisher.publishBatch('t', [4, 5]))
  expect(state.sent.map(({ payloads }) => payloads)).toEqual([['before'], [1, 2, 3], [4, 5]])
  publisher.onError(1, { code: 'BAD_REQUEST', message: 'one is bad', retryable: false })
  publisher.onAck(2, { epoch: 'e', first_seq: 9, count: 2 })
  await turn()
  expect(refused.of).toBeInstanceOf(PublishError)
  expect(stored.of).toEqual({ firstSeq: 9, lastSeq: 10, epoch: 'e' })
  expect(state.sent.length).toBe(3)
})

test('Publisher.publishBatch() sends nothing when one payload cannot be encoded', async () => {
  const { publisher, state } = start({ codec: bytesCodec })
  const payloads = [new Uint8Array(1), 'text', new Uint8Array(1)]
  await expect(publisher.publishBatch('t', payloads)).rejects.toThrow(InvalidPayloadError)
  await expect(publisher.publishBatch('t', [])).rejects.toThrow(RangeError)
  await turn()
  expect([state.sent.length, publisher.unconfirmed, publisher.pendingBytes]).toEqual([0, 0, 0])
})

test('Publisher refuses what no frame can hold', async () => {
  const { publisher } = start({ codec: bytesCodec, maxFrameBytes: 1000 })
  const large = new Uint8Array(990)
  await expect(publisher.publish('t', large)).rejects.toThrow('maxFrameBytes=1000')
  expect(() => publisher.publishNow('t', large)).toThrow(InvalidPayloadError)
  const half = new Uint8Array(500)
  await expect(publisher.publishBatch('t', [half, half])).rejects.toThrow(InvalidPayloadError)
})

test('Publisher.publishNow() refuses above the high-water mark, and drain tells when it is over', async () => {
  const { publisher, state } = start({ codec: bytesCodec, highWaterMarkBytes: 1000 })
  expect(publisher.publishNow('t', new Uint8Array(2000))).toBe(true)
  expect(publisher.publishNow('t', new Uint8Array(1))).toBe(false)
  state.bufferedBytes = 2000
  await sleep(20)
  expect([state.drains, publisher.publishNow('t', new Uint8Array(1))]).toEqual([0, false])
  state.bufferedBytes = 0
  await waitUntil(() => state.drains > 0)
  await sleep(20)
  expect(state.drains).toBe(1)
  expect(publisher.publishNow('t', new Uint8Array(1))).toBe(true)
})

test('Publisher.publish() waits above each bound, first come, first served', async () => {
  const bounds = [
    { maxInFlight: 2 },
    { maxHeldBytes: 60, codec: bytesCodec },
    { highWaterMarkBytes: 20, codec: bytesCodec },
  ]
  for (const bound of bounds) {
    const { publisher, state } = start(bound)
    const results = [1, 2, 3, 4].map((n) => {
      return outcome(publisher.publish('t', bound.codec ? new Uint8Array(n + 10) : n))
    })
    expect(publisher.publishNow('t', new Uint8Array(1))).toBe(false) // Would overtake them.
    expect(publisher.unconfirmed).toBe(4)
    await turn()
    for (let id = 1; publisher.unconfirmed > 0; id++) {
      await waitUntil(() => state.sent.length >= id)
      publisher.onAck(id, { epoch: 'e', seq: id })
    }
    await turn()
    expect(results.every(({ of }) => of !== 'pending')).toBe(true)
    expect(state.sent.flatMap(({ payloads }) => payloads)).toEqual(
      bound.codec ? [11, 12, 13, 14] : [1, 2, 3, 4],
    )
    expect(publisher.pendingBytes).toBe(0)
  }
})

test('Publisher.publish() keeps the payload of a publish that waits as it was', async () => {
  const { publisher, state } = start({ maxInFlight: 1 })
  outcome(publisher.publish('t', 'first'))
  const payload = { n: 1 }
  outcome(publisher.publish('t', payload))
  payload.n = 2
  await turn()
  publisher.onAck(1, { epoch: 'e', seq: 1 })
  await turn()
  expect(state.sent[1]?.payloads).toEqual([{ n: 1 }])
})

test('Publisher rejects when too many, or too many bytes, wait', async () => {
  const few = start({ maxInFlight: 1, maxWaiting: 2 }).publisher
  const results = [1, 2, 3, 4].map((n) => outcome(few.publish('t', n)))
  await turn()
  expect(results.map(({ of }) => of instanceof OverloadedError)).toEqual([
    false,
    false,
    false,
    true,
  ])
  const small = start({ maxInFlight: 1, maxHeldBytes: 100, codec: bytesCodec }).publisher
  outcome(small.publish('t', new Uint8Array(50)))
  void small.publish('t', new Uint8Array(50)).catch(() => {})
  await expect(small.publish('t', new Uint8Array(60))).rejects.toThrow(OverloadedError)
  await expect(small.publishBatch('t', [new Uint8Array(60)])).rejects.toThrow(OverloadedError)
})

test('Publisher has a bounded number of frames in flight; what comes then shares a frame', async () => {
  const { publisher, state } = start({ maxInFlight: 100_000 })
  for (let n = 0; n < 1500; n++) void publisher.publish(`t${n}`, n).catch(() => {})
  await turn()
  expect(state.sent.length).toBe(1024)
  for (let n = 0; n < 10; n++) void publisher.publish('t1499', n).catch(() => {})
  await turn()
  for (let id = 1; id <= 476; id++) publisher.onAck(id, { epoch: 'e', seq: 1 })
  expect(state.sent.length).toBe(1500)
  expect(state.sent[1499]?.payloads.length).toBe(11)
})

test('Publisher sends again what was not acked, under the same ids and in order', async () => {
  const { publisher, state } = start()
  const results = [1, 2].map((n) => outcome(publisher.publish('t', n)))
  publisher.publishNow('t', 'at most once')
  await turn()
  const batch = outcome(publisher.publishBatch('t', ['x', 'y']))
  state.isOpen = false
  publisher.onDisconnected()
  const later = outcome(publisher.publish('t', 3))
  expect(publisher.publishNow('t', 'no')).toBe(false)
  await turn()
  expect(state.sent.length).toBe(2)
  const [first, second] = state.sent
  state.sent = []
  state.isOpen = true
  publisher.onConnected()
  expect(state.sent.map(({ payloads }) => payloads)).toEqual([[1, 2], ['x', 'y'], [3]])
  expect(state.sent[0]?.ids).toEqual(first?.ids.slice(0, 2))
  expect(state.sent[1]?.ids).toEqual(second?.ids)
  for (const { requestId } of state.sent) publisher.onAck(requestId ?? 0, { epoch: 'e', seq: 1 })
  await waitUntil(() => state.drains === 1) // For the publishNow() that was refused.
  expect([...results, batch, later].every(({ of }) => !(of instanceof Error))).toBe(true)
  expect([publisher.unconfirmed, publisher.pendingBytes]).toEqual([0, 0])
})

test('Publisher rejects what was not acked, if that was asked for, and keeps what was not sent', async () => {
  const { publisher, state } = start({ onLostConnection: 'reject' })
  const sent = outcome(publisher.publish('t', 1))
  await turn()
  expect(state.sent[0]?.ids).toEqual([undefined])
  state.isOpen = false
  publisher.onDisconnected()
  const kept = outcome(publisher.publish('t', 2))
  await turn()
  expect(sent.of).toBeInstanceOf(ConnectionClosedError)
  expect(kept.of).toBe('pending')
  state.isOpen = true
  publisher.onConnected()
  expect(state.sent[1]?.payloads).toEqual([2])
})

test('Publisher keeps for the next connection what a broker that shuts down refused', async () => {
  const { publisher, state } = start()
  const first = outcome(publisher.publish('t', 1))
  await turn()
  const second = outcome(publisher.publish('t', 2))
  await turn()
  publisher.onError(2, { code: 'SHUTTING_DOWN', message: '', retryable: true })
  publisher.onDisconnected()
  state.sent = []
  publisher.onConnected()
  expect(state.sent.map(({ payloads }) => payloads)).toEqual([[1], [2]])
  expect([first.of, second.of]).toEqual(['pending', 'pending'])
  const rejecting = start({ onLostConnection: 'reject' }).publisher
  const refused = outcome(rejecting.publish('t', 1))
  await turn()
  rejecting.onError(1, { code: 'SHUTTING_DOWN', message: '', retryable: true })
  await turn()
  expect(refused.of).toMatchObject({ name: 'PublishError', code: 'SHUTTING_DOWN', retryable: true })
})

test('Publisher rejects what takes too long, in whatever stage it is', async () => {
  const { publisher, state } = start({ publishTimeoutMs: 40, maxInFlight: 2 })
  const inFlight = outcome(publisher.publish('t', 1))
  await turn()
  state.isOpen = false
  const ready = outcome(publisher.publish('t', 2))
  await turn()
  const waiting = outcome(publisher.publish('t', 3))
  await waitUntil(() => publisher.unconfirmed === 0)
  for (const { of } of [inFlight, ready, waiting]) expect(of).toBeInstanceOf(TimeoutError)
  expect(publisher.pendingBytes).toBe(0)
  state.isOpen = true
  const lost = outcome(publisher.publish('t', 4))
  await turn()
  publisher.onDisconnected()
  await waitUntil(() => publisher.unconfirmed === 0)
  expect(lost.of).toBeInstanceOf(TimeoutError)
  expect(publisher.onAck(1, {})).toBe(false) // Too late.
  state.sent = []
  publisher.onConnected()
  expect(state.sent).toEqual([])
})

test('Publisher tells OVERLOADED as its own kind of error', async () => {
  const { publisher } = start()
  const result = outcome(publisher.publish('t', 1))
  await turn()
  publisher.onError(1, { code: 'OVERLOADED', message: 'saturated', retryable: true })
  await turn()
  expect(result.of).toBeInstanceOf(OverloadedError)
  expect(publisher.onError(1, { code: 'INTERNAL', message: '', retryable: true })).toBe(false)
})

test('Publisher.close() rejects every stage and everything after', async () => {
  const { publisher, state } = start({ maxInFlight: 2 })
  const stages = [outcome(publisher.publish('t', 1))]
  await turn()
  stages.push(outcome(publisher.publish('t', 2)), outcome(publisher.publish('t', 3)))
  const error = new ConnectionClosedError('closed', false)
  publisher.close(error)
  publisher.close(new Error('again'))
  stages.push(outcome(publisher.publish('t', 4)), outcome(publisher.publishBatch('t', [5])))
  expect(publisher.publishNow('t', 6)).toBe(false)
  await sleep(10)
  expect(stages.map(({ of }) => of)).toEqual(stages.map(() => error))
  expect([state.sent.length, publisher.unconfirmed, publisher.pendingBytes]).toEqual([1, 0, 0])
})
