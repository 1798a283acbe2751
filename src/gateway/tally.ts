/**
 * How many there are of each name; what there is none of takes no memory.
 * Runs on: the front thread. Owns: the counts.
 */
export class Tally {
  readonly #counts = new Map<string, number>()

  of(name: string): number {
    return this.#counts.get(name) ?? 0
  }

  has(name: string): boolean {
    return this.#counts.has(name)
  }

  add(name: string, change: number): void {
    const count = this.of(name) + change
    if (count === 0) this.#counts.delete(name)
    else this.#counts.set(name, count)
  }
}
