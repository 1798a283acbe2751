/**
 * What the HTTP door asks of consumer groups: lists, details, options, pause, reset.
 * Runs on: the shard. Owns: nothing; the groups are grouping.ts's.
 */
import { Reply } from '../errors.js'
import { Group } from '../groups/group.js'
import type { GroupOptions } from '../protocol/group-options.js'
import type { GroupAction } from '../ring/record.js'
import type { RequestOf } from './control.js'
import type { Grouping } from './grouping.js'
import type { Shard } from './shard.js'
import { resolveStart } from './start.js'
import type { Topic } from './topics.js'

/** Members listed in the details of a group. */
const MEMBERS_SHOWN_MAX = 100

export class GroupAdmin {
  readonly #shard: Shard
  readonly #grouping: Grouping

  constructor(shard: Shard, grouping: Grouping) {
    this.#shard = shard
    this.#grouping = grouping
  }

  /** undefined: there is no room for the answer now. */
  answer(
    { token, topic: topicName, action }: RequestOf<'group'>,
    ordinal: number,
  ): number | undefined {
    const { notices } = this.#shard
    const topic = this.#shard.topics.named(topicName)
    if (topic === undefined) {
      const message = `topic ${JSON.stringify(topicName)} does not exist`
      notices.refuse(token, Reply.topicNotFound, message)
      return 0
    }
    const groups = this.#grouping.groupsOf(topic)
    if (action.do === 'list') {
      const list = [...groups.values()].map((group) => this.#summary(topic, group))
      return notices.tryReply(token, 200, JSON.stringify({ topic: topicName, groups: list }))
        ? 0
        : undefined
    }
    const known = groups.get(action.group)
    if (action.do === 'create') return this.#createByHttp(token, topic, known, action)
    if (action.do === 'delete') return this.#delete(token, topic, action.group, ordinal)
    if (known === undefined) return this.#refuseUnknown(token, topicName, action.group)
    this.#act(topic, known, action)
    return notices.tryReply(token, 200, JSON.stringify(this.#details(topic, known))) ? 0 : undefined
  }

  /** The result, the group's id, is noted first: a successor that finds it sees to the effect. */
  #delete(token: number, topic: Topic, name: string, ordinal: number): number {
    const { notices } = this.#shard
    const known = this.#grouping.groupsOf(topic).get(name)
    const groupId = this.#shard.resultOf(ordinal) ?? known?.record.id ?? 0
    this.#shard.noteResult(ordinal, groupId)
    if (groupId === 0) return this.#refuseUnknown(token, topic.name, name)
    if (known?.record.id === groupId) this.#grouping.delete(topic, known, false)
    else notices.send({ op: 'groupDeleted', groupId, isTopicGone: false }) // Nobody was told.
    notices.reply(token, 200, { status: 'deleted', topic: topic.name, group: name })
    return groupId
  }

  #refuseUnknown(token: number, topic: string, group: string): number {
    const message = `topic ${JSON.stringify(topic)} has no group ${JSON.stringify(group)}`
    this.#shard.notices.refuse(token, Reply.groupNotFound, message)
    return 0
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
    const startSeq = resolveStart(action.start, topic, this.#shard).startSeq
    const group = known ?? this.#grouping.create(topic, action.group, action.options, startSeq)
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
      case 'pause':
        record.isPaused = true
        return
      case 'resume':
        record.isPaused = false
        break
      case 'reset':
        group.reset(resolveStart(action.start, topic, this.#shard).startSeq)
        break
      case 'update':
        this.#grouping.update(group, action.options)
        break
      default:
        return
    }
    this.#grouping.wake(group)
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

/** An option that the group has otherwise, in words; or undefined. */
export function conflictOf(group: Group, given: Partial<GroupOptions>): string | undefined {
  for (const [name, value] of Object.entries(given)) {
    const has = group.options[name as keyof GroupOptions]
    if (JSON.stringify(has) === JSON.stringify(value)) continue
    return `group ${JSON.stringify(group.record.name)} has ${name}=${JSON.stringify(has)}, not ${JSON.stringify(value)}; PATCH it to change it`
  }
  return undefined
}
