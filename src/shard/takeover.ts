/**
 * What a dead predecessor left in shared memory becomes this shard's. On fresh memory there is nothing.
 * Runs on: the shard, once, while it is made. Owns: nothing.
 *
 * The order is part of it: the rings before they are opened, blocks before anything is allocated,
 * topics before what is about them.
 */
import type { SharedViews } from '../ring/layout.js'
import { setHead, setTail } from '../ring/spsc-ring.js'
import type { ShardLayout } from '../shared-memory.js'
import type { Journal } from './journal.js'
import type { Shard } from './shard.js'
import type { Topic } from './topics.js'

/** Stores the ring positions of a batch that the predecessor committed and may not have published. */
export function finishBatch(journal: Journal, views: SharedViews, layout: ShardLayout): void {
  journal.countCrash()
  const batch = journal.pendingBatch()
  if (batch === undefined) return
  setTail(views, layout.outbound, batch.outboundTail)
  setHead(views, layout.inbound, batch.inboundHead)
  journal.batchDone()
}

/** Finds everything else: blocks, topics with an append that was under way, timers, readers, groups. */
export function takeOver(shard: Shard): void {
  const { catalog, grouping, journal, moves, delayed, interest } = shard
  const { directory, memory } = catalog
  const slots = directory.scan()
  for (const slot of slots) {
    for (const { address, bytes } of directory.blocks(slot)) memory.blocks.reserve(address, bytes)
  }
  const groups = grouping.scan()
  for (const { offset } of groups) {
    const { address, bytes } = grouping.blockOf(offset)
    memory.blocks.reserve(address, bytes)
  }
  const append = journal.pendingAppend()
  const found = slots.map((slot) => catalog.read(slot, append))
  journal.appendDone()
  moves.takeOver((slot) => found.find((topic) => topic.slot === slot))
  found.sort((a, b) => a.id - b.id)
  for (const topic of found) restore(shard, topic)
  delayed.takeOver(journal.appliedTotal)
  interest.takeOver(found)
  grouping.takeOver(groups)
  catalog.countTopics()
}

function restore(shard: Shard, topic: Topic): void {
  const { catalog, expiry, deduplication, interest } = shard
  topic.plainFormats = catalog.directory.plainFormats(topic.slot)
  topic.features = catalog.directory.features(topic.slot)
  catalog.add(topic)
  expiry.rebuild(topic)
  deduplication.rebuild(topic)
  topic.attached = topic.wantedFormats()
  for (const { filterId, format } of topic.patterns) interest.view(topic, filterId, format)
}
