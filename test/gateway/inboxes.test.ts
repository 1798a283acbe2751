/**
 * Who counts as a listener, and what becomes of replies whose requester does not read.
 * Runs on: the test thread; the test decides when a shard has its turn.
 */
import { Packr } from 'msgpackr'
import { expect, test } from 'vitest'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { type Client, makeRig } from './rig.js'

const KiB = 1024
const packr = new Packr({ useRecords: false, variableMapSize: true })

function inboxOf(client: Client): string {
  client.subscribe('$inbox')
  const ack = client.of('ack').find(({ id }) => id === 'subscribe $inbox')
  return ack?.result['inbox'] as string
}

function reply(client: Client, inbox: string, payload: Uint8Array, encoding = 1, id = 'r'): void {
  client.sendRaw(packr.pack([1, id, inbox, [[encoding, payload]]]))
}

test('hasListeners() follows subscriptions of both encodings from their subscribe to their end', () => {
  const rig = makeRig()
  const { subscribing } = rig.gateway
  const [json, packed] = [rig.connect(JSON_TEXT), rig.connect(MSGPACK)]
  expect(subscribing.hasListeners('a.b')).toBe(false)
  json.subscribe('a.b')
  expect(subscribing.hasListeners('a.b')).toBe(true) // Its shard will see the subscribe first.
  json.unsubscribe('a.b')
  rig.settle()
  expect(subscribing.hasListeners('a.b')).toBe(false)
  for (const client of [json, packed]) client.subscribe('a.*')
  packed.subscribe('#')
  rig.settle()
  expect(subscribing.hasListeners('a.b')).toBe(true)
  expect(subscribing.hasListeners('$events.a')).toBe(false)
  packed.disconnect()
  expect([subscribing.hasListeners('a.new'), subscribing.hasListeners('b')]).toEqual([true, false])
  json.disconnect()
  expect(subscribing.hasListeners('a.new')).toBe(false)
})

test('a batch in which anybody asks for a reply is refused whole when nobody listens', () => {
  const rig = makeRig()
  const client = rig.connect(MSGPACK)
  const request = [1, Buffer.from('1'), null, null, { reply_to: '$inbox.x' }]
  const batch = [[1, Buffer.from('0')], request, request]
  client.publishPacked('t', batch, 'alone')
  rig.settle()
  expect(client.answers('alone')).toMatchObject([{ type: 'error', code: 'NO_RESPONDERS' }])
  expect(rig.topicCount).toBe(0)
  expect(rig.counters.get('requestsUnanswered')).toBe(2)
  client.subscribe('t')
  client.publishPacked('t', batch, 'heard')
  rig.settle()
  expect(client.answers('heard')).toMatchObject([{ type: 'ack' }])
  expect(client.seqs('t')).toEqual([1, 2, 3])
  expect([rig.counters.get('requests'), rig.counters.get('requestsUnanswered')]).toEqual([2, 2])
})

test('a reply passes no shard, and makes no topic', () => {
  const rig = makeRig()
  const [asker, answerer] = [rig.connect(MSGPACK), rig.connect(MSGPACK)]
  const inbox = inboxOf(asker)
  reply(answerer, inbox, Buffer.from('1'))
  expect(asker.events(inbox)).toMatchObject([{ seq: 0, payload: 1 }])
  expect(rig.gateway.links.every(({ in: ring }) => ring.isEmpty())).toBe(true)
  expect(rig.topicCount).toBe(0)
})

test.each([
  ['JSON', JSON_TEXT],
  ['MessagePack', MSGPACK],
] as const)(
  'replies beyond the high-water mark are refused until the socket has room (%s)',
  (_name, format) => {
    const rig = makeRig({ gateway: { highWaterMarkBytes: 64 * KiB } })
    const [asker, answerer] = [rig.connect(format), rig.connect(MSGPACK)]
    const inbox = inboxOf(asker)
    asker.socket.isReading = false
    const payload = Buffer.from(JSON.stringify('x'.repeat(10 * KiB)))
    for (let n = 0; n < 20; n++) reply(answerer, inbox, payload)
    const delivered = asker.events(inbox).length
    expect(delivered).toBe(7)
    expect(asker.socket.buffered).toBeLessThan(64 * KiB + 11 * KiB)
    expect(answerer.errorCodes).toEqual(Array(20 - delivered).fill('OVERLOADED'))
    expect(rig.counters.get('repliesDropped')).toBe(20 - delivered)
    // Several in one frame are looked at one by one, too.
    asker.drain()
    const one = packr.pack([1, null, inbox, [[1, payload]]])
    answerer.sendRaw(Buffer.concat(Array.from({ length: 20 }, () => one)))
    expect(asker.events(inbox).length).toBe(delivered + 7)
    asker.drain()
    reply(answerer, inbox, payload, 1, 'again')
    expect(answerer.answers('again')).toMatchObject([{ type: 'ack' }])
  },
)

test('replies that grow too much on their way into JSON are refused, and close nobody', () => {
  const rig = makeRig({ gateway: { maxPayloadBytes: 256 * KiB, highWaterMarkBytes: 1024 * KiB } })
  const [asker, answerer] = [rig.connect(JSON_TEXT), rig.connect(MSGPACK)]
  const inbox = inboxOf(asker)
  // A string of control characters: six for each in JSON, so more than a MiB, sent as base64.
  const grown = packr.pack('\x01'.repeat(200 * KiB))
  reply(answerer, inbox, grown, 0)
  expect(asker.events(inbox)).toHaveLength(1)
  expect(asker.events(inbox)[0]?.payload).toBe(grown.toString('base64'))
  const below = packr.pack('\x01'.repeat(160 * KiB))
  const messages = Array.from({ length: 5 }, () => [0, below])
  answerer.sendRaw(packr.pack([1, 'large', inbox, messages]))
  expect(answerer.answers('large')).toMatchObject([{ type: 'error', code: 'PAYLOAD_TOO_LARGE' }])
  expect(rig.counters.get('repliesDropped')).toBe(5)
  expect(asker.events(inbox)).toHaveLength(1)
  expect(asker.socket.closed).toBeUndefined()
})

test('while the broker drains there are no new inboxes, requests or replies', () => {
  const rig = makeRig()
  const [asker, answerer, late] = [rig.connect(MSGPACK), rig.connect(MSGPACK), rig.connect(MSGPACK)]
  const inbox = inboxOf(asker)
  rig.gateway.isDraining = true
  late.subscribe('$inbox')
  reply(answerer, inbox, Buffer.from('1'))
  expect(late.errorCodes).toEqual(['SHUTTING_DOWN'])
  expect(answerer.errorCodes).toEqual(['SHUTTING_DOWN'])
})
