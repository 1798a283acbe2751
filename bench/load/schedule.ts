/**
 * When the frames of one publisher are due, fixed before the first is sent.
 * Runs on: publisher processes. Owns: nothing.
 *
 *   frames                 /      after the ramp one frame each interval
 *      │                 /
 *      │             _ /          in the ramp the rate rises in a line from 0: frames = t² / (2 × ramp × interval)
 *      └───────────────────── t
 *                   ramp
 *
 * Frames are real numbers here, so that publishers can be offset by a part of an interval. Multiplied,
 * not added up: no error gathers.
 */
export class SendSchedule {
  readonly #intervalMs: number
  readonly #rampMs: number
  readonly #rampFrames: number

  constructor(intervalMs: number, rampMs: number) {
    this.#intervalMs = intervalMs
    this.#rampMs = rampMs
    this.#rampFrames = rampMs / (2 * intervalMs)
  }

  /** Milliseconds from the start to the moment at which this frame is due. */
  dueAfterMs(frame: number): number {
    if (frame < this.#rampFrames) return Math.sqrt(2 * this.#rampMs * this.#intervalMs * frame)
    return frame * this.#intervalMs + this.#rampMs / 2
  }

  /** How many frames are due before so many milliseconds have passed. */
  framesWithin(ms: number): number {
    if (ms < this.#rampMs) return ms ** 2 / (2 * this.#rampMs * this.#intervalMs)
    return (ms - this.#rampMs / 2) / this.#intervalMs
  }
}
