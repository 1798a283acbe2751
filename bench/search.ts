/**
 * Finds the highest rate that a system holds, by trying rates.
 * Runs on: the benchmark's main process. Owns: nothing; what «holds» means is the caller's.
 *
 *   start ─ holds ─→ ×4, ×4 …  until one fails      ┐ a rate that holds, a rate that does not
 *         ─ fails ─→ ÷4, ÷4 …  until one holds      ┘   (below `min`: none does)
 *   then the geometric middle of the two, until they are within `precision` or the probes are spent
 *
 * Geometric, because rates differ by factors: 10 % of a thousand is no use to a million. It takes
 * holding to be monotonic; where a machine's noise breaks that, the answer is a rate that did hold.
 * A rate fails when it has failed `tries` times: one hiccup of the machine is no verdict.
 */
const STRIDE = 4

/** The p99 that a rate has to keep, here and beside the peers. */
export const HELD_P99_MS = 5

export interface SearchOptions {
  readonly start: number
  /** Never tried: anything below, or above. */
  readonly min: number
  readonly max: number
  /** Enough: when the lowest failing rate is at most this multiple of the highest holding one. */
  readonly precision: number
  /** All of them, second tries included. */
  readonly probesMax: number
  readonly tries: number
}

export interface Verdict {
  readonly holds: boolean
  /** What a reader should know: the p99, or what went wrong. */
  readonly note: string
}

export interface Probe extends Verdict {
  readonly rate: number
}

export interface SearchResult {
  /** The highest rate that held; 0 if none did. */
  readonly rate: number
  /** In the order in which they were made. */
  readonly probes: readonly Probe[]
}

export async function findHighestRate(
  { start, min, max, precision, probesMax, tries }: SearchOptions,
  tryRate: (rate: number) => Promise<Verdict>,
): Promise<SearchResult> {
  const probes: Probe[] = []
  let holding = 0
  let failing = Number.POSITIVE_INFINITY
  let rate = Math.round(Math.max(min, Math.min(start, max)))
  let failures = 0
  while (probes.length < probesMax) {
    const verdict = await tryRate(rate)
    probes.push({ rate, ...verdict })
    if (!verdict.holds && ++failures < tries) continue
    failures = 0
    if (verdict.holds) holding = rate
    else failing = rate
    const next = Math.max(min, nextRate(holding, failing, max))
    if (failing / holding <= precision || next <= holding || next >= failing) break
    rate = next
  }
  return { rate: holding, probes }
}

function nextRate(holding: number, failing: number, max: number): number {
  if (failing === Number.POSITIVE_INFINITY) return Math.min(max, holding * STRIDE)
  if (holding === 0) return Math.round(failing / STRIDE)
  return Math.round(Math.sqrt(holding * failing))
}
