import fc from 'fast-check'
import { Packr, unpack } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { Reply } from '../../src/errors.js'
import { DEPTH_MAX } from '../../src/protocol/msgpack.js'
import { MsgpackFrameReader } from '../../src/protocol/msgpack-frames.js'
import { RandomIds } from '../../src/protocol/random-ids.js'
import { viewsOf } from '../../src/ring/layout.js'
import { Appender } from '../../src/shard/appender.js'
import { Journal } from '../../src/shard/journal.js'
import type { Topic } from '../../src/shard/topics.js'
import { attach, entryBytes, memoryOf, newSlot } from '../log/logs.js'

const packr = new Packr({ useRecords: false, variableMapSize: true })
const limits = { maxPayloadBytes: 1000, maxBatchMessages: 3 }
const reader = new MsgpackFrameReader(limits)
const ID = Buffer.from([...Array(16).keys()])
const PAYLOAD = Buffer.from('hi')

/** Bytes that stand in a frame as they are. */
class Raw {
  readonly bytes: Buffer
  constructor(...bytes: number[]) {
    this.bytes = Buffer.from(bytes)
  }
}

/** A frame of elements; objects with `raw` bytes stand as they are. */
function frame(...elements: unknown[]): Buffer {
  const parts = elements.map((element) =>
    element instanceof Raw ? element.bytes : packr.pack(element),
  )
  return Buffer.concat([Buffer.of(0x90 | elements.length), ...parts])
}

/** What is wrong with the frame, or undefined. */
function problemOf(bytes: Uint8Array): string | undefined {
  return reader.read(bytes, 0, bytes.length) ? undefined : reader.problem
}

function slice(bytes: Uint8Array, start: number, length: number): unknown {
  return length === 0 ? undefined : unpack(bytes.subarray(start, start + length))
}

describe('MsgpackFrameReader.read() of a good frame', () => {
  test('MsgpackFrameReader.read() finds the parts of a PUBLISH', () => {
    const messages = [
      [2, PAYLOAD, ID, { a: 'b' }],
      [1, Buffer.from('1')],
      [0, PAYLOAD, null],
    ]
    const bytes = frame(1, 'r1', 'orders', messages)
    expect(problemOf(bytes)).toBeUndefined()
    expect([reader.op, reader.count, reader.next]).toEqual([1, 3, bytes.length])
    expect(slice(bytes, reader.requestStart, reader.requestLength)).toBe('r1')
    const topic = bytes.subarray(reader.topicStart, reader.topicStart + reader.topicLength)
    expect(topic.toString()).toBe('orders')
    const packed = Buffer.concat(messages.map((message) => packr.pack(message)))
    expect(bytes.subarray(reader.messagesStart, reader.messagesEnd)).toEqual(packed)
  })

  test('MsgpackFrameReader.read() finds the parts of SUBSCRIBE, UNSUBSCRIBE and PING', () => {
    const options = { last_n: 5, nested: { deep: [1, 2] } }
    const subscribe = frame(2, 7, 'orders.*', options)
    expect(problemOf(subscribe)).toBeUndefined()
    expect(slice(subscribe, reader.requestStart, reader.requestLength)).toBe(7)
    expect(slice(subscribe, reader.optionsStart, reader.optionsLength)).toEqual(options)
    expect(reader.next).toBe(subscribe.length)

    for (const none of [frame(2, 7, 'orders'), frame(2, 7, 'orders', null)]) {
      expect(problemOf(none)).toBeUndefined()
      expect([reader.op, reader.optionsLength, reader.next]).toEqual([2, 0, none.length])
    }
    const unsubscribe = frame(3, null, 'orders')
    expect(problemOf(unsubscribe)).toBeUndefined()
    expect([reader.op, reader.requestLength, reader.topicLength]).toEqual([3, 0, 6])
    for (const ping of [frame(4), frame(4, null), frame(4, 'r')]) {
      expect(problemOf(ping)).toBeUndefined()
      expect([reader.op, reader.topicLength, reader.next]).toEqual([4, 0, ping.length])
    }
  })

  test.each(['r', '', 'x'.repeat(128), 0, 127, 128, -1, -33, 65_536, 2 ** 32, 1.5, 2n ** 63n])(
    'MsgpackFrameReader.read() keeps the request id %s as it came',
    (id) => {
      const bytes = frame(4, id)
      expect(problemOf(bytes)).toBeUndefined()
      const echoed = bytes.subarray(reader.requestStart, reader.requestStart + reader.requestLength)
      expect(echoed).toEqual(packr.pack(id))
    },
  )

  test('MsgpackFrameReader.read() reads frames back to back, from anywhere', () => {
    const frames = [frame(4, 'a'), frame(1, null, 't', [[0, PAYLOAD]]), frame(30), frame(3, 1, 't')]
    const bytes = Buffer.concat([Buffer.alloc(5, 0xc1), ...frames])
    const ops: unknown[] = []
    for (let at = 5; at < bytes.length; at = reader.next) {
      ops.push(reader.read(bytes, at, bytes.length) ? reader.op : reader.problem)
    }
    expect(ops).toEqual([4, 1, 'op 30 is unknown', 3])
  })

  test('MsgpackFrameReader.read() forgets the parts of the frame before', () => {
    problemOf(frame(2, 'r', 'orders', { last_n: 1 }))
    problemOf(frame(4))
    expect([reader.requestLength, reader.topicLength]).toEqual([0, 0])
    problemOf(frame(2, null, 't'))
    expect([reader.requestLength, reader.optionsLength]).toEqual([0, 0])
  })
})

describe('MsgpackFrameReader.read() names field and rule', () => {
  const publish = (...messages: unknown[]) => frame(1, 'r', 't', messages)
  const tooMany = new Map(Array.from({ length: 33 }, (_, n) => [`h${n}`, '']))
  const nested = Array(DEPTH_MAX + 1).fill(0x91)

  test.each<[problem: string, bytes: Buffer]>([
    ['a frame must be an array', packr.pack({ op: 1 })],
    ['a frame must be an array', Buffer.of(0xc1)],
    ['the first element must be the op, a small whole number', Buffer.of(0x90)],
    ['the first element must be the op, a small whole number', frame('publish')],
    ['the first element must be the op, a small whole number', Buffer.of(0x91)],
    ['op 0 is unknown', frame(0)],
    ['op 34 is unknown', frame(34, 't', null, [])],
    ['PUBLISH must have 4 elements', frame(1, 'r', 't')],
    ['PUBLISH must have 4 elements', frame(1, 'r', 't', [], 1)],
    ['SUBSCRIBE must have 3 or 4 elements', frame(2, 'r')],
    ['UNSUBSCRIBE must have 3 or 4 elements', frame(3, 'r')],
    ['UNSUBSCRIBE must have 3 or 4 elements', frame(3, 'r', 't', null, null)],
    ['options must be a map or nil', frame(3, 'r', 't', 1)],
    ['ACK must have 5 elements', frame(5, 'r', 't', 'g')],
    ['NACK must have 5 or 6 elements', frame(6, 'r', 't', 'g')],
    ['TERM must have 5 or 6 elements', frame(7, 'r', 't', 'g', 1, null, null)],
    ['WORKING must have 5 elements', frame(8, 'r', 't', 'g', 1, null)],
    ['PAUSE must have 4 elements', frame(9, 'r', 't', 'g', 1)],
    ['RESUME must have 4 elements', frame(10, 'r', 't')],
    ['group must be a string', frame(5, 'r', 't', 1, 1)],
    ['PING must have 1 or 2 elements', frame(4, 'r', 1)],
    ['request_id must be a string, a number or nil', frame(4, [])],
    ['request_id must be a string, a number or nil', frame(4, Buffer.of(1))],
    ['request_id must be a string, a number or nil', frame(4, true)],
    ['request_id must be a string, a number or nil', Buffer.of(0x92, 4)],
    ['request_id is cut short', Buffer.of(0x92, 4, 0xcb, 0, 0)],
    ['request_id must have at most 128 bytes, got 129', frame(4, 'x'.repeat(129))],
    ['topic must be a string', frame(1, 'r', 5, [])],
    ['topic must be a string', frame(3, 'r', null)],
    ['topic must be a string', Buffer.of(0x93, 3, 0xc0, 0xa5, 0x61)],
    ['options must be a map or nil', frame(2, 'r', 't', [])],
    [
      'options is cut short, nested too deep or has an extension type',
      frame(2, 'r', 't', new Raw(0x81, 0xa1, 0x61)),
    ],
    [
      'options is cut short, nested too deep or has an extension type',
      frame(2, 'r', 't', new Raw(0x81, 0xa0, ...nested, 0xc0)),
    ],
    [
      'options is cut short, nested too deep or has an extension type',
      frame(2, 'r', 't', new Raw(0x81, 0xa0, 0xd4, 0x69, 0)),
    ],
    ['messages must be an array', frame(1, 'r', 't', {})],
    ['messages must not be empty', publish()],
    ['messages must have at most 3 elements, got 4', publish(1, 2, 3, 4)],
    // More elements than any frame has bytes.
    ['messages must be an array', frame(1, 'r', 't', new Raw(0xdd, 255, 255, 255, 255))],
    ['messages[0] must be an array of 2 to 5 elements', publish({})],
    ['messages[0] must be an array of 2 to 5 elements', publish([0])],
    [
      'messages[1] must be an array of 2 to 5 elements',
      publish([0, PAYLOAD], [0, PAYLOAD, ID, null, null, 1]),
    ],
    [
      'messages[1] must be an array of 2 to 5 elements',
      frame(1, 'r', 't', new Raw(0x92, 0x92, 0, 0xc4, 0)),
    ],
    ['messages[0].properties must be a map or nil', publish([0, PAYLOAD, ID, null, 1])],
    [
      'messages[1].properties.ttl_ms must be a whole number from 1 to 2147483647',
      publish([0, PAYLOAD], [0, PAYLOAD, null, null, { ttl_ms: 0 }]),
    ],
    [
      'messages of one batch must all have delay_ms or deliver_at, or none of them',
      publish([0, PAYLOAD, null, null, { delay_ms: 1 }], [0, PAYLOAD]),
    ],
    ['messages[0].encoding must be 0, 1 or 2', publish([3, PAYLOAD])],
    ['messages[0].encoding must be 0, 1 or 2', publish(['json', PAYLOAD])],
    ['messages[0].encoding must be 0, 1 or 2', frame(1, 'r', 't', new Raw(0x91, 0x92))],
    ['messages[0].payload must be a bin', publish([0, 'text'])],
    [
      'messages[0].payload must be a bin',
      frame(1, 'r', 't', new Raw(0x91, 0x92, 0, 0xc6, 255, 255, 255, 255)),
    ],
    [
      'messages[2].id must be a valid UUID: a bin of 16 bytes, or nil',
      publish([0, PAYLOAD], [0, PAYLOAD], [0, PAYLOAD, Buffer.alloc(15)]),
    ],
    [
      'messages[0].id must be a valid UUID: a bin of 16 bytes, or nil',
      publish([0, PAYLOAD, '550e8400-e29b-41d4-a716-446655440000']),
    ],
    ['messages[0].headers must be a map or nil', publish([0, PAYLOAD, ID, []])],
    ['messages[0].headers must have at most 32 names, got 33', publish([0, PAYLOAD, ID, tooMany])],
    ['messages[0].headers must map strings to strings', publish([0, PAYLOAD, ID, { a: 1 }])],
    [
      'messages[0].headers must map strings to strings',
      publish([0, PAYLOAD, ID, new Map([[1, 'a']])]),
    ],
    [
      'messages[0].headers must have at most 8192 bytes, got 8193',
      publish([0, PAYLOAD, ID, { a: 'x'.repeat(8187) }]),
    ],
  ])('%s', (problem, bytes) => {
    expect(problemOf(bytes)).toBe(problem)
    expect(reader.reply).toBe(Reply.badRequest)
  })

  test('messages[1].payload has 1001 bytes, at most 1000 are allowed', () => {
    const bytes = publish([0, Buffer.alloc(1000)], [0, Buffer.alloc(1001)])
    expect(problemOf(bytes)).toBe('messages[1].payload has 1001 bytes, at most 1000 are allowed')
    expect(reader.reply).toBe(Reply.payloadTooLarge)
    expect([reader.isMalformed, reader.next]).toEqual([false, bytes.length])
    // The next refusal is of its own kind again.
    problemOf(frame(9))
    expect(reader.reply).toBe(Reply.badRequest)
  })

  test('MsgpackFrameReader.read() tells the request id of a frame whose later field is bad', () => {
    const bytes = frame(1, 'r7', 't', [[9, PAYLOAD]])
    problemOf(bytes)
    expect(slice(bytes, reader.requestStart, reader.requestLength)).toBe('r7')
    expect([reader.isMalformed, reader.next]).toEqual([false, bytes.length])
  })

  test.each<[what: string, isMalformed: boolean, bytes: Buffer]>([
    ['a bad field', false, frame(3, 'r', 7)],
    ['an unknown op', true, frame(30, 'r')],
    ['no array', true, packr.pack('x')],
    ['a frame cut short', true, frame(3, 'r', 'topic').subarray(0, -1)],
  ])(
    'MsgpackFrameReader.isMalformed tells frames from what is none: %s',
    (_, isMalformed, bytes) => {
      expect(problemOf(bytes)).toBeDefined()
      expect(reader.isMalformed).toBe(isMalformed)
      expect(reader.next).toBe(bytes.length)
    },
  )
})

describe('MsgpackFrameReader.read() of any bytes', () => {
  const element = fc.oneof(
    fc.constantFrom(
      1,
      2,
      3,
      4,
      0,
      255,
      null,
      't',
      [],
      {},
      PAYLOAD,
      [[0, PAYLOAD]],
      [[1, PAYLOAD, ID, {}]],
    ),
    fc.jsonValue(),
  )
  const nearlyFrame = fc
    .tuple(fc.constantFrom(1, 2, 3, 4, 33), fc.array(element, { maxLength: 5 }))
    .map(([op, rest]) => frame(op, ...rest))
  const bytes = fc.oneof(
    nearlyFrame,
    fc.uint8Array({ minLength: 1, maxLength: 60 }).map((some) => Buffer.from(some)),
    fc
      .uint8Array({ maxLength: 60 })
      .map((some) => Buffer.from([0x94, 1, 0xc0, 0xa1, 0x74, ...some])),
  )

  test('MsgpackFrameReader.read() always moves on, never past the end, and names a problem', () => {
    fc.assert(
      fc.property(bytes, fc.nat(), (some, cut) => {
        // What stands behind the end is not looked at: the same frame again, to tempt it.
        const end = 1 + (cut % some.length)
        const tempting = Buffer.concat([some, some])
        const isRead = reader.read(tempting, 0, end)
        const { problem, next } = reader
        expect(next).toBeGreaterThan(0)
        expect(next).toBeLessThanOrEqual(end)
        if (!isRead) expect(problem).not.toBe('')
        const alone = new MsgpackFrameReader(limits)
        const copy = Buffer.from(some.subarray(0, end))
        expect(alone.read(copy, 0, end)).toBe(isRead)
        expect(alone.next).toBe(next)
        if (!isRead) expect(alone.problem).toBe(problem)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('what MsgpackFrameReader.read() accepts', () => {
  const array = (length: number, width: number) => {
    if (width === 0) return [0x90 | length]
    return width === 2 ? [0xdc, 0, length] : [0xdd, 0, 0, 0, length]
  }
  const bin = (bytes: Uint8Array, width: number) => {
    const { length } = bytes
    const head = [
      [0xc4, length],
      [0xc5, 0, length],
      [0xc6, 0, 0, 0, length],
    ][width] as number[]
    return [...head, ...bytes]
  }
  const map = (headers: Readonly<Record<string, string>>, width: number) => {
    const pairs = Object.entries(headers)
    const head = [[0x80 | pairs.length], [0xde, 0, pairs.length], [0xdf, 0, 0, 0, pairs.length]]
    return [...(head[width] as number[]), ...pairs.flat().flatMap((text) => [...packr.pack(text)])]
  }
  /** A message, each of its heads in one of the widths that MessagePack allows. */
  const message = fc.record({
    elements: fc.integer({ min: 2, max: 4 }),
    encoding: fc.constantFrom(0, 2),
    payload: fc.uint8Array({ maxLength: 40 }),
    id: fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 })),
    headers: fc.option(
      fc.dictionary(fc.string({ minLength: 1, maxLength: 4 }), fc.string({ maxLength: 4 }), {
        maxKeys: 3,
        noNullPrototype: true,
      }),
    ),
    widths: fc.tuple(fc.constantFrom(0, 0, 0, 2, 4), fc.nat(2), fc.nat(2), fc.nat(2)),
  })

  test('Appender.append() stores as it was meant, in whatever widths it came', () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 3 }), (messages) => {
        const packed = messages.flatMap(({ elements, encoding, payload, id, headers, widths }) => [
          ...array(elements, widths[0]),
          encoding,
          ...bin(payload, widths[1]),
          ...(elements < 3 ? [] : id === null ? [0xc0] : bin(id, widths[2])),
          ...(elements < 4 ? [] : headers === null ? [0xc0] : map(headers, widths[3])),
        ])
        const bytes = Buffer.from([0x94, 1, 0xc0, 0xa1, 0x74, 0x90 | messages.length, ...packed])
        expect(problemOf(bytes)).toBeUndefined()

        const memory = memoryOf(65_536)
        const log = attach(memory, newSlot(memory), {})
        const start = memory.blocks.tryAllocate(1024)
        memory.bytes.set(bytes.subarray(reader.messagesStart, reader.messagesEnd), start)
        const end = start + reader.messagesEnd - reader.messagesStart
        const journal = new Journal(viewsOf(new SharedArrayBuffer(8192)))
        const appender = new Appender(memory, journal, new RandomIds(), () => {})
        const topic = { log, slot: 0 } as Topic
        expect(appender.append(topic, 0, start, end, messages.length, false, 5)).toBe(1)

        for (const [index, { elements, encoding, payload, id, headers }] of messages.entries()) {
          const entry = unpack(entryBytes(memory, log, index + 1)) as unknown[]
          expect(entry.slice(0, 3)).toEqual([index + 1, 5, encoding])
          expect(Buffer.from(entry[3] as Uint8Array)).toEqual(Buffer.from(payload))
          expect((entry[4] as Uint8Array).length).toBe(16)
          if (elements > 2 && id !== null) expect([...(entry[4] as Uint8Array)]).toEqual([...id])
          expect(entry[5]).toEqual(elements === 4 ? headers : null)
        }
      }),
      { numRuns: 500 },
    )
  })
})
