/**
 * Which topics a run has, who publishes to them and who listens.
 * Runs on: publishers, subscribers. Owns: nothing.
 *
 *   topic n     <prefix>.<n>                       one group, the default
 *               <prefix>.<n mod groups>.<n>        several groups
 *   pattern k   <prefix>.*   or   <prefix>.<k mod groups>.*
 *
 * A stream is what one publisher sends to one topic; its messages are numbered from 0, so that each
 * subscriber can tell for each topic what is lost, repeated or out of order. There are as many streams
 * as publishers or topics, whichever are more: with more publishers they share topics, with more topics
 * each publisher takes several in turn, frame by frame.
 *
 *   stream s   publisher s mod publishers   topic s mod topics
 */
import type { LoadPlan } from './plan.js'

/** Streams that a payload can tell apart, in either encoding (facts.ts). */
export const STREAMS_MAX = 90_000

export function streamCount({ publishers, topics }: LoadPlan): number {
  return Math.max(publishers, topics)
}

/** The streams of one publisher, in the order in which it takes them. */
export function streamsOf(plan: LoadPlan, publisher: number): number[] {
  const streams: number[] = []
  for (let s = publisher; s < streamCount(plan); s += plan.publishers) streams.push(s)
  return streams
}

export function topicOf(plan: LoadPlan, index: number): string {
  const prefix = plan.topicPrefix ?? 'bench'
  const topic = index % plan.topics
  const groups = plan.topicGroups ?? 1
  return groups === 1 ? `${prefix}.${topic}` : `${prefix}.${topic % groups}.${topic}`
}

/** All subscribers: those of one topic first, then those of a pattern. */
export function subscriberCount(plan: LoadPlan): number {
  return plan.subscribers + (plan.patternSubscribers ?? 0)
}

/** What subscriber `index` subscribes to: topics, and patterns, are taken in turn. */
export function subscriptionOf(plan: LoadPlan, index: number): string {
  if (index < plan.subscribers) return topicOf(plan, index)
  const prefix = plan.topicPrefix ?? 'bench'
  const groups = plan.topicGroups ?? 1
  return groups === 1 ? `${prefix}.*` : `${prefix}.${(index - plan.subscribers) % groups}.*`
}

/** For each stream, whether subscriber `index` is to get it. */
export function audienceOf(plan: LoadPlan, index: number): boolean[] {
  const subscription = subscriptionOf(plan, index)
  const isPattern = subscription.endsWith('*')
  const beginning = subscription.slice(0, -1)
  return Array.from({ length: streamCount(plan) }, (_, stream) => {
    const topic = topicOf(plan, stream)
    return isPattern ? topic.startsWith(beginning) : topic === subscription
  })
}
