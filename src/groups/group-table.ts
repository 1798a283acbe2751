/**
 * The groups and members of a shard in shared memory: which slots are in use, and by whom.
 * Runs on: the shard. Owns: the two tables (layout.ts has the fields); which slots are free is private.
 */
import type { LogMemory } from '../log/topic-log.js'
import type { GroupOptions } from '../protocol/group-options.js'
import { FORMATS, type Format } from '../ring/record.js'
import * as layout from './layout.js'
import { Loss } from './loss.js'
import { Member } from './member.js'
import { Outstanding } from './outstanding.js'

/** Where the tables stand. */
export interface GroupRegion {
  readonly groups: number
  readonly groupSlots: number
  readonly members: number
  readonly memberSlots: number
}

/** One group's slot, as an object. */
export class GroupRecord {
  readonly id: number
  readonly topicId: number
  readonly name: string
  readonly outstanding: Outstanding
  readonly loss: Loss
  readonly offset: number
  readonly #memory: LogMemory

  /** The slot must describe a group; `committedBatch`: the last with deliveries that was made visible. */
  constructor(memory: LogMemory, offset: number, committedBatch: number) {
    this.#memory = memory
    this.offset = offset
    this.id = memory.ints[(offset + layout.GROUP_ID) >> 2] as number
    this.topicId = memory.ints[(offset + layout.TOPIC_ID) >> 2] as number
    const length = memory.ints[(offset + layout.NAME_BYTES) >> 2] as number
    this.name = memory.buffer.utf8Slice(offset + layout.NAME, offset + layout.NAME + length)
    this.outstanding = new Outstanding(memory, offset)
    this.loss = new Loss(memory, offset, committedBatch)
  }

  /** First seq that was not taken yet. */
  get cursor(): number {
    return this.#memory.floats[(this.offset + layout.CURSOR) >> 3] as number
  }

  set cursor(seq: number) {
    this.#memory.floats[(this.offset + layout.CURSOR) >> 3] = seq
  }

  get lastActiveMs(): number {
    return this.#memory.floats[(this.offset + layout.LAST_ACTIVE_MS) >> 3] as number
  }

  set lastActiveMs(timeMs: number) {
    this.#memory.floats[(this.offset + layout.LAST_ACTIVE_MS) >> 3] = timeMs
  }

  get isPaused(): boolean {
    return this.#memory.ints[(this.offset + layout.IS_PAUSED) >> 2] === 1
  }

  set isPaused(isPaused: boolean) {
    this.#memory.ints[(this.offset + layout.IS_PAUSED) >> 2] = isPaused ? 1 : 0
  }

  get options(): GroupOptions {
    const which = this.#memory.ints[(this.offset + layout.OPTIONS) >> 2] as number
    return JSON.parse(
      readText(this.#memory, this.offset + layout.TEXTS + which * layout.TEXT_BYTES),
    )
  }

  /** Written beside the old text; one store makes it the one that holds. */
  set options(options: GroupOptions) {
    const { ints } = this.#memory
    const other = 1 - (ints[(this.offset + layout.OPTIONS) >> 2] as number)
    writeText(this.#memory, this.offset + layout.TEXTS + other * layout.TEXT_BYTES, options)
    ints[(this.offset + layout.OPTIONS) >> 2] = other
  }

  tally(name: layout.Tally, amount = 1): void {
    const at = ((this.offset + layout.TALLIES_OFFSET) >> 3) + layout.TALLIES.indexOf(name)
    this.#memory.floats[at] = (this.#memory.floats[at] as number) + amount
  }

  tallies(): Record<layout.Tally, number> {
    const at = (this.offset + layout.TALLIES_OFFSET) >> 3
    const entries = layout.TALLIES.map((name, index) => [name, this.#memory.floats[at + index]])
    return Object.fromEntries(entries) as Record<layout.Tally, number>
  }
}

export class GroupTable {
  readonly #memory: LogMemory
  readonly #region: GroupRegion
  readonly #freeGroups: number[] = []
  readonly #freeMembers: number[] = []
  readonly #memberSlots = new Map<number, number>()
  #lastId = 0

  constructor(memory: LogMemory, region: GroupRegion) {
    this.#memory = memory
    this.#region = region
  }

  /** Every group that a predecessor left, and its members; once, before anything else. */
  scan(): { offset: number; members: Member[] }[] {
    const { ints } = this.#memory
    const { groups, groupSlots, members, memberSlots } = this.#region
    const membersOf = new Map<number, Member[]>()
    for (let number = memberSlots - 1; number >= 0; number--) {
      const offset = members + number * layout.MEMBER_SLOT_BYTES
      const id = ints[(offset + layout.MEMBER_ID) >> 2] as number
      if (id === 0) {
        this.#freeMembers.push(offset)
        continue
      }
      this.#memberSlots.set(id, offset)
      const groupId = ints[(offset + layout.MEMBER_GROUP_ID) >> 2] as number
      membersOf.set(groupId, [...(membersOf.get(groupId) ?? []), this.#readMember(id, offset)])
    }
    const found: { offset: number; members: Member[] }[] = []
    for (let number = groupSlots - 1; number >= 0; number--) {
      const offset = groups + number * layout.GROUP_SLOT_BYTES
      const id = ints[(offset + layout.GROUP_ID) >> 2] as number
      this.#lastId = Math.max(this.#lastId, id)
      if (ints[(offset + layout.STATE) >> 2] !== layout.SLOT_USED) this.#freeGroups.push(offset)
      else found.push({ offset, members: membersOf.get(id) ?? [] })
    }
    return found
  }

  /** The group that stands in a slot that scan() found. */
  open(offset: number, committedBatch: number): GroupRecord {
    return new GroupRecord(this.#memory, offset, committedBatch)
  }

  /** The block that the slot's table of outstanding entries stands in, for the allocator of a successor. */
  block(offset: number): { address: number; bytes: number } {
    const { ints } = this.#memory
    const which = ints[(offset + layout.TABLE) >> 2] as number
    const at = (offset + layout.TABLES + which * layout.TABLE_DESCRIPTOR_BYTES) >> 2
    return { address: ints[at] as number, bytes: ints[at + 1] as number }
  }

  /** A new group, or undefined when slots or memory are used up. */
  tryCreate(
    topicId: number,
    name: string,
    options: GroupOptions,
    cursor: number,
    nowMs: number,
  ): GroupRecord | undefined {
    const offset = this.#freeGroups.pop()
    if (offset === undefined) return undefined
    if (!Outstanding.tryCreate(this.#memory, offset)) {
      this.#freeGroups.push(offset)
      return undefined
    }
    const { ints, floats, bytes } = this.#memory
    const nameBytes = Buffer.from(name)
    ints[(offset + layout.GROUP_ID) >> 2] = ++this.#lastId
    ints[(offset + layout.TOPIC_ID) >> 2] = topicId
    ints[(offset + layout.IS_PAUSED) >> 2] = 0
    ints[(offset + layout.NAME_BYTES) >> 2] = nameBytes.length
    bytes.set(nameBytes, offset + layout.NAME)
    ints[(offset + layout.OPTIONS) >> 2] = 0
    writeText(this.#memory, offset + layout.TEXTS, options)
    floats[(offset + layout.CURSOR) >> 3] = cursor
    floats[(offset + layout.LAST_ACTIVE_MS) >> 3] = nowMs
    const tallies = (offset + layout.TALLIES_OFFSET) >> 3
    floats.fill(0, tallies, tallies + layout.TALLIES.length)
    Loss.clear(this.#memory, offset)
    Atomics.store(ints, (offset + layout.STATE) >> 2, layout.SLOT_USED)
    return new GroupRecord(this.#memory, offset, 0)
  }

  delete(record: GroupRecord): void {
    Atomics.store(this.#memory.ints, (record.offset + layout.STATE) >> 2, layout.SLOT_FREE)
    record.outstanding.free()
    this.#freeGroups.push(record.offset)
  }

  /** False when every slot is taken. */
  tryAddMember(groupId: number, member: Member): boolean {
    const offset = this.#freeMembers.pop()
    if (offset === undefined) return false
    const { ints, bytes } = this.#memory
    const name = Buffer.from(member.name)
    ints[(offset + layout.MEMBER_GROUP_ID) >> 2] = groupId
    ints[(offset + layout.MEMBER_FORMAT) >> 2] = member.format
    ints[(offset + layout.MEMBER_MAX_IN_FLIGHT) >> 2] = member.maxInFlight
    ints[(offset + layout.MEMBER_IS_PAUSED) >> 2] = 0
    ints[(offset + layout.MEMBER_NAME_BYTES) >> 2] = name.length
    bytes.set(name, offset + layout.MEMBER_NAME)
    Atomics.store(ints, (offset + layout.MEMBER_ID) >> 2, member.id)
    this.#memberSlots.set(member.id, offset)
    return true
  }

  pauseMember(id: number, isPaused: boolean): void {
    const offset = this.#memberSlots.get(id)
    if (offset === undefined) return
    this.#memory.ints[(offset + layout.MEMBER_IS_PAUSED) >> 2] = isPaused ? 1 : 0
  }

  removeMember(id: number): void {
    const offset = this.#memberSlots.get(id)
    if (offset === undefined) return
    Atomics.store(this.#memory.ints, (offset + layout.MEMBER_ID) >> 2, 0)
    this.#memberSlots.delete(id)
    this.#freeMembers.push(offset)
  }

  #readMember(id: number, offset: number): Member {
    const { ints, buffer } = this.#memory
    const length = ints[(offset + layout.MEMBER_NAME_BYTES) >> 2] as number
    const start = offset + layout.MEMBER_NAME
    const format = FORMATS[ints[(offset + layout.MEMBER_FORMAT) >> 2] as number] as Format
    const maxInFlight = ints[(offset + layout.MEMBER_MAX_IN_FLIGHT) >> 2] as number
    const member = new Member(id, buffer.utf8Slice(start, start + length), format, maxInFlight)
    member.isPaused = ints[(offset + layout.MEMBER_IS_PAUSED) >> 2] === 1
    return member
  }
}

function readText(memory: LogMemory, offset: number): string {
  const length = memory.ints[offset >> 2] as number
  return memory.buffer.utf8Slice(offset + 4, offset + 4 + length)
}

function writeText(memory: LogMemory, offset: number, options: GroupOptions): void {
  const bytes = Buffer.from(JSON.stringify(options))
  if (bytes.length > layout.TEXT_BYTES - 4) {
    throw new RangeError(`length=${bytes.length}, max=${layout.TEXT_BYTES - 4}`)
  }
  memory.bytes.set(bytes, offset + 4)
  memory.ints[offset >> 2] = bytes.length
}
