/**
 * The consumer groups of one shard: who is in which, what wakes them, and what their members say.
 * Runs on: the shard. Owns: the groups; their slots and tables are in shared memory.
 *
 * Deliveries go out at the end of a batch, after the acks and the EVENTS. They are stamped with the
 * batch's number: what was never committed was never sent, and a successor takes it back.
 */
import type { Logger } from 'pino'
import { Reply, type ReplyCode } from '../errors.js'
import { Group } from '../groups/group.js'
import {
  type Class,
  type DeadLetter,
  type Delivery,
  Dispatched,
  type GroupHost,
  NO_ROOM,
} from '../groups/group-host.js'
import { GroupTable } from '../groups/group-table.js'
import type { LostRange } from '../groups/loss.js'
import { Member } from '../groups/member.js'
import type { LogMemory } from '../log/topic-log.js'
import { GROUP_DEFAULTS, type GroupOptions } from '../protocol/group-options.js'
import { ackFrame } from '../protocol/server-frames.js'
import { type Format, SettleRecord } from '../ring/record.js'
import type { AckWriter } from './acks.js'
import type { RequestOf } from './control.js'
import { DeliveryWriter } from './deliveries.js'
import { conflictOf, GroupAdmin } from './group-admin.js'
import { GroupEntries } from './group-entries.js'
import { settleRecord } from './settle-record.js'
import type { Shard } from './shard.js'
import { resolveStart } from './start.js'
import { Topic } from './topics.js'

const NO_GROUPS: ReadonlyMap<string, Group> = new Map()

interface Found {
  readonly topic: Topic
  readonly group: Group
}

export class Grouping implements GroupHost {
  readonly random = Math.random
  readonly #shard: Shard
  readonly #acks: AckWriter
  readonly #table: GroupTable
  readonly #writer: DeliveryWriter
  readonly #logger: Logger
  readonly #byId = new Map<number, Found>()
  /** By topic id, then name. */
  readonly #byTopic = new Map<number, Map<string, Group>>()
  readonly #byMember = new Map<number, Found>()
  readonly #entries: GroupEntries
  readonly #admin: GroupAdmin
  /** Groups that may have something to deliver. */
  #awake: Group[] = []
  /** Groups whose members have yet to be told of a loss. */
  readonly #untold = new Set<Group>()
  #hasDelivered = false
  #nextDueMs = Number.POSITIVE_INFINITY

  constructor(shard: Shard, acks: AckWriter, memory: LogMemory) {
    this.#shard = shard
    this.#acks = acks
    this.#logger = shard.context.logger
    this.#table = new GroupTable(memory, shard.layout)
    this.#writer = new DeliveryWriter(shard.views, shard.out)
    this.#entries = new GroupEntries(shard)
    this.#admin = new GroupAdmin(shard, this)
  }

  get nowMs(): number {
    return this.#shard.nowMs
  }

  get batch(): number {
    return this.#shard.journal.batch
  }

  get committedBatch(): number {
    return this.#shard.journal.deliveredBatch
  }

  get size(): number {
    return this.#byId.size
  }

  /** Groups that wait for their turn, or losses that were not told. */
  get hasWork(): boolean {
    return this.#awake.length > 0 || this.#untold.size > 0
  }

  /** When tick() is wanted next, ms; Infinity: not at all. */
  get nextDueMs(): number {
    return this.#nextDueMs
  }

  /** True once since the last call when members were given something: then the batch must be committed. */
  takeHasDelivered(): boolean {
    const had = this.#hasDelivered
    this.#hasDelivered = false
    return had
  }

  /** Offsets of the groups that a predecessor left, and what they are made of. */
  scan(): ReturnType<GroupTable['scan']> {
    return this.#table.scan()
  }

  blockOf(offset: number): { address: number; bytes: number } {
    return this.#table.block(offset)
  }

  /** Takes over the groups that scan() found; the topics are there already. */
  takeOver(found: ReturnType<GroupTable['scan']>): void {
    for (const { offset, members } of found) {
      const record = this.#table.open(offset, this.committedBatch)
      const topic = this.#shard.topics.get(record.topicId)
      if (topic === undefined) {
        this.#table.delete(record) // Its topic was deleted, and the thread died before it was.
        for (const member of members) this.#table.removeMember(member.id)
        continue
      }
      const group = new Group(this, record, topic.log, members)
      this.#add(topic, group)
      for (const { id } of members) this.#byMember.set(id, { topic, group })
      this.#noteUntold(group)
      this.wake(group)
    }
  }

  /** Something new stands in the topic's log. */
  onStored(topic: Topic): void {
    const groups = this.#byTopic.get(topic.id)
    if (groups === undefined) return
    for (const group of groups.values()) this.wake(group)
  }

  /** Entries of the topic have expired, and the log is about to drop them. */
  onExpired(topic: Topic): void {
    for (const group of this.#byTopic.get(topic.id)?.values() ?? []) {
      group.onExpired()
      this.wake(group)
    }
  }

  /** The first entry of the topic that some group wants even if it has expired; Infinity for none. */
  holdsFrom(topic: Topic): number {
    let first = Number.POSITIVE_INFINITY
    for (const group of this.#byTopic.get(topic.id)?.values() ?? []) {
      first = Math.min(first, group.holdsFrom)
    }
    return first
  }

  wake(group: Group): void {
    if (group.isAwake) return
    group.isAwake = true
    this.#awake.push(group)
  }

  /** Gives members what they may have. False when outbound room ran out. */
  dispatch(): boolean {
    if (!this.hasWork) return true // As on every broker without groups: nothing is even allocated.
    if (!this.#tellLosses()) return false
    const awake = this.#awake
    const more: Group[] = []
    let done = 0
    for (; done < awake.length; done++) {
      const group = awake[done] as Group
      const outcome = group.dispatch()
      if (outcome === Dispatched.noRoom) break
      if (outcome === Dispatched.more) more.push(group)
      else group.isAwake = false
    }
    const isDone = done === awake.length
    this.#awake = isDone ? more : [...awake.slice(done), ...more]
    return this.#tellLosses() && isDone
  }

  /** Deadlines and delays. */
  tick(): void {
    const nowMs = this.nowMs
    this.#nextDueMs = Number.POSITIVE_INFINITY
    for (const { group } of this.#byId.values()) {
      if (group.nextDueMs <= nowMs) {
        group.tick()
        this.wake(group)
      }
      this.dueAt(group.nextDueMs)
    }
  }

  /** Deletes groups that have been idle for too long. Now and then, not per batch. */
  expireIdle(): void {
    const nowMs = this.nowMs
    for (const { topic, group } of [...this.#byId.values()]) {
      const { record, options } = group
      if (group.members.size > 0) record.lastActiveMs = nowMs
      else if (nowMs - record.lastActiveMs > options.expire_after_ms && this.#shard.hasRoom) {
        this.#logger.info({ topic: topic.name, group: record.name }, 'idle group deleted')
        this.delete(topic, group, false)
      }
    }
  }

  onTopicDeleted(topic: Topic): void {
    for (const group of [...(this.#byTopic.get(topic.id)?.values() ?? [])]) {
      this.delete(topic, group, true)
    }
  }

  join(request: RequestOf<'join'>): number {
    const shard = this.#shard
    const { token, topic: topicName, group: name, member: id, options, start } = request
    const topic = shard.catalog.findOrCreate(topicName)
    if (!(topic instanceof Topic)) {
      shard.notices.refuse(token, topic.reply, topic.message)
      return 0
    }
    const known = this.#byTopic.get(topic.id)?.get(name)
    const group =
      known ?? this.create(topic, name, options, resolveStart(start, topic, shard).startSeq)
    if (!(group instanceof Group)) {
      shard.notices.refuse(token, group.reply, group.message)
      return 0
    }
    const conflict = conflictOf(group, options)
    if (conflict !== undefined) {
      shard.notices.refuse(token, Reply.badRequest, conflict)
      return 0
    }
    if (!this.#byMember.has(id)) {
      const maxInFlight = request.maxInFlight ?? group.options.max_in_flight
      const member = new Member(id, request.name, request.format, maxInFlight)
      if (!this.#table.tryAddMember(group.record.id, member)) {
        const message = 'MAX_GROUP_MEMBERS members are there already'
        shard.notices.refuse(token, Reply.limitExceeded, message)
        return 0
      }
      this.#byMember.set(id, { topic, group })
      group.join(member)
      this.#noteUntold(group)
    }
    this.wake(group)
    shard.notices.send({
      op: 'joined',
      token,
      groupId: group.record.id,
      epoch: topic.epoch,
      lastSeq: topic.log.lastSeq,
      ackFloor: group.ackFloor,
      isNew: known === undefined,
      options: group.options,
    })
    return 0
  }

  leave({ member: id }: RequestOf<'leave'>): number {
    const found = this.#byMember.get(id)
    if (found === undefined) return 0
    this.#byMember.delete(id)
    found.group.leave(id)
    if (found.group.members.size === 0) this.#untold.delete(found.group)
    found.group.record.lastActiveMs = this.nowMs
    this.#table.removeMember(id) // Last: a successor must find the member whose messages it is to free.
    this.wake(found.group)
    return 0
  }

  pauseMember({ member: id, isPaused }: RequestOf<'pauseMember'>): number {
    const group = this.#byMember.get(id)?.group
    const member = group?.members.get(id)
    if (group === undefined || member === undefined) return 0
    member.isPaused = isPaused
    this.#table.pauseMember(id, isPaused)
    this.wake(group)
    return 0
  }

  /** What the HTTP door asks of groups. undefined: there is no room for the answer now. */
  admin(request: RequestOf<'group'>, ordinal: number): number | undefined {
    return this.#admin.answer(request, ordinal)
  }

  /** Those of a topic, by name. */
  groupsOf(topic: Topic): ReadonlyMap<string, Group> {
    return this.#byTopic.get(topic.id) ?? NO_GROUPS
  }

  /** A SETTLE record; `earlier` is its result when a predecessor had it already. */
  settle(start: number, earlier: number | undefined): number {
    const { views } = this.#shard
    const { ints, bytes } = views
    const field = start >> 2
    const found = this.#byMember.get(ints[field + SettleRecord.member] as number)
    let settled = earlier ?? 0
    if (found !== undefined && earlier === undefined) {
      settled = settleRecord(views, start, found.group)
      this.wake(found.group)
    }
    const length = ints[field + SettleRecord.requestLength] as number
    if (length > 0) {
      const request = start + (ints[field + SettleRecord.requestStart] as number)
      const requestId = bytes.slice(request, request + length)
      const format = ints[field + SettleRecord.format] as Format
      const topic = found?.topic.name ?? ''
      const frame = ackFrame(format, requestId, topic, { settled }, this.nowMs)
      this.#acks.frame(ints[field + SettleRecord.session] as number, format, frame, 0)
    }
    return settled
  }

  // What groups ask of the shard.

  get mayClassify(): boolean {
    return this.#shard.mayFilter
  }

  deliver(group: Group, delivery: Delivery): number {
    if (!this.#shard.hasRoom) return NO_ROOM
    const sent = this.#writer.write(this.#topicOf(group), group, delivery)
    if (sent < 0) return sent
    this.#hasDelivered = true
    const counter = delivery.attempt > 1 ? 'groupsRedelivered' : 'groupsDelivered'
    this.#shard.counters.add(counter, sent - delivery.first + 1)
    return sent
  }

  bury(group: Group, slot: number, letter: DeadLetter): boolean {
    // A topic for the dead letters that is made now may be announced.
    if (!this.#shard.hasRoom) return false
    return this.#shard.deadLetters.bury(this.#topicOf(group), group, slot, letter)
  }

  dueAt(dueMs: number): void {
    this.#nextDueMs = Math.min(this.#nextDueMs, dueMs)
  }

  lost(group: Group, count: number): void {
    this.#shard.counters.add('groupsLost', count)
    this.#noteUntold(group)
  }

  /** A loss is told when there is somebody to tell. */
  #noteUntold(group: Group): void {
    if (group.record.loss.untold !== undefined && group.members.size > 0) this.#untold.add(group)
  }

  hasProperties(group: Group): boolean {
    return this.#entries.hasProperties(this.#topicOf(group))
  }

  isExpired(group: Group, seq: number): boolean {
    const topic = this.#topicOf(group)
    return topic.mayExpire && this.#shard.expiry.isExpired(topic, seq)
  }

  classify(group: Group, seq: number): Class {
    return this.#entries.classify(this.#topicOf(group), group.options.filter, seq)
  }

  #forgetFilter(text: string): void {
    const isUsed = [...this.#byId.values()].some(({ group }) => group.options.filter === text)
    if (!isUsed) this.#entries.forgetFilter(text)
  }

  #topicOf(group: Group): Topic {
    return this.#shard.topics.get(group.record.topicId) as Topic
  }

  #tellLosses(): boolean {
    for (const group of this.#untold) {
      if (!this.#shard.hasRoom) return false
      const { id: groupId, loss } = group.record
      const { first, last, count } = loss.untold as LostRange
      const { notices } = this.#shard
      notices.send({ op: 'groupGap', groupId, fromSeq: first, toSeq: last, dropped: count })
      loss.told(this.batch)
      this.#hasDelivered = true // The batch has to be committed: only then was it told.
      this.#untold.delete(group)
    }
    return true
  }

  create(
    topic: Topic,
    name: string,
    given: Partial<GroupOptions>,
    startSeq: number,
  ): Group | { reply: ReplyCode; message: string } {
    const options = { ...GROUP_DEFAULTS, ...given }
    const record = this.#table.tryCreate(topic.id, name, options, startSeq, this.nowMs)
    if (record === undefined) {
      return { reply: Reply.limitExceeded, message: 'MAX_GROUPS or LOG_MEMORY_BYTES is used up' }
    }
    const group = new Group(this, record, topic.log, [])
    this.#add(topic, group)
    this.#logger.debug({ topic: topic.name, group: name }, 'group created')
    return group
  }

  /** Changes what the group does. */
  update(group: Group, options: Partial<GroupOptions>): void {
    const { filter } = group.options
    group.update({ ...group.options, ...options })
    if (group.options.filter !== filter) this.#forgetFilter(filter)
  }

  #add(topic: Topic, group: Group): void {
    this.#byId.set(group.record.id, { topic, group })
    const groups = this.#byTopic.get(topic.id) ?? new Map<string, Group>()
    groups.set(group.record.name, group)
    this.#byTopic.set(topic.id, groups)
    topic.hasGroups = true
  }

  /** Its members are told. */
  delete(topic: Topic, group: Group, isTopicGone: boolean): void {
    const { record } = group
    this.#byId.delete(record.id)
    const groups = this.#byTopic.get(topic.id)
    groups?.delete(record.name)
    if (groups?.size === 0) {
      this.#byTopic.delete(topic.id)
      topic.hasGroups = false
    }
    this.#awake = this.#awake.filter((other) => other !== group)
    this.#untold.delete(group)
    for (const id of group.members.keys()) {
      this.#byMember.delete(id)
      this.#table.removeMember(id)
    }
    this.#table.delete(record)
    this.#forgetFilter(group.options.filter)
    this.#shard.notices.send({ op: 'groupDeleted', groupId: record.id, isTopicGone })
  }
}
