/**
 * A .cpuprofile of V8, as `node --cpu-prof` writes one per thread: time by function.
 * Runs on: the benchmark's main process. Owns: nothing; pure.
 */

export interface CallFrame {
  readonly functionName: string
  readonly url: string
  /** From 0. */
  readonly lineNumber: number
}

/** As far as we read it. Times in µs, of the machine's monotonic clock. */
export interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[]
  readonly startTime: number
  readonly endTime: number
  /** Ids of the nodes that were running, and the time from one sample to the next. */
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

export interface SelfTime {
  readonly frame: CallFrame
  readonly us: number
}

export function parseCpuProfile(text: string): CpuProfile {
  const profile = JSON.parse(text) as Partial<CpuProfile>
  const { nodes, startTime, endTime, samples, timeDeltas } = profile
  if (!nodes || !samples || !timeDeltas || startTime === undefined || endTime === undefined) {
    throw new Error('not a CPU profile')
  }
  return { nodes, startTime, endTime, samples, timeDeltas }
}

/**
 * Time that each function itself ran between two moments, the longest first. A sample stands for the
 * time until the next one.
 */
export function selfTimes(
  { nodes, startTime, endTime, samples, timeDeltas }: CpuProfile,
  fromUs = startTime,
  untilUs = endTime,
): SelfTime[] {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const times = new Map<string, { frame: CallFrame; us: number }>()
  let atUs = startTime
  samples.forEach((id, index) => {
    atUs += timeDeltas[index] ?? 0
    const nextUs = index + 1 < samples.length ? atUs + (timeDeltas[index + 1] ?? 0) : endTime
    const us = Math.min(nextUs, untilUs) - Math.max(atUs, fromUs)
    const frame = frames.get(id)
    if (us <= 0 || frame === undefined) return
    const key = `${frame.functionName} ${frame.url} ${frame.lineNumber}`
    const time = times.get(key)
    if (time === undefined) times.set(key, { frame, us })
    else time.us += us
  })
  return [...times.values()].sort((one, other) => other.us - one.us)
}
