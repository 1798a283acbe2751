/**
 * How a run goes, while it goes: one line that is written over each second on a terminal, a line every
 * ten seconds elsewhere, so that a log of an hour can be read.
 * Runs on: the benchmark's main process. Owns: the last line of its stream.
 */
import type { CoursePoint } from '../load/course.js'

const SECONDS_BETWEEN_LINES = 10

export interface ProgressStream {
  readonly isTTY?: boolean
  write(text: string): unknown
}

export class ProgressLine {
  readonly #stream: ProgressStream
  readonly #label: string
  readonly #seconds: number
  #isShown = false

  constructor(stream: ProgressStream, label: string, seconds: number) {
    this.#stream = stream
    this.#label = label
    this.#seconds = seconds
  }

  readonly update = (point: CoursePoint): void => {
    const text = `${this.#label}${progressText(point, this.#seconds)}`
    if (this.#stream.isTTY === true) {
      this.#isShown = true
      this.#stream.write(`\r${text}\x1b[K`)
    } else if (point.second >= 0 && (point.second + 1) % SECONDS_BETWEEN_LINES === 0) {
      this.#stream.write(`${text}\n`)
    }
  }

  /** Takes the line away. */
  end(): void {
    if (this.#isShown) this.#stream.write('\r\x1b[K')
    this.#isShown = false
  }
}

function progressText(
  { second, delivered, latency, server }: CoursePoint,
  seconds: number,
): string {
  const rate = `${delivered.toLocaleString('en')}/s`
  const when = second < 0 ? 'warm-up' : `${second + 1}/${Math.ceil(seconds)} s`
  const parts = [when, rate]
  if (latency !== null)
    parts.push(`p99 ${latency.p99.toFixed(2)} ms, max ${latency.max.toFixed(2)}`)
  if (!Number.isNaN(server.cpu)) parts.push(`broker ${Math.round(server.cpu * 100)} %`)
  if (!Number.isNaN(server.rssMb)) parts.push(`${Math.round(server.rssMb)} MB`)
  return parts.join('  ')
}
