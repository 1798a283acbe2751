/**
 * Which part of the broker a function belongs to: its folder.
 * Runs on: the benchmark's main process. Owns: nothing; pure.
 */
import type { CallFrame, SelfTime } from './cpu-profile.js'

/** No time of the thread's: it slept. */
const IDLE = '(idle)'
const GARBAGE = 'garbage collection'
/** Functions without a source: send() of uWebSockets.js, the system calls below it. */
const NATIVE = 'native, called from JavaScript'
/** What the thread did while no JavaScript ran: sockets read, frames parsed, the event loop. */
const OUTSIDE = 'native, outside JavaScript'

export interface StageTime {
  readonly stage: string
  /** Of the thread's CPU time. */
  readonly share: number
}

/** undefined for sleep. */
export function stageOf({ functionName, url }: CallFrame): string | undefined {
  if (functionName === IDLE) return undefined
  if (functionName === '(garbage collector)') return GARBAGE
  if (functionName === '(program)' || functionName === '(root)') return OUTSIDE
  if (url === '') return NATIVE
  if (url.startsWith('node:')) return 'node'
  const packaged = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1]
  if (packaged !== undefined) return `package ${packaged}`
  const own = /\/dist\/(src|workers|bench)\/(?:([^/]+)\/)?[^/]+$/.exec(url)
  if (own === null) return 'other'
  const [, root, folder] = own
  return root === 'src' ? `src/${folder ?? '*.ts'}` : (root as string)
}

/**
 * The stages of a thread that used `cpuUs` of CPU time while these were sampled.
 *
 * V8 calls a thread idle while it is inside the poll of its event loop, and that is where
 * uWebSockets.js reads and parses: so what the kernel counted and no sample shows is added to OUTSIDE.
 * If the samples show more than the kernel counted, the thread was waiting for a core with work to do;
 * then they are taken as shares of what was sampled.
 */
export function stageTimes(times: readonly SelfTime[], cpuUs: number): StageTime[] {
  const stages = new Map<string, number>()
  let sampledUs = 0
  for (const { frame, us } of times) {
    const stage = stageOf(frame)
    if (stage === undefined) continue
    sampledUs += us
    stages.set(stage, (stages.get(stage) ?? 0) + us)
  }
  const allUs = Math.max(cpuUs, sampledUs)
  stages.set(OUTSIDE, (stages.get(OUTSIDE) ?? 0) + allUs - sampledUs)
  return [...stages]
    .map(([stage, us]) => ({ stage, share: us / allUs }))
    .filter(({ share }) => share > 0)
    .sort((one, other) => other.share - one.share)
}

/** Name and place, for a list of the busiest. */
export function functionText({ functionName, url, lineNumber }: CallFrame): string {
  const name = functionName === '' ? '(anonymous)' : functionName
  const place = /\/(?:dist|node_modules)\/(.+)$/.exec(url)?.[1] ?? url
  return place === '' ? name : `${name} ${place}:${lineNumber + 1}`
}
