import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../src/errors.js'
import { compileFilter, type Message } from '../../src/filter/compile.js'
import { ERROR, FILTER_STEPS_MAX, Steps } from '../../src/filter/values.js'

const MESSAGE: Message = {
  topic: 'orders.eu',
  key: 'customer-7',
  headers: new Map([['region', 'eu']]),
  payload: {
    n: 5,
    half: 2.5,
    big: 2n ** 60n,
    s: 'abc',
    nothing: null,
    yes: true,
    list: [1, 2, 3],
    items: [
      { sku: 'a', qty: 1 },
      { sku: 'b', qty: 20 },
    ],
    map: new Map<unknown, unknown>([
      ['x', 1],
      [2, 'two'],
    ]),
    bytes: Buffer.of(1, 2),
    constructor: 'Ferrari',
  },
}

function matches(text: string, message: Message = MESSAGE): boolean {
  return compileFilter(text, new Steps())(message)
}

function about(payload: unknown): Message {
  return { ...MESSAGE, payload }
}

describe('a filter that is true', () => {
  test.each([
    'topic == "orders.eu" && key.endsWith("-7")',
    'headers.region == "eu"',
    'headers["region"] in ["us", "eu"]',
    '"region" in headers && !("zone" in headers)',
    'payload.n > 4 && payload.n >= 5 && payload.n < 6 && payload.n <= 5.0',
    'payload.n == 5 && payload.n == 5.0 && payload.n != "5"',
    'payload.half + 1.0 == 3.5 && payload.half + 1 > 3 && payload.n * 2 == 10 && payload.n % 2 == 1 && payload.n - 1 == 4',
    'payload.n / 2.0 == 2.5 && 5 / 2 == 2 && -payload.n == -5',
    'payload.big > 1152921504606846975 && payload.big + 1 == 1152921504606846977',
    'payload.s + "d" == "abcd" && payload.s < "abd" && "bc" in [payload.s, "bc"]',
    'payload.nothing == null && has(payload.nothing) && !has(payload.something)',
    'payload.yes',
    'payload.list == [1, 2, 3] && payload.list[1] == 2 && 3 in payload.list',
    'payload.list + [4] == [1, 2, 3, 4]',
    'payload.items.exists(i, i.sku == "b" && i.qty > 10)',
    'payload.items.all(i, i.qty > 0)',
    'payload.items.exists_one(i, i.qty > 10)',
    'payload.items.filter(i, i.qty > 10).size() == 1',
    'payload.items.map(i, i.sku) == ["a", "b"]',
    'payload.items.map(i, i.qty > 10, i.sku) == ["b"]',
    'payload.map.x == 1 && payload.map[2] == "two" && size(payload.map) == 2',
    'payload.map.exists(name, name == "x")',
    'payload.bytes == b"\\x01\\x02" && size(payload.bytes) == 2',
    'payload.constructor == "Ferrari"',
    'size(payload.s) == 3 && "é😀".size() == 2 && size(payload.list) == 3',
    'payload.s.startsWith("a") && payload.s.contains("b") && payload.s.upperAscii() == "ABC"',
    'string(payload.n) == "5" && int("42") == 42 && double("1e2") == 100.0 && bool("true")',
    'int(payload.half) == 2',
    'payload.missing == 1 || payload.n == 5',
    'payload.n == 5 || payload.missing == 1',
    '!(payload.missing == 1 && false)',
    'payload.n > 4 ? true : payload.missing',
    'payload.items.exists(i, i.missing == 1 || i.qty == 20)',
  ])('%s', (text) => {
    expect(matches(text)).toBe(true)
  })
})

describe('a filter that is false, or an error: no match', () => {
  test.each([
    'payload.n > 5',
    'payload.missing == 1',
    'payload.missing != 1',
    '!(payload.missing == 1)',
    'payload.missing.deeper == 1',
    'payload.s.deeper == 1',
    'payload.n < "a"',
    'payload.s + 1 == 2',
    'payload.list[3] == 1',
    'payload.list[-1] == 1',
    'payload.list[0.5] == 1',
    'headers.zone == "a"',
    'has(payload.missing.deeper)',
    'payload.n && true',
    'payload.n',
    '1 / 0 == 1 || false',
    '9223372036854775807 + 1 > 0',
    'int("1e3") == 1000',
    'payload.n.exists(x, true)',
    'payload.items.all(i, i.missing == 1)',
    'payload.__proto__ == null',
    'payload.hasOwnProperty != null',
    'payload.list.length == 3',
    'payload.s.size() == payload.missing',
    '!payload.n',
    '-payload.s == 1',
  ])('%s', (text) => {
    expect(matches(text)).toBe(false)
  })

  test('whatever the payload is, also none that can be decoded', () => {
    for (const payload of [ERROR, null, 5, 'text', true, [], {}, Buffer.of(1), new Map()]) {
      expect(matches('payload.a.b > 1 || payload.exists(x, x.y)', about(payload))).toBe(false)
    }
  })
})

test('a filter on headers alone never asks for the payload', () => {
  const message: Message = {
    ...MESSAGE,
    get payload(): unknown {
      throw new Error('asked for')
    },
  }
  expect(matches('headers.region == "eu" || payload.n == 1', message)).toBe(true)
  expect(() => matches('headers.region == "us" || payload.n == 1', message)).toThrow('asked for')
})

describe('a filter that explodes ends after FILTER_STEPS_MAX steps, and does not match', () => {
  const numbers = Array.from({ length: 60_000 }, (_, index) => index)
  const text = 'ab'.repeat(32_000)
  const many = (part: string, count: number, by: string) =>
    Array.from({ length: count }, () => part).join(by)

  test.each([
    ['a list in a list', 'payload.l.all(x, x in payload.l)', { l: numbers }],
    [
      'a list that is compared',
      'payload.l.all(x, payload.l == payload.m)',
      { l: numbers, m: [...numbers] },
    ],
    ['a long list', `payload.l.all(x, ${many('x >= 0', 20, '&&')})`, { l: numbers }],
    ['lists that grow', `size(${many('payload.l', 40, '+')}) > 0`, { l: numbers }],
    ['maps that are compared', 'payload.a == payload.b', { a: { ...numbers }, b: { ...numbers } }],
    [
      'a text that is searched for each element',
      'payload.l.all(x, !payload.s.contains("xyz"))',
      { l: numbers, s: text },
    ],
    [
      'one long text in another',
      'payload.s.contains(payload.t) || true == payload.u',
      { s: text, t: `${text.slice(0, 20_000)}b${text.slice(0, 20_000)}`, u: 1 },
    ],
    ['texts that grow', `size(${many('payload.s', 40, '+')}) > 200`, { s: text }],
    [
      'lists one after the other',
      `payload.l${many('.map(x, x)', 12, '')}.size() > 0`,
      { l: numbers },
    ],
    ['lists in each other', 'payload.a == payload.b', { a: nested(100_000), b: nested(100_000) }],
  ])('%s', (_, filter, payload) => {
    const steps = new Steps()
    const predicate = compileFilter(filter, steps)
    expect(predicate(about(payload))).toBe(false)
    expect(predicate(MESSAGE)).toBe(false)
    expect(predicate(about({ l: [], m: [], a: {}, b: {}, s: '', t: '', u: 1 }))).toBeTypeOf(
      'boolean',
    )
  })

  test('what it has left is never more than it was given', () => {
    const steps = new Steps()
    compileFilter('payload.list.exists(x, x == 3)', steps)(MESSAGE)
    expect(steps.left).toBeLessThan(FILTER_STEPS_MAX)
    expect(steps.left).toBeGreaterThan(FILTER_STEPS_MAX - 100)
  })
})

test('any text is a filter or refused, and any payload matches or not', () => {
  const word = fc.constantFrom(
    ...['payload', 'headers', '.a', '["a"]', '[0]', ' == ', ' in ', ' + ', ' && ', '||', '(', ')'],
    ...['1', '"a"', 'true', '!', '-', '.all(x, x', '.size()', 'has(', ' ? ', ' : ', 'key', '2.5'],
  )
  const expression = fc.array(word, { maxLength: 12 }).map((words) => words.join(''))
  const payload = fc.oneof(
    fc.jsonValue(),
    fc.object({ key: fc.constantFrom('a', 'b', '__proto__') }),
  )
  fc.assert(
    fc.property(expression, payload, (text, value) => {
      try {
        expect(matches(text, about(value))).toBeTypeOf('boolean')
      } catch (error) {
        expect(error).toBeInstanceOf(Refusal)
      }
    }),
    { numRuns: 3000 },
  )
})

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let level = 0; level < depth; level++) value = [value]
  return value
}
