/** One entry as the text of an event. */
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { expect, test } from 'vitest'
import { entryHeaderBytes, writeEntryHeader } from '../../src/log/entry.js'
import { EntryView, writeEvent } from '../../src/shard/json-text.js'

const HEAD = Buffer.from('{"type":"event","topic":"t","message":{"id":"')
const ID = '00010203-0405-0607-0809-0a0b0c0d0e0f'
const packr = new Packr({ useRecords: false, variableMapSize: true })

interface Fields {
  readonly seq: number
  readonly timeMs: number
  readonly payload: string
  readonly headers?: Record<string, string>
}

function view({ seq, timeMs, payload, headers }: Fields): [Buffer, EntryView] {
  const header = Buffer.alloc(entryHeaderBytes(seq))
  writeEntryHeader(new DataView(header.buffer, header.byteOffset, header.length), 0, seq, timeMs)
  const body = [
    Buffer.of(1),
    packr.pack(Buffer.from(payload)),
    Buffer.of(0xc4, 16, ...Array(16).keys()),
  ]
  const buffer = Buffer.concat([header, ...body, packr.pack(headers ?? null)])
  const entry = new EntryView()
  entry.read(buffer, 0)
  return [buffer, entry]
}

/** The text, written behind `at`, with `room` for it; undefined when it did not fit. */
function written(fields: Fields, at: number, room: number): string | undefined {
  const [buffer, entry] = view(fields)
  const target = Buffer.alloc(at + room + 10, '#')
  const end = writeEvent(target, at, at + room, HEAD, buffer, entry)
  expect(target.toString('latin1', 0, at)).toBe('#'.repeat(at))
  expect(target.toString('latin1', at + room)).toBe('#'.repeat(10))
  if (end < 0) return undefined
  expect(target[end]).toBe('#'.charCodeAt(0))
  return target.toString('utf8', at, end)
}

function expected({ seq, timeMs, payload, headers }: Fields): string {
  const more = headers === undefined ? '' : `,"headers":${JSON.stringify(headers)}`
  const time = new Date(timeMs).toISOString()
  return `${HEAD}${ID}","payload":${payload}${more}},"seq":${seq},"ts":"${time}"}`
}

const timeMs = fc.integer({ min: 0, max: 4e12 })
const seq = fc.oneof(
  fc.maxSafeNat(),
  fc.nat({ max: 15 }).map((digits) => 10 ** digits),
  fc.nat({ max: 15 }).map((digits) => 10 ** digits - 1),
  fc.constant(Number.MAX_SAFE_INTEGER),
)
const headers = fc.option(fc.constantFrom({ a: 'b' }, { 'é"': '日本\n' }), { nil: undefined })

test('writeEvent() writes seq, time, payload and headers as JSON.stringify() would', () => {
  const check = (
    some: number,
    ms: number,
    payload: string,
    some2: Record<string, string> | undefined,
  ) => {
    const fields = {
      seq: some,
      timeMs: ms,
      payload,
      ...(some2 === undefined ? {} : { headers: some2 }),
    }
    expect(written(fields, 7, 4096)).toBe(expected(fields))
  }
  fc.assert(fc.property(seq, timeMs, fc.json({ maxDepth: 2 }), headers, check), { numRuns: 500 })
})

test('writeEvent() never writes beyond its room, and needs hardly more than the text', () => {
  const fields = { seq: 12, timeMs: 1_800_000_000_000, payload: '"x"', headers: { é: '日本' } }
  const { length } = Buffer.from(expected(fields))
  const fits = Array.from(
    { length: length + 20 },
    (_, room) => written(fields, 0, room) !== undefined,
  )
  const least = fits.indexOf(true)
  expect(least).toBeGreaterThanOrEqual(length)
  expect(least, 'room for a seq of 16 digits').toBeLessThanOrEqual(length + 14)
  expect(fits.slice(least)).not.toContain(false)
})
