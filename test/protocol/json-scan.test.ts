/** The scanner takes what JSON.parse() takes, and nothing else. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NO_VALUE, SCAN_DEPTH_MAX, scanSpace, scanValue } from '../../src/protocol/json-scan.js'

/** Whether the whole text is one value, white space around it allowed. */
function isScanned(text: string): boolean {
  const bytes = Buffer.from(text)
  const end = scanValue(bytes, scanSpace(bytes, 0))
  return end !== NO_VALUE && scanSpace(bytes, end) === bytes.length
}

function isParsed(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const VALID = [
  ...[
    '0',
    '-0',
    '1',
    '-12',
    '10',
    '0.5',
    '-0.25',
    '1e5',
    '1E+5',
    '1.5e-05',
    '123456789012345678901',
  ],
  ...[
    'true',
    'false',
    'null',
    '""',
    '"a"',
    '"é 日本 🙂"',
    '"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    '"\\u00e9\\uD800"',
  ],
  ...[
    '[]',
    '{}',
    '[ ]',
    '{ }',
    '[1]',
    '[1,2]',
    '{"a":1}',
    '{"a":1,"a":2}',
    '{"":{}}',
    '[[],[[]],{}]',
  ],
  ...[
    ' 1 ',
    '\t[\n1\r,\n2 ]\n',
    '{ "a" : [ { "b" : null } , 2 ] , "c" : "}" }',
    '"\u007f"',
    '"\u2028"',
  ],
]
const INVALID = [
  ...[
    '',
    ' ',
    '-',
    '+1',
    '01',
    '-01',
    '1.',
    '.5',
    '1.e5',
    '1e',
    '1e+',
    '0x1',
    '1_0',
    'NaN',
    'Infinity',
  ],
  ...[
    'tru',
    'True',
    'truefalse',
    'nul',
    'nulll',
    'undefined',
    "'a'",
    '"',
    '"a',
    '"a\\',
    '"\\x41"',
    '"\\u12"',
  ],
  ...[
    '"\\u12g4"',
    '"\n"',
    '"\t"',
    '"\u0000"',
    '[',
    ']',
    '{',
    '}',
    '[1',
    '[1,',
    '[1,]',
    '[,1]',
    '[1 2]',
    '[1;2]',
  ],
  ...[
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":1,',
    '{"a":1,}',
    '{,}',
    '{a:1}',
    '{1:1}',
    '{"a" 1}',
    '{"a":1 "b":2}',
  ],
  ...[
    '[}',
    '{]',
    '[{]}',
    '{"a":[}]',
    '1 2',
    '[]]',
    '{}{}',
    '\u00a01',
    '\ufeff1',
    '//',
    '[1]//',
    '"\\',
    '-a',
  ],
]

describe('scanValue()', () => {
  test.each(VALID)('takes %j', (text) => {
    expect(isParsed(text)).toBe(true)
    expect(isScanned(text)).toBe(true)
  })

  test.each(INVALID)('does not take %j', (text) => {
    expect(isParsed(text)).toBe(false)
    expect(isScanned(text)).toBe(false)
  })

  test('says where a value ends, whatever follows', () => {
    const text = Buffer.from('x [1, {"a": "]"}] , 2')
    expect(scanValue(text, 2)).toBe(17)
    expect(scanValue(text, 3)).toBe(4)
    expect(scanValue(text, text.length)).toBe(NO_VALUE)
    expect(scanValue(text, NO_VALUE)).toBe(NO_VALUE)
  })

  test('leaves what is deeper than its bound to others', () => {
    const nested = (depth: number) => `${'[{"a":'.repeat(depth / 2)}0${'}]'.repeat(depth / 2)}`
    expect(isScanned(nested(SCAN_DEPTH_MAX - 1))).toBe(true)
    expect(isScanned(`[${nested(SCAN_DEPTH_MAX - 1)}]`)).toBe(true)
    expect(isScanned(nested(SCAN_DEPTH_MAX + 1))).toBe(false)
    expect(isScanned('['.repeat(100_000))).toBe(false)
  })

  test('takes whatever JSON.stringify() writes', () => {
    const json = fc.json({ maxDepth: 8, noUnicodeString: false })
    fc.assert(fc.property(json, fc.boolean(), takesWritten), { numRuns: 500 })
  })

  test('says of texts that are nearly JSON what JSON.parse() says', () => {
    const characters = fc.constantFrom(...'{}[]",:\\ \n019.-+eEtrufalsn/bx\u0000\u001fé')
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(2), characters), {
      minLength: 1,
      maxLength: 3,
    })
    const check = (json: string, changes: [number, number, string][]) => {
      let text = json
      for (const [at, removed, added] of changes) {
        const place = at % (text.length + 1)
        text = text.slice(0, place) + added + text.slice(place + removed)
      }
      expect([text, isScanned(text)]).toEqual([text, isParsed(text)])
    }
    fc.assert(fc.property(fc.json({ maxDepth: 4 }), edits, check), { numRuns: 3000 })
  })
})

function takesWritten(json: string, isIndented: boolean): void {
  const text = isIndented ? JSON.stringify(JSON.parse(json), null, 2) : json
  expect([text, isScanned(text)]).toEqual([text, true])
}
