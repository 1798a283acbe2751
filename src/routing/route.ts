/**
 * Rules that copy messages from one topic to others: what a rule may look like, and which rules
 * would send a message round in circles.
 * Runs on: any thread. Owns: nothing; pure.
 */
import { compilePattern } from './pattern.js'
import {
  isPattern,
  isReserved,
  patternProblem,
  segmentsOf,
  topicNameProblem,
} from './topic-name.js'

const ROUTE_NAME_BYTES_MAX = 64
export const ROUTE_TARGETS_MAX = 16
/** Rules that one message may pass, one after the other; beyond, its next copies are dropped. */
export const ROUTE_HOPS_MAX = 8

export interface Route {
  readonly name: string
  /** Topic or pattern. */
  readonly source: string
  readonly targets: readonly string[]
}

/** Says which rule a route breaks by itself, naming the field. Undefined when it breaks none. */
export function routeProblem({ name, source, targets }: Route): string | undefined {
  if (!/^[\w.-]+$/.test(name) || name.length > ROUTE_NAME_BYTES_MAX) {
    return `name must be 1 to ${ROUTE_NAME_BYTES_MAX} letters, digits, dots, dashes or underscores`
  }
  const problem = isPattern(source) ? patternProblem(source) : topicNameProblem(source)
  if (problem !== undefined) return `source ${problem}`
  if (targets.length === 0 || targets.length > ROUTE_TARGETS_MAX) {
    return `targets must be 1 to ${ROUTE_TARGETS_MAX} topics, got ${targets.length}`
  }
  if (new Set(targets).size < targets.length) return 'targets must not name a topic twice'
  for (const target of targets) {
    const wrong = isReserved(target) ? 'must not begin with $' : topicNameProblem(target)
    if (wrong !== undefined) return `targets ${wrong}`
  }
  return undefined
}

/**
 * The names of rules through which a message could come back to where it was, or undefined. Filters
 * are not looked at: what they let through is not known before it comes. `route` is put in place of
 * the one of its name; the others have no circle among them.
 */
export function circleOf(routes: Iterable<Route>, route: Route): string[] | undefined {
  const all = [...[...routes].filter(({ name }) => name !== route.name), route]
  // A way from the new rule back to it; every rule is looked at once.
  const seen = new Set<Route>()
  const ways: Route[][] = [[route]]
  for (let way = ways.pop(); way !== undefined; way = ways.pop()) {
    for (const next of followers(way.at(-1) as Route, all)) {
      if (next === route) return [...way, route].map(({ name }) => name)
      if (seen.has(next)) continue
      seen.add(next)
      ways.push([...way, next])
    }
  }
  return undefined
}

/** The rules that take what this one gives. */
function followers({ targets }: Route, routes: readonly Route[]): Route[] {
  return routes.filter(({ source }) => targets.some((target) => covers(source, target)))
}

function covers(source: string, topic: string): boolean {
  return (
    source === topic || (isPattern(source) && compilePattern(source).matches(segmentsOf(topic)))
  )
}
