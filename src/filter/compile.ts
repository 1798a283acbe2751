/**
 * A checked expression as a function: one closure per node of its tree.
 * Runs on: the shard. Owns: nothing; what changes while it runs stands in the Message it is given.
 *
 * A node results in a value or in ERROR. As in CEL, && and || forgive an error on one side when the
 * other decides. Nodes outside of macros run once, and macros take a step for every node of every
 * turn, so FILTER_STEPS_MAX bounds what one evaluation can do, whatever the payload is.
 */
import type { ASTNode } from '@marcbachmann/cel-js'
import { parseFilter, type Variable } from './expression.js'
import { access, FUNCTIONS, negated, OPERATORS } from './functions.js'
import { ERROR, FILTER_STEPS_MAX, isMap, keysOf, member, type Steps } from './values.js'

/** What a filter looks at. Getters decode when they are first asked; ERROR when they cannot. */
export interface Message {
  readonly topic: string
  readonly key: unknown
  readonly headers: unknown
  readonly payload: unknown
}

/** True when the message is wanted. */
export type Predicate = (message: Message) => boolean

type Node = (message: Message) => unknown

/** Makes a predicate of the text; it takes its steps from these. Throws Refusal as parseFilter() does. */
export function compileFilter(text: string, steps: Steps): Predicate {
  const root = new Compiler(steps).compile(parseFilter(text))
  return (message) => {
    steps.left = FILTER_STEPS_MAX
    return root(message) === true && steps.left >= 0
  }
}

class Compiler {
  readonly steps: Steps
  /** The element that a macro is at, and its name. Macros do not nest, so there is one at most. */
  #item: unknown
  #itemName: string | undefined

  constructor(steps: Steps) {
    this.steps = steps
  }

  compile(node: ASTNode): Node {
    const { steps } = this
    switch (node.op) {
      case 'value': {
        const { args: value } = node
        return () => value
      }
      case 'id':
        return this.#variable(node.args)
      case '.': {
        const [of, name] = node.args
        const container = this.compile(of)
        return (message) => access(container(message), name)
      }
      case '[]': {
        const [container, key] = node.args.map((arg) => this.compile(arg)) as [Node, Node]
        return (message) => access(container(message), key(message))
      }
      case 'list': {
        const elements = node.args.map((element) => this.compile(element))
        return (message) => {
          const values = elements.map((element) => element(message))
          return values.includes(ERROR) ? ERROR : values
        }
      }
      case 'call': {
        const [name, args] = node.args
        return name === 'has' ? this.#has(args[0]) : this.#call(name, args)
      }
      case 'rcall': {
        const [name, receiver, args] = node.args
        const isCall = Object.hasOwn(FUNCTIONS, name)
        return isCall ? this.#call(name, [receiver, ...args]) : this.#macro(name, receiver, args)
      }
      case '?:': {
        const [condition, yes, no] = node.args.map((arg) => this.compile(arg)) as [Node, Node, Node]
        return (message) => {
          const is = condition(message)
          return is === true ? yes(message) : is === false ? no(message) : ERROR
        }
      }
      case '||':
      case '&&': {
        const decides = node.op === '||'
        const [left, right] = node.args.map((arg) => this.compile(arg)) as [Node, Node]
        return (message) => {
          const first = left(message)
          if (first === decides) return decides
          const second = right(message)
          if (second === decides) return decides
          return first === !decides && second === !decides ? !decides : ERROR
        }
      }
      case '!_': {
        const operand = this.compile(node.args)
        return (message) => {
          const value = operand(message)
          return typeof value === 'boolean' ? !value : ERROR
        }
      }
      case '-_': {
        const operand = this.compile(node.args)
        return (message) => negated(operand(message))
      }
      case '.?':
      case '[?]':
      case 'map':
        throw new RangeError(`op=${node.op}`) // parseFilter() has refused it.
      default: {
        const operator = OPERATORS[node.op] as (typeof OPERATORS)[string]
        const [left, right] = node.args.map((arg) => this.compile(arg)) as [Node, Node]
        return (message) => {
          const a = left(message)
          if (a === ERROR) return ERROR
          const b = right(message)
          return b === ERROR ? ERROR : operator(steps, a, b)
        }
      }
    }
  }

  #variable(name: string): Node {
    if (name === this.#itemName) return () => this.#item
    const variable = name as Variable
    return (message) => message[variable]
  }

  #has(arg: ASTNode | undefined): Node {
    if (arg?.op !== '.') throw new RangeError(`op=${arg?.op}`) // The checker has refused it.
    const [of, name] = arg.args
    const container = this.compile(of)
    return (message) => {
      const map = container(message)
      return isMap(map) ? member(map, name) !== undefined : ERROR
    }
  }

  #call(name: string, args: readonly ASTNode[]): Node {
    const { steps } = this
    const call = FUNCTIONS[name] as (typeof FUNCTIONS)[string]
    const nodes = args.map((arg) => this.compile(arg))
    return (message) => {
      const values = nodes.map((node) => node(message))
      return values.includes(ERROR) ? ERROR : call(steps, values)
    }
  }

  #macro(name: string, receiver: ASTNode, args: readonly ASTNode[]): Node {
    const list = this.compile(receiver)
    const [variable, ...bodies] = args as [ASTNode, ...ASTNode[]]
    const outer = this.#itemName
    this.#itemName = variable.op === 'id' ? variable.args : undefined
    const [first, second] = bodies.map((body) => this.compile(body)) as [Node, Node?]
    this.#itemName = outer
    const turnSteps = 1 + bodies.reduce((count, body) => count + nodesOf(body), 0)
    const turns = this.#turns(list, turnSteps)
    if (name === 'all' || name === 'exists') return quantifier(name === 'exists', turns, first)
    if (name === 'exists_one') return exactlyOne(turns, first)
    if (name === 'filter') return collecting(turns, first, () => this.#item)
    return second === undefined
      ? collecting(turns, () => true, first)
      : collecting(turns, first, second)
  }

  /** Goes through the elements of a list or the keys of a map, while `next` says true. */
  #turns(list: Node, turnSteps: number): Turns {
    const { steps } = this
    return (message, next) => {
      const value = list(message)
      const items = Array.isArray(value) ? value : isMap(value) ? keysOf(value) : undefined
      if (items === undefined) return false
      for (const item of items) {
        if (!steps.take(turnSteps)) return false
        this.#item = item
        if (!next()) return true
      }
      return true
    }
  }
}

/** False when it could not go through all that it was to. */
type Turns = (message: Message, next: () => boolean) => boolean

/** `decides`: the value at which it is over: true for exists, false for all. */
function quantifier(decides: boolean, turns: Turns, body: Node): Node {
  return (message) => {
    let result: unknown = !decides
    const isWhole = turns(message, () => {
      const value = body(message)
      if (value === decides) result = decides
      else if (typeof value !== 'boolean') result = ERROR
      return value !== decides
    })
    return isWhole ? result : ERROR
  }
}

function exactlyOne(turns: Turns, body: Node): Node {
  return (message) => {
    let count = 0
    let isError = false
    const isWhole = turns(message, () => {
      const value = body(message)
      if (value === true) count++
      isError = typeof value !== 'boolean'
      return !isError
    })
    return isWhole && !isError ? count === 1 : ERROR
  }
}

function collecting(turns: Turns, isWanted: Node, transform: Node): Node {
  return (message) => {
    const results: unknown[] = []
    let isError = false
    const isWhole = turns(message, () => {
      const value = isWanted(message)
      if (value === true) {
        const result = transform(message)
        if (result === ERROR) isError = true
        results.push(result)
      } else if (value !== false) {
        isError = true
      }
      return !isError
    })
    return isWhole && !isError ? results : ERROR
  }
}

function nodesOf(node: ASTNode): number {
  const count = (arg: unknown): number => {
    if (Array.isArray(arg)) return arg.reduce((sum: number, each) => sum + count(each), 0)
    return typeof arg === 'object' && arg !== null && 'op' in arg ? nodesOf(arg as ASTNode) : 0
  }
  return 1 + count(node.args)
}
