/**
 * The routing rules as one shard knows them.
 * Runs on: the shard. Owns: the route slots in shared memory, so that a successor knows them from
 * its first record on: what is stored is routed by it, not by what it will be told.
 *
 *   offset  field   type       meaning
 *   0       bytes   i32        length of the rule; 0: free; stored last when a rule is added
 *   8       rule    6 KiB      MessagePack map: name, source, targets, filterId
 */
import { pack, Unpackr } from 'msgpackr'
import type { SharedViews } from '../ring/layout.js'
import type { RouteRef } from '../ring/record.js'
import { compilePattern } from '../routing/pattern.js'
import type { Route } from '../routing/route.js'
import { isPattern, segmentsOf } from '../routing/topic-name.js'
import { ROUTE_SLOT_BYTES, type ShardLayout } from '../shared-memory.js'

const BYTES = 0
const RULE = 8

/** A rule, and how it recognises its topics. */
export interface Rule extends Route {
  /** 0: none. */
  readonly filterId: number
}

interface Held {
  readonly rule: Rule
  readonly matches: (topic: string) => boolean
  readonly slot: number
}

export class RouteTable {
  readonly #views: SharedViews
  readonly #base: number
  readonly #held = new Map<string, Held>()
  readonly #freeSlots: number[] = []
  readonly #unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true })

  /** Finds every rule that a predecessor knew. */
  constructor(views: SharedViews, layout: ShardLayout) {
    this.#views = views
    this.#base = layout.routes
    for (let slot = layout.routeSlots - 1; slot >= 0; slot--) this.#load(slot)
  }

  /** Puts the rule in the place of the one of its name. False when every slot is taken. */
  set({ name, source, targets, filter }: RouteRef): boolean {
    const slot = this.#freeSlots.pop()
    if (slot === undefined) return false
    const rule = { name, source, targets, filterId: filter?.id ?? 0 }
    const bytes = pack(rule)
    const offset = this.#offset(slot)
    this.#views.bytes.set(bytes, offset + RULE)
    // A death between the two leaves both; then the gateway's request is read again, and sets it again.
    Atomics.store(this.#views.ints, (offset + BYTES) >> 2, bytes.length)
    this.remove(name)
    this.#hold(rule, slot)
    return true
  }

  /** Removes a rule, if it is known. */
  remove(name: string): void {
    const held = this.#held.get(name)
    if (held === undefined) return
    this.#held.delete(name)
    this.#free(held.slot)
  }

  /** The rules for a topic. */
  match(topic: string): Rule[] {
    return [...this.#held.values()].filter(({ matches }) => matches(topic)).map(({ rule }) => rule)
  }

  #load(slot: number): void {
    const offset = this.#offset(slot)
    const length = this.#views.ints[(offset + BYTES) >> 2] as number
    if (length === 0) {
      this.#freeSlots.push(slot)
      return
    }
    const bytes = Buffer.from(this.#views.bytes.slice(offset + RULE, offset + RULE + length))
    const rule: Rule = this.#unpackr.unpack(bytes)
    if (this.#held.has(rule.name)) this.#free(slot)
    else this.#hold(rule, slot)
  }

  #hold(rule: Rule, slot: number): void {
    const { source } = rule
    const pattern = isPattern(source) ? compilePattern(source) : undefined
    const matches =
      pattern === undefined
        ? (topic: string) => topic === source
        : (topic: string) => pattern.matches(segmentsOf(topic))
    this.#held.set(rule.name, { rule, matches, slot })
  }

  #free(slot: number): void {
    Atomics.store(this.#views.ints, (this.#offset(slot) + BYTES) >> 2, 0)
    this.#freeSlots.push(slot)
  }

  #offset(slot: number): number {
    return this.#base + slot * ROUTE_SLOT_BYTES
  }
}
