import fc from 'fast-check'
import { expect, test } from 'vitest'
import { IdTable } from '../../src/shard/id-table.js'

/** An id that has this number at its front or its end; the two ways fall into different words. */
function id(number: number): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeInt32BE(number, number % 2 === 0 ? 0 : 12)
  return bytes
}

test('IdTable.find() knows the newest message of an id, per topic and since a time', () => {
  const table = new IdTable(100, 7)
  expect(table.find(1, id(5), 0, 0)).toBe(0)
  table.add(1, id(5), 0, 10, 1000)
  table.add(2, id(5), 0, 20, 1000)
  expect([table.find(1, id(5), 0, 999), table.find(2, id(5), 0, 999)]).toEqual([10, 20])
  expect([table.find(1, id(5), 0, 1000), table.find(3, id(5), 0, 0)]).toEqual([0, 0])
  table.add(1, id(5), 0, 30, 2000)
  expect(table.find(1, id(5), 0, 0)).toBe(30)
})

test('IdTable agrees with a list of the newest ids, whatever comes and is forgotten', () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 2 }), fc.nat(60)), { maxLength: 300 }),
      (seed, idsMax, added) => {
        const table = new IdTable(idsMax, seed)
        const list: { key: string; seq: number }[] = []
        for (const [index, [topic, number]] of added.entries()) {
          table.add(topic, id(number), 0, index + 1, index)
          list.push({ key: `${topic} ${number}`, seq: index + 1 })
          if (list.length > idsMax) list.shift()
        }
        expect(table.size).toBe(list.length)
        for (let topic = 1; topic <= 2; topic++) {
          for (let number = 0; number <= 60; number++) {
            const wanted = list.findLast(({ key }) => key === `${topic} ${number}`)
            expect(table.find(topic, id(number), 0, -1)).toBe(wanted?.seq ?? 0)
          }
        }
      },
    ),
  )
})

test('IdTable grows beyond its first ring and goes round it', () => {
  const table = new IdTable(5000, 1)
  for (let number = 0; number < 12_000; number++) table.add(1, id(number), 0, number + 1, number)
  expect(table.size).toBe(5000)
  expect(table.find(1, id(6999), 0, -1)).toBe(0)
  for (const number of [7000, 9999, 11_999]) {
    expect(table.find(1, id(number), 0, -1)).toBe(number + 1)
  }
})
