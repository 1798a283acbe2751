/**
 * Members of consumer groups: joining and leaving, what they are given, what they say of it.
 * Runs on: the front thread. Owns: the memberships. Which message a member has only the shard knows.
 */
import { Refusal, Reply, replyById } from '../errors.js'
import { ackFrame, errorFrame, infoFrame, type RequestId } from '../protocol/server-frames.js'
import {
  delayOf,
  type MemberOp,
  reasonOf,
  type Settled,
  settledOf,
  settleKindOf,
} from '../protocol/settle.js'
import { clientIdOf, groupStartOf } from '../protocol/subscribe-options.js'
import { type ControlNotice, Deliver, Inbound, SettleRecord } from '../ring/record.js'
import { isPattern } from '../routing/topic-name.js'
import type { Counters, GatewayCounter } from '../telemetry/counters.js'
import { checkedOptions, checkTopicOfGroup } from './group-options.js'
import type { Outbox } from './outbox.js'
import type { Publishing } from './publishing.js'
import type { Requests } from './requests.js'
import type { Session } from './session.js'
import type { ShardLink } from './shard-link.js'
import { Tally } from './tally.js'
import type { TopicNames } from './topic-names.js'

const MEMBER_ID_MAX = 2 ** 31 - 1

type Fields = Readonly<Record<string, unknown>>
type NoticeOf<Op extends ControlNotice['op']> = Extract<ControlNotice, { op: Op }>

export interface MembersOptions {
  readonly maxSubscriptionsPerConnection: number
}

/** One connection's place in one group. */
export interface Membership {
  readonly id: number
  readonly session: Session
  readonly shard: number
  readonly topic: string
  readonly group: string
  readonly clientId: string | undefined
  /** Known once the shard has answered. */
  groupId: number
}

export class Members {
  readonly #links: readonly ShardLink[]
  readonly #publishing: Publishing
  readonly #outbox: Outbox
  readonly #requests: Requests
  readonly #names: TopicNames
  readonly #counters: Counters<GatewayCounter>
  readonly #options: MembersOptions
  readonly #byId = new Map<number, Membership>()
  /** Members by topic. */
  readonly #counts = new Tally()
  /** Per shard, by group id. */
  readonly #byGroup: readonly Map<number, Set<Membership>>[]
  #lastId = 0

  constructor(
    links: readonly ShardLink[],
    publishing: Publishing,
    outbox: Outbox,
    requests: Requests,
    names: TopicNames,
    counters: Counters<GatewayCounter>,
    options: MembersOptions,
  ) {
    this.#links = links
    this.#publishing = publishing
    this.#outbox = outbox
    this.#requests = requests
    this.#names = names
    this.#counters = counters
    this.#options = options
    this.#byGroup = links.map(() => new Map())
  }

  /** Members of all groups. */
  get total(): number {
    return this.#byId.size
  }

  /** Whether some group of the topic has a member. */
  has(topic: string): boolean {
    return this.#counts.has(topic)
  }

  /** Throws Refusal; otherwise the ack or the error follows when the shard has answered. */
  join(session: Session, text: string, group: string, fields: Fields, requestId: RequestId): void {
    if (isPattern(text)) throw new Refusal(Reply.badRequest, 'group needs a topic, not a pattern')
    const given = checkedOptions(fields)
    const maxInFlight = given.max_in_flight ?? null
    delete given.max_in_flight // Each member may have its own.
    const start = groupStartOf(fields, Date.now())
    const clientId = clientIdOf(fields)
    const topic = this.#names.byName(text)
    checkTopicOfGroup(topic.name)
    const key = keyOf(topic.name, group)
    this.#admit(session, key)
    const membership: Membership = {
      id: this.#nextId(),
      session,
      shard: topic.shard,
      topic: topic.name,
      group,
      clientId,
      groupId: 0,
    }
    const token = this.#requests.add({
      notice: (notice) => {
        this.#requests.delete(token)
        if (notice.op === 'joined') this.#onJoined(membership, notice, requestId)
        else if (notice.op === 'refused') this.#onRefused(membership, notice, requestId)
      },
    })
    const isSent = this.#linkOf(membership).trySend({
      op: 'join',
      token,
      topic: topic.name,
      group,
      member: membership.id,
      name: clientId ?? '',
      format: session.format,
      maxInFlight,
      options: given,
      start,
    })
    if (!isSent) {
      this.#requests.delete(token)
      throw new Refusal(Reply.overloaded, 'the ring to the shard is full, try again')
    }
    session.memberships ??= new Map()
    session.memberships.set(key, membership)
    this.#byId.set(membership.id, membership)
    this.#counts.add(topic.name, 1)
  }

  /** Throws Refusal (GROUP_NOT_FOUND) when this connection is no member of it. */
  leave(session: Session, topic: string, group: string, requestId: RequestId): void {
    this.#end(this.#find(session, topic, group))
    this.#outbox.queue(session, ackFrame(session.format, requestId, topic, { group }, Date.now()))
  }

  endAll(session: Session): void {
    for (const membership of session.memberships?.values() ?? []) this.#end(membership)
    session.memberships = undefined
  }

  /** A member settles, pauses or resumes. Throws Refusal. */
  tell(
    session: Session,
    op: MemberOp,
    topic: string,
    group: string,
    seqs: unknown,
    fields: Fields,
    requestId: RequestId,
  ): void {
    const membership = this.#find(session, topic, group)
    if (op === 'pause' || op === 'resume') {
      const isPaused = op === 'pause'
      const request = { op: 'pauseMember', member: membership.id, isPaused } as const
      if (!this.#linkOf(membership).trySend(request)) {
        throw new Refusal(Reply.overloaded, 'the ring to the shard is full, try again')
      }
      if (requestId === undefined) return
      const result = { group, paused: isPaused }
      this.#outbox.queue(session, ackFrame(session.format, requestId, topic, result, Date.now()))
      return
    }
    const settled = settledOf(seqs, op)
    this.#settle(membership, op, settled, delayOf(fields), reasonOf(fields), requestId)
  }

  /** Frames for one member; they are views of ring memory. */
  onDeliver(link: ShardLink): void {
    const { ints, bytes } = link.views
    const { start } = link.out
    const field = start >> 2
    const membership = this.#byId.get(ints[field + Deliver.member] as number)
    // Gone; the shard hears of that, and gives what it was sent to others.
    if (membership === undefined) return
    const frames = ints[field + Deliver.frames] as number
    let at = start + Deliver.headerBytes + frames * 4
    for (let index = 0; index < frames; index++) {
      const length = ints[field + Deliver.headerBytes / 4 + index] as number
      this.#outbox.queue(membership.session, bytes.subarray(at, at + length))
      at += length
    }
    this.#counters.add('messagesDelivered', ints[field + Deliver.count] as number)
  }

  onGap(shard: number, { groupId, fromSeq, toSeq, dropped }: NoticeOf<'groupGap'>): void {
    for (const { session, topic, group } of this.#of(shard, groupId)) {
      const details = { group, from_seq: fromSeq, to_seq: toSeq, dropped }
      this.#outbox.queue(session, infoFrame(session.format, 'GAP', topic, details, Date.now()))
      this.#counters.add('gaps')
    }
  }

  onDeleted(shard: number, { groupId, isTopicGone }: NoticeOf<'groupDeleted'>): void {
    const code = isTopicGone ? 'TOPIC_DELETED' : 'GROUP_DELETED'
    for (const membership of [...this.#of(shard, groupId)]) this.#tellDeleted(membership, code)
  }

  /** Those whose groups were deleted with the topic, by a shard that died before it said so. */
  onTopicDeleted({ topic }: NoticeOf<'topicDeleted'>): void {
    if (!this.#counts.has(topic)) return
    for (const membership of [...this.#byId.values()]) {
      // Who has not joined yet joins the next topic of that name.
      if (membership.topic !== topic || membership.groupId === 0) continue
      this.#tellDeleted(membership, 'TOPIC_DELETED')
    }
  }

  #tellDeleted(membership: Membership, code: 'GROUP_DELETED' | 'TOPIC_DELETED'): void {
    const { session, topic, group } = membership
    this.#forget(membership)
    this.#outbox.queue(session, infoFrame(session.format, code, topic, { group }, Date.now()))
  }

  #admit(session: Session, key: string): void {
    const { maxSubscriptionsPerConnection } = this.#options
    if (session.memberships?.has(key)) {
      throw new Refusal(Reply.badRequest, 'this connection is a member of that group already')
    }
    const count = (session.subscriptions?.size ?? 0) + (session.memberships?.size ?? 0)
    if (count >= maxSubscriptionsPerConnection) {
      const message = `MAX_SUBSCRIPTIONS_PER_CONNECTION=${maxSubscriptionsPerConnection} reached`
      throw new Refusal(Reply.limitExceeded, message)
    }
  }

  #onJoined(membership: Membership, notice: NoticeOf<'joined'>, requestId: RequestId): void {
    const { session, topic, group, shard } = membership
    const { epoch, lastSeq, ackFloor, isNew, options, groupId } = notice
    const result = { group, epoch, seq: lastSeq, ack_floor: ackFloor, created: isNew, options }
    this.#outbox.queue(session, ackFrame(session.format, requestId, topic, result, Date.now()))
    if (!this.#byId.has(membership.id)) return // It has left meanwhile, and the shard was told.
    membership.groupId = groupId
    const groups = this.#byGroup[shard] as Map<number, Set<Membership>>
    const members = groups.get(groupId) ?? new Set()
    groups.set(groupId, members.add(membership))
  }

  #onRefused(membership: Membership, notice: NoticeOf<'refused'>, requestId: RequestId): void {
    const { session } = membership
    this.#forget(membership)
    const reply = replyById(notice.replyId)
    const frame = errorFrame(session.format, requestId, reply, notice.message, Date.now())
    this.#outbox.queue(session, frame)
  }

  #settle(
    membership: Membership,
    op: MemberOp,
    { ranges, isUpTo }: Settled,
    delayMs: number | undefined,
    reason: string,
    requestId: RequestId,
  ): void {
    const link = this.#linkOf(membership)
    const { session } = membership
    const reasonBytes = Buffer.from(reason)
    const requestStart = SettleRecord.headerBytes + ranges.length * 8
    const requestLength = requestId?.length ?? 0
    const reasonStart = requestStart + requestLength
    const length = reasonStart + reasonBytes.length
    const start = this.#publishing.claim(link, length, 'nothing was settled')
    const { ints, floats, bytes } = link.views
    const field = start >> 2
    ints[field + SettleRecord.member] = membership.id
    ints[field + SettleRecord.kind] = settleKindOf(op)
    ints[field + SettleRecord.delayMs] = delayMs ?? -1
    ints[field + SettleRecord.isUpTo] = isUpTo ? 1 : 0
    ints[field + SettleRecord.ranges] = ranges.length / 2
    ints[field + SettleRecord.session] = session.id
    ints[field + SettleRecord.format] = session.format
    ints[field + SettleRecord.requestStart] = requestStart
    ints[field + SettleRecord.requestLength] = requestLength
    ints[field + SettleRecord.reasonStart] = reasonStart
    ints[field + SettleRecord.reasonLength] = reasonBytes.length
    floats.set(ranges, (start + SettleRecord.headerBytes) >> 3)
    if (requestId !== undefined) bytes.set(requestId, start + requestStart)
    bytes.set(reasonBytes, start + reasonStart)
    link.in.commit(Inbound.settle, length)
    link.publish()
  }

  /** Takes it out and tells the shard, which gives what it had to others. */
  #end(membership: Membership): void {
    if (!this.#byId.has(membership.id)) return
    this.#forget(membership)
    this.#linkOf(membership).send({ op: 'leave', member: membership.id })
  }

  #forget(membership: Membership): void {
    const { id, session, shard, topic, group, groupId } = membership
    if (this.#byId.delete(id)) this.#counts.add(topic, -1)
    session.memberships?.delete(keyOf(topic, group))
    const groups = this.#byGroup[shard] as Map<number, Set<Membership>>
    const members = groups.get(groupId)
    members?.delete(membership)
    if (members?.size === 0) groups.delete(groupId)
  }

  #find(session: Session, topic: string, group: string): Membership {
    const membership = session.memberships?.get(keyOf(topic, group))
    if (membership !== undefined) return membership
    const message = `this connection is no member of group ${JSON.stringify(group)} of ${JSON.stringify(topic)}`
    throw new Refusal(Reply.groupNotFound, message)
  }

  #of(shard: number, groupId: number): Iterable<Membership> {
    return this.#byGroup[shard]?.get(groupId) ?? []
  }

  #linkOf({ shard }: Membership): ShardLink {
    return this.#links[shard] as ShardLink
  }

  #nextId(): number {
    do {
      this.#lastId = this.#lastId === MEMBER_ID_MAX ? 1 : this.#lastId + 1
    } while (this.#byId.has(this.#lastId))
    return this.#lastId
  }
}

/** A topic has no white space, so the two cannot be taken for others. */
function keyOf(topic: string, group: string): string {
  return `${topic} ${group}`
}
