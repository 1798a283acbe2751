/**
 * Frames and connections: what the gateway makes of each, whatever it is sent.
 * Runs on: the test thread.
 */
import { Packr } from 'msgpackr'
import { pino } from 'pino'
import { describe, expect, test, vi } from 'vitest'
import type { ShardLink } from '../../src/gateway/shard-link.js'
import { JSON_TEXT, MSGPACK } from '../../src/ring/record.js'
import { Doorbell, IDLE } from '../../src/ring/wakeup.js'
import {
  allocateSharedMemory,
  GATEWAY_BELL,
  SHARD_BELL,
  type ShardMemory,
} from '../../src/shared-memory.js'
import { type Client, makeRig, range } from './rig.js'

const packr = new Packr({ useRecords: false, variableMapSize: true })

describe('malformed frames', () => {
  test.each([
    ['text that is no JSON', JSON_TEXT, '{'],
    ['JSON that is no object', JSON_TEXT, '[]'],
    ['a binary frame on a JSON connection', JSON_TEXT, packr.pack([4, null])],
    ['a text frame on a MessagePack connection', MSGPACK, '{"type":"ping"}'],
    ['MessagePack that is no array', MSGPACK, packr.pack({ op: 4 })],
    ['an op that is unknown', MSGPACK, packr.pack([99])],
    ['an array cut short', MSGPACK, Buffer.of(0x94, 1)],
    ['nothing', MSGPACK, Buffer.alloc(0)],
  ] as const)('%s: ten in a row close the connection with 4503', (_what, format, frame) => {
    const rig = makeRig()
    const client = rig.connect(format)
    const other = rig.connect(format)
    for (const n of range(1, 9)) {
      client.sendRaw(frame)
      expect(client.errorCodes).toEqual(Array(n).fill('BAD_REQUEST'))
    }
    expect(client.socket.closed).toBeUndefined()
    client.sendRaw(frame)
    expect(client.socket.closed).toEqual({ code: 4503, reason: 'protocol error' })
    expect(client.errorCodes).toHaveLength(10)
    expect(rig.counters.get('framesMalformed')).toBe(10)
    expect(other.socket.closed).toBeUndefined()
    expect(rig.gateway.sessions.size).toBe(1)
  })

  test.each([
    ['JSON', JSON_TEXT, '{', '{"type":"nonsense"}'],
    ['MessagePack', MSGPACK, Buffer.of(0xc1), packr.pack([1, null, 'a', []])],
  ] as const)(
    'with one between that can be parsed, refused or not, they do not (%s)',
    (_name, format, bad, good) => {
      const rig = makeRig()
      const client = rig.connect(format)
      for (const n of range(1, 100)) client.sendRaw(n % 10 === 0 ? good : bad)
      expect(client.socket.closed).toBeUndefined()
      expect(client.errorCodes).toHaveLength(100)
    },
  )

  test('several arrays of one binary frame are read one by one; a bad one spares the others', () => {
    const rig = makeRig()
    const client = rig.connect(MSGPACK)
    client.sendRaw(
      Buffer.concat([
        packr.pack([4, 'one']),
        packr.pack([1, 'two', 'a', [[7, Buffer.alloc(1)]]]),
        packr.pack([4, 'three']),
      ]),
    )
    expect(client.heard.map((heard) => [heard.type, 'id' in heard && heard.id])).toEqual([
      ['pong', 'one'],
      ['error', 'two'],
      ['pong', 'three'],
    ])
    expect(client.socket.corks).toBe(1) // Three answers, one go.
  })

  test('the rest of a frame is not read once the connection is closed', () => {
    const rig = makeRig()
    const client = rig.connect(MSGPACK)
    client.sendRaw(Buffer.concat([Buffer.alloc(50, 0xc1)]))
    for (const _ of range(1, 20)) {
      if (client.socket.closed === undefined) client.sendRaw(Buffer.of(0xc1))
    }
    expect(client.errorCodes).toHaveLength(10)
  })
})

describe('requests', () => {
  test('a ping is answered, with the id it came with', () => {
    const rig = makeRig()
    const json = rig.connect(JSON_TEXT)
    const packed = rig.connect(MSGPACK)
    json.sendRaw('{"type":"ping","request_id":"é"}')
    json.sendRaw('{"type":"ping"}')
    for (const frame of [[4, 7], [4, 'x'], [4, null], [4]]) packed.sendRaw(packr.pack(frame))
    expect(json.of('pong').map(({ id }) => id)).toEqual(['é', undefined])
    expect(packed.of('pong').map(({ id }) => id)).toEqual([7, 'x', null, null])
    expect(json.socket.kinds).toEqual([false, false])
    expect(packed.socket.kinds).toEqual([true, true, true, true])
  })

  test.each([
    ['{"type":"publish"}', 'topic must be a string'],
    ['{"type":"publish","topic":"a b","message":{"payload":1}}', 'topic'],
    ['{"type":"publish","topic":"$sys","message":{"payload":1}}', 'must not begin with $'],
    [
      '{"type":"publish","topic":"a","message":{"id":"1","payload":1}}',
      'message.id must be a valid UUID',
    ],
    ['{"type":"subscribe","topic":1}', 'topic must be a string'],
    ['{"type":"unsubscribe","topic":"a","client_id":5}', 'client_id'],
    ['{"type":"ping","request_id":5}', 'request_id must be a string'],
    ['{"type":"constructor"}', 'unknown'],
  ])('%s is a bad request that says why', (frame, why) => {
    const rig = makeRig()
    const client = rig.connect(JSON_TEXT)
    client.sendRaw(frame)
    expect(client.of('error')).toMatchObject([
      { code: 'BAD_REQUEST', message: expect.stringContaining(why) },
    ])
    expect(client.session.malformedInRow).toBe(0)
  })

  test('a publish to a $ topic in MessagePack, and options that are no map, are bad requests', () => {
    const rig = makeRig()
    const client = rig.connect(MSGPACK)
    client.publish('$sys', [1], 'publish')
    client.publish('bad..name', [1], 'name')
    client.sendRaw(packr.pack([2, 'list', 'a', []]))
    const extension = Buffer.concat([
      Buffer.of(0x94, 2),
      packr.pack('extension'),
      packr.pack('a'),
      Buffer.of(0x81, 0xa1, 0x78, 0xd4, 0x72, 0x40), // {x: an extension of msgpackr's own}
    ])
    client.sendRaw(extension)
    client.sendRaw(Buffer.concat([Buffer.of(0x94, 1, 0xa1, 0x75), Buffer.of(0xa1, 0xff, 0x90)]))
    for (const id of ['publish', 'name', 'list']) {
      expect(client.answers(id)).toMatchObject([{ code: 'BAD_REQUEST' }])
    }
    expect(client.socket.closed).toBeUndefined()
    rig.settle()
    expect(client.of('event')).toEqual([])
  })

  test('a payload over MAX_PAYLOAD_BYTES is refused, one of exactly that size is not', () => {
    const rig = makeRig({ gateway: { maxPayloadBytes: 100 } })
    for (const format of [JSON_TEXT, MSGPACK] as const) {
      const client = rig.connect(format)
      client.publish('a', ['x'.repeat(98)], 'fits')
      client.publish('a', [1, 'x'.repeat(99)], 'too large')
      rig.settle()
      expect(client.answers('fits')).toMatchObject([{ type: 'ack' }])
      expect(client.answers('too large')).toMatchObject([{ code: 'PAYLOAD_TOO_LARGE' }])
    }
  })

  test('more than MAX_BATCH_MESSAGES are a bad request', () => {
    const rig = makeRig({ gateway: { maxBatchMessages: 3 } })
    for (const format of [JSON_TEXT, MSGPACK] as const) {
      const client = rig.connect(format)
      client.publish('a', [1, 2, 3, 4], 'r')
      expect(client.answers('r')).toMatchObject([{ code: 'BAD_REQUEST' }])
    }
  })

  test('a request that breaks the gateway is answered with INTERNAL, and logged; the rest goes on', () => {
    const lines: string[] = []
    const logger = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
    const rig = makeRig({ logger })
    const clients = [rig.connect(JSON_TEXT), rig.connect(MSGPACK)]
    const spies = [
      vi.spyOn(rig.gateway.publishing, 'json'),
      vi.spyOn(rig.gateway.publishing, 'msgpack'),
    ]
    for (const spy of spies) {
      spy.mockImplementation(() => {
        throw new Error('ours')
      })
    }
    for (const client of clients) client.publish('a', ['secret'], 'r1')
    for (const spy of spies) spy.mockRestore()
    for (const client of clients) client.publish('a', [1], 'r2')
    rig.settle()
    for (const client of clients) {
      expect(client.answers('r1')).toMatchObject([{ code: 'INTERNAL' }])
      expect(client.answers('r2')).toMatchObject([{ type: 'ack' }])
    }
    expect(lines.filter((line) => line.includes('request failed'))).toHaveLength(2)
    expect(lines.join()).not.toContain('secret')
    expect(rig.counters.get('publishesRefused')).toBe(2)
  })
})

describe('going away', () => {
  test('a gateway that drains takes nothing new, and finishes what it has', () => {
    const rig = makeRig()
    const clients = [rig.connect(JSON_TEXT), rig.connect(MSGPACK)]
    for (const client of clients) {
      client.subscribe('a')
      client.publish('a', [1], 'before')
    }
    expect(rig.gateway.isDrained).toBe(false)
    rig.gateway.isDraining = true
    for (const client of clients) {
      client.publish('a', [2], 'publish')
      client.subscribe('b', {}, 'subscribe')
      client.unsubscribe('a', 'unsubscribe')
    }
    clients[0]?.sendRaw('{"type":"ping"}')
    rig.settle()
    for (const client of clients) {
      expect(client.answers('before')).toMatchObject([{ type: 'ack' }])
      expect(client.answers('publish')).toMatchObject([{ code: 'SHUTTING_DOWN' }])
      expect(client.answers('subscribe')).toMatchObject([{ code: 'SHUTTING_DOWN' }])
      expect(client.answers('unsubscribe')).toMatchObject([{ type: 'ack' }])
    }
    expect(clients[0]?.of('pong')).toHaveLength(1)
    expect(rig.gateway.isDrained).toBe(false) // A shard that is awake may have more to say.
    const { ints } = (rig.gateway.links[0] as ShardLink).views
    Atomics.store(ints, SHARD_BELL >> 2, IDLE) // What its duty cycle does.
    expect(rig.gateway.isDrained).toBe(true)
  })

  test('Gateway.closeAll() tells each connection when to come back, each another time', () => {
    const rig = makeRig()
    const clients = range(1, 5).map((n) => rig.connect(n % 2 === 0 ? MSGPACK : JSON_TEXT))
    clients[0]?.subscribe('a')
    rig.settle()
    rig.gateway.closeAll()
    const times = clients.map((client) => {
      expect(client.socket.closed).toEqual({ code: 4001, reason: 'shutting down' })
      const info = client.of('info')
      expect(info).toMatchObject([{ code: 'SHUTTING_DOWN', topic: null }])
      return info[0]?.details['reconnect_after_ms']
    })
    expect(times).toEqual([500, 505, 510, 515, 520])
    expect(rig.gateway.sessions.size).toBe(0)
    expect(rig.gateway.subscribing.total).toBe(0)
    rig.gateway.closeAll() // Nobody is left to be told.
  })

  test('Gateway.bufferedBytes is what the sockets have yet to take', () => {
    const rig = makeRig()
    const clients: Client[] = [rig.connect(), rig.connect()]
    for (const { socket } of clients) socket.buffered = 21
    expect(rig.gateway.bufferedBytes).toBe(42)
    rig.gateway.flush()
  })

  test('Gateway.isFull is true at MAX_CONNECTIONS', () => {
    const rig = makeRig({ gateway: { maxConnections: 2 } })
    rig.connect()
    expect(rig.gateway.isFull).toBe(false)
    const last = rig.connect()
    expect(rig.gateway.isFull).toBe(true)
    last.disconnect()
    expect(rig.gateway.isFull).toBe(false)
    expect(rig.counters.get('connectionsOpened') - rig.counters.get('connectionsClosed')).toBe(1)
  })
})

describe('turns', () => {
  /** The gateway with a bell of its own, as the broker has it. */
  const started = async () => {
    const rig = makeRig()
    const { common } = rig.memories[0] as ShardMemory
    const { Gateway } = await import('../../src/gateway/gateway.js')
    const bell = new Doorbell(new Int32Array(common), GATEWAY_BELL)
    const { options, counters } = rig.gateway
    const gateway = new Gateway(rig.memories, options, bell, counters, pino({ level: 'silent' }))
    gateway.start()
    return { rig, gateway, bell }
  }

  test('Gateway.start() moves what shards produce when they ring, and sleeps in between', async () => {
    const { rig, gateway, bell } = await started()
    const sent: unknown[] = []
    const socket = Object.assign(rig.connect().socket, {
      send: (message: Uint8Array) => sent.push(JSON.parse(Buffer.from(message).toString())),
    })
    const session = gateway.onOpen(socket, JSON_TEXT)
    const publish = '{"type":"publish","topic":"a","message":{"payload":1},"request_id":"r"}'
    for (const n of range(1, 3)) {
      gateway.onFrame(session, Buffer.from(publish), false)
      rig.shard.runBatch()
      bell.ring()
      await vi.waitFor(() => expect(sent).toHaveLength(n))
    }
    gateway.stop()
    gateway.onFrame(session, Buffer.from(publish), false)
    rig.shard.runBatch()
    bell.ring()
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(sent).toHaveLength(3)
  })

  test('shared memory of several shards is as large as was said', () => {
    const [first, second] = allocateSharedMemory({
      workers: 2,
      ringBytes: 65_536,
      maxTopics: 1,
      maxPatterns: 1,
      maxGroups: 16,
      maxGroupMembers: 64,
      maxFilters: 1,
      logMemoryBytes: 200_000,
    })
    expect(first?.common).toBe(second?.common)
    expect(first?.memory).not.toBe(second?.memory)
  })
})
