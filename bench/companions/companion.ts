/**
 * Something that goes on beside a load, in a process of its own, and has its own promises to check:
 * idle topics, readers that stall, many who resume at once.
 * Runs on: the benchmark's main process. Owns: the companion's process.
 *
 *   main → companion   setup → begin (the load runs) → finish (it is over)
 *   companion → main   ready → facts, or failed at any time
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { LoadPlan, Target } from '../load/plan.js'
import type { Server } from '../server-process.js'

const SETUP_MS_MAX = 60_000
const FACTS_MS_MAX = 30_000

export type CompanionSpec =
  | { readonly kind: 'idle-topics'; readonly topics: number }
  | { readonly kind: 'slow-readers'; readonly subscribers: number }
  | { readonly kind: 'replay-storm'; readonly subscribers: number; readonly messages: number }

export interface CompanionSetup<Kind extends CompanionSpec['kind']> {
  readonly type: 'setup'
  readonly target: Target
  readonly plan: LoadPlan
  readonly spec: Extract<CompanionSpec, { readonly kind: Kind }>
}

export type ToCompanion<Kind extends CompanionSpec['kind']> =
  | CompanionSetup<Kind>
  | { readonly type: 'begin' }
  | { readonly type: 'finish' }

export type FromCompanion =
  | { readonly type: 'ready' }
  | { readonly type: 'facts'; readonly facts: string }
  | { readonly type: 'failed'; readonly reason: string }

export interface Companion {
  /** The load runs; further calls do nothing. */
  begin(): void
  /** The load is over, well or not. */
  loadIsOver(): void
  /** What it saw, in words; rejects when a promise was broken. Settles after loadIsOver(). */
  readonly facts: Promise<string>
}

/** Resolves when the companion has done what comes before the load. */
export async function startCompanion(
  server: Server,
  { plan, companion }: { readonly plan: LoadPlan; readonly companion?: CompanionSpec },
): Promise<Companion> {
  if (!companion) throw new Error('no companion asked for')
  const file = fileURLToPath(new URL(`./${companion.kind}.js`, import.meta.url))
  const child = fork(file, { stdio: 'inherit' })
  const failed = new Promise<never>((_, reject) => {
    child.once('exit', (code) => reject(new Error(`${companion.kind} ended: code=${code}`)))
    child.on('message', (message: FromCompanion) => {
      if (message.type === 'failed') reject(new Error(`${companion.kind}: ${message.reason}`))
    })
  })
  failed.catch(() => {}) // Also at the end, when it is killed.
  const answer = <T extends FromCompanion['type']>(type: T) =>
    new Promise<Extract<FromCompanion, { readonly type: T }>>((resolve) => {
      child.on('message', (message: FromCompanion) => {
        if (isOfType(message, type)) resolve(message)
      })
    })
  const target = { host: server.host, port: server.port }
  try {
    const ready = answer('ready')
    child.send({ type: 'setup', target, plan, spec: companion })
    await Promise.race([ready, failed, timeLimit(SETUP_MS_MAX, companion.kind)])
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }

  let hasBegun = false
  let over: () => void = () => {}
  const loadOver = new Promise<void>((resolve) => {
    over = resolve
  })
  const told = answer('facts')
  const facts = loadOver
    .then(() => Promise.race([told, failed, timeLimit(FACTS_MS_MAX, companion.kind)]))
    .then((message) => message.facts)
    .finally(() => child.kill('SIGKILL'))
  facts.catch(() => {}) // Whoever waits for it hears of it.
  return {
    facts,
    begin() {
      if (hasBegun || !child.connected) return
      hasBegun = true
      child.send({ type: 'begin' })
    },
    loadIsOver() {
      if (child.connected) child.send({ type: 'finish' })
      over()
    },
  }
}

function isOfType<T extends FromCompanion['type']>(
  message: FromCompanion,
  type: T,
): message is Extract<FromCompanion, { readonly type: T }> {
  return message.type === type
}

async function timeLimit(ms: number, what: string): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, ms).unref())
  throw new Error(`${what} was not done within ${ms} ms`)
}
