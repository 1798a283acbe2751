/**
 * Many patterns against one topic: which ids are interested in it?
 * Runs on: any thread, one at a time. Owns: a trie with one level per segment.
 *
 *   orders.*     → 1         root ── orders ─┬─ *  {1}
 *   orders.#     → 1, 2                      └─ #  {1, 2} ── created {3}
 *   orders.#.created → 3
 *
 * Called when a topic appears or the patterns change, never per message: clarity before speed. The
 * trie keeps * and # among the literal segments, since no topic has a segment of that name.
 * It sets no limit of its own on patterns: who adds them counts them.
 */

import { ANY_SEGMENTS, isReserved, ONE_SEGMENT, segmentsOf } from './topic-name.js'

interface TrieNode<Id> {
  /** This node stands for #, and so stays reached whatever segment comes next. */
  readonly repeats: boolean
  readonly children: Map<string, TrieNode<Id>>
  /** Those who added the pattern that ends here. */
  readonly ids: Set<Id>
}

export class PatternSet<Id extends number = number> {
  readonly #root: TrieNode<Id> = newNode('')
  #size = 0
  #nodeCount = 1

  /** How many (pattern, id) pairs are held. */
  get size(): number {
    return this.#size
  }

  /** How many trie nodes are held, the root included: what the set costs in memory. */
  get nodeCount(): number {
    return this.#nodeCount
  }

  /** Adds a pattern that patternProblem() finds no fault in. False if the id had it already. */
  add(pattern: string, id: Id): boolean {
    let node = this.#root
    for (const segment of segmentsOf(pattern)) {
      let child = node.children.get(segment)
      if (child === undefined) {
        child = newNode(segment)
        node.children.set(segment, child)
        this.#nodeCount += 1
      }
      node = child
    }

    if (node.ids.has(id)) return false
    node.ids.add(id)
    this.#size += 1
    return true
  }

  /** Undoes add(), and drops the nodes that nothing needs any more. False if it was not there. */
  remove(pattern: string, id: Id): boolean {
    const segments = segmentsOf(pattern)
    const path = [this.#root]
    let node = this.#root
    for (const segment of segments) {
      const child = node.children.get(segment)
      if (child === undefined) return false
      path.push(child)
      node = child
    }

    if (!node.ids.delete(id)) return false
    this.#size -= 1
    this.#prune(path, segments)
    return true
  }

  /** The ids of all patterns that match the topic, each once, in no particular order. */
  match(topic: string): Id[] {
    const ids = new Set<Id>()
    for (const node of this.#nodesMatching(topic)) {
      for (const id of node.ids) ids.add(id)
    }
    return [...ids]
  }

  /**
   * Walks the topic once and keeps the set of all nodes reached so far: a node is visited at most
   * once per segment. Following one path at a time would visit it once for each way to share the
   * segments out among the # before it, which is exponential.
   */
  #nodesMatching(topic: string): Iterable<TrieNode<Id>> {
    const segments = segmentsOf(topic)
    let reached = new Set<TrieNode<Id>>()

    if (isReserved(topic)) {
      // A first segment that is a wildcard does not see reserved topics: take the literal one only.
      reach(reached, this.#root.children.get(segments.shift() ?? ''))
    } else {
      reach(reached, this.#root)
    }

    for (const segment of segments) {
      const next = new Set<TrieNode<Id>>()
      for (const node of reached) {
        if (node.repeats) reach(next, node)
        reach(next, node.children.get(segment))
        reach(next, node.children.get(ONE_SEGMENT))
      }
      reached = next
    }
    return reached
  }

  /** Unlinks the empty end of a path. path[i + 1] is path[i]'s child of the name segments[i]. */
  #prune(path: readonly TrieNode<Id>[], segments: readonly string[]): void {
    for (let depth = segments.length; depth > 0; depth--) {
      const node = path[depth]
      if (node === undefined || node.ids.size > 0 || node.children.size > 0) return
      path[depth - 1]?.children.delete(segments[depth - 1] ?? '')
      this.#nodeCount -= 1
    }
  }
}

function newNode<Id>(segment: string): TrieNode<Id> {
  return { repeats: segment === ANY_SEGMENTS, children: new Map(), ids: new Set() }
}

/** Adds a node, if there is one, and every # right behind it: those may stand for zero segments. */
function reach<Id>(reached: Set<TrieNode<Id>>, start: TrieNode<Id> | undefined): void {
  let node = start
  while (node !== undefined && !reached.has(node)) {
    reached.add(node)
    node = node.children.get(ANY_SEGMENTS)
  }
}
