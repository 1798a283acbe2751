/**
 * One line on stderr that is written over and over while something goes on. Nothing where stderr is
 * no terminal.
 * Runs on: the command's process.
 */
import type { Terminal } from './terminal.js'

const BAR_CELLS = 24
const INTERVAL_MS = 100

export class Progress {
  readonly #terminal: Terminal
  readonly #total: number | undefined
  readonly #startedMs = performance.now()
  #shownMs = 0

  constructor(terminal: Terminal, total: number | undefined) {
    this.#terminal = terminal
    this.#total = total
  }

  update(done: number): void {
    const { stderr } = this.#terminal.io
    const now = performance.now()
    if (stderr.isTTY !== true || now - this.#shownMs < INTERVAL_MS) return
    this.#shownMs = now
    stderr.write(`\r${progressLine(done, this.#total, now - this.#startedMs)}\x1b[K`)
  }

  /** Takes the line away. */
  end(): void {
    if (this.#shownMs > 0) this.#terminal.io.stderr.write('\r\x1b[K')
    this.#shownMs = 0
  }
}

export function progressLine(done: number, total: number | undefined, elapsedMs: number): string {
  const rate = `${Math.round((done * 1000) / Math.max(1, elapsedMs)).toLocaleString('en')}/s`
  const count = done.toLocaleString('en')
  if (total === undefined) return `${count} messages  ${rate}`
  const share = Math.min(1, done / total)
  const cells = Math.round(share * BAR_CELLS)
  const bar = `${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)}`
  return `${bar} ${Math.floor(share * 100)} %  ${count}/${total.toLocaleString('en')}  ${rate}`
}
