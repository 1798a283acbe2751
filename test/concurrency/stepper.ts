/**
 * Runs the sources of the ring one atomic step at a time, in every order two threads could take.
 * Runs on: the test thread; each "thread" is a generator. Owns: nothing outside one run.
 *
 * steppedRing() compiles src/ring itself with every method made a generator that yields in front of
 * each Atomics call, so what is stepped is the code that ships and not a model of it. A program of
 * such calls is one thread; run() lets a schedule say which thread makes the next step. Between two
 * atomic steps only the stepping thread runs: plain stores are seen in program order, as the
 * sequentially consistent Atomics around them make sure of on real threads (ring-threads.test.ts).
 * Atomics.waitAsync() and notify() are modelled here, because a run must know who sleeps.
 */
import assert from 'node:assert'
import { readFileSync } from 'node:fs'
import ts from 'typescript'
import * as layout from '../../src/ring/layout.js'
import type { RingConsumer, RingProducer } from '../../src/ring/spsc-ring.js'
import type { Doorbell } from '../../src/ring/wakeup.js'

/** One atomic operation, about to happen. */
interface AtomicStep {
  readonly op: 'load' | 'store' | 'exchange' | 'waitAsync' | 'notify'
  readonly args: readonly [ints: Int32Array, index: number, value: number]
}

/** A thread is asleep until the promise it was given settles. */
interface Sleep {
  readonly op: 'sleep'
  readonly bell: Waiter
}

export type Steps<Result> = Generator<AtomicStep | Sleep, Result, unknown>

/** A class whose methods are programs. */
type Stepped<Class> = {
  readonly [Key in keyof Class]: Class[Key] extends (...args: infer Args) => infer Result
    ? (...args: SteppedArgs<Args>) => Steps<Result>
    : Class[Key]
}
type SteppedArgs<Args extends readonly unknown[]> = {
  [Key in keyof Args]: Args[Key] extends () => infer Result ? () => Steps<Result> : Args[Key]
}

export interface SteppedRing {
  readonly RingProducer: new (
    ...args: ConstructorParameters<typeof RingProducer>
  ) => Stepped<RingProducer>
  readonly RingConsumer: new (
    ...args: ConstructorParameters<typeof RingConsumer>
  ) => Stepped<RingConsumer>
  readonly Doorbell: new (...args: ConstructorParameters<typeof Doorbell>) => Stepped<Doorbell>
}

/** What Atomics.waitAsync() hands out in a stepped run. */
interface Waiter {
  readonly ints: Int32Array
  readonly index: number
  isNotified: boolean
}

/** The classes of src/ring as programs. `change` may break the source, to see whether a test notices. */
export function steppedRing(change: (source: string) => string = (source) => source): SteppedRing {
  return { ...load('spsc-ring', change), ...load('wakeup', change) } as unknown as SteppedRing
}

/** Sleeps on what park() returned; at once over when that is undefined. */
export function* sleepOn(promise: Promise<unknown> | undefined): Steps<void> {
  if (promise !== undefined) yield { op: 'sleep', bell: promise as unknown as Waiter }
}

/** Which of the threads that can run makes the next step. */
export type Schedule = (runnable: readonly number[], last: number) => number

/** Runs all threads to their end. Throws when those that are left sleep for ever. */
export function run(threads: readonly Steps<void>[], schedule: Schedule): void {
  const waiters: Waiter[] = []
  const pending = threads.map((thread) => thread.next())
  let last = -1
  for (;;) {
    const alive: number[] = []
    const runnable: number[] = []
    for (let thread = 0; thread < pending.length; thread++) {
      const next = pending[thread] as IteratorResult<AtomicStep | Sleep, void>
      if (next.done) continue
      alive.push(thread)
      if (next.value.op !== 'sleep' || next.value.bell.isNotified) runnable.push(thread)
    }
    if (alive.length === 0) return
    if (runnable.length === 0) assert.fail(`threads ${alive.join(', ')} sleep for ever`)
    last = schedule(runnable, last)
    const step = pending[last]?.value as AtomicStep | Sleep
    const result = step.op === 'sleep' ? undefined : perform(step, waiters)
    pending[last] = (threads[last] as Steps<void>).next(result)
  }
}

function perform({ op, args }: AtomicStep, waiters: Waiter[]): unknown {
  const [ints, index, value] = args
  if (op === 'load') return Atomics.load(ints, index)
  if (op === 'store') return Atomics.store(ints, index, value)
  if (op === 'exchange') return Atomics.exchange(ints, index, value)
  if (op === 'waitAsync') {
    if (Atomics.load(ints, index) !== value) return { async: false, value: 'not-equal' }
    const waiter = { ints, index, isNotified: false }
    waiters.push(waiter)
    return { async: true, value: waiter }
  }
  for (const waiter of waiters) {
    if (waiter.ints === ints && waiter.index === index) waiter.isNotified = true
  }
  return undefined
}

/**
 * Calls `explore` with every schedule that switches away from a thread that could go on at most
 * `preemptions` times; returns how many there were. Most races need two such switches or three.
 */
export function everySchedule(
  preemptions: number,
  explore: (schedule: Schedule) => void,
  schedulesMax = 1_000_000,
): number {
  // The choices of the run before, and how many there were to choose from: the next run takes the
  // last choice that has another one left, and follows the default from there on.
  let choices: { taken: number; of: number }[] = []
  for (let runs = 1; ; runs++) {
    assert(runs <= schedulesMax, `more than ${schedulesMax} schedules`)
    let depth = 0
    let switches = 0
    explore((runnable, last) => {
      const canStay = runnable.includes(last)
      const others = runnable.filter((thread) => thread !== last)
      const maySwitch = !canStay || switches < preemptions
      const options = canStay ? (maySwitch ? [last, ...others] : [last]) : others
      const choice = choices[depth] ?? { taken: 0, of: options.length }
      assert(choice.of === options.length, 'the program under test is not deterministic')
      choices[depth++] = choice
      if (canStay && choice.taken > 0) switches++
      return options[choice.taken] as number
    })
    choices = choices.slice(0, depth)
    while (choices.length > 0) {
      const deepest = choices.at(-1) as { taken: number; of: number }
      if (deepest.taken + 1 < deepest.of) {
        deepest.taken++
        break
      }
      choices.pop()
    }
    if (choices.length === 0) return runs
  }
}

/** A schedule drawn from a seed. */
export function randomSchedule(seed: number): Schedule {
  const random = randomNumbers(seed)
  return (runnable, last) => {
    // Long stretches and short ones: races hide behind both.
    if (runnable.includes(last) && random() < 0.3) return last
    return runnable[Math.floor(random() * runnable.length)] as number
  }
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const compiled = new Map<string, string>()

function load(file: string, change: (source: string) => string): Record<string, unknown> {
  const source = change(readFileSync(new URL(`../../src/ring/${file}.ts`, import.meta.url), 'utf8'))
  const outputText = compiled.get(source) ?? compile(source)
  compiled.set(source, outputText)
  const modules: Record<string, unknown> = { 'node:assert': assert, './layout.js': layout }
  const exports: Record<string, unknown> = {}
  const body = new Function('exports', 'require', outputText) // The project's own source.
  body(exports, (name: string) => modules[name])
  return exports
}

function compile(source: string): string {
  return ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS },
    transformers: { before: [toGenerators] },
  }).outputText
}

/** Methods become generators, their Atomics calls and the calls of each other become yields. */
function toGenerators(context: ts.TransformationContext): ts.Transformer<ts.SourceFile> {
  const { factory } = context
  let isInMethod = false
  const visit = (node: ts.Node): ts.Node => {
    if (ts.isMethodDeclaration(node)) {
      isInMethod = true
      const inner = ts.visitEachChild(node, visit, context)
      isInMethod = false
      return factory.updateMethodDeclaration(
        inner,
        inner.modifiers,
        factory.createToken(ts.SyntaxKind.AsteriskToken),
        inner.name,
        inner.questionToken,
        inner.typeParameters,
        inner.parameters,
        inner.type,
        inner.body,
      )
    }
    if (!isInMethod || !ts.isCallExpression(node)) return ts.visitEachChild(node, visit, context)
    const call = ts.visitEachChild(node, visit, context)
    const target = call.expression
    if (ts.isPropertyAccessExpression(target)) {
      if (target.expression.getText?.() === 'Atomics') {
        const op = factory.createPropertyAssignment(
          'op',
          factory.createStringLiteral(target.name.text),
        )
        const args = factory.createPropertyAssignment(
          'args',
          factory.createArrayLiteralExpression(call.arguments),
        )
        const step = factory.createObjectLiteralExpression([op, args])
        return factory.createParenthesizedExpression(factory.createYieldExpression(undefined, step))
      }
      if (target.expression.kind === ts.SyntaxKind.ThisKeyword) return delegate(call)
    }
    // A callback that was handed in looks at shared memory too.
    return ts.isIdentifier(target) && target.text === 'mayWork' ? delegate(call) : call
  }
  const delegate = (call: ts.CallExpression) =>
    factory.createParenthesizedExpression(
      factory.createYieldExpression(factory.createToken(ts.SyntaxKind.AsteriskToken), call),
    )
  return (file) => ts.visitEachChild(file, visit, context)
}
