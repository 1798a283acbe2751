/**
 * Environment variables that look like a mistake: an unknown `RINGCAST_` name, or a name one or two letters
 * away from an option's. Without the warning `MAX_TOPIC=50` would silently do nothing.
 * Runs on: the main thread, once at start.
 */
export const PREFIX = 'RINGCAST_'

/** Read by the command line (src/cli), which a shell may have exported for the broker too. */
const COMMAND_LINE_NAMES = ['RINGCAST_URL']

/** Shorter names are too close to each other and to other programs' variables. */
const NAME_LENGTH_MIN = 6

/** One warning for each suspicious name, in the order of the environment. `known` are names without prefix. */
export function findMisspellings(
  env: Readonly<Record<string, string | undefined>>,
  known: readonly string[],
): string[] {
  return Object.keys(env).flatMap((name) => {
    if (COMMAND_LINE_NAMES.includes(name)) return []
    if (name.startsWith(PREFIX)) {
      const bare = name.slice(PREFIX.length)
      if (known.includes(bare)) return []
      const { nearest, distance } = findNearest(bare, known)
      // Further away than half its letters it is another word, and the hint would mislead.
      const hint = distance <= bare.length / 2 ? `; did you mean ${PREFIX}${nearest}?` : ''
      return [`${name} is not an option and has no effect${hint}`]
    }
    if (name.length < NAME_LENGTH_MIN || known.includes(name)) return []
    const { nearest, distance } = findNearest(name, known)
    if (nearest.length < NAME_LENGTH_MIN || distance > (name.length < 8 ? 1 : 2)) return []
    return [`${name} is not an option and has no effect; did you mean ${nearest}?`]
  })
}

function findNearest(
  name: string,
  known: readonly string[],
): { nearest: string; distance: number } {
  let nearest = ''
  let distance = Number.POSITIVE_INFINITY
  for (const candidate of known) {
    const letters = editDistance(name, candidate)
    if (letters < distance) {
      nearest = candidate
      distance = letters
    }
  }
  return { nearest, distance }
}

/** Levenshtein: the fewest letters to insert, remove or replace that make `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, other] of [...b].entries()) {
      const replaced = (row[j] as number) + (letter === other ? 0 : 1)
      const removed = (row[j + 1] as number) + 1
      const inserted = (next[j] as number) + 1
      next.push(Math.min(replaced, removed, inserted))
    }
    row = next
  }
  return row[b.length] as number
}
