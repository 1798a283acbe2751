import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ConfigError } from '../src/config.js'
import { SettingsTable } from '../src/shard/topic-settings.js'
import { bySpecificity, parseTopicOptions, readTopicRules } from '../src/topic-rules.js'

const folder = mkdtempSync(join(tmpdir(), 'ringcast-rules-'))
afterAll(() => rmSync(folder, { recursive: true }))
let files = 0

function fileOf(value: unknown): string {
  const path = join(folder, `rules-${files++}.json`)
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value))
  return path
}

test('bySpecificity() puts exact names first, then fewer #, fewer *, more segments', () => {
  const patterns = ['#', '*', 'a.#', '*.*', 'a.*', 'a.*.#', 'a.b.*', 'a.b', 'a.b.c', 'a', '#.z.#']
  expect([...patterns].sort(bySpecificity)).toEqual([
    'a.b.c',
    'a.b',
    'a',
    'a.b.*',
    'a.*',
    '*',
    '*.*',
    'a.#',
    '#',
    'a.*.#',
    '#.z.#',
  ])
})

test('a topic gets each option from the most specific rule that names it, or from the request', () => {
  const rules = readTopicRules(
    fileOf({
      rules: [
        { pattern: 'orders.#', options: { ttl_ms: 1, history_size: 10, events: true } },
        { pattern: 'orders.*', options: { ttl_ms: 2 } },
        { pattern: 'orders.eu', options: { ttl_ms: 3 } },
        { pattern: 'orders.*', options: { ttl_ms: 4, max_age_ms: 5 } },
      ],
    }),
  )
  const table = new SettingsTable(rules, { count: 8192, bytes: 65_536, ageMs: 0 })
  const none = () => undefined
  expect(table.of('orders.eu', none)).toEqual({
    history_size: { value: 10, from: 'rule orders.#' },
    history_bytes: { value: 65_536, from: 'default' },
    max_age_ms: { value: 5, from: 'rule orders.*' },
    ttl_ms: { value: 3, from: 'rule orders.eu' },
    dedup_window_ms: { value: 0, from: 'default' },
    events: { value: 1, from: 'rule orders.#' },
  })
  expect(table.of('orders.us', none).ttl_ms).toEqual({ value: 2, from: 'rule orders.*' })
  const requested = (index: number) => (index === 3 ? 0 : undefined)
  expect(table.of('orders.us', requested).ttl_ms).toEqual({ value: 0, from: 'request' })
  expect(table.of('other', none).ttl_ms).toEqual({ value: 0, from: 'default' })
})

test.each<[string, unknown]>([
  [
    'rules.0.pattern: must have * and # stand alone as a segment',
    { rules: [{ pattern: 'a*', options: {} }] },
  ],
  ['rules.0.options: Unrecognized key: "ttl"', { rules: [{ pattern: 'a', options: { ttl: 5 } }] }],
  [
    'rules.0.options.history_bytes: must be a power of two',
    { rules: [{ pattern: 'a', options: { history_bytes: 5000 } }] },
  ],
  ['rules.0.options.ttl_ms: ', { rules: [{ pattern: 'a', options: { ttl_ms: -1 } }] }],
  ['rules: ', {}],
  ['is not JSON', '{'],
])('readTopicRules() says %s', (problem, value) => {
  const file = fileOf(value)
  expect(() => readTopicRules(file)).toThrow(ConfigError)
  expect(() => readTopicRules(file)).toThrow(problem)
})

test('readTopicRules() says that there is no file', () => {
  expect(() => readTopicRules(join(folder, 'none.json'))).toThrow('cannot be read')
})

test('parseTopicOptions() gives numbers, or says what is wrong', () => {
  expect(parseTopicOptions({ events: true, ttl_ms: 5 })).toEqual({ events: 1, ttl_ms: 5 })
  expect(parseTopicOptions({})).toEqual({})
  expect(parseTopicOptions({ ttl_ms: 'x' })).toMatch(/^options\.ttl_ms: /)
  expect(parseTopicOptions('x')).toMatch(/^options: /)
})
