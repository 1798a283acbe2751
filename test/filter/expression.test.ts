import { describe, expect, test } from 'vitest'
import { Refusal } from '../../src/errors.js'
import { FILTER_BYTES_MAX, parseFilter } from '../../src/filter/expression.js'

describe('parseFilter() takes', () => {
  test.each([
    'payload.amount > 100',
    'payload.type == "order" && headers.region in ["eu", "us"]',
    'topic.startsWith("orders.") || key == "a"',
    'has(payload.customer.name) ? size(payload.items) > 2 : false',
    'payload.items.exists(item, item.price > 10.5)',
    'payload.items.filter(i, i.n > 1).exists_one(i, i.sku == key)',
    'payload.map(name, name).all(name, name != "x")',
    'payload',
    'payload[0]["a"] == b"\\x00"',
    'payload.a + payload.b * 2 == -1',
  ])('%s', (text) => {
    expect(parseFilter(text).input).toBe(text)
  })
})

describe('parseFilter() refuses with BAD_REQUEST', () => {
  test.each([
    ['', 'must have 1 to 1024 bytes, got 0'],
    [`key == "${'x'.repeat(FILTER_BYTES_MAX)}"`, 'must have 1 to 1024 bytes, got 1033'],
    ['payload.a >', 'is no CEL expression'],
    ['size(topic)', 'must be true or false, but it is a int'],
    ['headers.a == 1', 'no such overload'],
    ['topic == 1', 'no such overload'],
    ['unknown == 1', 'Unknown variable: unknown'],
    ['payload.a.matches("(a+)+b")', 'must not call matches()'],
    ['payload.a.split(",").size() > 1', 'must not call split()'],
    ['cel.bind(x, payload.a, x == 1)', 'must not call bind()'],
    ['timestamp("2026-01-01T00:00:00Z") == payload', 'must not call timestamp()'],
    ['constructor()', 'must not call constructor()'],
    ['payload.toString()', 'must not call toString()'],
    ['payload.a.all(x, payload.b.all(y, x == y))', 'must not have all() inside'],
    ['payload.a.exists(x, x.filter(y, y > 1).size() > 1)', 'must not have filter() inside'],
    ['payload == {"a": 1}', 'maxMapEntries'],
    ['payload == {}', 'must not use maps in braces'],
    ['payload == [[1]]', 'must not have lists in lists'],
    ['payload.a == 3u', 'must not use unsigned numbers'],
    [`payload == [${'1,'.repeat(64)}1]`, 'maxListElements'],
    [Array.from({ length: 100 }, () => 'payload').join('||'), 'maxAstNodes'],
    [`${'('.repeat(30)}payload${')'.repeat(30)}`, 'maxDepth'],
  ])('%s', (text, problem) => {
    const parse = () => parseFilter(text)
    expect(parse).toThrow(Refusal)
    expect(parse).toThrow(problem)
    expect(parse).toThrow(/^filter /)
  })
})
