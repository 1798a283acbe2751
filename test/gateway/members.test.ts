/** What members of groups hear when a shard dies with the news. */
import { expect, test } from 'vitest'
import { JSON_TEXT } from '../../src/ring/record.js'
import { makeRig } from './rig.js'

/** A rig with a member of group g of topic t. */
function rigWithMember() {
  let deaths = 0
  const rig = makeRig({ onShardDeath: () => void deaths++ })
  const member = rig.connect(JSON_TEXT)
  member.subscribe('t', { group: 'g' })
  rig.settle()
  expect(member.answers('subscribe t')).toMatchObject([{ type: 'ack' }])
  const dead = () => deaths
  return { rig, member, dead }
}

const ended = (code: string) => [{ type: 'info', code, topic: 't' }]

test('a member hears that its group was deleted, though the shard died before it said so', () => {
  const { rig, member, dead } = rigWithMember()
  rig.shard.notices.reply = () => {
    throw new Error('dies') // The group is gone, and what was said of it with the batch.
  }
  const statuses: number[] = []
  const token = rig.gateway.requests.add({
    notice: () => void statuses.push(0),
    reply: (status) => void statuses.push(status),
  })
  const [link] = rig.gateway.links
  link?.trySend({ op: 'group', token, topic: 't', action: { do: 'delete', group: 'g' } })
  rig.settle()
  expect([dead(), statuses]).toEqual([1, [200]])
  expect(member.of('info')).toMatchObject(ended('GROUP_DELETED'))
  expect(rig.gateway.members.total).toBe(0)
})

test('and the same when it went with its topic; who joins again is in the new one', () => {
  const { rig, member, dead } = rigWithMember()
  const { notices } = rig.shard
  const send = notices.send.bind(notices)
  notices.send = (notice) => {
    if (notice.op === 'topicDeleted') throw new Error('dies')
    send(notice)
  }
  const token = rig.gateway.requests.add({ notice: () => {}, reply: () => {} })
  const [link] = rig.gateway.links
  const other = rig.connect(JSON_TEXT)
  link?.trySend({ op: 'delete', token, topic: 't' })
  other.subscribe('t', { group: 'g' }) // Is waiting for its answer when the topic goes.
  rig.settle()
  expect(dead()).toBe(1)
  expect(member.of('info')).toMatchObject(ended('TOPIC_DELETED'))
  expect(other.of('info')).toEqual([])
  expect(rig.gateway.members.total).toBe(1)
  other.publish('t', [7], 'p')
  rig.settle()
  expect(other.events('t').map(({ payload }) => payload)).toEqual([7])
  expect(member.events('t')).toEqual([])
})
