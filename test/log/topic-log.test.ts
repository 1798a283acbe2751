import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ENTRY_HEADER_BYTES_MAX } from '../../src/log/entry.js'
import { DESCRIPTOR, DESCRIPTOR_BYTES, DESCRIPTORS, PAD_START, TAIL } from '../../src/log/slot.js'
import {
  DATA_BYTES_MIN,
  INDEX_SLOTS_MIN,
  NO_LOG_MEMORY,
  OVER_RETENTION,
  type Retention,
  ROOMY_BYTES_MIN,
  TopicLog,
} from '../../src/log/topic-log.js'
import {
  append,
  attach,
  type Beginning,
  body,
  entryBytes,
  type Memory,
  memoryOf,
  newSlot,
  prepareEntries,
  takenOver,
  wantedBytes,
} from './logs.js'

const KiB = 1024
const PLENTY = 1024 * KiB
const FIRST_BLOCKS = DATA_BYTES_MIN + 4 * INDEX_SLOTS_MIN

interface Scene {
  memory: Memory
  log: TopicLog
  readonly slot: number
  readonly retention: Retention
}

interface SceneOptions extends Beginning, Partial<Retention> {
  readonly memoryBytes?: number
}

function scene({ memoryBytes = PLENTY, ...options }: SceneOptions = {}): Scene {
  const memory = memoryOf(memoryBytes)
  const retention = { count: 1000, bytes: 64 * KiB, ageMs: 0, ...options }
  const slot = newSlot(memory, options)
  return { memory, slot, retention, log: attach(memory, slot, retention) }
}

/** The thread dies; another takes over the same memory. */
function takeOver(some: Scene): void {
  some.memory = takenOver(some.memory)
  some.log = attach(some.memory, some.slot, some.retention)
}

function appendOne(some: Scene, length: number, timeMs = 0): number {
  const { memory, log } = some
  return append(memory, log, [body(log.lastSeq + 1, length)], timeMs)
}

/** All that a log says of itself and all bytes that it stands on. */
function everything({ memory, log }: Scene): unknown {
  const { firstSeq, lastSeq, lastTimeMs, count, bytes, blockBytes } = log
  const shared = Buffer.from(memory.bytes).toString('latin1')
  const { freeBytes } = memory.blocks
  return { firstSeq, lastSeq, lastTimeMs, count, bytes, blockBytes, freeBytes, shared }
}

describe('a new TopicLog', () => {
  test('TopicLog is empty at first and its first seq is 1', () => {
    const { log } = scene()
    expect([log.firstSeq, log.lastSeq, log.count, log.bytes]).toEqual([1, 0, 0, 0])
    expect(log.seqSince(0)).toBe(1)
    expect(log.blockBytes).toBe(FIRST_BLOCKS)
  })

  test('TopicLog.tryCreate() is false and takes nothing when memory is used up', () => {
    const memory = memoryOf(FIRST_BLOCKS - KiB) // The data would fit, the index would not.
    const slot = memory.directory.tryTake(1, Buffer.from('a'), 'epoch-0123456789')
    expect(TopicLog.tryCreate(memory, slot)).toBe(false)
    expect(memory.blocks.freeBytes).toBe(memory.blocks.totalBytes)
    memory.blocks.tryAllocate(4 * KiB)
    expect(TopicLog.tryCreate(memory, slot)).toBe(false)
  })

  test('TopicLog.free() gives back all blocks, however the log has grown', () => {
    const some = scene()
    while (some.log.blockBytes < 20 * KiB) appendOne(some, 500)
    some.log.free()
    expect(some.memory.blocks.freeBytes).toBe(PLENTY)
  })
})

describe('TopicLog.prepare()', () => {
  test('TopicLog.prepare() refuses more than the retention can ever hold, and changes nothing', () => {
    const some = scene({ count: 10, bytes: 4 * KiB })
    for (let n = 0; n < 5; n++) appendOne(some, 100)
    const before = everything(some)
    expect(some.log.prepare(11, 200)).toBe(OVER_RETENTION)
    expect(some.log.prepare(1, 4 * KiB + 1)).toBe(OVER_RETENTION)
    expect(everything(some)).toEqual(before)
    expect(some.log.prepare(10, 4 * KiB)).toBeGreaterThan(0)
  })

  test('TopicLog.prepare() finds no memory for a batch over the blocks, and changes nothing', () => {
    const some = scene({ memoryBytes: 12 * KiB })
    for (let n = 0; n < 5; n++) appendOne(some, 100)
    expect(some.memory.blocks.tryAllocate(4 * KiB)).toBeGreaterThan(0)
    const before = everything(some)
    expect(some.log.prepare(1, 9 * KiB)).toBe(NO_LOG_MEMORY) // Data would be 16 KiB.
    expect(some.log.prepare(900, 4 * KiB)).toBe(NO_LOG_MEMORY) // An index of 4 KiB; 3 are left.
    expect(everything(some)).toEqual(before)
    expect(appendOne(some, 100)).toBe(6)
  })

  test('TopicLog.prepare() changes nothing when memory is left, but in pieces', () => {
    const some = scene({ memoryBytes: 32 * KiB })
    appendOne(some, 100)
    const { blocks, directory } = some.memory
    const base = directory.blocks(some.slot)[0]?.address as number
    const pieces: number[] = []
    for (let at = blocks.tryAllocate(KiB); at >= 0; at = blocks.tryAllocate(KiB)) pieces.push(at)
    for (const at of pieces) {
      const kib = (at - base) / KiB
      if (kib % 2 === 1 || (kib >= 16 && kib < 24)) blocks.free(at, KiB)
    }
    const before = everything(some)
    expect(blocks.freeBytes).toBeGreaterThan(12 * KiB)
    expect(some.log.prepare(900, 5000)).toBe(NO_LOG_MEMORY) // 8 KiB of data fit, 4 of index do not.
    expect(everything(some)).toEqual(before)
  })

  test('TopicLog.prepare() drops the oldest when the log may not grow', () => {
    const some = scene({ memoryBytes: FIRST_BLOCKS })
    for (let n = 0; n < 100; n++) expect(appendOne(some, 100)).toBe(n + 1)
    expect(some.log.blockBytes).toBe(FIRST_BLOCKS)
    // Entries of 115 bytes, and less than one of padding.
    expect(some.log.count).toBeGreaterThanOrEqual(Math.floor(DATA_BYTES_MIN / 115) - 1)
    expect(some.log.lastSeq).toBe(100)
  })

  test('TopicLog.prepare() leaves the growth reserve to others', () => {
    const some = scene({ memoryBytes: 64 * KiB })
    some.memory.reserve = 64 * KiB
    for (let n = 0; n < 100; n++) appendOne(some, 100)
    expect(some.log.blockBytes).toBe(FIRST_BLOCKS)
    some.memory.reserve = 0
    appendOne(some, 100)
    expect(some.log.blockBytes).toBeGreaterThan(FIRST_BLOCKS)
  })

  test('TopicLog.prepare() takes the growth reserve for what else could not be stored at all', () => {
    const some = scene({ memoryBytes: 64 * KiB })
    some.memory.reserve = 64 * KiB
    expect(appendOne(some, 5000)).toBe(1)
    expect(some.log.count).toBe(1)
  })

  test('TopicLog.prepare() grows the index alone when entries are small', () => {
    const some = scene()
    for (let n = 0; n < INDEX_SLOTS_MIN; n++) appendOne(some, 0)
    expect(some.log.blockBytes).toBe(FIRST_BLOCKS)
    appendOne(some, 0)
    expect(some.log.blockBytes).toBe(FIRST_BLOCKS + 4 * INDEX_SLOTS_MIN)
    expect(some.log.firstSeq).toBe(1)
  })

  test('TopicLog.prepare() grows the index alone though there is no room for the entries once more', () => {
    const some = scene({ memoryBytes: DATA_BYTES_MIN * 64, bytes: DATA_BYTES_MIN * 32 })
    appendOne(some, DATA_BYTES_MIN * 31)
    const { blocks } = some.memory
    while (blocks.freeBytes > DATA_BYTES_MIN * 8) blocks.tryAllocate(DATA_BYTES_MIN)
    for (let n = 1; n <= INDEX_SLOTS_MIN; n++) appendOne(some, 0)
    expect([some.log.firstSeq, some.log.count]).toEqual([1, INDEX_SLOTS_MIN + 1])
  })

  test('TopicLog.prepare() doubles a block in place when what is behind it is free', () => {
    const some = scene({ memoryBytes: 16 * ROOMY_BYTES_MIN, bytes: 4 * ROOMY_BYTES_MIN })
    const other = attach(some.memory, newSlot(some.memory), { bytes: 4 * ROOMY_BYTES_MIN })
    // Small logs stand side by side, are in each other's way and move.
    const body = () => new Uint8Array(100 * KiB)
    for (let n = 0; n < 19; n++) {
      append(some.memory, some.log, [body()], 0)
      append(some.memory, other, [body()], 0)
    }
    const firsts = [some.log.offsetOf(1), other.offsetOf(1)]
    expect(some.log.blockBytes).toBe(2 * ROOMY_BYTES_MIN + 4 * INDEX_SLOTS_MIN)
    for (let n = 0; n < 20; n++) {
      append(some.memory, some.log, [body()], 0)
      append(some.memory, other, [body()], 0)
    }
    expect([some.log.offsetOf(1), other.offsetOf(1)]).toEqual(firsts)
    expect([some.log.count, other.count]).toEqual([39, 39])
    expect(some.log.blockBytes).toBe(4 * ROOMY_BYTES_MIN + 4 * INDEX_SLOTS_MIN)
    takeOver(some)
    expect([some.log.offsetOf(1), some.log.count]).toEqual([firsts[0], 39])
  })

  test('TopicLog.prepare() twice without a commit promises the same place', () => {
    const some = scene()
    appendOne(some, 10)
    const first = some.log.prepare(1, 200)
    expect(some.log.prepare(1, 200)).toBe(first)
    expect(some.log.count).toBe(1)
  })

  test('TopicLog.prepare() takes a batch as large as the largest block, from every place in a lap', () => {
    for (let length = 1; length < 4000; length += 399) {
      const some = scene({ bytes: 4 * KiB })
      appendOne(some, length)
      expect(append(some.memory, some.log, [body(9, 4 * KiB - 15)], 0)).toBe(2)
      expect([some.log.firstSeq, some.log.lastSeq, some.log.bytes]).toEqual([2, 2, 4 * KiB])
      expect(entryBytes(some.memory, some.log, 2).length).toBe(4 * KiB)
    }
  })
})

describe('TopicLog.commit()', () => {
  const bodies = [body(1, 700), body(2, 0), body(3, 300)]

  function filled(): Scene {
    const some = scene({ bytes: 4 * KiB })
    for (let n = 0; n < 9; n++) appendOne(some, 600, 50 + n)
    return some
  }

  test('TopicLog without commit() is to a successor as it was, but for what made room', () => {
    const some = filled()
    const held = heldOf(some)
    expect(prepareEntries(some.memory, some.log, bodies, 99)).toBe(10)
    const { firstSeq } = some.log
    takeOver(some)
    expect([some.log.firstSeq, some.log.lastSeq, some.log.lastTimeMs]).toEqual([firstSeq, 9, 58])
    expect(heldOf(some)).toEqual(held.filter(([seq]) => seq >= firstSeq))
    expect(append(some.memory, some.log, bodies, 99)).toBe(10)
    expect(some.log.lastSeq).toBe(12)
  })

  test('TopicLog.commit() can be done by a successor, from what the journal kept', () => {
    const some = filled()
    prepareEntries(some.memory, some.log, bodies, 99)
    const { preparedTail, preparedPadStart } = some.log
    takeOver(some)
    some.log.commit(preparedTail, preparedPadStart, 12, 99)
    expect(heldOf(some).slice(-3)).toEqual(
      bodies.map((b, n) => [10 + n, wantedBytes(10 + n, 99, b)]),
    )
  })

  test('TopicLog.commit() twice is harmless, also to an empty log', () => {
    for (const some of [filled(), scene()]) {
      const firstSeq = prepareEntries(some.memory, some.log, bodies, 99)
      const { preparedTail, preparedPadStart } = some.log
      const commit = () => some.log.commit(preparedTail, preparedPadStart, firstSeq + 2, 99)
      commit()
      const once = everything(some)
      commit()
      expect(everything(some)).toEqual(once)
      takeOver(some)
      commit()
      expect(everything(some)).toEqual(once)
    }
  })

  test('TopicLog.commit() by a successor completes one that died behind its first store', () => {
    for (const some of [filled(), scene()]) {
      const firstSeq = prepareEntries(some.memory, some.log, bodies, 99)
      const { preparedTail, preparedPadStart } = some.log
      storeTail(some, preparedTail)
      takeOver(some)
      some.log.commit(preparedTail, preparedPadStart, firstSeq + 2, 99)
      const held = heldOf(some)
      expect(held.at(-1)).toEqual([firstSeq + 2, wantedBytes(firstSeq + 2, 99, body(3, 300))])
      takeOver(some)
      expect(heldOf(some)).toEqual(held)
    }
  })
})

describe('TopicLog reads', () => {
  test('TopicLog.runFrom() ends a run at the wrap, and at maxBytes, but never before one entry', () => {
    const some = scene({ bytes: 4 * KiB })
    for (let n = 0; n < 8; n++) appendOne(some, 985) // 1000 bytes each; 96 of padding at the wrap.
    const { log } = some
    expect([log.firstSeq, log.lastSeq]).toEqual([5, 8])
    expect(log.runFrom(5, 8, 1e6)).toBe(8)
    expect(log.runFrom(5, 8, 3999)).toBe(7)
    expect(log.runFrom(5, 8, 1)).toBe(5)
    appendOne(some, 985)
    expect([log.firstSeq, log.lastSeq]).toEqual([6, 9])
    expect(log.runFrom(6, 9, 1e6)).toBe(8)
    expect(log.runFrom(6, 7, 1e6)).toBe(7)
    expect(log.runFrom(9, 9, 1e6)).toBe(9)
    expect(log.endOf(8) - log.offsetOf(8)).toBe(1000) // Without the padding behind it.
  })

  test('TopicLog.endOf() does not take a mark of padding for new that is 2^32 bytes old', () => {
    const some = scene({ bytes: 4 * KiB })
    some.memory.ints[((some.slot + DESCRIPTORS) >> 2) + PAD_START] = DATA_BYTES_MIN - 100
    takeOver(some)
    for (let n = 0; n < 5; n++) appendOne(some, 1024 - 15) // Four fill a lap to its end.
    expect(some.log.firstSeq).toBe(2)
    expect(some.log.endOf(4) - some.log.offsetOf(4)).toBe(1024)
  })

  test('TopicLog.seqSince() is the first entry at or after the time', () => {
    const some = scene()
    for (const timeMs of [10, 20, 20, 20, 40]) appendOne(some, 1, timeMs)
    expect([0, 10, 11, 20, 21, 40, 41].map((timeMs) => some.log.seqSince(timeMs))).toEqual([
      1, 1, 2, 2, 5, 5, 6,
    ])
  })

  test('TopicLog.evictExpired() drops what is older than the age, and all when all is', () => {
    const some = scene({ ageMs: 100 })
    for (const timeMs of [10, 20, 30]) appendOne(some, 1, timeMs)
    some.log.evictExpired(120)
    expect(some.log.firstSeq).toBe(2) // As old as allowed stays.
    some.log.evictExpired(1e9)
    expect([some.log.firstSeq, some.log.lastSeq, some.log.count, some.log.bytes]).toEqual([
      4, 3, 0, 0,
    ])
    some.log.evictExpired(1e9)
    takeOver(some)
    expect([some.log.firstSeq, some.log.lastSeq]).toEqual([4, 3])
    expect(appendOne(some, 1, 1e9)).toBe(4)
    expect(some.log.timeOf(4)).toBe(1e9)
  })

  test('TopicLog.evictExpired() keeps everything when there is no bound by age', () => {
    const some = scene({ ageMs: 0 })
    appendOne(some, 1, 1)
    some.log.evictExpired(1e15)
    expect(some.log.count).toBe(1)
  })

  test('TopicLog.keeps() is true for what is not there yet and false for what is gone', () => {
    const some = scene({ count: 3 })
    for (let n = 0; n < 5; n++) appendOne(some, 1)
    expect(some.log.keeps(6, 1000, 1e9)).toBe(true)
    expect(some.log.keeps(2, 1, 1)).toBe(false)
    expect(some.log.keeps(3, 0, 0)).toBe(true)
    expect(some.log.keeps(3, 1, 1)).toBe(false)
    expect(some.log.keeps(4, 1, 1)).toBe(true)
  })
})

describe('TopicLog against a model', () => {
  type Step =
    | { readonly append: readonly number[]; readonly slack: number; readonly waitMs: number }
    | { readonly crash: 'prepared' | 'committed' | 'storing'; readonly append: readonly number[] }
    | { readonly evictAfterMs: number }
    | 'takeOver'

  interface Entry {
    readonly seq: number
    readonly timeMs: number
    readonly bytes: Buffer
  }

  const retentionBytesMax = 32 * KiB
  const length = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 300 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 6000 }) },
  )
  const lengths = fc.oneof(
    { weight: 5, arbitrary: fc.array(length, { minLength: 1, maxLength: 12 }) },
    {
      weight: 1,
      arbitrary: fc.array(fc.integer({ max: 3, min: 0 }), { minLength: 1, maxLength: 400 }),
    },
  )
  const slack = fc.constantFrom(0, 0, 1, 40, 500)
  const waitMs = fc.constantFrom(0, 0, 1, 10)
  const crash = fc.constantFrom('prepared', 'committed', 'storing')
  const steps = fc.array(
    fc.oneof(
      { weight: 12, arbitrary: fc.record({ append: lengths, slack, waitMs }) },
      { weight: 2, arbitrary: fc.record({ crash, append: lengths }) },
      { weight: 1, arbitrary: fc.record({ evictAfterMs: fc.integer({ min: 0, max: 60 }) }) },
      { weight: 1, arbitrary: fc.constant('takeOver' as const) },
    ),
    { maxLength: 60 },
  ) as fc.Arbitrary<Step[]>
  const options = fc.record({
    position: fc.constantFrom(0, 2 ** 31 - 3 * DATA_BYTES_MIN, -3 * DATA_BYTES_MIN),
    firstSeq: fc.constantFrom(1, 2 ** 31 - 20, 2 ** 32 - 20, 2 ** 40),
    count: fc.constantFrom(1, 7, 100, 300, 1000),
    bytes: fc.constantFrom(4 * KiB, 8 * KiB, retentionBytesMax),
    ageMs: fc.constantFrom(0, 50),
    memoryBytes: fc.constantFrom(FIRST_BLOCKS, 20 * KiB, 50 * KiB, PLENTY),
  })

  test('TopicLog holds what was appended, through growth, eviction and successors', () => {
    fc.assert(
      fc.property(options, steps, (someOptions, someSteps) => {
        const some = scene(someOptions)
        let model: Entry[] = []
        let nowMs = 1000
        let largest = 0
        for (const step of someSteps) {
          if (step === 'takeOver') takeOver(some)
          else if ('evictAfterMs' in step) {
            nowMs += step.evictAfterMs
            const { ageMs } = some.retention
            some.log.evictExpired(nowMs)
            if (ageMs > 0) model = model.filter(({ timeMs }) => timeMs >= nowMs - ageMs)
          } else {
            const reserved = 'slack' in step ? step.slack : 0
            nowMs += 'waitMs' in step ? step.waitMs : 0
            const added = tryAppend(some, model, step.append, reserved, nowMs, step)
            const batch = step.append.reduce(
              (sum, size) => sum + ENTRY_HEADER_BYTES_MAX + size,
              reserved,
            )
            largest = Math.max(largest, batch)
            model.push(...added)
          }
          // What made room for a batch that then was lost, made room for nothing.
          const isLost = typeof step === 'object' && 'crash' in step && step.crash === 'prepared'
          model = checkEviction(some, model, isLost ? retentionBytesMax : largest)
          checkReads(some, model)
        }
      }),
      { numRuns: 150 },
    )
  })

  /** Appends, or crashes while it does; returns the entries that the log must hold now. */
  function tryAppend(
    some: Scene,
    model: readonly Entry[],
    sizes: readonly number[],
    reserved: number,
    timeMs: number,
    step: object,
  ): Entry[] {
    const { memory, log } = some
    const first = log.lastSeq + 1
    const bodies = sizes.map((size, index) => body(first + index, size))
    const added = bodies.map((bytes, index) => {
      const seq = first + index
      return { seq, timeMs, bytes: wantedBytes(seq, timeMs, bytes) }
    })
    const bytes = added.reduce((sum, entry) => sum + entry.bytes.length, reserved)
    const askedSeqs = [log.firstSeq, first - 1, first - Math.ceil(model.length / 2), first]
    const keeps = askedSeqs.map((seq) => log.keeps(seq, sizes.length, bytes))
    const { blockBytes } = log
    const before = everything(some)

    const result = prepareEntries(memory, log, bodies, timeMs, reserved)
    if (result === OVER_RETENTION || result === NO_LOG_MEMORY) {
      expect(everything(some)).toEqual(before)
      const { retention } = some
      const isOver = bytes > retention.bytes || sizes.length > retention.count
      expect(result).toBe(isOver ? OVER_RETENTION : NO_LOG_MEMORY)
      if (!isOver) expect(memory.blockBytes).toBeLessThan(PLENTY)
      return []
    }
    expect(result).toBe(first)
    for (const [index, seq] of askedSeqs.entries()) {
      if (keeps[index]) expect(log.firstSeq).toBeLessThanOrEqual(seq)
      else if (log.blockBytes === blockBytes) expect(log.firstSeq).toBeGreaterThan(seq)
    }

    const { preparedTail, preparedPadStart } = log
    const lastSeq = first + sizes.length - 1
    if ('crash' in step) {
      if (step.crash === 'storing') storeTail(some, preparedTail)
      takeOver(some)
      if (step.crash === 'prepared') return []
      some.log.commit(preparedTail, preparedPadStart, lastSeq, timeMs)
    }
    some.log.commit(preparedTail, preparedPadStart, lastSeq, timeMs)
    expect([some.log.lastSeq, some.log.lastTimeMs]).toEqual([lastSeq, timeMs])
    return added
  }

  /** What the log dropped, it had to drop; returns the model without that. */
  function checkEviction({ log, memory, retention }: Scene, model: Entry[], largest: number) {
    expect(log.count).toBeLessThanOrEqual(retention.count)
    expect(log.bytes).toBeLessThanOrEqual(retention.bytes)
    expect(memory.blocks.freeBytes + log.blockBytes).toBe(memory.blocks.totalBytes)
    const held = model.filter(({ seq }) => seq >= log.firstSeq)
    const dropped = model.length - held.length
    if (dropped > 0 && memory.blockBytes === PLENTY && held.length < retention.count) {
      // With the newest that was dropped, and padding at two ends, it would have been too much.
      const oneMore = model.slice(dropped - 1).reduce((sum, { bytes }) => sum + bytes.length, 0)
      expect(oneMore + 2 * largest).toBeGreaterThan(retention.bytes)
    }
    return held
  }

  function checkReads({ log, memory }: Scene, model: readonly Entry[]): void {
    expect(log.count).toBe(model.length)
    expect(log.firstSeq).toBe(model[0]?.seq ?? log.lastSeq + 1)
    if (model.length === 0) return
    expect(log.lastSeq).toBe(model.at(-1)?.seq)
    for (const { seq, bytes } of model) {
      if (!entryBytes(memory, log, seq).equals(bytes)) {
        expect(entryBytes(memory, log, seq)).toEqual(bytes)
      }
    }
    for (const maxBytes of [1, 700, 1e9]) checkRuns(memory, log, model, maxBytes)
    const times = new Set(model.flatMap(({ timeMs }) => [timeMs, timeMs + 1]))
    for (const timeMs of times) {
      const linear = model.find((entry) => entry.timeMs >= timeMs)?.seq ?? log.lastSeq + 1
      expect(log.seqSince(timeMs)).toBe(linear)
    }
  }

  /** Runs, one behind the other, are the entries; each is as long as it may be. */
  function checkRuns(
    memory: Memory,
    log: TopicLog,
    model: readonly Entry[],
    maxBytes: number,
  ): void {
    const runs: Uint8Array[] = []
    for (let seq = log.firstSeq; seq <= log.lastSeq; ) {
      const last = log.runFrom(seq, log.lastSeq, maxBytes)
      const run = memory.bytes.slice(log.offsetOf(seq), log.endOf(last))
      if (last > seq) expect(run.length).toBeLessThanOrEqual(maxBytes)
      if (last < log.lastSeq && log.offsetOf(last + 1) === log.endOf(last)) {
        expect(log.endOf(last + 1) - log.offsetOf(seq)).toBeGreaterThan(maxBytes)
      }
      runs.push(run)
      seq = last + 1
    }
    expect(Buffer.concat(runs).equals(Buffer.concat(model.map(({ bytes }) => bytes)))).toBe(true)
  }
})

function heldOf({ memory, log }: Scene): [seq: number, bytes: Buffer][] {
  return Array.from({ length: log.count }, (_, index) => {
    const seq = log.firstSeq + index
    return [seq, entryBytes(memory, log, seq)]
  })
}

/** The first of the stores that commit() makes. */
function storeTail({ memory, slot }: Scene, tail: number): void {
  const which = memory.ints[(slot + DESCRIPTOR) >> 2] as number
  const descriptor = (slot + DESCRIPTORS + which * DESCRIPTOR_BYTES) >> 2
  memory.ints[descriptor + TAIL] = tail
}
