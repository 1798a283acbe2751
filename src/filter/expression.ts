/**
 * The text of a filter: what is refused before it is ever evaluated.
 * Runs on: any thread; the gateway checks a filter when somebody subscribes with it. Owns: nothing.
 *
 * Parser and type checker are those of @marcbachmann/cel-js. Evaluation is ours (compile.ts): the
 * package's knows no bound on work, and remembers the type of every shape of payload it has met.
 */
import {
  type ASTNode,
  TypeError as CelTypeError,
  Environment,
  ParseError,
} from '@marcbachmann/cel-js'
import { Refusal, Reply } from '../errors.js'
import { FUNCTIONS } from './functions.js'

export const FILTER_BYTES_MAX = 1024
/** Nodes of the expression's tree, and how deep they may stand in each other. */
const NODES_MAX = 128
const DEPTH_MAX = 24
const LIST_ELEMENTS_MAX = 64

/** By name: how many arguments they take. They go through a list, so none may stand in another. */
const MACROS: Readonly<Record<string, readonly number[]>> = {
  all: [2],
  exists: [2],
  exists_one: [2],
  filter: [2],
  map: [2, 3],
}

export type Variable = 'topic' | 'key' | 'headers' | 'payload'

const environment = new Environment({
  homogeneousAggregateLiterals: false,
  limits: {
    maxAstNodes: NODES_MAX,
    maxDepth: DEPTH_MAX,
    maxListElements: LIST_ELEMENTS_MAX,
    maxCallArguments: 3,
    maxMapEntries: 0,
  },
})
  .registerVariable('topic', 'string')
  .registerVariable('key', 'string')
  .registerVariable('headers', 'map<string, string>')
  .registerVariable('payload', 'dyn')

/** Parses and checks a filter. Throws Refusal (BAD_REQUEST) that says what is wrong with it. */
export function parseFilter(text: string): ASTNode {
  const bytes = Buffer.byteLength(text)
  if (bytes === 0 || bytes > FILTER_BYTES_MAX) {
    throw bad(`must have 1 to ${FILTER_BYTES_MAX} bytes, got ${bytes}`)
  }
  try {
    const parsed = environment.parse(text)
    // Before the types are looked at: the checker remembers every type it has met.
    admit(parsed.ast, false)
    const { error, type } = parsed.check()
    if (error !== undefined) throw error
    if (type !== 'bool' && type !== 'dyn') throw bad(`must be true or false, but it is a ${type}`)
    return parsed.ast
  } catch (error) {
    if (!(error instanceof ParseError || error instanceof CelTypeError)) throw error
    const at = error.range === undefined ? '' : ` (at character ${error.range.start + 1})`
    throw bad(`is no CEL expression that fits: ${error.summary}${at}`)
  }
}

/** Refuses what the language has and filters have not. The parser has bounded size and depth. */
function admit(node: ASTNode, isInMacro: boolean): void {
  switch (node.op) {
    case 'id':
      return
    case 'value':
      // Numbers are bigint or double; 3u would be an object.
      if (typeof node.args === 'object' && node.args !== null && !isBytes(node.args)) {
        throw bad('must not use unsigned numbers')
      }
      return
    case '.':
      return admit(node.args[0], isInMacro)
    case 'list':
      for (const element of node.args) {
        if (element.op === 'list') throw bad('must not have lists in lists')
        admit(element, isInMacro)
      }
      return
    case 'call': {
      const [name, args] = node.args
      if (name === 'has' ? args.length !== 1 : !isFunction(name)) throw unknown(name)
      for (const arg of args) admit(arg, isInMacro)
      return
    }
    case 'rcall': {
      const [name, receiver, args] = node.args
      admit(receiver, isInMacro)
      const isMacro = Object.hasOwn(MACROS, name) && MACROS[name]?.includes(args.length) === true
      if (!isMacro && !isFunction(name)) throw unknown(name)
      if (isMacro && isInMacro) throw bad(`must not have ${name}() inside of another such function`)
      for (const arg of args) admit(arg, isInMacro || isMacro)
      return
    }
    case '!_':
    case '-_':
      return admit(node.args, isInMacro)
    case '.?':
    case '[?]':
    case 'map':
      throw bad('must not use maps in braces, nor optional values')
    default:
      for (const arg of node.args) admit(arg, isInMacro)
  }
}

function isFunction(name: string): boolean {
  return Object.hasOwn(FUNCTIONS, name)
}

function isBytes(value: object): boolean {
  return value instanceof Uint8Array
}

function unknown(name: string): Refusal {
  const names = [...Object.keys(FUNCTIONS), 'has', ...Object.keys(MACROS)].join(', ')
  return bad(`must not call ${name}(); there are ${names}`)
}

function bad(problem: string): Refusal {
  return new Refusal(Reply.badRequest, `filter ${problem}`)
}
