import fc from 'fast-check'
import { Unpackr } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { Refusal, Reply, type ReplyCode } from '../../src/errors.js'
import {
  type JsonMessage,
  jsonRequest,
  messagesBytes,
  parseJsonFrame,
  requestIdOf,
  writeMessages,
} from '../../src/protocol/json-frames.js'
import { MsgpackFrameReader } from '../../src/protocol/msgpack-frames.js'

const limits = { maxPayloadBytes: 1000, maxBatchMessages: 3 }
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: false })
const UUID = '550e8400-e29b-41d4-a716-446655440000'

function request(text: string) {
  const bytes = Buffer.from(text)
  return jsonRequest(parseJsonFrame(bytes), bytes, limits)
}

/** The messages of a publish. */
function messages(text: string): readonly JsonMessage[] {
  const some = request(text)
  if (!('messages' in some)) throw new Error(some.type)
  return some.messages
}

function publish(message: string): string {
  return `{"type":"publish","topic":"t","message":${message}}`
}

function payloadOf(message: string): string {
  return Buffer.from(messages(publish(message))[0]?.payload ?? []).toString()
}

function refusalOf(call: () => unknown): { reply: ReplyCode; message: string } {
  try {
    call()
  } catch (error) {
    if (error instanceof Refusal) return { reply: error.reply, message: error.message }
    throw error
  }
  throw new Error('not refused')
}

describe('jsonRequest()', () => {
  test('jsonRequest() reads each type', () => {
    expect(request('{"type":"ping","request_id":"r3"}')).toEqual({ type: 'ping' })
    for (const type of ['subscribe', 'unsubscribe']) {
      const fields = { type, topic: 'orders.*', client_id: 's1' }
      expect(request(JSON.stringify(fields))).toEqual({ type, topic: 'orders.*', fields })
    }
    const one = request(publish(`{"id":"${UUID}","payload":{"a":1},"headers":{"k":"v"}}`))
    expect(one).toMatchObject({ type: 'publish', topic: 't' })
    const [message] = 'messages' in one ? one.messages : []
    expect(Buffer.from(message?.payload ?? []).toString()).toBe('{"a":1}')
    expect(Buffer.from(message?.id ?? []).toString('hex')).toBe(UUID.replaceAll('-', ''))
    expect(unpackr.unpack(Buffer.from(message?.headers ?? []))).toEqual(new Map([['k', 'v']]))

    const batch = '{"type":"publish_batch","topic":"t","messages":[{"payload":1},{"payload":null}]}'
    expect(request(batch).type).toBe('publish_batch')
    const payloads = messages(batch).map(({ payload }) => Buffer.from(payload).toString())
    expect(payloads).toEqual(['1', 'null'])
  })

  test.each([
    ['as the client sent it', '{"payload": 12345678901234567890 }', '12345678901234567890'],
    ['the last of several', '{"payload":1,"payload":2}', '2'],
    ['spelt with escapes', String.raw`{"pay\u006coad":"a"}`, '"a"'],
    ['the last, be it spelt with escapes', String.raw`{"payload":1,"p\u0061yload":2}`, '2'],
    ['the last, spelt plainly', String.raw`{"p\u0061yload":2,"payload":1}`, '1'],
    ['in more bytes than characters', '{"payload":"é🦀"}', '"é🦀"'],
    ['of a message with __proto__', '{"__proto__":{"payload":1},"payload":2}', '2'],
  ])('jsonRequest() takes the payload %s', (_, message, payload) => {
    expect(payloadOf(message)).toBe(payload)
  })

  test('jsonRequest() takes the message that JSON.parse() takes, of several', () => {
    // The first is no message: to look for a payload in it once never ended.
    const text = String.raw`{"type":"publish","topic":"t","message":1,"mess\u0061ge":{"x":" ","payload":" "}}`
    expect(messages(text).map(({ payload }) => Buffer.from(payload).toString())).toEqual(['" "'])
    const batch = String.raw`{"type":"publish_batch","topic":"t","messages":5,"m\u0065ssages":[{"payload":7}]}`
    expect(messages(batch).map(({ payload }) => Buffer.from(payload).toString())).toEqual(['7'])
  })

  test('jsonRequest() ends, and stores what JSON.parse() saw, whatever names come twice', () => {
    const name = fc.constantFrom('message', String.raw`mess\u0061ge`, 'payload', 'type', 'x')
    const payloadName = fc.constantFrom('payload', String.raw`p\u0061yload`, 'x', '__proto__')
    const text = (names: fc.Arbitrary<string>, values: fc.Arbitrary<string>) =>
      fc
        .array(fc.tuple(names, values), { maxLength: 4 })
        .map((members) => `{${members.map(([key, value]) => `"${key}":${value}`).join(',')}}`)
    const leaf = fc.constantFrom('1', '" "', '"}"', '"]"', '"\\""', '[1, "a"]', '{"payload":" a"}')
    const frames = text(name, fc.oneof(leaf, text(payloadName, leaf)))
    fc.assert(
      fc.property(frames, (members) => {
        const frame = `{"type":"publish","topic":"t"${members === '{}' ? '}' : `,${members.slice(1)}`}`
        const parsed = JSON.parse(frame) as { type: string; message?: { payload?: unknown } }
        if (parsed.type !== 'publish') return
        const { message } = parsed
        const isMessage = typeof message === 'object' && Object.hasOwn(message, 'payload')
        if (isMessage) {
          const [some] = messages(frame)
          expect(JSON.parse(Buffer.from(some?.payload ?? []).toString())).toEqual(message.payload)
        } else {
          expect(refusalOf(() => request(frame)).message).toMatch(/^message/)
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('jsonRequest() takes null for no id, as MessagePack has nil', () => {
    expect(messages(publish('{"payload":1,"id":null}'))[0]?.id).toBeUndefined()
  })

  test('jsonRequest() takes headers by any name, and none for null', () => {
    const [some] = messages(publish('{"payload":1,"headers":{"__proto__":"a","é":"🦀","":""}}'))
    const headers = unpackr.unpack(Buffer.from(some?.headers ?? [])) as Map<string, string>
    expect([...headers]).toEqual([
      ['__proto__', 'a'],
      ['é', '🦀'],
      ['', ''],
    ])
    expect(messages(publish('{"payload":1,"headers":null}'))[0]?.headers).toBeUndefined()
    expect(messages(publish('{"payload":1}'))[0]?.headers).toBeUndefined()
  })

  test('jsonRequest() stores a payload however deep it is nested', () => {
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`
    const bytes = Buffer.from(publish(`{"payload":${deep}}`))
    const wide = { ...limits, maxPayloadBytes: 65_536 }
    expect(jsonRequest(parseJsonFrame(bytes), bytes, wide).type).toBe('publish')
  })
})

describe('a JSON frame is refused by field and rule', () => {
  const headers33 = JSON.stringify(
    Object.fromEntries(Array.from({ length: 33 }, (_, n) => [n, ''])),
  )

  test.each([
    ['the frame must be JSON', ''],
    ['the frame must be JSON', '{"type":"ping"'],
    ['the frame must be JSON', '{"type":"ping"}}'],
    ['the frame must be JSON', '\ufeff{"type":"ping"}'],
    ['the frame must be a JSON object', '[]'],
    ['the frame must be a JSON object', 'null'],
    ['the frame must be a JSON object', '"ping"'],
    ['type must be a string', '{}'],
    ['type must be a string', '{"type":1}'],
    ['type "constructor" is unknown', '{"type":"constructor"}'],
    [`type "${'x'.repeat(40)}" is unknown`, `{"type":"${'x'.repeat(1000)}"}`],
    ['topic must be a string', '{"type":"subscribe"}'],
    ['topic must be a string', '{"type":"publish","topic":5,"message":{"payload":1}}'],
    ['message must be an object', '{"type":"publish","topic":"t"}'],
    ['message must be an object', publish('[1]')],
    ['message must be an object', publish('null')],
    ['message.payload is required', publish('{"headers":{}}')],
    ['message.payload is required', publish('{"__proto__":{"payload":1}}')],
    ['message.id must be a valid UUID', publish('{"payload":1,"id":"x"}')],
    ['message.id must be a valid UUID', publish('{"payload":1,"id":7}')],
    ['message.headers must be an object', publish('{"payload":1,"headers":[]}')],
    ['message.headers must map strings to strings', publish('{"payload":1,"headers":{"a":1}}')],
    [
      'message.headers must have at most 32 names, got 33',
      publish(`{"payload":1,"headers":${headers33}}`),
    ],
    [
      'message.headers must have at most 8192 bytes, got 8193',
      publish(`{"payload":1,"headers":{"a":"${'x'.repeat(8187)}"}}`),
    ],
    ['messages must be an array', '{"type":"publish_batch","topic":"t"}'],
    ['messages must be an array', '{"type":"publish_batch","topic":"t","messages":{}}'],
    ['messages must not be empty', '{"type":"publish_batch","topic":"t","messages":[]}'],
    [
      'messages must have at most 3 elements, got 4',
      '{"type":"publish_batch","topic":"t","messages":[1,2,3,4]}',
    ],
    [
      'messages[1] must be an object',
      '{"type":"publish_batch","topic":"t","messages":[{"payload":1},2]}',
    ],
    [
      'messages[1].id must be a valid UUID',
      '{"type":"publish_batch","topic":"t","messages":[{"payload":1},{"payload":1,"id":""}]}',
    ],
  ])('%s', (message, text) => {
    expect(refusalOf(() => request(text))).toEqual({ reply: Reply.badRequest, message })
  })

  test('message.payload has 1001 bytes, at most 1000 are allowed', () => {
    expect(payloadOf(`{"payload":"${'x'.repeat(998)}"}`)).toHaveLength(1000)
    expect(refusalOf(() => request(publish(`{"payload":"${'é'.repeat(499)}x"}`)))).toEqual({
      reply: Reply.payloadTooLarge,
      message: 'message.payload has 1001 bytes, at most 1000 are allowed',
    })
  })
})

describe('requestIdOf()', () => {
  test('requestIdOf() is the id as JSON text, or undefined', () => {
    expect(requestIdOf({ request_id: 'r"1\u2028é' })).toBe(JSON.stringify('r"1\u2028é'))
    expect(requestIdOf({})).toBeUndefined()
    expect(requestIdOf({ request_id: null })).toBeUndefined()
  })

  test('requestIdOf() refuses what is no string, or over 128 bytes', () => {
    expect(refusalOf(() => requestIdOf({ request_id: 1 })).message).toBe(
      'request_id must be a string',
    )
    expect(requestIdOf({ request_id: 'é'.repeat(64) })).toBeDefined()
    const { message } = refusalOf(() => requestIdOf({ request_id: `${'é'.repeat(64)}x` }))
    expect(message).toBe('request_id must have at most 128 bytes, got 129')
  })
})

describe('writeMessages()', () => {
  test('writeMessages() writes what a MessagePack client would have sent, messagesBytes() long', () => {
    const headers = fc.option(
      fc.dictionary(fc.string({ maxLength: 40 }), fc.string({ maxLength: 40 }), {
        maxKeys: 20,
        noNullPrototype: true,
      }),
      { nil: undefined },
    )
    const message = fc.record({
      payload: fc.oneof(
        fc.jsonValue({ maxDepth: 2 }),
        fc.integer({ min: 250, max: 70_000 }).map((length) => 'x'.repeat(length)),
      ),
      id: fc.option(fc.uuid(), { nil: undefined }),
      headers,
    })
    const wide = { maxPayloadBytes: 100_000, maxBatchMessages: 10 }
    const reader = new MsgpackFrameReader(wide)
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), (some) => {
        const text = Buffer.from(
          JSON.stringify({ type: 'publish_batch', topic: 't', messages: some }),
        )
        const parsed = jsonRequest(parseJsonFrame(text), text, wide)
        const list = 'messages' in parsed ? parsed.messages : []
        const head = Buffer.from([0x94, 1, 0xc0, 0xa1, 0x74, 0x90 | some.length])
        const bytes = Buffer.concat([head, Buffer.alloc(messagesBytes(list))])
        expect(writeMessages(bytes, head.length, list)).toBe(bytes.length)
        expect(reader.read(bytes, 0, bytes.length)).toBe(true)
        const sent = (unpackr.unpack(bytes) as [number, null, string, unknown[][]])[3]
        for (const [index, [encoding, payload, id, sentHeaders]] of sent.entries()) {
          const wanted = JSON.parse(JSON.stringify(some[index])) as (typeof some)[number]
          expect(encoding).toBe(1)
          expect(JSON.parse(Buffer.from(payload as Uint8Array).toString())).toEqual(wanted.payload)
          const hex = id === null ? undefined : Buffer.from(id as Uint8Array).toString('hex')
          expect(hex).toBe(wanted.id?.replaceAll('-', ''))
          const wantedHeaders = wanted.headers && new Map(Object.entries(wanted.headers))
          expect(sentHeaders).toEqual(wantedHeaders ?? null)
        }
      }),
    )
  })
})

describe('properties', () => {
  const fields = '"key":"k","priority":"high","ttl_ms":5,"other":true'

  test('jsonRequest() makes the fields of a message that are properties into a map', () => {
    const [message] = messages(publish(`{"payload":1,${fields}}`))
    expect(unpackr.unpack(message?.properties as Uint8Array)).toEqual(
      new Map<string, unknown>([
        ['key', 'k'],
        ['priority', 'high'],
        ['ttl_ms', 5],
      ]),
    )
    expect(message?.isDelayed).toBe(false)
    expect(messages(publish('{"payload":1,"key":null}'))[0]?.properties).toBeUndefined()
  })

  test('jsonRequest() takes deliver_at as a number and as an ISO 8601 time', () => {
    for (const time of ['1756116000000', '"2025-08-25T10:00:00.000Z"', '"2025-08-25T10:00:00Z"']) {
      const [message] = messages(publish(`{"payload":1,"deliver_at":${time}}`))
      const map = unpackr.unpack(message?.properties as Uint8Array) as Map<string, unknown>
      expect([map.get('deliver_at'), message?.isDelayed]).toEqual([1_756_116_000_000, true])
    }
  })

  test.each([
    ['message.key must be a string of 1 to 255 bytes', '"key":5'],
    ['message.key must be a string of 1 to 255 bytes', '"key":{"a":[1]}'],
    ['message.ttl_ms must be a whole number from 1 to 2147483647', '"ttl_ms":"5"'],
    ['message must not have both delay_ms and deliver_at', '"delay_ms":1,"deliver_at":1'],
    [
      'message.deliver_at must be a time in ms since 1970, a whole number; in JSON also an ISO 8601 time',
      '"deliver_at":"2025-99-99"',
    ],
  ])('%s', (problem, field) => {
    const { message } = refusalOf(() => request(publish(`{"payload":1,${field}}`)))
    expect(message).toBe(problem)
  })

  test('messages of one batch must all have delay_ms or deliver_at, or none of them', () => {
    const text =
      '{"type":"publish_batch","topic":"t","messages":[{"payload":1,"delay_ms":5},{"payload":2}]}'
    const { message } = refusalOf(() => request(text))
    expect(message).toContain('all have delay_ms or deliver_at, or none')
  })

  test('writeMessages() writes them as the fifth element', () => {
    const list = messages(publish(`{"payload":1,${fields}}`))
    const bytes = Buffer.alloc(messagesBytes(list))
    expect(writeMessages(bytes, 0, list)).toBe(bytes.length)
    expect((unpackr.unpack(bytes) as unknown[])[4]).toEqual(
      unpackr.unpack(list[0]?.properties as Uint8Array),
    )
  })
})
