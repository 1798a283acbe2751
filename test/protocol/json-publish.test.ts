/** What is read where it stands comes to the same as what JSON.parse() makes of it. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../src/errors.js'
import { jsonRequest, parseJsonFrame, requestIdOf } from '../../src/protocol/json-frames.js'
import { JsonPublishReader } from '../../src/protocol/json-publish.js'

const LIMITS = { maxPayloadBytes: 200, maxBatchMessages: 3 }
const ID = '0198C1DE-1234-7abc-8def-0123456789ab'

interface Publish {
  readonly type: string
  readonly topic: string
  readonly requestId: string | undefined
  readonly messages: readonly { readonly payload: string; readonly id: string | undefined }[]
}

const reader = new JsonPublishReader(LIMITS)

/** As the reader reads it, or undefined when it leaves it to others. */
function read(frame: string): Publish | undefined {
  const text = Buffer.from(frame)
  if (!reader.read(text)) return undefined
  const { type, topicStart, topicLength, requestStart, requestLength, messages } = reader
  const requestId = text.toString('utf8', requestStart, requestStart + requestLength)
  return {
    type: String(type),
    topic: text.toString('utf8', topicStart, topicStart + topicLength),
    requestId: requestLength === 0 ? undefined : requestId,
    messages: messages.map(plain),
  }
}

/** As everything is read; undefined when it is refused, or is no publish. */
function parsed(frame: string): Publish | undefined {
  const text = Buffer.from(frame)
  try {
    const value = parseJsonFrame(text)
    const requestId = requestIdOf(value)
    const request = jsonRequest(value, text, LIMITS)
    if (!('messages' in request)) return undefined
    const { type, topic, messages } = request
    return { type, topic, requestId, messages: messages.map(plain) }
  } catch (error) {
    if (error instanceof Refusal) return undefined
    throw error
  }
}

function plain({ payload, id }: { payload: Uint8Array; id: Uint8Array | undefined }) {
  return {
    payload: Buffer.from(payload).toString(),
    id: id === undefined ? undefined : Buffer.from(id).toString('hex'),
  }
}

describe('a publish of the usual form', () => {
  test.each([
    '{"type":"publish","topic":"a.b","message":{"payload":1}}',
    `{"type":"publish","topic":"a","request_id":"r","message":{"id":"${ID}","payload":{"a":[1]}}}`,
    '{"type":"publish_batch","topic":"a","messages":[{"payload":null},{"payload":" x "},{"payload":{}}]}',
    '\n{ "message" : { "payload" : [ 1 , 2 ] } , "request_id" : "" , "topic" : "é" , "type" : "publish" } ',
    '{"type":"publish","topic":"","message":{"payload":12345678901234567890}}',
    `{"type":"publish","topic":"a","message":{"payload":"${'x'.repeat(198)}"}}`,
  ])('is read where it stands: %s', (frame) => {
    expect(read(frame)).toBeDefined()
    expect(read(frame)).toEqual(parsed(frame))
  })
})

describe('what is left to others', () => {
  test.each([
    ['a batch in the field of one', '{"type":"publish_batch","topic":"a","message":{"payload":1}}'],
    ['one in the field of a batch', '{"type":"publish","topic":"a","messages":[{"payload":1}]}'],
    ['both fields', '{"type":"publish","topic":"a","message":{"payload":1},"messages":[]}'],
    ['headers', '{"type":"publish","topic":"a","message":{"payload":1,"headers":{"a":"b"}}}'],
    ['a property', '{"type":"publish","topic":"a","message":{"payload":1,"ttl_ms":5}}'],
    ['a field of no meaning', '{"type":"publish","topic":"a","x":1,"message":{"payload":1}}'],
    ['a name twice', '{"type":"publish","topic":"a","topic":"b","message":{"payload":1}}'],
    ['a payload twice', '{"type":"publish","topic":"a","message":{"payload":1,"payload":2}}'],
    [
      'an id twice',
      `{"type":"publish","topic":"a","message":{"payload":1,"id":"${ID}","id":"${ID}"}}`,
    ],
    ['an escape in a topic', '{"type":"publish","topic":"\\u0061","message":{"payload":1}}'],
    ['an escape in a name', '{"type":"publish","t\\u006fpic":"a","message":{"payload":1}}'],
    ['an id of null', '{"type":"publish","topic":"a","message":{"payload":1,"id":null}}'],
    ['an id that is none', '{"type":"publish","topic":"a","message":{"payload":1,"id":"x"}}'],
    [
      'an id of 36 others',
      `{"type":"publish","topic":"a","message":{"payload":1,"id":"${'g'.repeat(36)}"}}`,
    ],
    ['no payload', '{"type":"publish","topic":"a","message":{}}'],
    ['no message', '{"type":"publish","topic":"a"}'],
    ['no messages', '{"type":"publish_batch","topic":"a","messages":[]}'],
    [
      'too many',
      `{"type":"publish_batch","topic":"a","messages":[${'{"payload":1},'.repeat(3)}{"payload":1}]}`,
    ],
    ['no topic', '{"type":"publish","message":{"payload":1}}'],
    ['no type', '{"topic":"a","message":{"payload":1}}'],
    [
      'a large payload',
      `{"type":"publish","topic":"a","message":{"payload":"${'x'.repeat(199)}"}}`,
    ],
    [
      'a long request id',
      `{"type":"publish","topic":"a","request_id":"${'x'.repeat(200)}","message":{"payload":1}}`,
    ],
    ['another request', '{"type":"subscribe","topic":"a"}'],
    ['no object', '["type"]'],
    ['more behind it', '{"type":"publish","topic":"a","message":{"payload":1}} x'],
  ])('%s', (_what, frame) => {
    expect(read(frame)).toBeUndefined()
  })
})

test('whatever it takes of texts that are nearly publishes, it takes as JSON.parse() would', () => {
  const payload = fc.json({ maxDepth: 3 })
  const message = fc
    .tuple(payload, fc.constantFrom('', `,"id":"${ID}"`, ',"headers":{}', ',"payload":0'))
    .map(([json, more]) => `{"payload":${json}${more}}`)
  const field = fc.oneof(
    fc.constantFrom(
      '"type":"publish"',
      '"type":"publish_batch"',
      '"topic":"a.b"',
      '"topic":"\\u0061"',
    ),
    fc.constantFrom('"request_id":"r"', '"request_id":null', '"x":[]'),
    message.map((text) => `"message":${text}`),
    fc.array(message, { maxLength: 4 }).map((texts) => `"messages":[${texts.join(' , ')}]`),
  )
  const usual = fc.tuple(
    message,
    fc.boolean(),
    fc.shuffledSubarray(['"request_id":"q"', '"topic":"t"']),
  )
  const frame = fc.oneof(
    fc.array(field, { maxLength: 6 }).map((fields) => `{${fields.join(',')}}`),
    usual.map(([text, isBatch, others]) => {
      const what = isBatch ? `"messages":[${text}]` : `"message":${text}`
      return `{${[...others, what, `"type":"publish${isBatch ? '_batch' : ''}"`].join(',')}}`
    }),
  )
  const characters = fc.constantFrom(...'{}[]",:\\ u0')
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat(1), characters), { maxLength: 2 })
  let taken = 0
  const check = (json: string, changes: [number, number, string][]) => {
    let text = json
    for (const [at, removed, added] of changes) {
      const place = at % (text.length + 1)
      text = text.slice(0, place) + added + text.slice(place + removed)
    }
    const result = read(text)
    if (result === undefined) return
    taken++
    expect([text, result]).toEqual([text, parsed(text)])
  }
  fc.assert(fc.property(frame, edits, check), { numRuns: 5000 })
  expect(taken, 'of 5000').toBeGreaterThan(100)
})
