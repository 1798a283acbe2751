import { describe, expect, test } from 'vitest'
import type { LoadPlan } from '../../bench/load/plan.js'
import { Tally } from '../../bench/load/tally.js'
import {
  audienceOf,
  streamCount,
  streamsOf,
  subscriberCount,
  subscriptionOf,
  topicOf,
} from '../../bench/load/topics.js'
import { PLAN } from './results.js'

const plan = (more: Partial<LoadPlan>): LoadPlan => ({ ...PLAN, ...more })

test('with more publishers than topics each has one stream, and they share the topics', () => {
  const five = plan({ publishers: 5, topics: 2 })
  expect(streamCount(five)).toBe(5)
  expect([0, 1, 2, 3, 4].map((publisher) => streamsOf(five, publisher))).toEqual([
    [0],
    [1],
    [2],
    [3],
    [4],
  ])
  expect(topicOf(five, 4)).toBe('bench.0')
})

test('with more topics than publishers every topic has a publisher, which takes them in turn', () => {
  const five = plan({ publishers: 2, topics: 5 })
  expect([0, 1].map((publisher) => streamsOf(five, publisher))).toEqual([
    [0, 2, 4],
    [1, 3],
  ])
})

test('topics in groups have the group in their name, and patterns take the groups in turn', () => {
  const grouped = plan({
    topics: 5,
    topicGroups: 2,
    subscribers: 1,
    patternSubscribers: 3,
    topicPrefix: 'b',
  })
  expect([0, 1, 2, 3, 4].map((topic) => topicOf(grouped, topic))).toEqual([
    'b.0.0',
    'b.1.1',
    'b.0.2',
    'b.1.3',
    'b.0.4',
  ])
  expect(subscriberCount(grouped)).toBe(4)
  const subscriptions = [0, 1, 2, 3].map((index) => subscriptionOf(grouped, index))
  expect(subscriptions).toEqual(['b.0.0', 'b.0.*', 'b.1.*', 'b.0.*'])
  expect(audienceOf(grouped, 0)).toEqual([true, false, false, false, false])
  expect(audienceOf(grouped, 2)).toEqual([false, true, false, true, false])
})

test('a pattern of topics without groups is about all of them', () => {
  const flat = plan({ topics: 3, subscribers: 2, patternSubscribers: 1 })
  expect(subscriptionOf(flat, 2)).toBe('bench.*')
  expect(audienceOf(flat, 2)).toEqual([true, true, true])
})

describe('the tally of a subscriber of a pattern', () => {
  const grouped = plan({
    publishers: 1,
    topics: 4,
    topicGroups: 2,
    subscribers: 0,
    patternSubscribers: 2,
  })
  const audience = audienceOf(grouped, 0)
  const expected = [3, 3, 3, 3].map((count, stream) => (audience[stream] ? count : 0))
  const whole = [0, 1, 2].flatMap((number) => [
    [0, number],
    [2, number],
  ]) as [number, number][]
  const lossesOf = (messages: readonly (readonly [number, number])[]) => {
    const tally = new Tally(streamCount(grouped))
    for (const [stream, number] of messages) tally.note(stream, number)
    return tally.losses(expected)
  }
  const NONE = { lost: 0, repeated: 0, outOfOrder: 0, unexpected: 0 }

  test('finds nothing when topics are mixed but each is in order', () => {
    expect(lossesOf(whole)).toEqual(NONE)
    expect(lossesOf([...whole].sort(([a], [b]) => a - b))).toEqual(NONE)
  })

  test.each([
    ['a loss in one topic', whole.filter(([s, n]) => s !== 2 || n !== 1), { lost: 1 }],
    ['a topic that is missing', whole.filter(([s]) => s === 0), { lost: 3 }],
    ['a repeat in one topic', [...whole, [2, 2] as const], { repeated: 1 }],
    [
      'two swapped in one topic',
      [
        [0, 0],
        [2, 1],
        [0, 1],
        [2, 0],
        [0, 2],
        [2, 2],
      ] as const,
      { outOfOrder: 1 },
    ],
    ['a message of another group', [...whole, [1, 0] as const], { unexpected: 1 }],
  ])('finds %s', (_, messages, wrong) => {
    expect(lossesOf(messages)).toEqual({ ...NONE, ...wrong })
  })
})
