/**
 * When latency was normal again after a disturbance.
 * Runs on: the benchmark's main process. Owns: nothing; pure.
 *
 * Normal is a latency up to NORMAL_FACTOR times the p90 of before, or NORMAL_MS_MIN if that is more.
 * It has come back with the first of CALM_WINDOWS windows in a row whose p90 is normal: one late probe
 * does not undo it, and one early one does not make it.
 */
import type { Probed } from '../soak/latency-probe.js'
import { quantile } from '../statistics.js'

const SHARE = 0.9
const NORMAL_FACTOR = 3
const NORMAL_MS_MIN = 5
export const WINDOW_MS = 200
export const CALM_WINDOWS = 5
/** A window with fewer probes says nothing: it counts as not calm. */
const PROBES_MIN = 10

export interface Recovery {
  readonly normalMs: number
  readonly boundMs: number
  readonly peakMs: number
  /** From the disturbance on; undefined if latency never came back. */
  readonly recoveredMs: number | undefined
}

/** Probes count for the window in which they were sent. */
export function recoveryOf(probes: readonly Probed[], disturbedMs: number): Recovery {
  const before = probes.filter(({ sentMs }) => sentMs < disturbedMs)
  const since = probes.filter(({ sentMs }) => sentMs >= disturbedMs)
  const normalMs = quantile(latencies(before), SHARE)
  const boundMs = Math.max(NORMAL_FACTOR * normalMs, NORMAL_MS_MIN)
  const windows: Probed[][] = []
  for (const probe of since) {
    const window = Math.floor((probe.sentMs - disturbedMs) / WINDOW_MS)
    while (windows.length <= window) windows.push([])
    windows[window]?.push(probe)
  }
  const isCalm = windows.map(
    (window) => window.length >= PROBES_MIN && quantile(latencies(window), SHARE) <= boundMs,
  )
  const first = isCalm.findIndex((_, at) => {
    const stretch = isCalm.slice(at, at + CALM_WINDOWS)
    return stretch.length === CALM_WINDOWS && stretch.every(Boolean)
  })
  return {
    normalMs,
    boundMs,
    peakMs: Math.max(...latencies(since)),
    recoveredMs: first === -1 ? undefined : first * WINDOW_MS,
  }
}

function latencies(probes: readonly Probed[]): number[] {
  return probes.map(({ latencyMs }) => latencyMs)
}
