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
  type SettleKind,
} from '../groups/group-host.js'
import { GroupTable } from '../groups/group-table.js'
import { hashOfKey, NORMAL } from '../groups/lineup.js'
import type { LostRange } from '../groups/loss.js'
import { Member } from '../groups/member.js'
import {
  type EntryProperties,
  newEntryProperties,
  readProperties,
} from '../log/entry-properties.js'
import type { LogMemory } from '../log/topic-log.js'
import { GROUP_DEFAULTS, type GroupOptions } from '../protocol/group-options.js'
import { ackFrame } from '../protocol/server-frames.js'
import { type ControlRequest, type Format, type GroupAction, SettleRecord } from '../ring/record.js'
import type { AckWriter } from './acks.js'
import { resolveStart } from './control.js'
import { DeliveryWriter } from './deliveries.js'
import type { Filter } from './filters.js'
import type { Shard } from './shard.js'
import { Topic } from './topics.js'

type RequestOf<Op extends ControlRequest['op']> = Extract<ControlRequest, { op: Op }>

/** Members listed in the details of a group. */
const MEMBERS_SHOWN_MAX = 100

const SKIPPED: Class = { isSkipped: true, key: 0, priority: NORMAL }

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
  readonly #properties = newEntryProperties()
  readonly #filters = new Map<string, Filter>()
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
        this.#delete(topic, group, false)
      }
    }
  }

  onTopicDeleted(topic: Topic): void {
    for (const group of [...(this.#byTopic.get(topic.id)?.values() ?? [])]) {
      this.#delete(topic, group, true)
    }
  }

  join(request: RequestOf<'join'>): number {
    const shard = this.#shard
    const { token, topic: topicName, group: name, member: id, options, start } = request
    const topic = shard.findOrCreate(topicName)
    if (!(topic instanceof Topic)) {
      shard.notices.refuse(token, topic.reply, topic.message)
      return 0
    }
    const known = this.#byTopic.get(topic.id)?.get(name)
    const group = known ?? this.#create(topic, name, options, startSeqOf(start, topic, shard))
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
  admin({ token, topic: topicName, action }: RequestOf<'group'>): number | undefined {
    const { notices } = this.#shard
    const topic = this.#shard.find(topicName)
    if (topic === undefined) {
      const message = `topic ${JSON.stringify(topicName)} does not exist`
      notices.refuse(token, Reply.topicNotFound, message)
      return 0
    }
    const groups = this.#byTopic.get(topic.id)
    if (action.do === 'list') {
      const list = [...(groups?.values() ?? [])].map((group) => this.#summary(topic, group))
      return notices.tryReply(token, 200, JSON.stringify({ topic: topicName, groups: list }))
        ? 0
        : undefined
    }
    const known = groups?.get(action.group)
    if (action.do === 'create') return this.#createByHttp(token, topic, known, action)
    if (known === undefined) {
      const message = `topic ${JSON.stringify(topicName)} has no group ${JSON.stringify(action.group)}`
      notices.refuse(token, Reply.groupNotFound, message)
      return 0
    }
    this.#act(topic, known, action)
    const isDeleted = action.do === 'delete'
    const body = isDeleted
      ? { status: 'deleted', topic: topicName, group: action.group }
      : this.#details(topic, known)
    return notices.tryReply(token, 200, JSON.stringify(body)) ? 0 : undefined
  }

  /** A SETTLE record; `earlier` is its result when a predecessor had it already. */
  settle(start: number, earlier: number | undefined): number {
    const { ints, floats, buffer, bytes } = this.#shard.views
    const field = start >> 2
    const id = ints[field + SettleRecord.member] as number
    const kind = ints[field + SettleRecord.kind] as SettleKind
    const delayMs = ints[field + SettleRecord.delayMs] as number
    const ranges = ints[field + SettleRecord.ranges] as number
    const reasonStart = start + (ints[field + SettleRecord.reasonStart] as number)
    const reasonEnd = reasonStart + (ints[field + SettleRecord.reasonLength] as number)
    const found = this.#byMember.get(id)
    let settled = earlier ?? 0
    if (found !== undefined && earlier === undefined) {
      const reason = buffer.utf8Slice(reasonStart, reasonEnd)
      const delay = delayMs < 0 ? undefined : delayMs
      for (let range = 0; range < ranges; range++) {
        const at = ((start + SettleRecord.headerBytes) >> 3) + range * 2
        const [first, last] = [floats[at] as number, floats[at + 1] as number]
        settled +=
          ints[field + SettleRecord.isUpTo] === 1
            ? found.group.ackUpTo(id, last)
            : found.group.settle(kind, id, first, last, delay, reason)
      }
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

  hasProperties(group: Group): boolean {
    const topic = this.#topicOf(group)
    return topic.features !== 0 || topic.mayExpire
  }

  isExpired(group: Group, seq: number): boolean {
    const topic = this.#topicOf(group)
    return topic.mayExpire && this.#shard.expiry.isExpired(topic, seq)
  }

  classify(group: Group, seq: number): Class {
    const topic = this.#topicOf(group)
    const { filter } = group.options
    if (filter !== '' && !this.#filterOf(filter).wants(topic, seq)) return SKIPPED
    const { keyStart, keyLength, priority } = this.#read(topic.log.offsetOf(seq))
    const key = keyLength === 0 ? 0 : hashOfKey(this.#shard.views.bytes, keyStart, keyLength)
    return { isSkipped: false, key, priority: priority as Class['priority'] }
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

  /** One for every text, however many groups use it; forgotten with the last of them. */
  #filterOf(text: string): Filter {
    let filter = this.#filters.get(text)
    if (filter === undefined) {
      filter = this.#shard.filters.unnumbered(text)
      this.#filters.set(text, filter)
    }
    return filter
  }

  #forgetFilter(text: string): void {
    const isUsed = [...this.#byId.values()].some(({ group }) => group.options.filter === text)
    if (!isUsed) this.#filters.delete(text)
  }

  #topicOf(group: Group): Topic {
    return this.#shard.topics.get(group.record.topicId) as Topic
  }

  #read(at: number): EntryProperties {
    readProperties(this.#shard.views.buffer, at, this.#properties)
    return this.#properties
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

  #create(
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

  #createByHttp(
    token: number,
    topic: Topic,
    known: Group | undefined,
    action: Extract<GroupAction, { do: 'create' }>,
  ): number | undefined {
    const { notices } = this.#shard
    const conflict = known === undefined ? undefined : conflictOf(known, action.options)
    if (conflict !== undefined) {
      notices.refuse(token, Reply.badRequest, conflict)
      return 0
    }
    const startSeq = startSeqOf(action.start, topic, this.#shard)
    const group = known ?? this.#create(topic, action.group, action.options, startSeq)
    if (!(group instanceof Group)) {
      notices.refuse(token, group.reply, group.message)
      return 0
    }
    const status = known === undefined ? 201 : 200
    return notices.tryReply(token, status, JSON.stringify(this.#details(topic, group)))
      ? 0
      : undefined
  }

  #act(topic: Topic, group: Group, action: GroupAction): void {
    const { record } = group
    switch (action.do) {
      case 'delete':
        this.#delete(topic, group, false)
        return
      case 'pause':
        record.isPaused = true
        return
      case 'resume':
        record.isPaused = false
        break
      case 'reset':
        group.reset(startSeqOf(action.start, topic, this.#shard))
        break
      case 'update':
        this.#update(group, action.options)
        break
      default:
        return
    }
    this.wake(group)
  }

  #update(group: Group, options: Partial<GroupOptions>): void {
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

  #delete(topic: Topic, group: Group, isTopicGone: boolean): void {
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

  #summary(topic: Topic, group: Group): Record<string, unknown> {
    const { record, ackFloor } = group
    return {
      name: record.name,
      members: group.members.size,
      paused: record.isPaused,
      ack_floor: ackFloor,
      next_seq: record.cursor,
      lag: Math.max(0, topic.log.lastSeq - ackFloor),
      outstanding: record.outstanding.size,
    }
  }

  #details(topic: Topic, group: Group): Record<string, unknown> {
    const members = [...group.members.values()].map((member) => ({
      client_id: member.name === '' ? null : member.name,
      in_flight: member.inFlight,
      max_in_flight: member.maxInFlight,
      paused: member.isPaused,
    }))
    return {
      ...this.#summary(topic, group),
      topic: topic.name,
      ...group.record.tallies(),
      options: group.options,
      member_list: members.slice(0, MEMBERS_SHOWN_MAX),
    }
  }
}

function startSeqOf(start: RequestOf<'join'>['start'], topic: Topic, shard: Shard): number {
  return resolveStart(start, topic, shard).startSeq
}

/** An option that the group has otherwise, in words; or undefined. */
function conflictOf(group: Group, given: Partial<GroupOptions>): string | undefined {
  for (const [name, value] of Object.entries(given)) {
    const has = group.options[name as keyof GroupOptions]
    if (JSON.stringify(has) === JSON.stringify(value)) continue
    return `group ${JSON.stringify(group.record.name)} has ${name}=${JSON.stringify(has)}, not ${JSON.stringify(value)}; PATCH it to change it`
  }
  return undefined
}
