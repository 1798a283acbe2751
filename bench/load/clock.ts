/**
 * The clock that publishers and subscribers share.
 * Runs on: every process of the benchmark. Owns: one number, fixed at start.
 *
 * Milliseconds of the machine's monotonic clock, with their fraction. Not `performance.timeOrigin +
 * performance.now()`: each process takes timeOrigin from the wall clock when it starts, so a step
 * of the wall clock between two starts would be measured as latency. The monotonic clock is one for
 * the machine.
 */

export function nowMs(): number {
  return performance.now() + monotonicAtZeroMs
}

/** `performance.now()` is cheap, `process.hrtime()` is absolute: take their difference once. */
const monotonicAtZeroMs = calibrate()

function calibrate(): number {
  let narrowestMs = Number.POSITIVE_INFINITY
  let differenceMs = 0
  for (let attempt = 0; attempt < 50; attempt++) {
    const before = performance.now()
    const [seconds, nanoseconds] = process.hrtime()
    const after = performance.now()
    if (after - before >= narrowestMs) continue
    narrowestMs = after - before
    differenceMs = seconds * 1e3 + nanoseconds / 1e6 - (before + after) / 2
  }
  return differenceMs
}
