/**
 * The routing rules of the broker: checked here, known by every shard.
 * Runs on: the front thread. Owns: the rules, at most ROUTES_MAX of them.
 */
import { z } from 'zod'
import { Refusal, Reply } from '../errors.js'
import type { FilterRef } from '../ring/record.js'
import { circleOf, type Route, routeProblem } from '../routing/route.js'
import { ROUTES_MAX } from '../shared-memory.js'
import type { Filters } from './filters.js'
import type { ShardLink } from './shard-link.js'

const RULE = z.strictObject({
  source: z.string(),
  filter: z.string().optional(),
  targets: z.array(z.string()),
})
const RULES = z.array(z.strictObject({ name: z.string(), ...RULE.shape }))

interface HeldRoute extends Route {
  readonly filter: FilterRef | undefined
}

/** A rule as it is shown: as it was given. */
export interface ShownRoute extends Route {
  readonly filter?: string
}

export class Routes {
  readonly #links: readonly ShardLink[]
  readonly #filters: Filters
  readonly #routes = new Map<string, HeldRoute>()

  constructor(links: readonly ShardLink[], filters: Filters) {
    this.#links = links
    this.#filters = filters
  }

  list(): ShownRoute[] {
    return [...this.#routes.values()].map(shown)
  }

  get(name: string): ShownRoute | undefined {
    const route = this.#routes.get(name)
    return route && shown(route)
  }

  /** Sets a rule as HTTP gives it. True when there was none of the name. Throws Refusal. */
  put(name: string, body: unknown): boolean {
    return this.#set(name, parsed(RULE, body))
  }

  /** Sets the rules of a file. Throws Refusal that names the first that is wrong. */
  load(rules: unknown): void {
    for (const { name, ...rule } of parsed(RULES, rules)) {
      if (this.#routes.has(name)) throw bad(`route ${name} is there twice`)
      this.#set(name, rule)
    }
  }

  /** False when there is none. */
  delete(name: string): boolean {
    const route = this.#routes.get(name)
    if (route === undefined) return false
    this.#routes.delete(name)
    for (const link of this.#links) link.send({ op: 'dropRoute', name })
    if (route.filter !== undefined) this.#filters.release(route.filter)
    return true
  }

  #set(name: string, { source, filter: text, targets }: z.infer<typeof RULE>): boolean {
    const route = { name, source, targets }
    const problem = routeProblem(route)
    if (problem !== undefined) throw bad(`route ${problem}`)
    const circle = circleOf(this.#routes.values(), route)
    if (circle !== undefined) {
      throw bad(`route would send messages in a circle: ${circle.join(' > ')}`)
    }
    const known = this.#routes.get(name)
    if (known === undefined && this.#routes.size >= ROUTES_MAX) {
      throw new Refusal(Reply.limitExceeded, `ROUTES_MAX=${ROUTES_MAX} reached`)
    }
    const filter = text === undefined ? undefined : this.#filters.acquire(text)
    this.#routes.set(name, { ...route, filter })
    const ref = { ...route, ...(filter === undefined ? {} : { filter }) }
    for (const link of this.#links) link.send({ op: 'setRoute', route: ref })
    if (known?.filter !== undefined) this.#filters.release(known.filter)
    return known === undefined
  }
}

function shown({ filter, ...route }: HeldRoute): ShownRoute {
  return filter === undefined ? route : { ...route, filter: filter.text }
}

function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const where = issue?.path.length ? ` ${issue.path.join('.')}` : ''
  throw bad(`route${where}: ${issue?.message}`)
}

function bad(message: string): Refusal {
  return new Refusal(Reply.badRequest, message)
}
