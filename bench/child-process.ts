/**
 * A process of the benchmark, seen from the one that started it.
 * Runs on: the benchmark's main process. Owns: the child.
 */
import { fork } from 'node:child_process'

export interface Child<To extends object, From extends { readonly type: string }> {
  tell(message: To): void
  /** The next message of this type. Rejects when the child fails, ends, or takes too long. */
  answer<T extends From['type']>(
    type: T,
    msMax: number,
  ): Promise<Extract<From, { readonly type: T }>>
  kill(): void
}

/** `module` is compiled; it answers through bench/load/child.ts. */
export function startChild<To extends object, From extends { readonly type: string }>(
  module: URL,
): Child<To, From> {
  const child = fork(module, { stdio: 'inherit' })
  const killOnExit = () => child.kill('SIGKILL')
  process.once('exit', killOnExit)
  const failed = new Promise<never>((_, reject) => {
    child.on('message', (message: { type: string; reason?: string }) => {
      if (message.type === 'failed') reject(new Error(message.reason))
    })
    child.once('exit', (code, signal) => {
      process.off('exit', killOnExit)
      reject(new Error(`a process of the benchmark ended: code=${code}, signal=${signal}`))
    })
  })
  failed.catch(() => {}) // Also after the run, when kill() ends it.

  return {
    tell: (message) => void child.send(message),
    answer<T extends From['type']>(type: T, msMax: number) {
      let timer: NodeJS.Timeout | undefined
      const answered = new Promise<Extract<From, { readonly type: T }>>((resolve, reject) => {
        child.on('message', (message: Extract<From, { readonly type: T }>) => {
          if (message.type === type) resolve(message)
        })
        timer = setTimeout(() => reject(new Error(`no «${type}» within ${msMax} ms`)), msMax)
      })
      return Promise.race([answered, failed]).finally(() => clearTimeout(timer))
    },
    kill: () => void child.kill('SIGKILL'),
  }
}
