/**
 * The shard's sources with a step before every statement of src/shard, src/groups, src/log and src/ring, so that
 * a test can end the shard between any two of them, as terminate() ends a thread.
 *
 * The sources are transpiled to a folder of their own and loaded from there; the gateway of the test
 * uses the ordinary ones and is never interrupted.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import type * as topicLog from '../../src/log/topic-log.js'
import { Journal } from '../../src/shard/journal.js'
import type * as shard from '../../src/shard/shard.js'
import type { ShardRig } from './shard-rig.js'

const ROOT = join(import.meta.dirname, '../..')
const SOURCES = join(ROOT, 'src')
/** Below the project, so that packages are found from there. */
const CACHE = join(ROOT, 'node_modules/.cache')
/** Folders with steps; what the shard imports beside them goes along as it is. */
const STEPPED = ['shard', 'groups', 'log', 'ring']
const PLAIN = ['protocol', 'routing', 'telemetry', 'filter']
const FILES = ['errors.ts', 'shared-memory.ts']
const STEP = '__ringcastStep'

/** Ends a shard at a chosen statement. */
export class Crash extends Error {}

export interface Stepper {
  readonly Shard: typeof shard.Shard
  readonly TopicLog: typeof topicLog.TopicLog
  /** Statements run since the last crashAfter(). */
  readonly steps: number
  /**
   * The statement after `steps` more throws, and so do all after it, until this is called again: a
   * dead thread runs no catch clause either.
   */
  crashAfter(steps: number): void
  /** Called before every statement, with the number of those before it. */
  onStep: ((steps: number) => void) | undefined
}

export async function loadStepped(): Promise<Stepper> {
  mkdirSync(CACHE, { recursive: true })
  const folder = mkdtempSync(join(CACHE, 'stepped-'))
  try {
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    for (const name of [...STEPPED, ...PLAIN]) {
      for (const file of readdirSync(join(SOURCES, name))) {
        transpile(join(SOURCES, name, file), folder, STEPPED.includes(name))
      }
    }
    for (const file of FILES) transpile(join(SOURCES, file), folder, false)

    let steps = 0
    let left = Number.POSITIVE_INFINITY
    const step = () => {
      stepper.onStep?.(steps)
      steps++
      if (steps > left) throw new Crash(`after ${left} steps`)
    }
    Object.assign(globalThis, { [STEP]: step })
    const load = (file: string) => import(/* @vite-ignore */ pathToFileURL(join(folder, file)).href)
    const { Shard } = (await load('shard/shard.js')) as typeof shard
    const { TopicLog } = (await load('log/topic-log.js')) as typeof topicLog
    const stepper: Stepper = {
      Shard,
      TopicLog,
      get steps() {
        return steps
      },
      crashAfter(count) {
        steps = 0
        left = count
      },
      onStep: undefined,
    }
    return stepper
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Settles; if the shard dies on the way, a successor does the rest. Returns whether it died. */
export function settleThroughDeath(stepper: Stepper, rig: ShardRig): boolean {
  try {
    rig.settle()
    return false
  } catch (error) {
    if (!(error instanceof Crash)) throw error
    stepper.crashAfter(Number.POSITIVE_INFINITY)
    // Two deaths at one record set it aside, which poison.test.ts is about.
    new Journal(rig.link.views).forgetCrashes()
    rig.restart()
    rig.settle()
    return true
  }
}

function transpile(file: string, folder: string, isStepped: boolean): void {
  const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
    fileName: file,
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
    transformers: { before: isStepped ? [withSteps] : [] },
  })
  const target = join(folder, relative(SOURCES, file)).replace(/\.ts$/, '.js')
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, outputText)
}

function withSteps(context: ts.TransformationContext): ts.Transformer<ts.SourceFile> {
  const { factory } = context
  const stepCall = () =>
    factory.createExpressionStatement(
      factory.createCallExpression(factory.createIdentifier(STEP), undefined, []),
    )
  const stepped = (statements: readonly ts.Statement[]) =>
    statements.flatMap((statement) => [stepCall(), statement])
  const braced = (statement: ts.Statement) =>
    ts.isBlock(statement) ? statement : factory.createBlock(stepped([statement]))

  const visit = (node: ts.Node): ts.Node => {
    const seen = ts.visitEachChild(node, visit, context)
    if (ts.isBlock(seen)) return factory.updateBlock(seen, stepped(seen.statements))
    if (ts.isCaseClause(seen)) {
      return factory.updateCaseClause(seen, seen.expression, stepped(seen.statements))
    }
    if (ts.isDefaultClause(seen)) {
      return factory.updateDefaultClause(seen, stepped(seen.statements))
    }
    if (ts.isIfStatement(seen)) {
      const otherwise = seen.elseStatement
      return factory.updateIfStatement(
        seen,
        seen.expression,
        braced(seen.thenStatement),
        otherwise && !ts.isIfStatement(otherwise) ? braced(otherwise) : otherwise,
      )
    }
    if (ts.isForStatement(seen)) {
      const { initializer, condition, incrementor, statement } = seen
      return factory.updateForStatement(
        seen,
        initializer,
        condition,
        incrementor,
        braced(statement),
      )
    }
    if (ts.isForOfStatement(seen)) {
      const { awaitModifier, initializer, expression, statement } = seen
      return factory.updateForOfStatement(
        seen,
        awaitModifier,
        initializer,
        expression,
        braced(statement),
      )
    }
    if (ts.isWhileStatement(seen)) {
      return factory.updateWhileStatement(seen, seen.expression, braced(seen.statement))
    }
    return seen
  }
  return (file) => ts.visitEachChild(file, visit, context)
}
