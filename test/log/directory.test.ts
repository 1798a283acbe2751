import { expect, test } from 'vitest'
import { NAME_BYTES_MAX, SLOT_BYTES } from '../../src/log/slot.js'
import { TopicLog } from '../../src/log/topic-log.js'
import { type Memory, memoryOf, SLOTS, takenOver } from './logs.js'

const EPOCH = 'AbCdEf-012345678'

function add(memory: Memory, topicId: number, name = `topic.${topicId}`): number {
  const slot = memory.directory.tryTake(topicId, Buffer.from(name), EPOCH)
  if (slot < 0) return slot
  expect(TopicLog.tryCreate(memory, slot)).toBe(true)
  memory.directory.activate(slot)
  return slot
}

function release(memory: Memory, slot: number): void {
  for (const block of memory.directory.blocks(slot)) {
    memory.blocks.free(block.address, block.bytes)
  }
  memory.directory.release(slot)
}

/** Ids of the topics that a successor finds. */
function found(memory: Memory): number[] {
  const { directory } = takenOver(memory)
  return directory.scan().map((slot) => directory.topicId(slot))
}

test('TopicDirectory.scan() finds nothing in fresh memory', () => {
  expect(found(memoryOf(65_536))).toEqual([])
})

test('TopicDirectory keeps id, epoch, name and formats of a topic for a successor', () => {
  const memory = memoryOf(65_536)
  const name = 'é'.repeat(NAME_BYTES_MAX >> 1)
  const slot = add(memory, 7, name)
  memory.directory.setPlainFormats(slot, 3)
  const { directory } = takenOver(memory)
  expect(directory.scan()).toEqual([slot])
  expect(directory.topicId(slot)).toBe(7)
  expect(directory.epoch(slot)).toBe(EPOCH)
  expect(directory.name(slot).toString()).toBe(name)
  expect(directory.plainFormats(slot)).toBe(3)
  expect(directory.blocks(slot)).toEqual(memory.directory.blocks(slot))
})

test('TopicDirectory.name() is a copy that later topics do not change', () => {
  const memory = memoryOf(65_536)
  const slot = add(memory, 1, 'before')
  const name = memory.directory.name(slot)
  release(memory, slot)
  add(memory, 2, 'after!')
  expect(name.toString()).toBe('before')
  expect(name.buffer).toBeInstanceOf(ArrayBuffer)
})

test('TopicDirectory.tryTake() forgets what the slot said of the topic before', () => {
  const memory = memoryOf(65_536)
  const slot = add(memory, 1, 'a.long.name')
  memory.directory.setPlainFormats(slot, 3)
  release(memory, slot)
  expect(add(memory, 2, 'b')).toBe(slot)
  expect(memory.directory.name(slot).toString()).toBe('b')
  expect(memory.directory.plainFormats(slot)).toBe(0)
})

test('TopicDirectory.tryTake() returns -1 when all slots are taken, until one is released', () => {
  const memory = memoryOf(65_536)
  const slots = Array.from({ length: SLOTS }, (_, index) => add(memory, index + 1))
  expect(new Set(slots).size).toBe(SLOTS)
  expect(add(memory, 99)).toBe(-1)
  release(memory, slots[3] as number)
  expect(add(memory, 100)).toBe(slots[3])
  expect(add(memory, 101)).toBe(-1)
  expect(found(memory)).toEqual([1, 2, 3, 100, 5, 6, 7, 8])
})

test('TopicDirectory.scan() finds all topics behind slots that were released, and reuses those', () => {
  const memory = memoryOf(65_536)
  const slots = [1, 2, 3, 4, 5].map((topicId) => add(memory, topicId))
  for (const index of [0, 2, 4]) release(memory, slots[index] as number)
  expect(found(memory)).toEqual([2, 4])

  const successor = takenOver(memory)
  const taken = Array.from({ length: SLOTS - 2 }, (_, index) => add(successor, 10 + index))
  expect(taken.every((slot) => slot >= 0)).toBe(true)
  expect(new Set([...taken, slots[1], slots[3]]).size).toBe(SLOTS)
  expect(add(successor, 99)).toBe(-1)
  expect(found(successor).sort((a, b) => a - b)).toEqual([2, 4, 10, 11, 12, 13, 14, 15])
})

test('TopicDirectory.scan() does not find a topic whose creator died before activate()', () => {
  const memory = memoryOf(65_536)
  add(memory, 1)
  const slot = memory.directory.tryTake(2, Buffer.from('half'), EPOCH)
  TopicLog.tryCreate(memory, slot)
  const successor = takenOver(memory)
  expect(successor.directory.scan()).toHaveLength(1)
  // Its blocks and its slot are there again.
  expect(successor.blocks.freeBytes).toBeGreaterThan(memory.blocks.freeBytes)
  expect(add(successor, 3)).toBe(slot)
})

test('TopicDirectory.release() takes back a slot that was never activated', () => {
  const memory = memoryOf(65_536)
  const slot = memory.directory.tryTake(1, Buffer.from('a'), EPOCH)
  memory.directory.release(slot)
  expect(found(memory)).toEqual([])
  expect(memory.directory.tryTake(2, Buffer.from('b'), EPOCH)).toBe(slot)
})

test('TopicDirectory slots follow one another and stay within SLOT_BYTES', () => {
  const memory = memoryOf(65_536)
  const first = add(memory, 1, 'x'.repeat(NAME_BYTES_MAX))
  const second = add(memory, 2, 'y'.repeat(NAME_BYTES_MAX))
  expect(second - first).toBe(SLOT_BYTES)
  expect(memory.directory.name(first).toString()).toBe('x'.repeat(NAME_BYTES_MAX))
  expect(memory.directory.topicId(second)).toBe(2)
})
