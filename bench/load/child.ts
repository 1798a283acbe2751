/**
 * What publisher, subscriber and idle processes have in common: their line to the coordinator, and
 * their own CPU time.
 * Runs on: the load processes. Owns: the process's IPC channel and exit.
 */

/** Calls `handle` for every message. A process whose coordinator is gone ends. */
export function listen<Incoming>(handle: (message: Incoming) => void | Promise<void>): void {
  process.on('disconnect', () => process.exit(0))
  process.on('SIGINT', () => {}) // The terminal sends it to us too; the coordinator decides.
  process.on('uncaughtException', (error) => fail(error.stack ?? error.message))
  process.on('message', (message) => {
    try {
      handle(message as Incoming)?.catch((error: Error) => fail(error.message))
    } catch (error) {
      fail(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
  })
}

export function tell<Outgoing extends object>(message: Outgoing): void {
  process.send?.(message)
}

export function fail(reason: string): void {
  tell({ type: 'failed', reason })
}

/** The share of one core that this process used between `begin()` and `end()`. */
export class CpuMeter {
  #usage = process.cpuUsage()
  #atMs = performance.now()
  #share: number | undefined

  begin(): void {
    this.#usage = process.cpuUsage()
    this.#atMs = performance.now()
    this.#share = undefined
  }

  end(): void {
    this.#share ??= this.#measured()
  }

  /** Up to `end()`, or up to now if that has not come. */
  get share(): number {
    return this.#share ?? this.#measured()
  }

  #measured(): number {
    const { user, system } = process.cpuUsage(this.#usage)
    return (user + system) / 1e3 / (performance.now() - this.#atMs)
  }
}
