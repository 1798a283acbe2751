/**
 * What a micro-benchmark is, and how a group of them is measured.
 * Runs on: whoever runs the benchmarks. Owns: nothing.
 *
 * A call of tinybench costs about as much as one ring write, so every case does `operations` of
 * what it measures per call, and the figures are divided.
 */
import { Bench } from 'tinybench'

/** `name` says what one operation is. Cases of a group share their memory, so they run in turn. */
export interface MicroCase {
  readonly name: string
  /** Operations that one call of run() does. */
  readonly operations: number
  /** Bytes that one operation moves; 0 where a rate in GB/s says nothing. */
  readonly bytes?: number
  run(): void | Promise<void>
}

export interface MicroGroup {
  readonly name: string
  readonly cases: readonly MicroCase[]
  /** Ends what the group started. */
  close?(): Promise<void>
}

export interface MicroResult {
  readonly group: string
  readonly name: string
  /** Median over the calls, per operation. */
  readonly nanoseconds: number
  /** Margin of error of the mean, in percent. */
  readonly marginPercent: number
  readonly perSecond: number
  /** NaN where the case moves no bytes. */
  readonly gigabytesPerSecond: number
}

/** `quick`: just enough calls to see that everything runs; its figures mean nothing. */
export type Mode = 'full' | 'quick'

const SETTINGS = {
  full: { time: 500, iterations: 64, warmupTime: 200, warmupIterations: 32 },
  quick: { time: 0, iterations: 2, warmup: false },
} as const

/** Measures every case of the group. Throws what a case threw. */
export async function measure(group: MicroGroup, mode: Mode): Promise<MicroResult[]> {
  const bench = new Bench({ ...SETTINGS[mode], throws: true })
  for (const { name, run } of group.cases) bench.add(name, run)
  await bench.run()
  return group.cases.map(({ name, operations, bytes = 0 }) => {
    const result = bench.getTask(name)?.result
    if (result?.state !== 'completed') throw new Error(`${group.name}, ${name}: ${result?.state}`)
    const nanoseconds = (result.latency.p50 * 1e6) / operations
    return {
      group: group.name,
      name,
      nanoseconds,
      marginPercent: result.latency.rme,
      perSecond: 1e9 / nanoseconds,
      gigabytesPerSecond: bytes === 0 ? Number.NaN : bytes / nanoseconds,
    }
  })
}

let kept = 0

/** Uses a value, so that the compiler cannot leave out what made it. */
export function keep(value: number): void {
  kept = (kept + value) | 0
}
