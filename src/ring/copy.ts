/**
 * Copying a message within shared memory.
 * Runs on: any thread. Owns: nothing; pure.
 *
 * Node copies shared memory a word at a time between places that are alike modulo 8, and byte by byte
 * between others. Entries stand where the one before ended, so seven of eight are not alike: for 130
 * bytes copyWithin() takes 96 ns then, 32-bit words through a DataView take 45 ns.
 */
import type { SharedViews } from './layout.js'

/** Copies [from, end) to `to`; the two must not overlap. */
export function copyShared(views: SharedViews, to: number, from: number, end: number): void {
  if (((to - from) & 7) === 0 || end - from < 4) {
    views.bytes.copyWithin(to, from, end)
    return
  }
  const { view } = views
  const last = end - 4
  let target = to
  for (let at = from; at < last; at += 4) {
    view.setInt32(target, view.getInt32(at))
    target += 4
  }
  view.setInt32(to + last - from, view.getInt32(last)) // Overlaps the word before, if it must.
}
