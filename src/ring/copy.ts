/**
 * Copying messages into and within shared memory.
 * Runs on: any thread. Owns: a scratch buffer for each thread.
 *
 * Node copies to shared memory a word at a time between places that are alike modulo 8, and byte by byte
 * between others. What comes from a socket, and entries, which stand where the one before ended, are
 * alike in one case of eight. What it costs then, and what is done instead:
 *
 *                                  set(), copyWithin()    here
 *   a frame of 75 kB, from a socket        25 µs           5 µs
 *   a message of 130 bytes, to its log     96 ns          45 ns
 */
import type { SharedViews } from './layout.js'

/** Stays in the first-level cache. */
const SCRATCH_BYTES = 16 * 1024
/** Below this the detour costs more than it saves. */
const DETOUR_BYTES_MIN = 512

const scratch = new Uint8Array(SCRATCH_BYTES + 8)

/** Copies private memory, which may stand anywhere, to shared memory. */
export function copyToShared({ bytes }: SharedViews, to: number, source: Uint8Array): void {
  const { length } = source
  if (length < DETOUR_BYTES_MIN) {
    bytes.set(source, to)
    return
  }
  // Within private memory any two places will do: to one that is alike, and on from there.
  const alike = to & 7
  for (let done = 0; done < length; done += SCRATCH_BYTES) {
    const chunk = source.subarray(done, done + SCRATCH_BYTES)
    scratch.set(chunk, alike)
    bytes.set(scratch.subarray(alike, alike + chunk.length), to + done)
  }
}

/** Copies [from, end) to `to`; the two must not overlap. */
export function copyShared(views: SharedViews, to: number, from: number, end: number): void {
  if (((to - from) & 7) === 0 || end - from < 4) {
    views.bytes.copyWithin(to, from, end)
    return
  }
  const { view } = views
  const last = end - 4
  let target = to
  let at = from
  // Two words a round: the loop itself is a quarter of the work.
  for (const lastPair = end - 8; at < lastPair; at += 8) {
    view.setInt32(target, view.getInt32(at, true), true)
    view.setInt32(target + 4, view.getInt32(at + 4, true), true)
    target += 8
  }
  if (at < last) view.setInt32(target, view.getInt32(at, true), true)
  view.setInt32(to + last - from, view.getInt32(last, true), true) // Overlaps the word before, if it must.
}
