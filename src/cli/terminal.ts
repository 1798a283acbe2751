/**
 * Where a command's words go: results on stdout, everything said besides on stderr. Colours only on a
 * terminal, and not with NO_COLOR.
 * Runs on: the command's process. Owns: nothing; the streams are given.
 */

export interface OutputStream extends NodeJS.WritableStream {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
}

/** The process as a command sees it; tests pass their own. */
export interface Io {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly env: Readonly<Record<string, string | undefined>>
  /**
   * Aborted when the user wants the command to end (Ctrl-C). The first call takes the signals over:
   * a command that never asks dies of them, as any other program.
   */
  interruption(): AbortSignal
}

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const
export type Style = keyof typeof STYLES

const DEFAULT_COLUMNS = 100
const DEFAULT_ROWS = 24

export class Terminal {
  readonly io: Io

  constructor(io: Io) {
    this.io = io
  }

  /** One line of the result. Resolves when the reader has made room. */
  async print(text: string | Uint8Array): Promise<void> {
    const { stdout } = this.io
    const hasRoom = stdout.write(typeof text === 'string' ? `${text}\n` : text)
    if (!hasRoom) await drained(stdout)
  }

  async printJson(value: unknown): Promise<void> {
    await this.print(JSON.stringify(value))
  }

  /** Something beside the result: stays out of pipes. */
  note(text: string): void {
    this.io.stderr.write(`${this.paint('dim', text, this.io.stderr)}\n`)
  }

  /** The one line of a command that failed. */
  complain(text: string): void {
    this.io.stderr.write(`${this.paint('red', 'ringcast:', this.io.stderr)} ${text}\n`)
  }

  paint(style: Style, text: string, stream: OutputStream = this.io.stdout): string {
    return this.#hasColours(stream) ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text
  }

  get isInteractive(): boolean {
    return this.io.stdout.isTTY === true
  }

  get columns(): number {
    return this.io.stdout.columns || DEFAULT_COLUMNS // A terminal may say 0.
  }

  get rows(): number {
    return this.io.stdout.rows || DEFAULT_ROWS
  }

  #hasColours(stream: OutputStream): boolean {
    const { NO_COLOR: noColour = '', TERM: term } = this.io.env
    return stream.isTTY === true && noColour === '' && term !== 'dumb'
  }
}

/** A stream that is gone never drains; that it is gone ends the command elsewhere. */
function drained(stream: OutputStream): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done)
      stream.off('close', done)
      resolve()
    }
    stream.on('drain', done)
    stream.on('close', done)
  })
}
