import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  isUuid,
  readUuidText,
  UUID_TEXT_BYTES,
  uuidBytes,
  writeUuidText,
} from '../../src/protocol/uuid.js'

test('writeUuidText() writes what uuidBytes() read, in lower case', () => {
  const target = Buffer.alloc(UUID_TEXT_BYTES + 2, '#')
  fc.assert(
    fc.property(fc.uuid(), fc.boolean(), (text, isUpper) => {
      expect(isUuid(text)).toBe(true)
      const bytes = uuidBytes(isUpper ? text.toUpperCase() : text)
      expect(bytes.length).toBe(16)
      expect(readUuidText(Buffer.from(`#${isUpper ? text.toUpperCase() : text}#`), 1)).toEqual(
        bytes,
      )
      const shifted = Buffer.concat([Buffer.alloc(3), bytes])
      expect(writeUuidText(target, 1, shifted, 3)).toBe(1 + UUID_TEXT_BYTES)
      expect(target.toString()).toBe(`#${text}#`)
    }),
  )
})

test.each([
  '',
  '550e8400e29b41d4a716446655440000',
  '550e8400-e29b-41d4-a716-44665544000',
  '550e8400-e29b-41d4-a716-4466554400000',
  '550e8400-e29b-41d4-a716-44665544000g',
  '550e8400-e29b-41d4-a716446655440000-',
  '{550e8400-e29b-41d4-a716-446655440000}',
  '550e8400-e29b-41d4-a716-446655440000\n',
  ' 550e8400-e29b-41d4-a716-446655440000',
])('isUuid() refuses %j', (text) => {
  expect(isUuid(text)).toBe(false)
})

test('readUuidText() takes what isUuid() takes, one character changed', () => {
  const character = fc.constantFrom(...'0123456789abcdefABCDEFgG-/:@`{ \u0000é')
  fc.assert(
    fc.property(fc.uuid(), fc.nat(UUID_TEXT_BYTES - 1), character, (uuid, at, changed) => {
      const text = uuid.slice(0, at) + changed + uuid.slice(at + 1)
      const bytes = readUuidText(Buffer.from(text, 'latin1'), 0)
      expect([text, bytes !== undefined]).toEqual([text, isUuid(text)])
    }),
  )
  expect(readUuidText(Buffer.from('550e8400-e29b'), 0)).toBeUndefined()
})

test('isUuid() takes every version and the nil UUID', () => {
  expect(isUuid('00000000-0000-0000-0000-000000000000')).toBe(true)
  expect(isUuid('FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF')).toBe(true)
})
