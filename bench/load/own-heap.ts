/**
 * The heaps of the processes that measure others.
 * Runs on: the benchmark's processes. Owns: nothing.
 *
 * Eight seconds after its start V8 makes a heap smaller that is not busy: twice, each time with four
 * threads that mark it for 10 to 20 ms, in the midst of what is measured.
 */
import { setFlagsFromString } from 'node:v8'

/** Arguments of Node for a process of the generator. */
export const HEAP_FLAGS: readonly string[] = ['--no-memory-reducer']

/**
 * The same for the process that calls it. Once V8 runs, that flag is no longer asked for; without
 * incremental marking its reducer cannot begin. A heap that only waits for results needs neither.
 */
export function leaveHeapAlone(): void {
  setFlagsFromString('--no-incremental-marking')
}
