import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { elementSpans, memberSpan } from '../../src/protocol/json-spans.js'

type Json = Record<string, unknown>

function member(text: string, name: string, at = 0): string | undefined {
  const bytes = Buffer.from(text)
  const span = memberSpan(bytes, at, name)
  return span === undefined ? undefined : bytes.toString('utf8', span.start, span.end)
}

function elements(text: string): string[] {
  const bytes = Buffer.from(text)
  return elementSpans(bytes, 0).map(({ start, end }) => bytes.toString('utf8', start, end))
}

/** The value as JSON text with white space anywhere it may stand, drawn from `spaces`. */
function spaced(value: unknown, spaces: readonly string[]): string {
  let next = 0
  const space = () => spaces[next++ % spaces.length] as string
  const write = (some: unknown): string => {
    if (Array.isArray(some))
      return `[${space()}${some.map(write).join(`${space()},${space()}`)}${space()}]`
    if (typeof some !== 'object' || some === null) return JSON.stringify(some)
    const members = Object.entries(some).map(
      ([name, inner]) => `${JSON.stringify(name)}${space()}:${space()}${write(inner)}`,
    )
    return `{${space()}${members.join(`${space()},${space()}`)}${space()}}`
  }
  return space() + write(value) + space()
}

const json = fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' })
const spaces = fc.array(fc.stringMatching(/^[ \t\r\n]{0,3}$/), { minLength: 1, maxLength: 5 })
/** Names that are like each other, and some that cannot do without escapes. */
const name = fc.constantFrom('payload', 'message', 'Payload', 'payloa', 'payloads', '', '"', '\\')

describe('memberSpan()', () => {
  test('memberSpan() is the text of the value that JSON.parse() gives', () => {
    const object = fc.dictionary(fc.oneof(name, fc.string()), json, { maxKeys: 6 })
    fc.assert(
      fc.property(object, name, spaces, (some, wanted, someSpaces) => {
        const text = spaced(some, someSpaces)
        const parsed = JSON.parse(text) as Json
        const slice = member(text, wanted)
        expect(slice !== undefined).toBe(Object.hasOwn(parsed, wanted))
        if (slice !== undefined) expect(JSON.parse(slice)).toEqual(parsed[wanted])
      }),
      { numRuns: 1000 },
    )
  })

  test('memberSpan() agrees with JSON.parse() about names that come twice or with escapes', () => {
    const spelling = fc.constantFrom(
      'payload',
      'pay\\u006coad',
      '\\u0070\\u0061\\u0079\\u006c\\u006F\\u0061\\u0064',
      'message',
      'pay\\u006cord',
      'a\\/b',
    )
    const members = fc.array(fc.tuple(spelling, json), { maxLength: 6 })
    fc.assert(
      fc.property(members, (some) => {
        const text = `{${some.map(([key, value]) => `"${key}":${JSON.stringify(value)}`).join(',')}}`
        const parsed = JSON.parse(text) as Json
        const slice = member(text, 'payload')
        expect(slice === undefined).toBe(!Object.hasOwn(parsed, 'payload'))
        if (slice !== undefined) expect(JSON.parse(slice)).toEqual(parsed['payload'])
      }),
      { numRuns: 1000 },
    )
  })

  test.each([
    ['digits that a number would lose', '{"payload":12345678901234567890}', '12345678901234567890'],
    ['the spelling of numbers', '{"payload":1.50e+01}', '1.50e+01'],
    ['white space inside', '{"payload" : [ 1 ,\n 2 ] }', '[ 1 ,\n 2 ]'],
    ['brackets and quotes in strings', String.raw`{"payload":"}],\"\\"}`, String.raw`"}],\"\\"`],
    ['characters of several bytes', '{"é":"é","payload":{"ключ":"🦀"}}', '{"ключ":"🦀"}'],
    ['the last of several', '{"payload":1,"payload":2}', '2'],
    ['null', '{"payload":null}', 'null'],
    ['an empty string', '{"payload":""}', '""'],
  ])('memberSpan() keeps %s', (_, text, slice) => {
    expect(member(text, 'payload')).toBe(slice)
  })

  test('memberSpan() does not look inside other members', () => {
    expect(member('{"a":{"payload":1},"b":["payload",2],"c":"payload"}', 'payload')).toBeUndefined()
    expect(member('{"message":{"payload":1},"payload":2}', 'payload')).toBe('2')
  })

  test('memberSpan() begins where it is told', () => {
    const text = '{"message":{"payload":7}}'
    expect(member(text, 'payload', text.indexOf('{"payload'))).toBe('7')
  })

  test('memberSpan() finds nothing in an empty object', () => {
    expect(member('{}', 'payload')).toBeUndefined()
    expect(member(' { } ', 'payload')).toBeUndefined()
  })
})

describe('elementSpans()', () => {
  test('elementSpans() are the texts of the elements that JSON.parse() gives', () => {
    fc.assert(
      fc.property(fc.array(json, { maxLength: 6 }), spaces, (some, someSpaces) => {
        const text = spaced(some, someSpaces)
        const parsed = JSON.parse(text) as unknown[]
        expect(elements(text).map((slice) => JSON.parse(slice) as unknown)).toEqual(parsed)
      }),
      { numRuns: 500 },
    )
  })

  test('elementSpans() of an empty array are none', () => {
    expect(elements('[]')).toEqual([])
    expect(elements(' [ ] ')).toEqual([])
  })
})
