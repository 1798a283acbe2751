/**
 * The load processes of one kind, as the coordinator sees them.
 * Runs on: the coordinator. Owns: the child processes.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { LoadOptions } from './coordinator.js'
import { HEAP_FLAGS } from './own-heap.js'

export interface Group<To, From extends { readonly type: string }> {
  readonly pids: readonly number[]
  readonly failed: Promise<never>
  setup(options: LoadOptions, clients: number): void
  tellAll(message: To): void
  /** One message of this type from every process. */
  answers<T extends From['type']>(type: T): Promise<Extract<From, { readonly type: T }>[]>
  onMessage(handle: (message: From, process: number) => void): void
  kill(): void
}

export interface GroupOptions {
  readonly processes: number
  /** Each in a session of its own; see priority.ts. */
  readonly detached: boolean
}

export function startGroup<To extends object, From extends { readonly type: string }>(
  kind: 'publisher' | 'subscriber',
  { processes, detached }: GroupOptions,
): Group<To, From> {
  const file = fileURLToPath(new URL(`./${kind}.js`, import.meta.url))
  const children = Array.from({ length: processes }, () => {
    const execArgv = [...process.execArgv, ...HEAP_FLAGS]
    return fork(file, { stdio: 'inherit', detached, execArgv })
  })
  const failed = new Promise<never>((_, reject) => {
    for (const child of children) {
      child.once('exit', (code, signal) => {
        reject(new Error(`a ${kind} process ended: code=${code}, signal=${signal}`))
      })
      child.on('message', (message: From & { reason?: string }) => {
        if (message.type === 'failed') reject(new Error(message.reason))
      })
    }
  })
  failed.catch(() => {}) // Also after the run, when kill() ends them.

  return {
    pids: children.flatMap(({ pid = [] }) => pid),
    failed,
    setup(options, clients) {
      const { server, plan } = options
      const target = { host: server.host, port: server.port }
      children.forEach((child, i) => {
        const indexes = Array.from({ length: clients }, (_, k) => k).filter(
          (k) => k % processes === i,
        )
        child.send({ type: 'setup', target, plan, indexes })
      })
    },
    tellAll(message) {
      for (const child of children) child.send(message)
    },
    answers<T extends From['type']>(type: T) {
      const all = children.map((child) => answer<Extract<From, { readonly type: T }>>(child, type))
      return Promise.all(all)
    },
    onMessage(handle) {
      children.forEach((child, i) => {
        child.on('message', (message: From) => handle(message, i))
      })
    },
    kill() {
      for (const child of children) child.kill('SIGKILL')
    },
  }
}

function answer<T extends { readonly type: string }>(
  child: ChildProcess,
  type: string,
): Promise<T> {
  return new Promise((resolve) => {
    const listener = (message: T) => {
      if (message.type !== type) return
      child.off('message', listener)
      resolve(message)
    }
    child.on('message', listener)
  })
}
